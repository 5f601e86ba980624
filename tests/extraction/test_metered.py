"""What is counted of a language model."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import pytest

from bot.errors import AnswerTooLong, LLMUnreachable
from bot.extraction.fallback import FallbackLLM
from bot.extraction.llm import LLM, ChatAnswer, ChatRequest
from bot.extraction.metered import MeteredLLM
from bot.extraction.providers import open_llm
from bot.meters import Meters
from bot.settings import Settings
from bot.storage.breaker import Breakers
from bot.storage.state import StateStore

REQUEST = ChatRequest("Be brief.", "Say something.", {})


class Scripted:
    """A model that answers, or raises what it is told to."""

    name = "Ollama"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        if self.error:
            raise self.error
        return ChatAnswer("{}", 12, 3)

    async def stream(self, system: str, prompt: str, max_tokens: int) -> AsyncGenerator[str, None]:
        yield "one"
        yield "two"
        if self.error:
            raise self.error


def metered(error: Exception | None = None) -> tuple[MeteredLLM, Meters]:
    meters = Meters()
    return MeteredLLM(cast(LLM, Scripted(error)), meters), meters


async def test_an_answer_has_its_time_and_tokens() -> None:
    """By what it was asked for, facts or a person's answer."""
    llm, meters = metered()
    await llm.chat(REQUEST)
    assert [piece async for piece in llm.stream("", "", 9)] == ["one", "two"]
    assert meters.llm_tokens.values == {("Ollama", "prompt"): 12, ("Ollama", "answer"): 3}
    assert {labels: sum(series.counts) for labels, series in meters.llm_seconds.series.items()} == {
        ("Ollama", "extraction"): 1,
        ("Ollama", "question"): 1,
    }


@pytest.mark.parametrize(
    ("error", "word"), [(LLMUnreachable(), "llm_unreachable"), (AnswerTooLong(), "answer_too_long")]
)
async def test_a_failure_has_its_cause_and_no_time(error: Exception, word: str) -> None:
    """An answer refused at once would make a slow model look fast."""
    llm, meters = metered(error)
    with pytest.raises(type(error)):
        await llm.chat(REQUEST)
    assert meters.failures.values == {("Ollama", word): 1}
    assert not meters.llm_seconds.series


async def test_an_answer_nobody_waits_for_any_more_is_given_up() -> None:
    """Somebody closes the stream after its first piece."""
    llm, meters = metered()
    async with aclosing(llm.stream("", "", 9)) as pieces:
        assert await anext(pieces) == "one"
    assert meters.failures.values == {("Ollama", "given_up"): 1}


async def test_a_fallback_is_counted_apart() -> None:
    """Each of the two models by its own name, not both as one."""
    sections = {"extraction": {"fallback": "openai"}, "openai": {"api_key": "sk-test"}}
    watched: list[str] = []

    def watch(llm: LLM) -> LLM:
        watched.append(llm.name)
        return llm

    breakers, state = Breakers(None, None, None, {}), StateStore(None)  # type: ignore[arg-type]  # neither is asked
    llm = open_llm(Settings.model_validate(sections), breakers, state, watch=watch)
    assert isinstance(llm, FallbackLLM)
    assert watched == ["Ollama", "OpenAI chat"]
    await llm.close()
