"""A language model that is asked nothing before members know of it."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from bot.errors import LLMUnavailable
from bot.extraction.llm import LLM, ChatAnswer, ChatRequest, WrappedLLM


class AnnouncedLLM(WrappedLLM):
    """An `LLM` that counts as out of order while `untold` says why nothing may be sent to it yet."""

    def __init__(self, llm: LLM, untold: Callable[[], str | None]) -> None:
        super().__init__(llm)
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

    def _check(self) -> None:
        if reason := self._untold():
            raise LLMUnavailable(reason)
