"""The cable between the bot and a real Ollama, so that the demo can pull it."""

from collections.abc import Mapping
from typing import Self

import aiohttp
from aiohttp import web

_HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


class Relay:
    """`async with Relay(upstream) as relay:` passes requests to `upstream` while it is started.

    `stop` refuses connections and drops the open ones; `start` listens again, on the same port.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream.rstrip("/")
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, or will listen again."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        # An answer may take minutes to begin: who asks has a timeout of their own.
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, connect=10), auto_decompress=False
        )
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self._session.close()

    async def start(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections and drop the open ones."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

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
