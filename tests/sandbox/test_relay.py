"""The cable to a real Ollama, with the stand-in at its far end."""

import pytest

from bot.errors import LLMUnavailable
from bot.extraction.llm import ChatRequest
from bot.extraction.ollama import OllamaLLM
from bot.sandbox.ollama import OllamaServer
from bot.sandbox.relay import Relay
from bot.settings_services import OllamaSettings

QUESTION = ChatRequest(system="Extract facts.", prompt="1 09:00 Ann: I love hiking.", schema={})


async def test_it_passes_questions_and_streamed_answers_on() -> None:
    """A client at the relay sees what a client at the server sees."""
    async with OllamaServer() as server, Relay(server.url) as relay:
        direct, relayed = OllamaLLM(OllamaSettings(url=server.url)), OllamaLLM(OllamaSettings(url=relay.url))
        try:
            assert await relayed.chat(QUESTION) == await direct.chat(QUESTION)
            assert (await relayed.health()).ok
        finally:
            await direct.close()
            await relayed.close()
        assert server.calls == 2


async def test_it_can_be_pulled_and_plugged_in_again() -> None:
    """While it is stopped the model is out of reach, at the same address as before and after."""
    async with OllamaServer() as server, Relay(server.url) as relay:
        url = relay.url
        llm = OllamaLLM(OllamaSettings(url=url))
        try:
            await llm.chat(QUESTION)
            await relay.stop()
            with pytest.raises(LLMUnavailable):
                await llm.chat(QUESTION)
            await relay.start()
            assert relay.url == url
            await llm.chat(QUESTION)
        finally:
            await llm.close()


async def test_an_ollama_that_is_not_there_is_an_error_of_its_own() -> None:
    """A wrong URL reads as an error answer, not as a relay that hangs."""
    async with OllamaServer() as gone:
        url = gone.url
    async with Relay(url) as relay:
        llm = OllamaLLM(OllamaSettings(url=relay.url))
        try:
            with pytest.raises(LLMUnavailable, match="502"):
                await llm.chat(QUESTION)
        finally:
            await llm.close()
