"""A language model elsewhere, which is not to be asked for its health as often as probes ask."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import datetime, timedelta

from bot.extraction.llm import LLM, ChatAnswer, ChatRequest
from bot.model import ServiceHealth, utcnow

_LASTS = timedelta(minutes=1)


class SeldomProbed:
    """An `LLM` whose health is asked for at most once a minute.

    A probe waits for half a second, in which hardly a cloud answers: its impatience does not cancel the request, and
    the next one has the answer.
    """

    def __init__(self, llm: LLM, clock: Callable[[], datetime] = utcnow) -> None:
        self.name = llm.name
        self._llm = llm
        self._clock = clock
        self._asked: tuple[datetime, asyncio.Task[ServiceHealth]] | None = None

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """See `LLM`."""
        return await self._llm.chat(request)

    def stream(self, system: str, prompt: str, max_tokens: int) -> AsyncGenerator[str, None]:
        """See `LLM`."""
        return self._llm.stream(system, prompt, max_tokens)

    async def load(self) -> None:
        """See `LLM`."""
        await self._llm.load()

    async def health(self) -> ServiceHealth:
        """See `LLM`."""
        now = self._clock()
        if self._asked is None or (self._asked[1].done() and now - self._asked[0] >= _LASTS):
            self._asked = now, asyncio.create_task(self._llm.health(), name=f"health of {self.name}")
        return await asyncio.shield(self._asked[1])

    async def close(self) -> None:
        """See `LLM`."""
        if self._asked is not None:
            self._asked[1].cancel()
            await asyncio.wait({self._asked[1]})
        await self._llm.close()
