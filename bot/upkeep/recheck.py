"""After a restore without its journal: recall stays off until everything held was compared with Discord."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from bot.errors import RecollectError
from bot.storage.state import StateStore

RECHECK, REQUIRED = "recheck", "required"
"""Name and value of the state that keeps recall off."""

log = structlog.get_logger(__name__)


class Recheck:
    """Whether recall is off, and what turns it on again.

    `guilds` yields the guilds of which something is held; `compare` finds what of a guild is gone from Discord
    and forgets it, or raises `RecollectError` if that could not be done to the end.
    """

    def __init__(
        self,
        state: StateStore,
        guilds: Callable[[], Awaitable[Iterable[int]]],
        compare: Callable[[int], Awaitable[None]],
        retry_after: float = 60.0,
    ) -> None:
        self._state = state
        self._guilds = guilds
        self._compare = compare
        self._retry_after = retry_after  # seconds
        self.required = False

    async def load(self) -> None:
        """Read whether it is required."""
        self.required = await self._state.get(RECHECK) is not None

    async def run(self, ready: Callable[[], Awaitable[object]]) -> None:
        """Once `ready`, compare everything, trying again until it is done; then recall is on."""
        while self.required:
            await ready()
            try:
                await self._compare_all()
            except RecollectError as error:
                log.warning("recheck_postponed", reason=str(error), retry_in=self._retry_after)
                await asyncio.sleep(self._retry_after)

    async def _compare_all(self) -> None:
        guilds = list(await self._guilds())
        log.info("recheck_started", guilds=len(guilds))
        for guild_id in guilds:
            await self._compare(guild_id)
        await self._state.remove(RECHECK)
        self.required = False
        log.info("recheck_finished", guilds=len(guilds))
