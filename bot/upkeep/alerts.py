"""Alerts: what a person should look at, one log line when it begins and one when it is over."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

import structlog

from bot.errors import StorageUnavailable
from bot.model import utcnow

_EVERY = 60.0  # seconds

log = structlog.get_logger(__name__)


class Alerts:
    """Watches how long messages wait for the language model.

    `oldest_waiting` tells when the oldest waiting message of each guild came. Once one has waited
    `longest`, `oldest_waiting` is logged for its guild, and `oldest_waiting_over` once none has.
    """

    def __init__(
        self,
        oldest_waiting: Callable[[], Awaitable[Mapping[int, datetime]]],
        longest: timedelta,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        self._oldest_waiting = oldest_waiting
        self._longest = longest
        self._clock = clock
        self._raised: set[int] = set()

    @property
    def raised(self) -> frozenset[int]:
        """The guilds whose messages wait too long, as last seen."""
        return frozenset(self._raised)

    async def run(self) -> None:
        """Look every minute, until cancelled. A database that cannot be read is for others to report."""
        while True:
            try:
                await self.look()
            except StorageUnavailable as error:
                log.debug("not_looked", reason=str(error))
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        """Compare what waits with the limit, and log what changed. Raises `StorageUnavailable`."""
        now = self._clock()
        ages = {guild_id: now - since for guild_id, since in (await self._oldest_waiting()).items()}
        late = {guild_id: age for guild_id, age in ages.items() if age >= self._longest}
        for guild_id in late.keys() - self._raised:
            log.warning("oldest_waiting", guild_id=guild_id, hours=round(late[guild_id] / timedelta(hours=1), 1))
        for guild_id in self._raised - late.keys():
            log.info("oldest_waiting_over", guild_id=guild_id)
        self._raised = set(late)
