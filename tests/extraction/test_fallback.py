"""The fallback of extraction, through the batch worker, with the real clients against stand-ins and a clock to set."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from workshop import GUILD, START, Clock, said

from bot.app import App
from bot.errors import LLMUnavailable
from bot.extraction.providers import llm_name, open_llm
from bot.extraction.questions import Questions
from bot.extraction.turns import Turns
from bot.extraction.worker import BatchWorker
from bot.sandbox.anthropic import AnthropicServer
from bot.sandbox.ollama import BROKEN, CUT_SHORT, GARBAGE, MODEL, OllamaServer, Reply
from bot.settings import BatchSettings, Settings
from bot.storage.breaker import Breakers
from bot.storage.database import Database
from bot.storage.guild_configs import GuildConfigs
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue
from bot.storage.state import StateStore

BATCH = BatchSettings()


class House:
    """One process: an Ollama, an Anthropic to fall back to, and the rooms of extraction over one database."""

    def __init__(
        self, database: Database, breakers: Breakers, settings: Settings, clock: Clock, ollama: OllamaServer
    ) -> None:
        self.clock = clock
        self.ollama = ollama
        self.llm = open_llm(settings, breakers, StateStore(database), clock)
        self.messages = MessageStore(database, clock, batch_interval=BATCH.interval)
        self.breakers = breakers
        configs = GuildConfigs(database, Settings())
        queue = ExtractionQueue(database, clock)
        self.worker = BatchWorker(queue, self.llm, breakers.of(self.llm.name), BATCH, configs, clock)
        asked = breakers.of(llm_name(settings))
        self.questions = Questions(self.llm, asked, Turns(), timedelta(seconds=20), self.worker.resume)
        self._said = int((clock.now - START).total_seconds())  # ids rise over restarts, too

    async def talk(self) -> None:
        """Something to learn, said two hours ago."""
        self._said += 1
        now, self.clock.now = self.clock.now, self.clock.now - timedelta(hours=2)
        minute = (self.clock.now - START).total_seconds() / 60
        await self.messages.capture_many([said(self._said, "Ann", f"I keep {self._said} bees", minute=minute)])
        self.clock.now = now

    async def due(self, **later: float) -> None:
        """Time passes, and what is due then is done."""
        self.clock.forward(**later)
        await self.worker.run_due()

    async def waiting(self) -> int:
        return (await self.messages.stats(GUILD)).waiting

    async def close(self) -> None:
        await self.questions.close()
        await self.worker.close()
        await self.llm.close()
        await self.messages.close()
        await self.breakers.close()


class Town:
    """What outlives a process."""

    def __init__(self, database: Database, ollama: OllamaServer, claude: AnthropicServer) -> None:
        self.database, self.ollama, self.claude = database, ollama, claude
        self.clock = Clock(START + timedelta(hours=2))
        self.extraction: dict[str, Any] = {"fallback": "anthropic"}

    @asynccontextmanager
    async def process(self) -> AsyncIterator[House]:
        settings = Settings.model_validate(
            {
                "extraction": self.extraction,
                "ollama": {"url": self.ollama.url},
                "anthropic": {"base_url": self.claude.url, "api_key": "sk-x"},
            }
        )
        breakers = await Breakers.load(self.database, clock=self.clock)
        house = House(self.database, breakers, settings, self.clock, self.ollama)
        try:
            yield house
        finally:
            await house.close()


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    database = await Database.open(tmp_path)
    async with OllamaServer() as ollama, AnthropicServer() as claude:
        yield Town(database, ollama, claude)
    await database.close()


async def test_it_takes_over_after_the_wait_and_gives_back_at_once(town: Town) -> None:
    """Nothing leaves the house before the hour is over; each change of hands is a line of the log."""
    async with town.process() as house:
        await town.ollama.stop()
        with capture_logs() as log:
            await house.talk()
            await house.due()
            for _ in range(5):
                await house.due(minutes=10)
            assert (town.claude.calls, await house.waiting()) == (0, 1)
            assert not (await house.llm.health()).ok
            await house.due(minutes=10)
            assert (town.claude.calls, await house.waiting()) == (1, 0)
            health = await house.llm.health()
            assert health.ok
            assert re.search(r"cannot be reached.*; Anthropic reads conversations in its place", health.detail)
            assert re.search(r"\(\d{3} of 200,000 tokens used today\)", health.detail)
            await house.talk()
            await house.due(hours=1)
            assert (town.claude.calls, await house.waiting()) == (2, 0)
            await town.ollama.start()
            await house.talk()
            await house.due(seconds=1)
            await house.due(hours=1)
        assert (town.claude.calls, town.ollama.calls, await house.waiting()) == (2, 1, 0)
        assert (await house.llm.health()).detail.startswith("Ollama 0.0.0")
        assert [line["event"] for line in log if line["event"].startswith("fallback")] == [
            "fallback_began",
            "fallback_ended",
        ]


async def test_the_wait_and_the_budget_survive_restarts(town: Town) -> None:
    """A new process knows since when Ollama is out and what the day has used up."""
    await town.ollama.stop()
    async with town.process() as house:
        await house.talk()
        await house.due()
    async with town.process() as house:
        await house.due(minutes=30)
        assert town.claude.calls == 0
        await house.due(minutes=31)
        assert town.claude.calls == 1
        used = (await house.llm.health()).detail
    async with town.process() as house:
        with capture_logs() as log:
            assert (await house.llm.health()).detail == used
            await house.talk()
            await house.due(hours=1)
        assert town.claude.calls == 2
        assert "fallback_began" not in [line["event"] for line in log]


async def test_a_used_up_budget_waits_for_ollama_or_tomorrow(town: Town) -> None:
    """The status says so, the log once; on the next day it goes on."""
    town.extraction["fallback_daily_tokens"] = 6000  # one window: the longest answer is kept free for
    await town.ollama.stop()
    with capture_logs() as log:
        async with town.process() as house:
            await house.talk()
            await house.due()
            town.claude.always = Reply(prompt_eval_count=3000)
            await house.due(hours=1)
            assert town.claude.calls == 1
            await house.talk()
            for _ in range(8):
                await house.due(hours=1)
            assert (town.claude.calls, await house.waiting()) == (1, 1)
            health = await house.worker.health()
            assert not health.ok
            assert "the 6,000 tokens Anthropic may use up today do not suffice" in health.detail
            assert "wait for Ollama or tomorrow" in health.detail
            for _ in range(2):
                await house.due(hours=1)
            assert town.clock().date() > START.date()
            assert (town.claude.calls, await house.waiting()) == (2, 0)
    told = [line["reason"] for line in log if line["event"] == "service_down" and "do not suffice" in line["reason"]]
    assert len(told) == 1


async def test_only_an_outage_of_the_server_hands_over(town: Town) -> None:
    """Neither a missing model nor answers that are refused send a conversation to the cloud, however long it lasts."""
    async with town.process() as house:
        town.ollama.models.clear()
        await house.talk()
        for _ in range(12):
            await house.due(minutes=10)
        assert (town.claude.calls, await house.waiting()) == (0, 1)
        assert "ollama pull" in (await house.llm.health()).detail
        town.ollama.models.add(MODEL)
        town.ollama.always = GARBAGE
        await house.due(hours=1)
        town.ollama.always = CUT_SHORT
        await house.talk()
        await house.due(hours=2)
        assert town.claude.calls == 0
        town.ollama.always = (
            BROKEN  # a server that fails, and one that is asked meanwhile, count from the first failure
        )
        await house.talk()
        await house.due(hours=1)
        assert town.claude.calls == 0
        town.ollama.models.clear()
        await house.due(minutes=59)
        town.ollama.models.add(MODEL)
        await house.due(minutes=30)
        assert town.claude.calls == 0  # it was back in between, without its model


async def test_a_server_that_comes_back_without_its_model_is_no_outage_any_more(town: Town) -> None:
    """Also once the cloud reads in its place: it is asked, and its answer ends the cloud's turn."""
    async with town.process() as house:
        await town.ollama.stop()
        await house.talk()
        await house.due()
        await house.due(hours=1)
        assert (town.claude.calls, await house.waiting()) == (1, 0)
        town.ollama.models.clear()
        await town.ollama.start()
        await house.talk()
        for _ in range(7):
            await house.due(minutes=10)
        assert (town.claude.calls, await house.waiting()) == (1, 1)
        assert "ollama pull" in (await house.llm.health()).detail


async def test_two_short_outages_are_not_a_long_one(town: Town) -> None:
    """Nobody asked in between, or no bot ran: Ollama may have been there, so the wait begins anew."""
    async with town.process() as house:
        await town.ollama.stop()
        with pytest.raises(LLMUnavailable):
            await ask(house)  # a person's question; nothing waits that would be asked about again
    async with town.process() as house:
        await house.talk()
        await house.due(hours=10)
        assert (town.claude.calls, await house.waiting()) == (0, 1)
        for _ in range(5):
            await house.due(minutes=10)
        assert town.claude.calls == 0
        await house.due(minutes=10)
        assert (town.claude.calls, await house.waiting()) == (1, 0)
        for _ in range(9):  # a quiet night: who looks at the bot's health sees Ollama out all the time
            town.clock.forward(hours=1)
            assert (await house.llm.health()).ok
        await house.talk()
        await house.due()
        assert town.claude.calls == 2


async def test_without_being_asked_for_nothing_is_sent(town: Town) -> None:
    """The default lets messages wait."""
    town.extraction = {}
    await town.ollama.stop()
    async with town.process() as house:
        await house.talk()
        for _ in range(5):
            await house.due(hours=5)
        assert (house.llm.name, town.claude.calls, await house.waiting()) == ("Ollama", 0, 1)


async def test_peoples_questions_never_go_to_the_cloud(town: Town) -> None:
    """They are refused while Ollama is out; once it is back, both are Ollama's at once."""
    async with town.process() as house:
        await town.ollama.stop()
        await house.talk()
        await house.due()
        await house.due(hours=1)
        assert town.claude.calls == 1
        town.clock.forward(hours=1)
        with pytest.raises(LLMUnavailable):
            await ask(house)
        assert house.breakers.of("Ollama").waiting
        await town.ollama.start()
        await house.talk()
        await house.worker.flush(GUILD)  # Ollama's pause is not waited for
        assert await ask(house)
        assert (town.claude.calls, town.ollama.calls) == (1, 2)


async def used_today(house: House) -> int:
    """Tokens, as the status tells it."""
    told = re.search(r"\(([\d,]+) of [\d,]+ tokens used today\)", (await house.llm.health()).detail)
    assert told
    return int(told[1].replace(",", ""))


async def test_a_fallback_that_is_out_too_leaves_messages_waiting(town: Town) -> None:
    """What it refuses uses up nothing of the day; an answer that breaks off uses up all it may."""
    async with town.process() as house:
        await town.ollama.stop()
        await house.talk()
        await house.due()
        town.claude.replies.append(Reply(status=529, error="overloaded"))
        await house.due(hours=1)
        assert (town.claude.calls, await house.waiting()) == (1, 1)
        assert "(0 of 200,000 tokens" in (await house.llm.health()).detail
        town.claude.replies.append(Reply(broken_off=True, error="overloaded"))
        await house.due(minutes=10)
        lost = await used_today(house)
        assert (town.claude.calls, lost > 4000) == (2, True)  # it may have been read, and will be billed
        town.claude.replies.append(GARBAGE)
        await house.due(minutes=10)
        assert (town.claude.calls, await house.waiting()) == (4, 0)
        assert await used_today(house) > lost
        assert (await house.llm.health()).ok
        await town.claude.stop()
        assert (await house.llm.health()).ok  # a cloud is not asked at every probe
        town.clock.forward(minutes=1)
        health = await house.llm.health()
        assert not health.ok and town.claude.url in health.detail


async def test_an_ollama_that_looks_well_and_fails_questions_is_left_alone_between_tries(town: Town) -> None:
    """Its pause is kept: not every window first waits for it to fail."""
    town.ollama.always = BROKEN
    async with town.process() as house:
        await house.talk()
        await house.due()
        await house.due(hours=1)
        calls = town.ollama.calls
        assert town.claude.calls == 1
        for _ in range(3):
            await house.talk()
            await asyncio.wait_for(house.worker.flush(GUILD), 20)
        assert (town.claude.calls, town.ollama.calls) == (4, calls)


async def ask(house: House) -> str:
    return "".join([piece async for piece in house.questions.stream("Be brief.", "Question: who keeps bees?", 50)])


async def test_the_bot_itself_falls_back_as_its_settings_say(tmp_path: Path) -> None:
    """Extraction has a breaker of its own, people's questions are Ollama's, and the status names both."""
    sections: dict[str, Any] = {
        "storage": {"path": tmp_path / "data"},
        "extraction": {"fallback": "anthropic"},
        "ollama": {"url": "http://127.0.0.1:9"},
        "anthropic": {"api_key": "sk-x"},
    }
    async with App(Settings.model_validate(sections)) as app:
        assert app.llm.name == "Ollama or Anthropic"
        assert {"Ollama", "Ollama or Anthropic"} <= set(app.breakers.open())
        with pytest.raises(LLMUnavailable):
            async for _ in app.questions.stream("Be brief.", "Who keeps bees?", 50):
                pass
        assert {name: app.breakers.open()[name] for name in ("Ollama", "Ollama or Anthropic")} == {
            "Ollama": True,
            "Ollama or Anthropic": False,
        }
        health = await app.worker.health()
        assert (health.name, health.ok) == ("Ollama or Anthropic", False)
