"""A language model that is asked nothing before members know of it."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from bot.errors import LLMUnavailable
from bot.extraction.llm import LLM, ChatAnswer, ChatRequest
from bot.model import ServiceHealth


class AnnouncedLLM:
    """An `LLM` that counts as out of order while `untold` says why nothing may be sent to it yet."""

    def __init__(self, llm: LLM, untold: Callable[[], str | None]) -> None:
        self.name = llm.name
        self._llm = llm
        self._untold = untold

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """See `LLM`."""
        self._check()
        return await self._llm.chat(request)

    async def stream(self, system: str, prompt: str, max_tokens: int) -> AsyncGenerator[str, None]:
        """See `LLM`."""
        self._check()
        async with aclosing(self._llm.stream(system, prompt, max_tokens)) as pieces:
            async for piece in pieces:
                yield piece

    async def load(self) -> None:
        """See `LLM`."""
        await self._llm.load()

    async def health(self) -> ServiceHealth:
        """See `LLM`."""
        return await self._llm.health()

    async def close(self) -> None:
        """See `LLM`."""
        await self._llm.close()

    def _check(self) -> None:
        if reason := self._untold():
            raise LLMUnavailable(reason)
