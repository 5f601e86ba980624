"""Bringing the index back to what SQL holds, where it was put back to an earlier time.

A disk that was away, a folder from a copy or a snapshot of a server lacks what was indexed since, holds what was taken
back since, and knows edited messages by their old words. SQL is the truth: what the index lacks goes into it again,
and of what was made by us, all that has no record goes. What other mem0 clients wrote has none, and stays; what one
of them deleted stays away, unless the index proves to be of an earlier time or lacks much.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta

import structlog

from bot.errors import IndexUnavailable, RecollectError, ServiceUnavailable
from bot.memory.index import IndexPoint, VectorIndex
from bot.storage.drift import Copy, Drift
from bot.storage.messages import MessageStore
from bot.storage.retraction import Retraction
from bot.storage.rows import clean
from bot.telemetry import Outages

log = structlog.get_logger(__name__)

FIRST = timedelta(minutes=1)  # a start has enough to do
EVERY = timedelta(days=1)
_RETRY = timedelta(hours=1)
_PAGE = 256
_LARGEST_ID = 2**63 - 1  # that SQLite holds
_FEW = 100  # so many points may be there or gone for other reasons


class Repair:
    """Compares each guild's points with its records, by words and not by keys, and marks what differs.

    `on_drift` is called when something was marked, which the indexer then does. `give_way` is awaited before each page.
    """

    def __init__(
        self,
        index: VectorIndex,
        drift: Drift,
        messages: MessageStore,
        retraction: Retraction,
        on_drift: Callable[[], None] = lambda: None,
        give_way: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._index = index
        self._drift = drift
        self._messages = messages
        self._retraction = retraction
        self._on_drift = on_drift
        self._give_way = give_way
        self._woken = asyncio.Event()
        self.passed_over = False
        self._outages = Outages(log)

    def wake(self) -> None:
        """Have `run` compare at once: the index was away and is back, perhaps not as it was."""
        self._woken.set()

    async def run(
        self, guild_ids: Callable[[], Awaitable[Iterable[int]]], first: timedelta = FIRST, every: timedelta = EVERY
    ) -> None:
        """Compare soon after the start, every day and when woken; what could not be compared, again within the hour.

        An outage is one line in the log. Raises `IndexMismatch`, which no waiting cures.
        """
        rest = first
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(rest.total_seconds()):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self.run_once(await guild_ids())
                self._outages.over("repair_postponed")
            except ServiceUnavailable as error:
                self._outages.began("repair_postponed", str(error))
                self.passed_over = True
            rest = min(every, _RETRY) if self.passed_over else every

    async def run_once(self, guild_ids: Iterable[int]) -> int:
        """Compare these guilds; how many points are to be removed or made again.

        A guild is passed over if its part of the index is broken, or while it is freed of a forgotten member; then
        `passed_over` is set. Raises `ServiceUnavailable`; it can be repeated.
        """
        total, self.passed_over = 0, False
        for guild_id in guild_ids:
            try:
                total += await self._repair(guild_id)
            except IndexUnavailable as error:
                await self._index.ping()  # raises if it is the whole index
                log.error("guild_not_compared", guild_id=guild_id, reason=str(error))
                self.passed_over = True
            except RecollectError:
                raise
            except Exception:
                log.exception("repair_failed", guild_id=guild_id)
                self.passed_over = True
        if total:
            self._on_drift()
        return total

    async def _repair(self, guild_id: int) -> int:
        if any(one.guild_id == guild_id for one in await self._retraction.pending_erasures()):
            self.passed_over = True
            return 0
        expected = await self._indexed(guild_id)
        held = indexed = unheard = 0
        suspects: list[Copy] = []
        async for copies in self._copies(guild_id):
            found = await self._drift.compare(guild_id, copies)
            held, indexed, unheard = held + found.held, indexed + found.indexed, unheard + found.unheard
            suspects += (*found.strange, *found.outdated)
        if unheard > max(_FEW, held):
            log.error("index_of_another_database", guild_id=guild_id, points=unheard, with_record=held)
            return 0
        # What came or went meanwhile makes one of the two counts too large.
        missing = min(expected, await self._indexed(guild_id)) - indexed
        wrong = await self._still_wrong(guild_id, suspects)
        # First what is lost: that it matters, only what is wrong may prove, also to who repeats this after a crash.
        lost = await self._lost(guild_id) if missing > (0 if wrong else _FEW) else 0
        marked = sum([await self._drift.mend(guild_id, page) for page in wrong])
        if marked or lost:
            log.warning("index_repaired", guild_id=guild_id, wrong=marked, lost=lost)
        return marked + lost

    async def _still_wrong(self, guild_id: int, suspects: Sequence[Copy]) -> list[Sequence[Copy]]:
        """Those of these points that are there and wrong on a second look, in pages."""
        wrong = []
        for start in range(0, len(suspects), _PAGE):
            points = await self._index.retrieve(guild_id, [one.id for one in suspects[start : start + _PAGE]])
            found = await self._drift.compare(guild_id, list(_copies(points)))
            wrong.append([*found.strange, *found.outdated])
        return [page for page in wrong if page]

    async def _indexed(self, guild_id: int) -> int:
        """How many records of a guild the index is known to hold."""
        stats = await self._messages.stats(guild_id)
        return stats.held + stats.facts - stats.not_indexed

    async def _lost(self, guild_id: int) -> int:
        """Have all indexed again that the index is known to hold and does not; how many."""
        lost = 0
        async for copies in self._drift.recorded(guild_id):
            await self._quiet()
            present = {point.id for point in await self._index.retrieve(guild_id, [one.id for one in copies])}
            if absent := [one for one in copies if one.id not in present]:
                lost += await self._drift.lost(absent)
        return lost

    async def _copies(self, guild_id: int) -> AsyncIterator[Sequence[Copy]]:
        """A guild's points, in pages."""
        start: str | None = None
        while True:
            await self._quiet()
            points, start = await self._index.scroll(guild_id, start, _PAGE)
            yield list(_copies(points))
            if start is None:
                return

    async def _quiet(self) -> None:
        """Let whoever waits for an answer go first."""
        if self._give_way is not None:
            await self._give_way()


def _copies(points: Iterable[IndexPoint]) -> Iterator[Copy]:
    """What of points tells of which records they are; any client may write anything here."""
    for point in points:
        match point.payload:
            case {"kind": str(kind), "data": str(data), "sources": list(sources), "channel_id": int(channel)}:
                if not all(isinstance(id, int) and 0 <= id <= _LARGEST_ID for id in (channel, *sources)):
                    continue
                message_id = sources[0] if kind == "message" and sources else None
                text = clean(data) if point.payload.get("updated_at") == point.payload.get("created_at") else None
                ours = point.id[14:15] == "5" or point.payload.get("corrected") is True  # mem0's ids are uuid4
                yield Copy(point.id, message_id, channel, text, ours)
