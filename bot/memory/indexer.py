"""Bringing messages and facts into the index, and taking retracted ones out of it.

SQL is the truth: what waits is marked there, and only a written point takes it out of the line.
Every write happens under one lock, after a look whether its record is still held as it was read.
A retraction commits its removals before it asks for that lock, so no late write outlives it.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from bot.errors import IndexClosed, IndexMismatch, IndexUnavailable, ServiceUnavailable, StorageUnavailable
from bot.memory.backlog import Backlog, Batch
from bot.memory.embeddings import Embedder
from bot.memory.index import VectorIndex
from bot.memory.keys import points_of, sparse_keys
from bot.memory.lexicon import Lexicon
from bot.memory.reach import Reach
from bot.memory.vectors import MOST, Vectors
from bot.memory.write_lock import WriteLock
from bot.model import ServiceHealth, utcnow
from bot.storage.breaker import Breaker, BreakerState
from bot.storage.erasure import Erasure
from bot.storage.facts import FactStore
from bot.storage.messages import MessageStore
from bot.storage.reindex import Reindex
from bot.storage.retraction import Retraction
from bot.storage.rows import from_ms
from bot.telemetry import Outages

log = structlog.get_logger(__name__)

_REMOVED = 2048  # points removed at once, for whose removal whoever writes waits
_GATHERING_SECONDS = 1.0  # while facts trickle in: a batch of three costs as much as one of a hundred

T = TypeVar("T")


class Indexer:
    """Drains what waits for the index. `run` keeps at it, `drain` does it once.

    Without an embedder everything is indexed by keywords, and gets its vectors should there be one
    some day. While the embedder's breaker is open, entries are indexed by keywords at once and get
    their vectors later. While the index's is open, everything waits. A guild whose part of the index
    is broken is left alone for a while, longer each time. `interval` bounds how long a message waits.
    `give_way` is awaited before each batch is embedded and before it is written, and `on_back` is called when the
    index was down and no longer is.
    """

    def __init__(
        self,
        messages: MessageStore,
        facts: FactStore,
        retraction: Retraction,
        reindex: Reindex,
        index: VectorIndex,
        embedder: Embedder | None,
        lexicon: Lexicon,
        embed_messages: bool,
        interval: timedelta,
        embedder_breaker: Breaker,
        index_breaker: Breaker,
        clock: Callable[[], datetime] = utcnow,
        give_way: Callable[[], Awaitable[None]] | None = None,
        index_name: str = "Qdrant",
        on_back: Callable[[], None] = lambda: None,
    ) -> None:
        self.lock = WriteLock()  # held around every write to the index, whoever writes
        self._draining = asyncio.Lock()  # of two batches at once, one could write what the other had read anew
        self._opened = False
        self._backlog = Backlog(messages, facts, embed_messages)
        self._retraction = retraction
        self._reindex = reindex
        self._index = index
        self._vectors = Vectors(embedder, embedder_breaker)
        self._lexicon = lexicon
        self._interval = interval
        self._clock = clock
        self._give_way = give_way
        self._woken = asyncio.Event()
        self._doubted = asyncio.Event()
        self._index_breaker = index_breaker
        self._index_name = index_name
        self._on_back = on_back
        self._reach = Reach(index, index_breaker.pauses, clock)
        self._outages = Outages(log)

    async def run(self) -> None:
        """Drain forever, at most once per interval while there is work; an outage only slows it down.

        Raises `IndexMismatch`, which no waiting cures.
        """
        self._index_breaker.end_pause()  # however long it was to be left alone: a restart may be what mended it
        bug = BreakerState()
        while True:
            self._woken.clear()
            busy = False
            try:
                busy = await self._turn()
                self._outages.over("indexing_postponed")
                bug = BreakerState()
            except IndexMismatch:
                raise
            except (StorageUnavailable, IndexClosed) as error:
                self._outages.began("indexing_postponed", str(error))
                busy = True
            except IndexUnavailable as error:
                self._index_breaker.failed(str(error))
            except Exception:
                now = self._clock()
                bug = bug.after_failure("a bug", now, self._index_breaker.pauses)
                pause = bug.pause(now).total_seconds()
                log.exception("indexing_failed", retry_in=pause)
                await asyncio.sleep(pause)
            await self._rest(busy)

    def wake(self) -> None:
        """Say that something waits; an idle `run` drains at once, a busy one with its next batch."""
        self._woken.set()

    def doubt_index(self) -> None:
        """Say that a search failed: `run` finds out whether the index is down or a part of it broken."""
        if not self._index_breaker.open:
            self._doubted.set()
            self._woken.set()

    async def drain(self, gathering: float = 0.0) -> int:
        """Remove what is to be removed and index everything waiting; how many points were written.

        After a batch that is not full, more has so many seconds to gather.
        Raises `ServiceUnavailable` if the index or the database is down; all that still waits is kept,
        as is what belongs to a guild that is left alone.
        """
        written = 0
        async with self._draining:
            await self._ready()
            await self._index_again(self._reach.due())
        while True:
            async with self._draining:  # for a batch: while there is always more, `settle` has its turn in between
                await self.remove_pending()
                batch = await self._next()
                if batch is None:
                    return written
                full = len(batch.entries) >= self._vectors.at_once
                written += await self._write(batch)
            if not full:
                self._index_answered()  # it holds all but the newest: recall may ask it again
                await asyncio.sleep(gathering)

    async def settle(self) -> set[int]:
        """Have the index follow every retraction and edit before this call; the guilds where it has to wait with it.

        Raises `ServiceUnavailable` as `drain` does. Vectors that are still to come do not matter here.
        """
        async with self._draining:
            began = self._clock()
            await self._ready()
            await self.remove_pending()
            behind = self._reach.left_alone(began)  # even those that recover below: their removals were left out
            while batch := await self._next_unfound():
                await self._write(batch)
            return behind | self._reach.left_alone(began)

    async def remove_pending(self) -> int:
        """Take retracted points out of the index now; how many, without those of forgotten members.

        Raises `ServiceUnavailable` as `drain` does.
        """
        removed = 0
        for erasure in await self._retraction.pending_erasures(self._reach.left_alone()):
            await self.erase(erasure)
        while True:
            async with self.lock:
                pending = await self._retraction.pending_removals(_REMOVED, self._reach.left_alone())
                if not pending:
                    return removed
                gone = await self._delete(pending)
                await self._retraction.removed(gone)
                removed += len(gone)

    async def erase(self, erasure: Erasure) -> None:
        """Take a forgotten member's messages out of the index now. Raises `ServiceUnavailable` as `drain` does."""
        async with self.lock:  # nothing is on its way into the index while it is freed of them
            gone = self._index.erase(erasure.guild_id, erasure.user_id, from_ms(erasure.before))
            if await self._reach.happens(erasure.guild_id, gone):
                await self._retraction.erased(erasure)

    @asynccontextmanager
    async def between_batches(self) -> AsyncIterator[None]:
        """While nothing that was embedded is on its way into the index."""
        async with self._draining:
            yield

    async def embedder_health(self) -> ServiceHealth:
        """See `Vectors.health`."""
        return await self._vectors.health()

    async def index_health(self, guild_id: int | None = None) -> ServiceHealth:
        """The index, or a guild's part of it, as it answers now; if it does at all, an outage is over."""
        try:
            await self._reach.ping()
        except (IndexMismatch, ServiceUnavailable) as error:
            return ServiceHealth(self._index_name, False, str(error))
        if self._index_breaker.open:
            self._index_breaker.end_pause()
            self._woken.set()
        if guild_id is not None:
            try:
                await self._index.count(guild_id)
            except (IndexMismatch, IndexUnavailable) as error:
                return ServiceHealth(self._index_name, False, f"This server's part is out of order. {error}")
        return ServiceHealth(self._index_name, True, "The memory index answers.")

    async def _ready(self) -> None:
        """Once, have the index finish what a crash cut short, and index again whatever it lost."""
        if not self._opened:
            async with self.lock:
                await self._index.open()
            await self._index_again(await self._reindex.guilds())
            self._opened = True

    async def _index_again(self, guild_ids: Iterable[int]) -> None:
        """Put the records of those guilds back in line of which the index holds nothing: it is new, or was emptied."""
        for guild_id in await self._reach.emptied(guild_ids):
            if records := await self._reindex.again(guild_id):
                log.warning("index_rebuilt", guild_id=guild_id, records=records)

    async def _turn(self) -> bool:
        """Drain, if the index may be asked: whether anything was written."""
        if not self._index_breaker.allows():
            return False
        if self._index_breaker.open or self._doubted.is_set():
            self._doubted.clear()
            await self._reach.ping()
        try:
            written = await self.drain(min(_GATHERING_SECONDS, self._interval.total_seconds()))
        except (StorageUnavailable, IndexClosed):
            self._index_breaker.end_pause()  # that says nothing about what the index answers
            raise
        self._index_answered()
        return written > 0

    def _index_answered(self) -> None:
        if self._index_breaker.succeeded():
            self._on_back()

    async def _rest(self, busy: bool) -> None:
        """Give messages time to gather into a batch; with nothing gathering, wait for the first one."""
        seconds = self._index_breaker.pause.total_seconds() or self._interval.total_seconds()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await (self._doubted if busy else self._woken).wait()

    async def _next(self) -> Batch | None:
        """The next batch: what nobody can find yet comes before what only lacks its vectors."""
        if (batch := await self._next_unfound()) or not self._vectors.ready:
            return batch
        return await self._backlog.take(self._vectors.at_once, True, self._reach.left_alone())

    async def _next_unfound(self) -> Batch | None:
        most = self._vectors.at_once if self._vectors.flowing else MOST
        return await self._backlog.take(most, False, self._reach.left_alone())

    async def _write(self, batch: Batch) -> int:
        await self._others_first()
        dense = await self._vectors.of(batch)
        if dense is None and batch.lacking_vectors:
            return 0
        complete = dense is not None or not batch.to_embed
        points = points_of(batch.entries, await sparse_keys(self._lexicon, batch.entries), dense)
        unfit = {entry.memory.id: entry.memory.guild_id for entry in batch.entries if entry.memory.id not in points}
        written: list[str] = []
        await self._others_first()
        async with self.lock:
            current = await batch.current()
            for guild_id, group in _by_guild(points[id] for id in current & points.keys()).items():
                if await self._reach.happens(guild_id, self._index.upsert(guild_id, group)):
                    written += (one.id for one in group)
            gone = await batch.mark(written, complete)
            await self._delete((points[id][0], id) for id in gone)
            await self._delete((guild_id, id) for id, guild_id in unfit.items())  # as they were before
            await batch.mark(current & unfit.keys(), complete=True)  # lest they come again and again
        log.debug("indexed", points=len(written), with_vectors=dense is not None)
        return len(written)

    async def _others_first(self) -> None:
        """Let whoever waits for an answer go first."""
        if self._give_way is not None:
            await self._give_way()

    async def _delete(self, places: Iterable[tuple[int, str]]) -> list[str]:
        """Delete points; the ids of those that the index does not hold any more."""
        deleted: list[str] = []
        for guild_id, ids in _by_guild(places).items():
            if await self._reach.happens(guild_id, self._index.delete(guild_id, ids)):
                deleted += ids
        return deleted


def _by_guild(pairs: Iterable[tuple[int, T]]) -> dict[int, list[T]]:
    groups: defaultdict[int, list[T]] = defaultdict(list)
    for guild_id, item in pairs:
        groups[guild_id].append(item)
    return groups
