"""A language model that answers at once: the Ollama stand-in in a process of its own, with its time counted.

It states three valid facts from each window. The first line of output is where it listens, as JSON; `/spent` tells
how many questions it had and how many seconds they took it.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import Any

from aiohttp import web

from bot.sandbox.ollama import OllamaServer

FACTS_PER_WINDOW = 3

_LINE = re.compile(r"^(\d+) \d\d:\d\d ([^:>(]+?)(?: >\d+| \([^)]*\))?: (.*)$", re.MULTILINE)


class InstantServer(OllamaServer):
    """Counts the seconds from a question's arrival to its answer's end."""

    def __init__(self) -> None:
        super().__init__(answer)
        self.seconds = 0.0

    def routes(self) -> Iterable[web.RouteDef]:
        return (*super().routes(), web.get("/spent", self._spent))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        started = perf_counter()
        try:
            return await super()._chat(request)
        finally:
            self.seconds += perf_counter() - started
            self.requests[:-1] = [{} for _ in self.requests[:-1]]  # 2,000 prompts are not needed any more

    async def _spent(self, _: web.Request) -> web.Response:
        return web.json_response({"calls": self.calls, "seconds": self.seconds})


def answer(body: Mapping[str, Any]) -> str:
    """Facts on a few lines spread over the window, each about its speaker."""
    lines = _LINE.findall(body["messages"][1]["content"])
    chosen = lines[:: max(1, len(lines) // FACTS_PER_WINDOW)][:FACTS_PER_WINDOW]
    return json.dumps({"facts": [_fact(int(number), name, words) for number, name, words in chosen]})


def _fact(number: int, name: str, words: str) -> dict[str, Any]:
    return {
        "sources": [number],
        "subject": name,
        "text": f"{name} says that {words}"[:200],
        "kind": "knowledge",
        "confidence": 4,
        "importance": 3,
        "entities": [name],
        "sensitive": False,
        "valid_from": None,
        "valid_until": None,
    }


async def _serve() -> None:
    async with InstantServer() as server:
        print(json.dumps({"url": server.url}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
