"""The model and the embedder of a run: they tell when they are asked and have answered, and what about."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast

from _chaos_script import TOKEN
from aiohttp import web

from bot.sandbox.ollama import OllamaServer, Reply
from bot.sandbox.openai import OpenAIServer

DIMENSIONS = 64
_THINKING = 0.08  # seconds the model takes for an answer
_LINE = re.compile(r"^(\d+) \d\d:\d\d ([^:>(]+?)(?: >(\d+)| \(to [^\"]*\"([^\"]*)\"\))?: (.*)$", re.MULTILINE)
# A model asked again says the same in other words.
_WORDINGS = ("told us about", "spoke of", "brought up", "is busy with", "cares about", "has something called")
REPORTED = "as reported"  # in every fact and in no message


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Moment:
    """Something that happens again and again."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def now(self) -> None:
        """It happens."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def next(self) -> None:
        """Wait until it happens again."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)


class Model(OllamaServer):
    """An Ollama that finds one fact in each line, worded differently each time it is asked about the line.

    The fact of an answer tells what it answers, too. `answered` are the tokens in the latest question,
    once all of its answer was sent; until then there are none.
    """

    def __init__(self) -> None:
        super().__init__(answer=self._extract)
        self.always = Reply(delay=_THINKING)
        self.claimed, self.spoke = Moment(), Moment()
        self.answered: set[str] = set()
        self._asked: Counter[str] = Counter()

    def routes(self) -> Iterable[web.RouteDef]:
        return _watched(super().routes(), self._watch)

    def _watch(self, handler: Handler) -> Handler:
        async def watched(request: web.Request) -> web.StreamResponse:
            if not request.path.endswith("/chat"):
                return await handler(request)
            body = await request.json()
            self.answered = set()
            self.claimed.now()
            response = await handler(request)
            self.answered = set(TOKEN.findall(_prompt(body)))
            self.spoke.now()
            return response

        return watched

    def _extract(self, body: Mapping[str, Any]) -> str:
        lines = {number: (name, to, quote, words) for number, name, to, quote, words in _LINE.findall(_prompt(body))}
        facts = []
        for number, (name, to, quote, words) in lines.items():
            answered = TOKEN.search(lines[to][3] if to else quote)
            if told := TOKEN.search(words):
                facts.append(self._fact(int(number), name, told[0], int(to or 0), answered and answered[0]))
        return json.dumps({"facts": facts})

    def _fact(self, line: int, name: str, told: str, answers: int, answered: str | None) -> dict[str, Any]:
        wording = _WORDINGS[self._asked[told] % len(_WORDINGS)]
        self._asked[told] += 1
        text = f"{name} {wording} {told}, {REPORTED} {self._asked[told]} times"
        return {
            "sources": [answers, line] if answers else [line],
            "subject": name,
            "text": f"{text}, in answer to {answered}" if answered else text,
            "kind": "personal",
            "confidence": 4,
            "importance": 3,
            "entities": [told],
            "sensitive": False,
            "valid_from": None,
            "valid_until": None,
        }


class Embeddings(OpenAIServer):
    """An OpenAI that tells when facts come to be embedded, and when it has answered."""

    def __init__(self) -> None:
        super().__init__()
        self.facts_came, self.embedded = Moment(), Moment()

    def routes(self) -> Iterable[web.RouteDef]:
        return _watched(super().routes(), self._watch)

    def _watch(self, handler: Handler) -> Handler:
        async def watched(request: web.Request) -> web.StreamResponse:
            if REPORTED in await request.text():
                self.facts_came.now()
            response = await handler(request)
            # The answer leaves when the handler returns.
            asyncio.get_running_loop().call_soon(self.embedded.now)
            return response

        return watched


def _watched(routes: Iterable[web.RouteDef], watch: Callable[[Handler], Handler]) -> Iterable[web.RouteDef]:
    return [web.route(one.method, one.path, watch(cast(Handler, one.handler))) for one in routes]


def _prompt(body: Mapping[str, Any]) -> str:
    return str(body["messages"][-1]["content"])
