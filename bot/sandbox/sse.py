"""Server-sent events, as the stand-ins of clouds stream their answers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from bot.sandbox.ollama import Reply

_PIECE = 256  # characters in one event of JSON,
_WORDS = 16  # and of what somebody reads as it comes


def pieces(text: str, as_json: bool) -> Sequence[str]:
    """A text as it is streamed."""
    size = _PIECE if as_json else _WORDS
    return [text[start : start + size] for start in range(0, len(text), size)]


class Events:
    """One open stream of events, which waits for the reply's gate after its first piece of text."""

    def __init__(self, request: web.Request, reply: Reply) -> None:
        self._request = request
        self._reply = reply
        self._response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})

    async def send(self, data: Mapping[str, Any] | str, event: str | None = None) -> None:
        """One event; text stays as it is."""
        if not self._response.prepared:
            await self._response.prepare(self._request)
        name = f"event: {event}\n" if event else ""
        written = data if isinstance(data, str) else json.dumps(data)
        await self._response.write(f"{name}data: {written}\n\n".encode())

    async def pause(self) -> None:
        """Wait until the rest may be told."""
        if self._reply.gate:
            await self._reply.gate.wait()

    async def end(self) -> web.StreamResponse:
        """Close the stream."""
        await self._response.write_eof()
        return self._response
