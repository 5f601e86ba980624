"""Taking the last bytes of removed text off the disk, within `retention.purge_within` of its removal.

A retraction hides and removes text at once, but the index's and the database's files still hold it where
nothing reads it any more. Every removal leaves a mark; here the files of the marked guilds are rewritten.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from bot.errors import IndexMismatch, IndexUnavailable, ServiceUnavailable
from bot.memory.index import VectorIndex
from bot.memory.indexer import Indexer
from bot.model import Report, utcnow
from bot.storage.database import Database
from bot.storage.residue import Residue
from bot.telemetry import Outages

log = structlog.get_logger(__name__)

_SHORTEST_REST, _LONGEST_REST = 1.0, 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Purged:
    """How many guilds' files hold nothing removed any more, and the guilds for which that has to wait."""

    guilds: int
    postponed: frozenset[int]


class Purge:
    """Rewrites what may hold removed text, halfway to the deadline: a failure can be tried again before it."""

    def __init__(
        self,
        database: Database,
        residue: Residue,
        indexer: Indexer,
        index: VectorIndex,
        within: timedelta,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        self._database = database
        self._residue = residue
        self._indexer = indexer
        self._index = index
        self._within = within
        self._clock = clock
        self._working = asyncio.Lock()
        self._outages = Outages(log)

    async def run(self) -> None:
        """Purge forever, whenever something is due. An outage is one line in the log, and is tried again."""
        while True:
            rest = self._within / 24
            try:
                due_in = await self._due_in()
                if due_in > timedelta(0):
                    rest = due_in
                else:
                    await self.now()
                self._outages.over("purge_postponed")
            except IndexMismatch:
                raise
            except ServiceUnavailable as error:
                self._outages.began("purge_postponed", str(error))
            except Exception:
                log.exception("purge_failed")
            await asyncio.sleep(min(max(rest.total_seconds(), _SHORTEST_REST), _LONGEST_REST))

    async def now(self, report: Report = lambda *_: None) -> Purged:
        """Purge every guild that has a mark; a guild whose part of the index is broken stops none of the others.

        Raises `ServiceUnavailable`, and nothing is taken for purged; it can be repeated.
        """
        async with self._working:
            return await self._purge(report)

    async def _due_in(self) -> timedelta:
        marked = await self._residue.marked()
        oldest = min(marked.values(), default=self._clock())
        return oldest + self._within / 2 - self._clock()

    async def _purge(self, report: Report) -> Purged:
        began, noted = time.monotonic(), self._clock()
        marked = set(await self._residue.marked())
        if not marked:
            return Purged(0, frozenset())
        report("removing", 0, None)
        behind = await self._indexer.settle()
        waiting = {guild_id for guild_id in marked if guild_id in behind}
        for done, guild_id in enumerate(sorted(marked - waiting)):
            report("rewriting", done, len(marked))
            if not await self._rewrite(guild_id):
                waiting.add(guild_id)
        await self._rewrite(None)  # what no guild has claimed may have been anyone's
        report("scrubbing", len(marked), len(marked))
        await self._database.scrub()
        await self._residue.clear(marked - waiting, before=noted)
        log.info("purged", guilds=len(marked - waiting), postponed=len(waiting), seconds=time.monotonic() - began)
        return Purged(len(marked - waiting), frozenset(waiting))

    async def _rewrite(self, guild_id: int | None) -> bool:
        """Whether the guild's part of the index holds nothing removed any more."""
        try:
            await self._index.purge(guild_id)
        except IndexUnavailable as error:
            self._outages.began("guild_not_purged", str(error), guild_id=guild_id or 0)
            return False
        self._outages.over("guild_not_purged", guild_id=guild_id or 0)
        return True
