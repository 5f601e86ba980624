"""How far the index can be reached: as a whole, and guild by guild, since a part of it may be broken alone."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

import structlog

from bot.errors import IndexUnavailable
from bot.memory.index import VectorIndex
from bot.settings import OutageSettings
from bot.storage.breaker import BreakerState
from bot.telemetry import Outages

log = structlog.get_logger(__name__)

_PING_SECONDS = 2.0


class Reach:
    """Leaves a guild whose part of the index is broken alone for a while, longer each time."""

    def __init__(self, index: VectorIndex, pauses: OutageSettings, clock: Callable[[], datetime]) -> None:
        self._index = index
        self._pauses = pauses
        self._clock = clock
        self._broken: dict[int, BreakerState] = {}  # of the guilds whose part failed last
        self._outages = Outages(log)

    async def ping(self) -> None:
        """Raises `IndexUnavailable` if the index does not answer at all."""
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await self._index.ping()
        except TimeoutError:
            raise IndexUnavailable("The memory index is slow to answer.") from None

    async def happens(self, guild_id: int, deed: Awaitable[None]) -> bool:
        """Whether it happened; if not, the guild is left alone from now on. Raises as `ping`."""
        try:
            await deed
        except IndexUnavailable as error:
            await self.ping()
            before = self._broken.get(guild_id, BreakerState())
            self._broken[guild_id] = before.after_failure(str(error), self._clock(), self._pauses)
            self._outages.began("guild_not_indexed", str(error), guild_id=guild_id)
            return False
        if self._broken.pop(guild_id, None):
            self._outages.over("guild_not_indexed", guild_id=guild_id)
        return True

    async def emptied(self, guild_ids: Iterable[int]) -> list[int]:
        """Those of the guilds of which the index holds nothing, as far as their parts answer. Raises as `ping`."""
        empty = []
        for guild_id in guild_ids:
            try:
                if await self._index.count(guild_id) == 0:
                    empty.append(guild_id)
            except IndexUnavailable:
                await self.ping()  # only this guild's part is broken: the first write to it tells
        return empty

    def left_alone(self, since: datetime | None = None) -> set[int]:
        """The guilds that are left alone now, or were at some time `since`."""
        then = since or self._clock()
        return {guild_id for guild_id, broken in self._broken.items() if broken.pause(then)}

    def due(self) -> set[int]:
        """The guilds whose part was broken and that may be tried again."""
        return self._broken.keys() - self.left_alone()
