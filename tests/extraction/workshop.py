"""A workshop for the extraction tests: a channel to speak in, a fake clock, and the real rooms over SQL."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from bot.extraction.ollama import OllamaLLM
from bot.extraction.worker import BatchWorker
from bot.model import Fact, Mention, Message
from bot.sandbox.ollama import OllamaServer
from bot.settings import BatchSettings, Settings
from bot.settings_services import OllamaSettings
from bot.storage.breaker import Breakers
from bot.storage.database import Database
from bot.storage.facts import FactStore
from bot.storage.guild_configs import GuildConfigs
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue
from bot.storage.retraction import Retraction
from bot.storage.tables import message as message_table

GUILD, CHANNEL = 7, 70
START = datetime(2024, 5, 3, 12, tzinfo=UTC)  # a Friday
PEOPLE = {"Ann": 1, "Ben": 2, "Cleo": 3, "Dora": 4}


@dataclass
class Clock:
    """A clock that stands still until moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


def said(
    id: int,
    who: str,
    text: str,
    *,
    minute: float | None = None,
    reply_to: int | None = None,
    mentions: Sequence[str] = (),
    channel: int = CHANNEL,
    guild: int = GUILD,
) -> Message:
    """A message `minute` minutes after START (by default its id)."""
    return Message(
        id=id,
        guild_id=guild,
        channel_id=channel,
        access_id=channel,
        channel_name="general",
        author_id=PEOPLE.get(who, sum(map(ord, who))),
        author_name=who,
        content=text,
        created_at=START + timedelta(minutes=id if minute is None else minute),
        reply_to=reply_to,
        mentions=tuple(Mention(PEOPLE[name], name) for name in mentions),
    )


def stated(
    sources: Sequence[int] = (1,), subject: str = "Ann", text: str = "Ann keeps bees", **other: Any
) -> dict[str, Any]:
    """A fact as the model states it."""
    fact = {
        "sources": list(sources),
        "subject": subject,
        "text": text,
        "kind": "personal",
        "confidence": 4,
        "importance": 3,
        "entities": [],
        "sensitive": False,
        "valid_from": None,
        "valid_until": None,
    }
    return fact | other


def facts(*stated: Mapping[str, Any]) -> str:
    """The model's whole answer."""
    return json.dumps({"facts": stated})


@dataclass
class Workshop:
    """The rooms around the batch worker, see `open`; `restart` is what a new process would build."""

    database: Database
    server: OllamaServer
    breakers: Breakers
    clock: Clock = field(default_factory=Clock)
    batch: BatchSettings = field(default_factory=BatchSettings)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.messages = MessageStore(self.database, self.clock, batch_interval=self.batch.interval)
        self.queue = ExtractionQueue(self.database, self.clock)
        self.facts = FactStore(self.database, self.clock)
        self.retraction = Retraction(self.database, self.clock)
        self.llm = OllamaLLM(OllamaSettings(url=self.server.url, timeout=timedelta(seconds=30)))
        self.breaker = self.breakers.of("Ollama")
        self.configs = GuildConfigs(self.database, Settings())
        self.worker = BatchWorker(
            self.queue,
            self.llm,
            self.breaker,
            self.batch,
            self.configs,
            self.clock,
            on_facts=self.told.set,
        )

    @classmethod
    async def open(cls, database: Database, server: OllamaServer, **other: Any) -> "Workshop":
        clock = other.pop("clock", Clock())
        return cls(database, server, await Breakers.load(database, clock=clock), clock, **other)

    async def restart(self) -> "Workshop":
        await self.close()
        return await Workshop.open(self.database, self.server, clock=self.clock, batch=self.batch)

    async def close(self) -> None:
        await self.llm.close()
        await self.breakers.close()

    async def stored(self, guild: int = GUILD) -> list[Fact]:
        """Every fact of the guild about anyone, or about the server."""
        subjects = (None, *PEOPLE.values())
        return [fact for subject in subjects for fact in await self.facts.about(guild, subject)]

    async def states(self) -> dict[int, str]:
        """Where each held message stands in extraction."""
        async with self.database.read() as connection:
            rows = await connection.execute(select(message_table.c.id, message_table.c.extraction))
            return {row.id: row.extraction for row in rows}
