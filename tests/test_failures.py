"""The failure table of the design, row by row, shown by the app as it is composed, against stand-ins.

Ollama refuses, fails (5xx), is busy (503) or hangs
    test_an_outage_of_ollama_costs_nothing_but_time, extraction/test_worker_failures.py
Ollama has no such model
    test_a_missing_model_says_what_to_pull
an answer is not valid, or truncated
    test_what_no_model_answers_well_is_put_aside_and_replayed, extraction/test_worker_failures.py
OpenAI's embeddings are down, 429, out of quota
    test_an_outage_of_the_embedder_pays_for_no_fact_twice, memory/test_indexer.py, memory/test_embeddings.py
Qdrant is down at start, or later
    test_a_qdrant_server_may_come_late_and_go_away, memory/test_indexer.py, memory/test_server.py
the index is put back to an earlier time
    test_a_qdrant_server_put_back_to_an_earlier_time_is_brought_up_to_date, memory/test_repair.py
the folder of the embedded index is taken away
    memory/test_edge.py, memory/test_rewrite.py
the bot is killed at any instant
    test_chaos.py
the gateway session cannot be resumed
    capture/test_catchup.py, capture/test_client.py
the disk is full, the database is locked
    test_what_a_full_disk_refuses_is_caught_up_with, test_a_locked_database_is_an_outage, capture/test_observer.py
a message is edited or deleted while it is queued, in extraction, being indexed, stored
    storage/test_messages.py and test_retraction.py, extraction/test_worker_failures.py and storage/test_queue.py,
    memory/test_indexer.py, memory/test_recall.py and test_forget.py
"""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stamina
from qdrant_server import QdrantServer
from structlog.testing import capture_logs
from town import connected, eventually

from bot.app import App
from bot.capture.catchup import Pace
from bot.commands.cards import recall_pages
from bot.commands.status import FULL
from bot.errors import StorageUnavailable
from bot.memory.index import Key
from bot.model import Degraded, Message, Recalled, Scope
from bot.sandbox import extractor
from bot.sandbox.discord import DiscordServer
from bot.sandbox.ollama import BROKEN, BUSY, GARBAGE, HANG, MODEL, OllamaServer, Reply
from bot.sandbox.openai import Fault, OpenAIServer
from bot.settings import Settings
from bot.storage.breaker import BreakerState
from bot.storage.database import FILE
from bot.storage.rows import maybe_ms

GUILD, CHANNEL, ANN = 7, 70, 1
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass
class Stage:
    """The stand-ins, the settings that lead to them, and the clock; `bot` is one process on the data folder."""

    folder: Path
    ollama: OllamaServer
    openai: OpenAIServer
    now: datetime = NOON

    def __post_init__(self) -> None:
        self.sections: dict[str, Any] = {
            "storage": {"path": self.folder / "data"},
            "ollama": {"url": self.ollama.url, "timeout": "300ms"},
            "openai": {"api_key": "sk-test", "base_url": self.openai.url},
        }

    def clock(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)

    @asynccontextmanager
    async def bot(self, clock: Callable[[], datetime] | None = None) -> AsyncIterator[App]:
        async with App(Settings.model_validate(self.sections), clock or self.clock) as app:
            yield app


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with OllamaServer() as ollama, OpenAIServer() as openai:
        with stamina.set_testing(True, attempts=1):
            yield Stage(tmp_path, ollama, openai)


async def hear(app: App, *texts: str, at: datetime = NOON) -> None:
    """Ann says this; ids count from 1 in each process's database."""
    first = (await app.messages.stats(GUILD)).held + 1
    said = [
        Message(id, GUILD, CHANNEL, CHANNEL, "general", ANN, "Ann", text, at + timedelta(seconds=id))
        for id, text in enumerate(texts, first)
    ]
    await app.messages.capture_many(said)


async def ask(app: App, query: str) -> Recalled:
    return await app.recall.recall(query, Scope(GUILD, frozenset({CHANNEL})), 5)


def found(recalled: Recalled) -> set[str]:
    """The words of all that was found: of each card's memory, and of those that became its evidence."""
    return {memory.text for hit in recalled.hits for memory in (hit.memory, *hit.evidence)}


def cards(recalled: Recalled) -> dict[str, set[int]]:
    """What a user sees: the words of each card, with the ids of the messages it links to."""
    seen = {}
    for embed in (embed for page in recall_pages(recalled) for embed in page):
        text, _, rest = str(embed.description).partition("\n\n")
        shown = " ".join([rest, *(str(field.value) for field in embed.fields)])
        seen[text] = {int(id) for id in re.findall(rf"/channels/{GUILD}/{CHANNEL}/(\d+)\)", shown)}
    return seen


async def facts(app: App) -> list[str]:
    return [fact.text for fact in await app.facts.about(GUILD, ANN)]


async def without_vectors(app: App) -> set[str]:
    """The memories in the index that lack a dense key."""
    points, _ = await app.index.scroll(GUILD, limit=100, keys=True)
    return {point.payload["data"] for point in points if Key.DENSE not in point.dense}


async def all_indexed(app: App) -> bool:
    return not (await app.messages.stats(GUILD)).not_indexed and not app.breakers.of("Qdrant").open


async def all_held(app: App, ids: set[int]) -> bool:
    return len(await app.messages.get(ids)) == len(ids)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110  (the database has nothing to await)
            await asyncio.sleep(0.02)


def in_sql(state: BreakerState) -> tuple[object, ...]:
    """What the database keeps of a breaker: times to the millisecond."""
    return state.failures, state.reason, maybe_ms(state.opened_at), maybe_ms(state.retry_at)


# Ollama


@pytest.mark.parametrize("reply", [None, BROKEN, BUSY, HANG], ids=["refuses", "500", "503", "hangs"])
async def test_an_outage_of_ollama_costs_nothing_but_time(stage: Stage, reply: Reply | None) -> None:
    """Nothing is lost or counted against a message; recall goes on, and a restart neither forgets nor knocks early."""
    async with stage.bot() as app:
        await hear(app, "I keep bees", "I play the cello")
        stage.forward(hours=2)
        stage.ollama.always = reply
        if reply is None:
            await stage.ollama.stop()
        with capture_logs() as logs:
            for _ in range(3):
                await app.worker.run_due()
                stage.forward(minutes=11)
        assert [log["service"] for log in logs if log["event"] == "service_down"] == ["Ollama"]
        await app.indexer.drain()
        assert "I keep bees" in found(await ask(app, "bees"))
        assert (await app.messages.stats(GUILD)).waiting == 2
        down = app.breakers.of("Ollama").state
        stage.now = down.retry_at - timedelta(seconds=1) if down.retry_at else stage.now

    async with stage.bot() as app:
        assert in_sql(app.breakers.of("Ollama").state) == in_sql(down)
        assert down.failures == 3
        before = stage.ollama.calls
        await app.worker.run_due()
        assert stage.ollama.calls == before
        if reply is None:
            await stage.ollama.start()
        stage.ollama.always = None
        assert not (await app.worker.health()).ok
        stage.forward(seconds=2)
        await app.worker.run_due()
        assert await facts(app) == ["Ann keeps bees", "Ann plays the cello"]
        assert (await app.worker.health()).ok
    assert_no_attempts(stage)


def assert_no_attempts(stage: Stage) -> None:
    with closing(sqlite3.connect(stage.folder / "data" / FILE)) as connection:
        assert connection.execute("SELECT DISTINCT attempts FROM message").fetchall() == [(0,)]


async def test_a_missing_model_says_what_to_pull(stage: Stage) -> None:
    """One line in the log and one in the status name the command; once the model is there, the batch goes on."""
    stage.ollama.models.clear()
    async with stage.bot() as app:
        await hear(app, "I keep bees")
        stage.forward(hours=2)
        with capture_logs() as logs:
            for _ in range(3):
                await app.worker.run_due()
                stage.forward(minutes=11)
        [told] = [log["reason"] for log in logs if log["event"] == "service_down"]
        assert f"`ollama pull {MODEL}`" in told
        assert f"`ollama pull {MODEL}`" in (await app.worker.health()).detail
        stage.ollama.models.add(MODEL)
        await app.worker.run_due()
        assert await facts(app) == ["Ann keeps bees"]


async def test_what_no_model_answers_well_is_put_aside_and_replayed(stage: Stage) -> None:
    """Only the one message the model stumbles over is put aside, without its words; a better model gets it again."""

    def stumbling(body: Mapping[str, Any]) -> str:
        odd = "zalgo" in body["messages"][1]["content"]
        return str(GARBAGE.text) if odd else extractor.answer(body)

    stage.ollama.answer = stumbling
    async with stage.bot() as app:
        await hear(app, "I keep bees", "I love zalgo", "I play the cello", "I own a boat")
        stage.forward(hours=2)
        await app.worker.run_due()
        [letter] = await app.queue.dead_letters(GUILD)
        assert (letter.id, "zalgo" in letter.reason) == (2, False)
        assert len(await facts(app)) == 3

    stage.ollama.answer = extractor.answer
    async with stage.bot() as app:
        assert await app.queue.replay_dead(GUILD) == 1
        stage.forward(hours=2)
        await app.worker.run_due()
        assert await app.queue.dead_letters(GUILD) == []
        assert "Ann loves zalgo" in await facts(app)


# OpenAI


@pytest.mark.parametrize("fault", [None, Fault.RATE_LIMIT, Fault.QUOTA])
async def test_an_outage_of_the_embedder_pays_for_no_fact_twice(stage: Stage, fault: Fault | None) -> None:
    """Facts stay committed and are found by their words; when it is back they get vectors, the oldest first."""
    stage.openai.fault = fault
    if fault is None:
        await stage.openai.stop()
    async with stage.bot() as app:
        await hear(app, "I keep bees", "I play the cello")
        await app.worker.flush(GUILD)
        with capture_logs() as logs:
            for _ in range(3):
                await app.indexer.drain()
                recalled = await ask(app, "bees")
                stage.forward(seconds=1)
        assert [log["service"] for log in logs if log["event"] == "service_down"] == ["OpenAI"]
        assert recalled.degraded is Degraded.EMBEDDER_DOWN
        assert found(recalled) >= {"I keep bees", "Ann keeps bees"}
        assert cards(recalled)["Ann keeps bees"] == {1}
        assert "I keep bees" not in cards(recalled)
        assert len(await without_vectors(app)) == 4
        down = app.breakers.of("OpenAI").state
        assert (app.breakers.of("OpenAI").pause > timedelta(minutes=50)) == (fault is Fault.QUOTA)

    stage.openai.fault = None
    if fault is None:
        await stage.openai.start()
    calls = stage.ollama.calls
    async with stage.bot() as app:
        assert in_sql(app.breakers.of("OpenAI").state) == in_sql(down)
        await app.indexer.drain()
        assert stage.openai.requests == 0
        stage.forward(seconds=app.breakers.of("OpenAI").pause.total_seconds())
        await app.indexer.drain()
        assert await without_vectors(app) == set()
        assert stage.openai.texts[0] == "Ann: I keep bees"
        assert (await ask(app, "bees")).degraded is None
        assert not app.breakers.of("OpenAI").open
    assert stage.ollama.calls == calls


# Qdrant


async def test_a_qdrant_server_may_come_late_and_go_away(stage: Stage) -> None:
    """Without it the bot starts, captures, extracts and recalls by keywords; each time it is back by itself."""
    async with QdrantServer() as qdrant:
        await qdrant.stop()
        stage.sections |= {
            "qdrant": {"url": qdrant.url},
            "outages": {"first_pause": "50ms", "longest_pause": "50ms"},
            "memory": {"index_interval": "50ms"},
        }
        async with stage.bot(clock=lambda: datetime.now(UTC)) as app:
            indexing = asyncio.create_task(app.indexer.run())
            with capture_logs() as logs:
                for word, number in (("bees", 1), ("boats", 2)):
                    await hear(app, f"I keep {word}")
                    assert (await app.worker.flush(GUILD)).facts == 1
                    await eventually(lambda: app.breakers.of("Qdrant").open)
                    recalled = await ask(app, word)
                    assert recalled.degraded is Degraded.INDEX_DOWN
                    assert found(recalled) == {f"I keep {word}", f"Ann keeps {word}"}
                    assert cards(recalled) == {f"Ann keeps {word}": {number}}
                    await qdrant.start()
                    await until(lambda: all_indexed(app))
                    recalled = await ask(app, word)
                    assert recalled.degraded is None
                    assert found(recalled) >= {f"I keep {word}", f"Ann keeps {word}"}
                    assert cards(recalled)[f"Ann keeps {word}"] == {number}
                    assert len((await app.index.scroll(GUILD))[0]) == 2 * number
                    await qdrant.stop()
            told = [log["event"] for log in logs if log["event"] in ("service_down", "service_back")]
            assert told[:4] == ["service_down", "service_back"] * 2
            indexing.cancel()
            await asyncio.wait({indexing})


async def test_a_qdrant_server_put_back_to_an_earlier_time_is_brought_up_to_date(stage: Stage) -> None:
    """Its snapshot knows of no deletion since, and lacks what was said since: both are put right once it answers."""
    async with QdrantServer() as qdrant:
        stage.sections |= {
            "qdrant": {"url": qdrant.url},
            "outages": {"first_pause": "50ms", "longest_pause": "50ms"},
            "memory": {"index_interval": "50ms"},
        }

        async def holds(*words: str) -> bool:
            if app.breakers.of("Qdrant").open:
                return False
            points, _ = await app.index.scroll(GUILD)
            return {point.payload["data"] for point in points} == {f"I keep {word}" for word in words}

        async with stage.bot(clock=lambda: datetime.now(UTC)) as app:
            running = [asyncio.create_task(work) for work in (app.indexer.run(), app.repair.run(app.guilds))]
            await hear(app, "I keep bees", "I keep boats")
            await until(lambda: holds("bees", "boats"))
            snapshot = deepcopy(qdrant.local)
            await hear(app, "I keep goats")
            await app.forget.messages(GUILD, [1])
            await until(lambda: holds("boats", "goats"))

            await qdrant.stop()
            assert (await ask(app, "boats")).degraded is Degraded.INDEX_DOWN
            await eventually(lambda: app.breakers.of("Qdrant").open)
            qdrant.local = snapshot
            await qdrant.start()
            await until(lambda: holds("boats", "goats"))
            for task in running:
                task.cancel()
            await asyncio.wait(running)


# The database


async def test_what_a_full_disk_refuses_is_caught_up_with(
    discord_server: DiscordServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is refused loudly and counted; once there is room again, history gives back what was refused."""
    world = discord_server.world
    ann = world.add_user("ann")
    guild = world.add_guild(name="tea club", owner=ann)
    general = world.add_channel(guild, "general")
    async with connected(discord_server, tmp_path, {"ollama": {"url": "http://127.0.0.1:9"}}) as app:
        await app.observations.switch_on(guild.id, general.id, ann.id)
        monkeypatch.setattr(app.catchup, "_pace", Pace(retry=0.05))
        catching_up = asyncio.create_task(app.catchup.run())
        kept = await discord_server.say(general, ann, "before")
        pages = await set_most_pages(app, 1)
        with capture_logs() as logs:
            said = [await discord_server.say(general, ann, f"{number} words " * 150) for number in range(20)]
            await eventually(lambda: app.observer.refused)
        assert {log["change"] for log in logs if log["event"] == "refused"} == {"message"}
        assert FULL in str(app.observer.refusal())
        ids = {int(one["id"]) for one in (kept, *said)}
        assert len(await app.messages.get(ids)) < len(ids)
        await set_most_pages(app, pages)
        await until(lambda: all_held(app, ids))
        catching_up.cancel()
        await asyncio.wait({catching_up})


async def set_most_pages(app: App, pages: int) -> int:
    """Let the database grow to so many pages, at least to those it has; what the limit was."""

    def work(connection: Any) -> int:
        before = connection.exec_driver_sql("PRAGMA max_page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        return int(before)

    return await app.database.transact(work)


async def test_a_locked_database_is_an_outage(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture says so, a batch waits, recall still answers; when the lock is gone, all goes on."""
    monkeypatch.setattr("bot.storage.database._PRAGMAS", ("busy_timeout=50", "journal_mode=WAL", "foreign_keys=ON"))
    async with stage.bot() as app:
        await hear(app, "I keep bees")
        await app.indexer.drain()
        stage.forward(hours=2)
        with closing(sqlite3.connect(stage.folder / "data" / FILE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match="locked"):
                await hear(app, "I play the cello")
            with capture_logs() as logs:
                await app.worker.run_due()
            assert [log["event"] for log in logs] == ["batch_failed"]
            assert cards(await ask(app, "bees")) == {"I keep bees": {1}}
            other.execute("ROLLBACK")
        await hear(app, "I play the cello")
        stage.forward(minutes=2)
        await app.worker.run_due()
        assert await facts(app) == ["Ann keeps bees", "Ann plays the cello"]
