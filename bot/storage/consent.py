"""Who may be remembered when: what members decided, and whether their guild asks first. Kept in memory, since every
event asks."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Insert, Table, Update, insert, select, update

from bot.model import utcnow
from bot.storage.database import Database
from bot.storage.guild_configs import ConsentMode
from bot.storage.rows import AnyRow, from_ms, maybe_time, to_ms
from bot.storage.tables import consent_mode, opt_in, opt_out

Interval = tuple[datetime, datetime | None]
Intervals = defaultdict[tuple[int, int], list[Interval]]  # by guild and member, oldest first
Modes = defaultdict[int, list[tuple[datetime, str]]]  # by guild, from when on

_SETTINGS = 0  # in place of a guild's id: what the settings said from when on
_AS_SETTINGS = "default"
_ALWAYS = datetime.min.replace(tzinfo=UTC)
_EVER_AFTER = datetime.max.replace(tzinfo=UTC)


class Consent:
    """Members' opt-outs and agreements as intervals [start, end), and each guild's mode over time. Call `load` first.

    In a guild that asks first (`opt_in`) only members who agreed are remembered, in the other kind (`opt_out`) all
    but those who objected. What a member decides is kept in both, so that a change of the mode finds it.
    `default_mode` is that of the settings; a change of it counts from the first start with it.
    """

    def __init__(
        self, database: Database, default_mode: ConsentMode = "opt_out", clock: Callable[[], datetime] = utcnow
    ) -> None:
        self._database = database
        self.default_mode = default_mode
        self._clock = clock
        self._outs: Intervals = defaultdict(list)
        self._agreed: Intervals = defaultdict(list)
        self._modes: Modes = defaultdict(list, {_SETTINGS: [(_ALWAYS, default_mode)]})
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read everything into memory; until then what was known holds. Raises `StorageUnavailable`."""
        async with self._changing:
            async with self._database.read() as connection:
                outs = _by_member(await connection.execute(select(opt_out).order_by(opt_out.c.id)))
                agreed = _by_member(await connection.execute(select(opt_in).order_by(opt_in.c.id)))
                modes: Modes = defaultdict(list)
                history = select(consent_mode).order_by(consent_mode.c.started_at, consent_mode.c.id)
                for row in await connection.execute(history):
                    modes[row.guild_id].append((from_ms(row.started_at), row.mode))
            self._outs, self._agreed, self._modes = outs, agreed, modes
            known = modes.get(_SETTINGS)
            if self.default_mode != (known[-1][1] if known else "opt_out"):
                # Who asks first from the first start on has never been told otherwise.
                await self._write_mode(_SETTINGS, self.default_mode, self._clock() if known else from_ms(0))

    def mode(self, guild_id: int) -> ConsentMode:
        """Whether the guild asks its members first, now."""
        return self._mode_at(guild_id, _EVER_AFTER)

    async def set_mode(self, guild_id: int, mode: ConsentMode | None, at: datetime | None = None) -> None:
        """Ask members first or not, from now or `at` on; None is as the settings say. What is held stays as it is.

        Raises `StorageUnavailable`.
        """
        async with self._changing:
            earlier = [since for since, _ in self._modes[guild_id]]
            await self._write_mode(guild_id, mode or _AS_SETTINGS, max([at or self._clock(), *earlier]))

    def is_own_mode(self, guild_id: int) -> bool:
        """Whether the mode is set for this guild, and not that of the settings."""
        return any(mode != _AS_SETTINGS for _, mode in self._modes.get(guild_id, [])[-1:])

    def agreed(self, guild_id: int) -> int:
        """How many members of the guild have agreed to be remembered."""
        return sum(guild == guild_id and _lasting_since(one) is not None for (guild, _), one in self._agreed.items())

    async def opt_out(self, guild_id: int, user_id: int, at: datetime | None = None) -> bool:
        """Keep nothing of the member's from now or `at` on; False if they had opted out already.

        Messages carry Discord's time, so `at` is best taken from Discord too: clocks differ.
        Raises `StorageUnavailable`.
        """
        now = from_ms(to_ms(at or self._clock()))
        async with self._changing:
            if self.opted_out_since(guild_id, user_id) is not None:
                return False
            async with self._database.write() as connection:
                await connection.execute(_begun(opt_out, guild_id, user_id, now))
                await connection.execute(_ended(opt_in, guild_id, user_id, now))
            _end(self._agreed[guild_id, user_id], now)
            self._outs[guild_id, user_id].append((now, None))
        return True

    async def opt_in(self, guild_id: int, user_id: int, at: datetime | None = None) -> bool:
        """Have the member agree, and no longer object, from now or `at` on; False if they were remembered already.

        Raises `StorageUnavailable`.
        """
        now = from_ms(to_ms(at or self._clock()))
        async with self._changing:
            kept_out = self.keeps_out(guild_id, user_id)
            objects = self.opted_out_since(guild_id, user_id) is not None
            agrees = self.agreed_since(guild_id, user_id) is not None
            async with self._database.write() as connection:
                if objects:
                    await connection.execute(_ended(opt_out, guild_id, user_id, now).values(journalled=False))
                if not agrees:
                    await connection.execute(_begun(opt_in, guild_id, user_id, now))
            _end(self._outs[guild_id, user_id], now)
            if not agrees:
                self._agreed[guild_id, user_id].append((now, None))
        return kept_out

    def allows(self, guild_id: int, user_id: int, at: datetime) -> bool:
        """Whether what the member wrote at this time may be kept."""
        member = guild_id, user_id
        if _covers(self._outs.get(member, ()), at):
            return False
        return self._mode_at(guild_id, at) == "opt_out" or _covers(self._agreed.get(member, ()), at)

    def keeps_out(self, guild_id: int, user_id: int) -> bool:
        """Whether the member is not to be remembered now: they opted out, or were to agree first and did not."""
        if self.opted_out_since(guild_id, user_id) is not None:
            return True
        return self.mode(guild_id) == "opt_in" and self.agreed_since(guild_id, user_id) is None

    def opted_out_since(self, guild_id: int, user_id: int) -> datetime | None:
        """Since when the member has been opted out, None if they are not."""
        return _lasting_since(self._outs.get((guild_id, user_id), ()))

    def agreed_since(self, guild_id: int, user_id: int) -> datetime | None:
        """Since when the member has agreed to be remembered, None if they have not."""
        return _lasting_since(self._agreed.get((guild_id, user_id), ()))

    def history(self, guild_id: int, user_id: int) -> tuple[Sequence[Interval], Sequence[Interval]]:
        """When the member objected, and when they agreed, oldest first."""
        member = guild_id, user_id
        return tuple(self._outs.get(member, ())), tuple(self._agreed.get(member, ()))

    def _mode_at(self, guild_id: int, at: datetime) -> ConsentMode:
        own = _in_force(self._modes.get(guild_id, ()), at)
        mode = _in_force(self._modes.get(_SETTINGS, ()), at) if own in (None, _AS_SETTINGS) else own
        return "opt_in" if mode == "opt_in" else "opt_out"

    async def _write_mode(self, guild_id: int, mode: str, since: datetime) -> None:
        since = from_ms(to_ms(since))
        row = {"guild_id": guild_id, "mode": mode, "started_at": to_ms(since)}
        async with self._database.write() as connection:
            await connection.execute(insert(consent_mode).values(row))
        self._modes[guild_id].append((since, mode))


def _by_member(rows: Iterable[AnyRow]) -> Intervals:
    intervals: Intervals = defaultdict(list)
    for row in rows:
        intervals[row.guild_id, row.user_id].append((from_ms(row.started_at), maybe_time(row.ended_at)))
    return intervals


def _begun(table: Table, guild_id: int, user_id: int, at: datetime) -> Insert:
    return insert(table).values(guild_id=guild_id, user_id=user_id, started_at=to_ms(at))


def _ended(table: Table, guild_id: int, user_id: int, at: datetime) -> Update:
    theirs = (table.c.guild_id == guild_id) & (table.c.user_id == user_id) & table.c.ended_at.is_(None)
    return update(table).where(theirs).values(ended_at=to_ms(at))


def _end(intervals: list[Interval], at: datetime) -> None:
    """End the interval that lasts, if one does."""
    if intervals and intervals[-1][1] is None:
        intervals[-1] = (intervals[-1][0], at)


def _lasting_since(intervals: Sequence[Interval]) -> datetime | None:
    return intervals[-1][0] if intervals and intervals[-1][1] is None else None


def _covers(intervals: Sequence[Interval], at: datetime) -> bool:
    return any(start <= at and (end is None or at < end) for start, end in intervals)


def _in_force(history: Sequence[tuple[datetime, str]], at: datetime) -> str | None:
    """The mode at a time, None before the first."""
    return next((mode for since, mode in reversed(history) if since <= at), None)
