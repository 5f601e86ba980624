"""Which channels were observed when. Kept in memory, since every event asks."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import insert, select, update

from bot.model import utcnow
from bot.storage.database import Database
from bot.storage.rows import from_ms, maybe_time, to_ms
from bot.storage.tables import observation


@dataclass(frozen=True, slots=True)
class Observation:
    """A channel observed during [started_at, ended_at); `by_user_id` None means the settings switched it on."""

    guild_id: int
    channel_id: int
    started_at: datetime
    ended_at: datetime | None
    by_user_id: int | None

    def covers(self, at: datetime) -> bool:
        """Whether the channel was observed at this time."""
        return self.started_at <= at and (self.ended_at is None or at < self.ended_at)


class Observations:
    """Switches channels on and off. Call `load` first."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._clock = clock
        self._intervals: dict[tuple[int, int], list[Observation]] = defaultdict(list)

    async def load(self) -> None:
        """Read every interval into memory."""
        self._intervals.clear()
        async with self._database.read() as connection:
            for row in await connection.execute(select(observation).order_by(observation.c.id)):
                ended_at = maybe_time(row.ended_at)
                self._intervals[row.guild_id, row.channel_id].append(
                    Observation(row.guild_id, row.channel_id, from_ms(row.started_at), ended_at, row.by_user_id)
                )

    async def switch_on(
        self, guild_id: int, channel_id: int, by_user_id: int | None, at: datetime | None = None
    ) -> bool:
        """Observe a channel from now or `at` on; False if it is observed already.

        Messages carry Discord's time, so `at` is best taken from Discord too: clocks differ.
        """
        now = from_ms(to_ms(at or self._clock()))
        async with self._database.write() as connection:
            if self._open(guild_id, channel_id) is not None:
                return False
            await connection.execute(
                insert(observation).values(
                    guild_id=guild_id, channel_id=channel_id, started_at=to_ms(now), by_user_id=by_user_id
                )
            )
        self._intervals[guild_id, channel_id].append(Observation(guild_id, channel_id, now, None, by_user_id))
        return True

    async def switch_off(self, guild_id: int, channel_id: int, at: datetime | None = None) -> bool:
        """Observe a channel no longer, from now or `at` that time of Discord's on; False if it was not observed."""
        now = from_ms(to_ms(at or self._clock()))
        async with self._database.write() as connection:
            current = self._open(guild_id, channel_id)
            if current is None:
                return False
            here = (observation.c.guild_id == guild_id) & (observation.c.channel_id == channel_id)
            await connection.execute(
                update(observation).where(here, observation.c.ended_at.is_(None)).values(ended_at=to_ms(now))
            )
        self._intervals[guild_id, channel_id][-1] = replace(current, ended_at=now)
        return True

    def active(self, guild_id: int) -> list[Observation]:
        """The channels observed now, longest first."""
        newest = [intervals[-1] for intervals in self._intervals.values() if intervals]
        active = [one for one in newest if one.guild_id == guild_id and one.ended_at is None]
        return sorted(active, key=lambda one: (one.started_at, one.channel_id))

    def ever(self, guild_id: int) -> frozenset[int]:
        """The channels that are or once were observed: memories of the latter stay."""
        return frozenset(channel for guild, channel in self._intervals if guild == guild_id)

    def observed(self, guild_id: int, channel_id: int, at: datetime) -> bool:
        """Whether the channel was observed at this time."""
        return any(one.covers(at) for one in self._intervals.get((guild_id, channel_id), ()))

    def _open(self, guild_id: int, channel_id: int) -> Observation | None:
        intervals = self._intervals.get((guild_id, channel_id))
        return intervals[-1] if intervals and intervals[-1].ended_at is None else None
