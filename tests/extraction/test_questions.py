"""People's questions to the language model, over HTTP against the stand-in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import pytest
from workshop import Clock

from bot.errors import AnswerRejected, AnswerTooLong, LLMUnavailable, ModelMissing
from bot.extraction.ollama import OllamaLLM
from bot.extraction.questions import Questions
from bot.extraction.turns import Turns
from bot.sandbox.ollama import BUSY, CUT_SHORT, HANG, OllamaServer, Reply
from bot.settings_services import OllamaSettings
from bot.storage.breaker import Breaker

ANSWER = "The fair is on the ninth of May [1]. It begins at noon [2]."
AWAY = "The language model cannot be reached right now."


class Desk:
    """What stands around `Questions`."""

    def __init__(self, server: OllamaServer) -> None:
        self.clock = Clock()
        self.llm = OllamaLLM(OllamaSettings(url=server.url))
        self.breaker = Breaker("Ollama", clock=self.clock)
        self.turns = Turns(at_once=2)
        self.recovered = 0
        self.questions = self.patient(20)

    def patient(self, seconds: float) -> Questions:
        return Questions(self.llm, self.breaker, self.turns, timedelta(seconds=seconds), self._recover)

    def _recover(self) -> None:
        self.recovered += 1

    async def ask(self, questions: Questions | None = None, prompt: str = "When is the fair?") -> str:
        async with aclosing((questions or self.questions).stream("Be brief.", prompt, 100)) as pieces:
            return "".join([piece async for piece in pieces])


@pytest.fixture
async def desk(server: OllamaServer) -> AsyncIterator[Desk]:
    server.answer = lambda body: ANSWER
    desk = Desk(server)
    yield desk
    await desk.llm.close()


async def test_an_answer_comes_in_pieces(server: OllamaServer, desk: Desk) -> None:
    """Plain text, asked for with the same options as facts are, and no schema."""
    async with aclosing(desk.questions.stream("Be brief.", "When?", 100)) as stream:
        pieces = [piece async for piece in stream]
    assert len(pieces) > 2
    assert "".join(pieces) == ANSWER
    (body,) = server.requests
    assert body.get("format") is None
    assert (body["stream"], body["think"], body["keep_alive"]) == (True, False, 600)
    assert body["options"] == {"temperature": 0, "num_ctx": 8192, "num_predict": 100}
    assert [message["content"] for message in body["messages"]] == ["Be brief.", "When?"]


async def test_an_answer_that_does_not_end_or_rests_on_half_a_prompt_is_told_apart(
    server: OllamaServer, desk: Desk
) -> None:
    """What was said of a too long one is worth showing; a model that read half of the question said nothing."""
    server.replies.extend([CUT_SHORT, Reply(text="May", prompt_eval_count=1026)])
    with pytest.raises(AnswerTooLong):
        await desk.ask()
    with pytest.raises(AnswerRejected, match="the prompt was cut"):
        await desk.ask(prompt="word " * 3000)
    assert not desk.breaker.open


async def test_an_outage_is_told_in_words_for_people(server: OllamaServer, desk: Desk) -> None:
    """No address and no error code; the breaker keeps these, opens, and the model is left alone for a while."""
    server.replies.append(BUSY)
    with pytest.raises(LLMUnavailable) as error:
        await desk.ask()
    assert str(error.value) == AWAY
    assert desk.breaker.open
    assert server.url in str(desk.breaker.state.reason)
    with pytest.raises(LLMUnavailable, match=AWAY):
        await desk.ask()
    assert server.calls == 1
    desk.clock.forward(minutes=1)
    assert await desk.ask() == ANSWER
    assert (desk.breaker.open, desk.recovered) == (False, 1)


async def test_a_missing_model_is_told_as_such(server: OllamaServer, desk: Desk) -> None:
    """Which one to pull is for the admins to read."""
    server.models.clear()
    with pytest.raises(ModelMissing) as error:
        await desk.ask()
    assert str(error.value) == "The language model is not installed yet."
    assert "ollama pull" in str(desk.breaker.state.reason)


async def test_a_server_that_goes_away_halfway_is_an_outage(server: OllamaServer, desk: Desk) -> None:
    """What came so far has been given; then it says so, and the breaker opens."""
    server.replies.append(Reply(gate=asyncio.Event()))
    got = []
    with pytest.raises(LLMUnavailable, match="broke off in the middle"):
        async with aclosing(desk.questions.stream("", "When?", 100)) as pieces:
            async for piece in pieces:
                got.append(piece)
                await server.stop()
    assert got == [ANSWER[:16]]
    assert desk.breaker.open


async def test_a_model_slower_than_patience_is_no_outage(server: OllamaServer, desk: Desk) -> None:
    """A cold model keeps a person waiting for no longer than they like, and is loaded meanwhile for the next."""
    server.load_seconds = 0.3
    impatient = desk.patient(0.05)
    for _ in range(2):
        with pytest.raises(LLMUnavailable, match="too slow right now"):
            await desk.ask(impatient)
    assert not desk.breaker.open
    assert not desk.turns.taken
    async with asyncio.timeout(10):
        while not (await desk.llm.health()).detail.endswith(" loaded"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert server.calls == 2
    server.load_seconds = 60
    assert await desk.ask() == ANSWER
    server.replies.append(Reply(gate=(later := asyncio.Event())))
    asyncio.get_running_loop().call_later(0.6, later.set)  # the patience is for the first piece
    assert await desk.ask(desk.patient(0.5)) == ANSWER


async def test_a_model_is_waited_for_until_the_bot_goes(server: OllamaServer, desk: Desk) -> None:
    """Loading it, too, ends with the bot, and with a server that cannot."""
    server.load_seconds = 60
    impatient = desk.patient(0.05)
    with pytest.raises(LLMUnavailable, match="too slow right now"):
        await desk.ask(impatient)
    await impatient.close()
    with pytest.raises(LLMUnavailable, match="too slow right now"):
        await desk.ask(impatient)
    await server.stop()
    await impatient.close()


async def test_a_probe_that_learned_nothing_leaves_it_to_the_next(server: OllamaServer, desk: Desk) -> None:
    """After an outage one question finds out if the model answers; if nobody waits for that, the next one does."""
    desk.breaker.failed("down")
    desk.clock.forward(minutes=1)
    server.replies.append(HANG)
    with pytest.raises(LLMUnavailable, match="too slow"):
        await desk.ask(desk.patient(0.05))
    server.asked.clear()
    server.replies.append(HANG)
    asking = asyncio.create_task(desk.ask())
    async with asyncio.timeout(10):
        await server.asked.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert await desk.ask() == ANSWER
    assert not desk.breaker.open


async def test_who_stops_reading_ends_the_answer(server: OllamaServer, desk: Desk) -> None:
    """The turn is free again and the server is told by the closed connection."""
    server.replies.append(Reply(gate=asyncio.Event()))
    async with aclosing(desk.questions.stream("", "When?", 100)) as pieces:
        await anext(pieces)
        assert not desk.turns.taken
        other = desk.questions.stream("", "And where?", 100)
        await anext(other)
        assert desk.questions.waiting
        await other.aclose()
    assert not desk.questions.waiting
    assert not desk.breaker.open
