"""The port to a language model."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bot.errors import AnswerRejected
from bot.extraction.text import least_tokens
from bot.model import ServiceHealth

# A prompt that was cut still fills at least half of the context, and none is smaller than this. A
# lower count is a cached prompt: some versions of Ollama count only the tokens that were not in the
# cache (github.com/ollama/ollama/issues/3427, pull/16428).
_SMALLEST_CUT_PROMPT = 512

NAMES: Mapping[str, str] = {
    "ollama": "Ollama",
    "openai": "OpenAI chat",
    "anthropic": "Anthropic",
    "compatible": "Language model",
}
"""Each provider's service, as people know it: other names than the embedders', which have breakers of their own."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question: the answer must be JSON that fits `schema` and take at most `max_tokens` tokens."""

    system: str
    prompt: str
    schema: Mapping[str, Any]
    max_tokens: int = 4096


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """The model's text, not yet checked, and the tokens the server counted (0 if it did not say)."""

    text: str
    prompt_tokens: int
    answer_tokens: int


class LLM(Protocol):
    """Answers one question at a time; keeps no state between them."""

    @property
    def name(self) -> str:
        """The service's name for people."""
        ...

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """Ask.

        Raises `LLMUnavailable` when no answer could be had (`ModelMissing` when the model is not there,
        `LLMUnreachable` when the server is not), and `AnswerRejected` when it was cut short or refused.
        """
        ...

    def stream(self, system: str, prompt: str, max_tokens: int) -> AsyncGenerator[str, None]:
        """Ask for plain text of at most `max_tokens` tokens, and give it piece by piece as it comes.

        Raises what `chat` raises, before the first piece or after any; `AnswerTooLong` after the last one if the
        model had more to say. Closing the generator ends the answer.
        """
        ...

    async def load(self) -> None:
        """Have the model ready to answer, which may take minutes. Raises `LLMUnavailable`."""
        ...

    async def health(self) -> ServiceHealth:
        """Whether a question would be answered now. Never raises."""
        ...

    async def close(self) -> None:
        """Release the connections."""
        ...


class WrappedLLM:
    """What an `LLM` that stands before another leaves to it."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    @property
    def name(self) -> str:
        """See `LLM`."""
        return self._llm.name

    async def load(self) -> None:
        """See `LLM`."""
        await self._llm.load()

    async def health(self) -> ServiceHealth:
        """See `LLM`."""
        return await self._llm.health()

    async def close(self) -> None:
        """See `LLM`."""
        await self._llm.close()


def check_read(read: int, system: str, prompt: str) -> None:
    """Raise `AnswerRejected` if the server counted fewer tokens than the question must have: some cut it silently."""
    needed = least_tokens(system) + least_tokens(prompt)
    if _SMALLEST_CUT_PROMPT <= read < needed:
        raise AnswerRejected(f"the prompt was cut: the model read {read} tokens of at least {needed}")
