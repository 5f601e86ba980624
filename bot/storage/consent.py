"""Who had opted out when. Kept in memory, since every event asks."""

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import insert, select, update

from bot.model import utcnow
from bot.storage.database import Database
from bot.storage.rows import from_ms, maybe_time, to_ms
from bot.storage.tables import opt_out

Interval = tuple[datetime, datetime | None]


class Consent:
    """Members' opt-outs as intervals [start, end). Call `load` first."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._clock = clock
        self._intervals: dict[tuple[int, int], list[Interval]] = defaultdict(list)

    async def load(self) -> None:
        """Read every interval into memory; until then what was known holds."""
        intervals: dict[tuple[int, int], list[Interval]] = defaultdict(list)
        async with self._database.read() as connection:
            for row in await connection.execute(select(opt_out).order_by(opt_out.c.id)):
                interval = (from_ms(row.started_at), maybe_time(row.ended_at))
                intervals[row.guild_id, row.user_id].append(interval)
        self._intervals = intervals

    async def opt_out(self, guild_id: int, user_id: int, at: datetime | None = None) -> bool:
        """Keep nothing of the member's from now or `at` on; False if that is so already.

        Messages carry Discord's time, so `at` is best taken from Discord too: clocks differ.
        """
        now = from_ms(to_ms(at or self._clock()))
        async with self._database.write() as connection:
            if self.opted_out_since(guild_id, user_id) is not None:
                return False
            await connection.execute(insert(opt_out).values(guild_id=guild_id, user_id=user_id, started_at=to_ms(now)))
        self._intervals[guild_id, user_id].append((now, None))
        return True

    async def opt_in(self, guild_id: int, user_id: int, at: datetime | None = None) -> bool:
        """End the member's opt-out, now or `at` that time of Discord's; False if there was none."""
        now = from_ms(to_ms(at or self._clock()))
        async with self._database.write() as connection:
            since = self.opted_out_since(guild_id, user_id)
            if since is None:
                return False
            theirs = (opt_out.c.guild_id == guild_id) & (opt_out.c.user_id == user_id)
            await connection.execute(
                update(opt_out)
                .where(theirs, opt_out.c.ended_at.is_(None))
                .values(ended_at=to_ms(now), journalled=False)
            )
        self._intervals[guild_id, user_id][-1] = (since, now)
        return True

    def allows(self, guild_id: int, user_id: int, at: datetime) -> bool:
        """Whether what the member wrote at this time may be kept."""
        intervals = self._intervals.get((guild_id, user_id), ())
        return not any(start <= at and (end is None or at < end) for start, end in intervals)

    def opted_out_since(self, guild_id: int, user_id: int) -> datetime | None:
        """Since when the member has been opted out, None if they are not."""
        intervals = self._intervals.get((guild_id, user_id))
        return intervals[-1][0] if intervals and intervals[-1][1] is None else None
