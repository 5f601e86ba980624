"""A language model whose work is counted."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from bot.extraction.llm import LLM, ChatAnswer, ChatRequest, WrappedLLM
from bot.meters import Meters


class MeteredLLM(WrappedLLM):
    """An `LLM` with its answers and tokens counted. What is read piece by piece does not tell its tokens."""

    def __init__(self, llm: LLM, meters: Meters) -> None:
        super().__init__(llm)
        self._meters = meters

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """See `LLM`."""
        name = self._llm.name
        with self._meters.request(name, self._meters.llm_seconds, name, "extraction"):
            answer = await self._llm.chat(request)
        self._meters.llm_tokens.add(answer.prompt_tokens, name, "prompt")
        self._meters.llm_tokens.add(answer.answer_tokens, name, "answer")
        return answer

    async def stream(self, system: str, prompt: str, max_tokens: int) -> AsyncGenerator[str, None]:
        """See `LLM`."""
        name = self._llm.name
        with self._meters.request(name, self._meters.llm_seconds, name, "question"):
            async with aclosing(self._llm.stream(system, prompt, max_tokens)) as pieces:
                async for piece in pieces:
                    yield piece
