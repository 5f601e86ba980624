"""Which channels were observed when, and how far each such interval is read. Kept in memory, since every event asks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import bindparam, delete, insert, select, update

from bot.model import utcnow
from bot.storage.database import Database
from bot.storage.rows import AnyRow, among, from_ms, maybe_ms, maybe_time, to_ms
from bot.storage.tables import cursor, observation

_CHANGE = (
    update(observation)
    .where(observation.c.id == bindparam("changed"))
    .values({name: bindparam(f"new_{name}") for name in ("started_at", "ended_at", "read_to", "fetched", "announced")})
)


class Source(StrEnum):
    """How an interval came to be: as things are said, or opened afterwards for what Discord or a file still has."""

    LIVE = "live"
    BACKFILL = "backfill"
    IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Observation:
    """A channel observed during [started_at, ended_at); `by_user_id` None means the settings switched it on.

    `parent_id` is the channel of a private thread. Everything said in the interval up to the message
    id `read_to`, threads included, is committed; `fetched` says that nothing of it is left to read
    from Discord. `announced` says that the channel's members were told.
    """

    id: int
    guild_id: int
    channel_id: int
    started_at: datetime
    ended_at: datetime | None
    by_user_id: int | None
    parent_id: int | None = None
    source: Source = Source.LIVE
    read_to: int | None = None
    fetched: bool = False
    announced: bool = True

    def covers(self, at: datetime) -> bool:
        """Whether the channel was observed at this time."""
        return self.started_at <= at and (self.ended_at is None or at < self.ended_at)


class Observations:
    """Switches channels on and off, and opens intervals afterwards. Call `load` first."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._clock = clock
        self._all: dict[int, Observation] = {}
        self._intervals: dict[tuple[int, int], list[Observation]] = {}

    async def load(self) -> None:
        """Read every interval into memory."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(observation).order_by(observation.c.id))
            self._remember({row.id: _observation(row) for row in rows})

    async def switch_on(
        self,
        guild_id: int,
        channel_id: int,
        by_user_id: int | None,
        at: datetime | None = None,
        parent_id: int | None = None,
    ) -> bool:
        """Observe a channel from now or `at` on; False if it is observed already.

        Messages carry Discord's time, so `at` is best taken from Discord too: clocks differ. A private
        thread names its channel as `parent_id`.
        """
        async with self._database.write() as connection:
            if self._open(guild_id, channel_id) is not None:
                return False
            values = {
                "guild_id": guild_id,
                "channel_id": channel_id,
                "parent_id": parent_id,
                "started_at": to_ms(at or self._clock()),
                "by_user_id": by_user_id,
            }
            row = (await connection.execute(insert(observation).values(values).returning(observation))).one()
        self._put(_observation(row))
        return True

    async def switch_off(self, guild_id: int, channel_id: int, at: datetime | None = None) -> bool:
        """Observe a channel no longer, from now or `at` that time of Discord's on; False if it was not observed."""
        now = from_ms(to_ms(at or self._clock()))
        current = self._open(guild_id, channel_id)
        if current is None:
            return False
        return await self._change([current.id], lambda one: replace(one, ended_at=now) if _is_open(one) else one)

    async def open_interval(
        self,
        guild_id: int,
        channel_id: int,
        since: datetime,
        until: datetime,
        by_user_id: int | None,
        source: Source,
        parent_id: int | None = None,
        announced: bool = True,
    ) -> Observation:
        """Observe a channel afterwards, during [since, until); it may overlap other intervals.

        What members wrote who are opted out when it is read stays out altogether. A `BACKFILL` is
        left to be read from Discord; an `IMPORT` is not, since its words come from a file.
        """
        values = {
            "guild_id": guild_id,
            "channel_id": channel_id,
            "parent_id": parent_id,
            "started_at": to_ms(since),
            "ended_at": to_ms(until),
            "by_user_id": by_user_id,
            "source": source.value,
            "fetched": source is Source.IMPORT,
            "announced": announced,
        }
        async with self._database.write() as connection:
            row = (await connection.execute(insert(observation).values(values).returning(observation))).one()
        self._put(opened := _observation(row))
        return opened

    async def mark_read(self, read_to: Mapping[int, int]) -> None:
        """Note up to which message id each of these observations is read, threads included; its cursors go.

        An observation is never set back.
        """
        await self._change(read_to, lambda one: replace(one, read_to=max(one.read_to or 0, read_to[one.id])))

    async def mark_fetched(self, observation_id: int) -> None:
        """Note that nothing of an interval is left to read from Discord."""
        await self._change([observation_id], lambda one: replace(one, fetched=True))

    async def mark_announced(self, told: Iterable[Observation]) -> None:
        """Note that members were told of these intervals; of one that was widened meanwhile they are not."""
        spans = {one.id: (one.started_at, one.ended_at) for one in told}

        def mark(one: Observation) -> Observation:
            return replace(one, announced=one.announced or spans[one.id] == (one.started_at, one.ended_at))

        await self._change(spans, mark)

    async def truncate(self, observation_id: int, until: datetime) -> None:
        """End an interval opened afterwards at an earlier time; what is not yet read of it stays unread for good."""
        at = from_ms(to_ms(until))

        def shorten(one: Observation) -> Observation:
            return replace(one, ended_at=max(one.started_at, min(at, one.ended_at or at)), fetched=True)

        await self._change([observation_id], shorten)

    async def widen(self, observation_id: int, since: datetime, until: datetime) -> None:
        """Have an interval opened afterwards reach over [since, until) as well; its members are to be told again."""
        earliest, latest = from_ms(to_ms(since)), from_ms(to_ms(until))

        def reach(one: Observation) -> Observation:
            started_at, ended_at = min(one.started_at, earliest), max(one.ended_at or latest, latest)
            return replace(one, started_at=started_at, ended_at=ended_at, announced=False)

        await self._change([observation_id], reach)

    async def place_gone(self, guild_id: int, channel_ids: Iterable[int]) -> None:
        """End every interval of places that Discord no longer has: nothing is left to read or announce."""
        now = from_ms(to_ms(self._clock()))
        gone = [one.id for id in channel_ids for one in self._intervals.get((guild_id, id), ())]
        await self._change(gone, lambda one: replace(one, ended_at=one.ended_at or now, fetched=True, announced=True))

    def forget_guild(self, guild_id: int) -> None:
        """Forget a guild whose intervals `Retraction.guild_forgotten` removed."""
        self._remember({id: one for id, one in self._all.items() if one.guild_id != guild_id})

    def get(self, observation_id: int) -> Observation | None:
        """The interval as it is now, None if its guild was forgotten."""
        return self._all.get(observation_id)

    def guilds(self) -> frozenset[int]:
        """The guilds in which a channel is or once was observed."""
        return frozenset(guild for guild, _ in self._intervals)

    def unread(self, guild_id: int | None = None) -> list[Observation]:
        """Intervals of which something may be left to read from Discord, live ones first."""
        unread = [one for one in self._all.values() if not one.fetched and guild_id in (None, one.guild_id)]
        return sorted(unread, key=lambda one: (one.source is not Source.LIVE, one.id))

    def unannounced(self) -> list[Observation]:
        """Intervals whose members are still to be told."""
        return [one for one in self._all.values() if not one.announced]

    def active(self, guild_id: int) -> list[Observation]:
        """The channels observed now, longest first."""
        active = [one for one in self._all.values() if one.guild_id == guild_id and _is_open(one)]
        return sorted(active, key=lambda one: (one.started_at, one.channel_id))

    def ever(self, guild_id: int) -> frozenset[int]:
        """The channels that are or once were observed: memories of the latter stay."""
        return frozenset(channel for guild, channel in self._intervals if guild == guild_id)

    def private_threads(self, guild_id: int, channel_id: int) -> list[int]:
        """The private threads of a channel that are or once were observed."""
        below = {
            one.channel_id for one in self._all.values() if (one.guild_id, one.parent_id) == (guild_id, channel_id)
        }
        return sorted(below)

    def observed(self, guild_id: int, channel_id: int, at: datetime) -> bool:
        """Whether the channel was observed at this time, by whichever interval."""
        return any(one.covers(at) for one in self._intervals.get((guild_id, channel_id), ()))

    def observed_live(self, guild_id: int, channel_id: int, at: datetime) -> bool:
        """Whether the channel was switched on at this time already, not only afterwards."""
        known = self._intervals.get((guild_id, channel_id), ())
        return any(one.source is Source.LIVE and one.covers(at) for one in known)

    def _open(self, guild_id: int, channel_id: int) -> Observation | None:
        return next((one for one in self._intervals.get((guild_id, channel_id), ()) if _is_open(one)), None)

    async def _change(self, ids: Iterable[int], change: Callable[[Observation], Observation]) -> bool:
        """Change intervals, first in the database; cursors of those read or fetched go. Whether any was changed."""
        async with self._database.write() as connection:
            known = [one for id in ids if (one := self._all.get(id))]
            changed = [new for one in known if (new := change(one)) != one]
            if not changed:
                return False
            await connection.execute(_CHANGE, [_changed_row(one) for one in changed])
            settled = [one.id for one in changed if one.fetched or one.read_to != self._all[one.id].read_to]
            await connection.execute(delete(cursor).where(among(cursor.c.observation_id, settled)))
        for one in changed:
            self._put(one)
        return True

    def _put(self, one: Observation) -> None:
        here = self._intervals.setdefault((one.guild_id, one.channel_id), [])
        here[:] = [other for other in here if other.id != one.id] + [one]
        self._all[one.id] = one

    def _remember(self, everything: dict[int, Observation]) -> None:
        self._all, self._intervals = {}, {}
        for one in everything.values():
            self._put(one)


def _is_open(one: Observation) -> bool:
    return one.source is Source.LIVE and one.ended_at is None


def _changed_row(one: Observation) -> dict[str, object]:
    return {
        "changed": one.id,
        "new_started_at": to_ms(one.started_at),
        "new_ended_at": maybe_ms(one.ended_at),
        "new_read_to": one.read_to,
        "new_fetched": one.fetched,
        "new_announced": one.announced,
    }


def _observation(row: AnyRow) -> Observation:
    return Observation(
        id=row.id,
        guild_id=row.guild_id,
        channel_id=row.channel_id,
        started_at=from_ms(row.started_at),
        ended_at=maybe_time(row.ended_at),
        by_user_id=row.by_user_id,
        parent_id=row.parent_id,
        source=Source(row.source),
        read_to=row.read_to,
        fetched=row.fetched,
        announced=row.announced,
    )
