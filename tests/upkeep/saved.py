"""A bot's data folder with something in it, as the backup and restore tests need it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from house import ANN, BEN, CLEO, GENERAL, GUILD, OTHER_GUILD, STAFF, fact_of, said

from bot.app import App
from bot.core import open_index
from bot.memory.index import IndexPoint, Key
from bot.model import Fact, Recalled, Scope
from bot.sandbox.openai import OpenAIServer
from bot.settings import Settings
from bot.upkeep.restore import Restored, restore

FOREIGN = "11111111-1111-4111-8111-111111111111"
QUESTIONS = ("bees and honey", "who repairs the printer?", "the meeting", "tea")
TOPICS = ("the bees made honey", "the printer is broken again", "the meeting is on Friday", "tea is ready", "lunch?")


@dataclass(frozen=True)
class Card:
    """A hit as it is compared."""

    score: float = field(compare=False)
    id: str
    text: str
    evidence: tuple[str, ...]


Answers = list[list[Card]]


def settings_of(folder: Path, openai: OpenAIServer, **sections: Any) -> Settings:
    """The settings of a bot whose data and journal lie in `folder`."""
    embedder = {"api_key": "k", "base_url": openai.url, "dimensions": 64}
    return Settings.model_validate({"storage": {"path": folder / "data"}, "openai": embedder, **sections})


def files(folder: Path) -> list[str]:
    """The names of what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def ignore(what: str, done: int, total: int | None) -> None:
    """A report nobody reads."""


async def fill(app: App, count: int = 60) -> list[Fact]:
    """A conversation in two channels and two guilds, facts on some of it, and a memory of another mem0 client."""
    people = (ANN, BEN, CLEO)
    # Which ones of equal score are a search's last candidates is the index's affair: here each has a length of its own.
    await app.messages.capture_many(
        [
            said(n, f"{TOPICS[n % 5]}, number {n}{' of many' * n}", people[n % 3], (GENERAL, STAFF)[n % 7 == 0], GUILD)
            for n in range(1, count + 1)
        ]
    )
    await app.messages.capture_many([said(1000 + n, f"tea elsewhere {n}", guild=OTHER_GUILD) for n in range(3)])
    held = await app.messages.get(range(1, 40))
    facts = [
        fact_of("The bees of the roof make honey", [held[5], held[10]]),
        fact_of("Ben repairs the printer", [held[16]], BEN),
        fact_of("Ann drinks tea", [held[3]], ANN),
    ]
    lease = (await app.queue.take([5, 10, 16, 3], timedelta(minutes=5))).lease
    await app.queue.commit(lease, facts)
    await app.indexer.drain()
    foreign = {"data": "A mem0 client wrote of tea", "created_at": "2024-05-01T00:00:00+00:00", "user_id": str(ANN)}
    payload = {**foreign, "agent_id": str(GUILD), "run_id": str(GENERAL)}
    vector = (await app.embedder.documents(["A mem0 client wrote of tea"]))[0] if app.embedder else [1.0] * 64
    await app.index.upsert(GUILD, [IndexPoint(FOREIGN, payload, {Key.DENSE: vector})])
    return facts


async def answers(app: App) -> Answers:
    """What recall answers to every question, in every guild, best first."""
    found: Answers = []
    for guild_id in (GUILD, OTHER_GUILD):
        scope = Scope(guild_id, frozenset({GENERAL, STAFF}))
        for question in QUESTIONS:
            recalled: Recalled = await app.recall.recall(question, scope, 20)
            assert recalled.degraded is None
            found.append(
                [
                    Card(hit.score, hit.memory.id, hit.memory.text, tuple(one.id for one in hit.evidence))
                    for hit in recalled.hits
                ]
            )
    return found


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[App]:
    """A bot's rooms; what waits is indexed when a test says so."""
    async with App(settings) as app:
        yield app


async def back_up(settings: Settings, file: Path) -> None:
    """A backup of a bot that does not run."""
    async with opened(settings) as app:
        await app.backup.write(file, False, ignore)


async def bring_back(settings: Settings, file: Path) -> Restored:
    """A restore by `recollect restore`'s own means."""
    return await restore(settings, file, partial(open_index, settings), ignore)
