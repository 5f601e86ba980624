"""A house of real rooms for the memory tests: SQL in a temporary folder, the embedded index, a fake clock."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import delete

from bot.errors import IndexUnavailable
from bot.memory.bm25 import Bm25
from bot.memory.edge import EdgeIndex
from bot.memory.embeddings import Embedder
from bot.memory.forget import Forget
from bot.memory.index import IndexPoint, ScoredPoint, Search
from bot.memory.indexer import Indexer
from bot.memory.lexicon import Lexicon
from bot.memory.naming import Speakers
from bot.memory.recall import Recall
from bot.memory.reconcile import Reconciler
from bot.model import Fact, FactKind, Message, Recalled, Scope, memory_id
from bot.storage.breaker import Breaker, Breakers
from bot.storage.database import Database
from bot.storage.facts import FactStore
from bot.storage.keyword import KeywordSearch
from bot.storage.messages import MessageStore
from bot.storage.names import Names
from bot.storage.purging import Purging
from bot.storage.queue import ExtractionQueue
from bot.storage.reindex import Reindex
from bot.storage.retraction import Retraction
from bot.storage.tables import message

GUILD, OTHER_GUILD = 7, 8
GENERAL, STAFF = 70, 71
ANN, BEN, CLEO = 1, 2, 3
NAMES = {ANN: "Ann", BEN: "Ben", CLEO: "Cleo"}
START = datetime(2024, 5, 3, 12, tzinfo=UTC)
DIMENSIONS = 512


@dataclass
class Clock:
    """A clock that stands still until moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, by: timedelta) -> None:
        self.now += by


def said(id: int, text: str, author: int = ANN, channel: int = GENERAL, guild: int = GUILD) -> Message:
    """A message, one minute after the one with the id before it."""
    return Message(
        id=id,
        guild_id=guild,
        channel_id=channel,
        access_id=channel,
        channel_name={GENERAL: "general", STAFF: "staff"}.get(channel, "elsewhere"),
        author_id=author,
        author_name=NAMES[author],
        content=text,
        created_at=START + timedelta(minutes=id),
    )


def fact_of(text: str, sources: Sequence[Message], subject: int | None = None) -> Fact:
    """A fact resting on these messages."""
    newest = sources[-1]
    ids = tuple(message.id for message in sources)
    return Fact(
        id=memory_id(newest.guild_id, newest.channel_id, subject, ids, text),
        guild_id=newest.guild_id,
        channel_id=newest.channel_id,
        access_id=newest.access_id,
        channel_name=newest.channel_name,
        subject_id=subject,
        subject_name="SERVER" if subject is None else NAMES[subject],
        text=text,
        kind=FactKind.DECISION,
        speaker_ids=tuple(dict.fromkeys(message.author_id for message in sources)),
        speaker_name=newest.author_name,
        sources=ids,
        confidence=0.9,
        importance=0.5,
        said_at=newest.created_at,
    )


class BreakableIndex(EdgeIndex):
    """The embedded index with a switch to break it. `written` is set by every upsert that took place."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        super().__init__(folder, dimensions)
        self.down: Exception | None = None
        self.broken_guild: int | None = None
        self.hangs = False
        self.lose_next_answer = False
        self.before_upsert: Callable[[], Awaitable[object]] | None = None
        self.after_search: Callable[[], Awaitable[object]] | None = None
        self.upserts: list[list[str]] = []
        self.tried = asyncio.Event()
        self.written = asyncio.Event()

    def break_down(self, error: Exception | None = None) -> None:
        self.down = error or IndexUnavailable()

    async def upsert(self, guild_id: int | None, points: Sequence[IndexPoint]) -> None:
        await self._check(guild_id)
        if self.before_upsert is not None:
            hook, self.before_upsert = self.before_upsert, None
            await hook()
        await super().upsert(guild_id, points)
        if points:
            self.upserts.append([point.payload.get("data", "") for point in points])
            self.written.set()
        if self.lose_next_answer:
            self.lose_next_answer = False
            raise IndexUnavailable

    async def delete(self, guild_id: int | None, ids: Sequence[str]) -> None:
        await self._check(guild_id)
        await super().delete(guild_id, ids)

    async def erase(self, guild_id: int, user_id: int, before: datetime) -> None:
        await self._check(guild_id)
        await super().erase(guild_id, user_id, before)

    async def search(self, scope: Scope, searches: Sequence[Search]) -> list[list[ScoredPoint]]:
        await self._check()
        found = await super().search(scope, searches)
        if self.after_search is not None:
            await self.after_search()
        return found

    async def retrieve(self, guild_id: int | None, ids: Sequence[str], keys: bool = False) -> list[IndexPoint]:
        await self._check()
        return await super().retrieve(guild_id, ids, keys)

    async def scroll(
        self,
        guild_id: int | None,
        after: str | None = None,
        limit: int = 256,
        keys: bool = False,
        member_id: int | None = None,
    ) -> tuple[list[IndexPoint], str | None]:
        await self._check(guild_id)
        return await super().scroll(guild_id, after, limit, keys, member_id)

    async def count(self, guild_id: int | None) -> int:
        await self._check(guild_id)
        return await super().count(guild_id)

    async def drop_guild(self, guild_id: int) -> None:
        await self._check(guild_id)
        await super().drop_guild(guild_id)

    async def purge(self, guild_id: int | None) -> None:
        await self._check(guild_id)
        await super().purge(guild_id)

    async def ping(self) -> None:
        await self._check()
        await super().ping()

    async def _check(self, guild_id: int | None = None) -> None:
        self.tried.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.down is not None:
            raise self.down
        if guild_id is not None and guild_id == self.broken_guild:
            raise IndexUnavailable(f"The index of {guild_id} is damaged.")


@dataclass
class House:
    """The rooms memory stands on, and memory itself."""

    database: Database
    messages: MessageStore
    facts: FactStore
    queue: ExtractionQueue
    retraction: Retraction
    keyword: KeywordSearch
    index: Any
    bm25: Bm25
    clock: Clock
    breakers: Breakers
    spoken: dict[int, str] = field(default_factory=dict)

    @cached_property
    def lexicon(self) -> Lexicon:
        return Lexicon(lambda guild_id: self.spoken.get(guild_id, self.bm25.language))

    def indexer(
        self,
        embedder: Embedder | None = None,
        embed_messages: bool = True,
        interval: timedelta = timedelta(milliseconds=10),
        index_breaker: Breaker | None = None,
    ) -> Indexer:
        return Indexer(
            self.messages,
            self.facts,
            self.retraction,
            Reindex(self.database),
            self.index,
            embedder,
            self.lexicon,
            embed_messages,
            interval,
            self.breakers.of("OpenAI"),
            index_breaker or self.breakers.of("Qdrant"),
            self.clock,
        )

    def recall(self, embedder: Embedder | None = None, doubt_index: Callable[[], None] = lambda: None) -> Recall:
        return Recall(
            self.index,
            embedder,
            self.lexicon,
            Speakers(Names(self.database), now=lambda: 0.0),
            self.keyword,
            self.retraction,
            self.breakers.of("OpenAI"),
            self.breakers.of("Qdrant"),
            doubt_index,
            self.clock,
        )

    def forget(self, indexer: Indexer) -> Forget:
        return Forget(self.retraction, Purging(self.database, self.retraction, self.clock), indexer, self.index)

    def reconciler(self, indexer: Indexer, embedder: Embedder | None = None, embed_messages: bool = True) -> Reconciler:
        return Reconciler(
            self.index,
            embedder,
            self.lexicon,
            self.messages,
            self.retraction,
            embed_messages,
            indexer.lock,
            self.bm25.language,
        )

    async def learn(self, *facts: Fact) -> int:
        """Store facts as extraction does: leased messages, one transaction."""
        sources = {source for fact in facts for source in fact.sources}
        lease = (await self.queue.take(sorted(sources), timedelta(minutes=5))).lease
        return await self.queue.commit(lease, facts)

    async def edit(self, id: int, text: str, at: datetime) -> bool:
        """Give a held message other words, as an edit event does: whether that changed anything."""
        held = (await self.messages.get([id]))[id]
        return await self.messages.capture(replace(held, content=text, edited_at=at))

    async def expire(self, *ids: int) -> None:
        """Drop raw text as retention does, the facts resting on it kept."""
        async with self.database.write() as connection:
            await connection.execute(delete(message).where(message.c.id.in_(ids)))

    async def points(self, guild: int | None = GUILD) -> dict[str, IndexPoint]:
        """Everything a guild has in the index, keys included, by text."""
        page, following = await self.index.scroll(guild, limit=1000, keys=True)
        assert following is None
        return {point.payload.get("data", point.id): point for point in page}


@asynccontextmanager
async def built(folder: Path) -> AsyncIterator[House]:
    """A house in this folder."""
    clock = Clock()
    database = await Database.open(folder)
    index = BreakableIndex(folder / "index", DIMENSIONS)
    await index.open()
    breakers = await Breakers.load(database, clock=clock)
    yield House(
        database,
        MessageStore(database, clock),
        FactStore(database, clock),
        ExtractionQueue(database, clock),
        Retraction(database, clock),
        KeywordSearch(database),
        index,
        Bm25("english"),
        clock,
        breakers,
    )
    await index.close()
    await breakers.close()
    await database.close()


def holding(folder: Path, *words: str) -> set[str]:
    """Those of these words that stand in any file below a folder, in any case."""
    found: set[str] = set()
    for file in (path for path in folder.rglob("*") if path.is_file()):
        content = _written(file).lower()
        found |= {word for word in words if word.encode() in content}
    return found


def _written(file: Path) -> bytes:
    """What is in a file, without its holes: an index of a few points has hundreds of megabytes of them."""
    parts, at = [], 0
    with file.open("rb") as opened, suppress(OSError):  # there is no data behind the last hole
        while True:
            start = os.lseek(opened.fileno(), at, os.SEEK_DATA)
            at = os.lseek(opened.fileno(), start, os.SEEK_HOLE)
            parts.append(os.pread(opened.fileno(), at - start, start))
    return b"\0".join(parts)


def everywhere(**narrower: object) -> Scope:
    """The scope of someone who may read every channel."""
    return Scope(GUILD, frozenset({GENERAL, STAFF}), **narrower)  # type: ignore[arg-type]


def texts(recalled: Recalled) -> list[str]:
    """What was recalled, best first."""
    return [hit.memory.text for hit in recalled.hits]
