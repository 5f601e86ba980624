"""The cable between the bot and a real Ollama, so that the demo can pull it."""

from collections.abc import Iterable, Mapping
from typing import Self

import aiohttp
from aiohttp import web

from bot.sandbox.listener import Listener

_HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


class Relay(Listener):
    """`async with Relay(upstream) as relay:` passes requests to `upstream` while it is started."""

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self._upstream = upstream.rstrip("/")

    def routes(self) -> Iterable[web.RouteDef]:
        return (web.route("*", "/{path:.*}", self._pass_on),)

    async def __aenter__(self) -> Self:
        # An answer may take minutes to begin: who asks has a timeout of their own.
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, connect=10), auto_decompress=False
        )
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        await self._session.close()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        url = self._upstream + request.path_qs
        try:
            answer = await self._session.request(
                request.method, url, headers=_end_to_end(request.headers), data=await request.read()
            )
        except aiohttp.ClientError as error:
            return web.json_response({"error": f"{self._upstream} does not answer: {error}"}, status=502)
        async with answer:
            response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
            await response.prepare(request)
            async for part in answer.content.iter_any():
                await response.write(part)
            return response


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
