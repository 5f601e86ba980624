"""The queue from messages to facts: leases, and the transaction in which facts and messages change together."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.sqlite import insert

from bot.model import Fact, Message, utcnow
from bot.storage.database import Database
from bot.storage.extracted import commit
from bot.storage.lease import NO_LEASE, Lease, Taken, back, held_by, take
from bot.storage.rows import MESSAGE_COLUMNS, among, ceil_ms, from_ms, maybe_time, message_of, to_ms
from bot.storage.states import DEAD, LEASED, WAITING
from bot.storage.tables import message, schedule


@dataclass(frozen=True, slots=True)
class GuildSchedule:
    """When a guild's next batch is due, and what waits for it."""

    guild_id: int
    due_at: datetime
    attempted_at: datetime | None
    finished_at: datetime | None
    since_attempt: int
    waiting: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message put aside because no answer about it was usable; `at` is when it was said."""

    id: int
    guild_id: int
    channel_id: int
    reason: str
    at: datetime


class ExtractionQueue:
    """Hands out waiting messages and takes back facts."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._clock = clock

    async def release_all(self) -> int:
        """Take back every lease, at start: none outlives its process."""
        async with self._database.write() as connection:
            return (await connection.execute(back().where(LEASED))).rowcount

    async def guilds(self) -> list[GuildSchedule]:
        """Every guild that ever had a message, with its deadline."""
        waiting = select(message.c.guild_id, func.count().label("count")).where(WAITING).group_by(message.c.guild_id)
        counts = waiting.subquery()
        query = (
            select(schedule, func.coalesce(counts.c.count, 0).label("waiting"))
            .outerjoin(counts, counts.c.guild_id == schedule.c.guild_id)
            .order_by(schedule.c.due_at)
        )
        async with self._database.read() as connection:
            return [
                GuildSchedule(
                    guild_id=row.guild_id,
                    due_at=from_ms(row.due_at),
                    attempted_at=maybe_time(row.attempted_at),
                    finished_at=maybe_time(row.finished_at),
                    since_attempt=row.since_attempt,
                    waiting=row.waiting,
                )
                for row in await connection.execute(query)
            ]

    async def begin_batch(self, guild_id: int, next_due: datetime) -> None:
        """Note the attempt, before its first call, and take back expired leases."""
        now = to_ms(self._clock())
        attempt = {"due_at": to_ms(next_due), "attempted_at": now, "since_attempt": 0}
        row = insert(schedule).values(guild_id=guild_id, **attempt)
        async with self._database.write() as connection:
            await connection.execute(row.on_conflict_do_update(index_elements=[schedule.c.guild_id], set_=attempt))
            expired = (message.c.guild_id == guild_id) & LEASED & (message.c.lease_until < now)
            await connection.execute(back().where(expired))

    async def finish_batch(self, guild_id: int) -> None:
        """Note that the batch ran to its end."""
        async with self._database.write() as connection:
            await connection.execute(
                update(schedule).where(schedule.c.guild_id == guild_id).values(finished_at=to_ms(self._clock()))
            )

    async def channels_waiting(self, guild_id: int) -> list[int]:
        """The channels with waiting messages, the one that waits longest first."""
        query = (
            select(message.c.channel_id)
            .where(message.c.guild_id == guild_id, WAITING)
            .group_by(message.c.channel_id)
            .order_by(func.min(message.c.id))
        )
        async with self._database.read() as connection:
            return list((await connection.execute(query)).scalars())

    async def waiting(self, guild_id: int, channel_id: int, limit: int, after_id: int = 0) -> list[Message]:
        """A channel's waiting messages after `after_id`, oldest first."""
        query = (
            select(*MESSAGE_COLUMNS)
            .where(message.c.guild_id == guild_id, message.c.channel_id == channel_id, message.c.id > after_id, WAITING)
            .order_by(message.c.id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            # A thousand would hold up the event loop for long.
            return await asyncio.to_thread(lambda: [message_of(row) for row in rows])

    async def extracted_before(self, channel_id: int, before_id: int, limit: int) -> list[Message]:
        """A channel's last extracted messages before `before_id`, oldest first."""
        query = (
            select(*MESSAGE_COLUMNS)
            .where(message.c.channel_id == channel_id, message.c.id < before_id, message.c.extraction == "done")
            .order_by(message.c.id.desc())
            .limit(limit)
        )
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            return await asyncio.to_thread(lambda: [message_of(row) for row in rows][::-1])

    async def take(self, ids: Sequence[int], lease_for: timedelta, context: Sequence[int] = ()) -> Taken:
        """Lease those of these messages that wait or whose lease has ended; that may be fewer, or none.

        They come with the current form of the messages in `context`, but those put aside, and with what they answer.
        """
        return await self._database.transact(lambda c: take(c, ids, self._clock(), lease_for, context))

    async def commit(self, lease: Lease, facts: Sequence[Fact], shown: Collection[Message] = ()) -> int:
        """Store a lease's facts and mark its messages done, in one transaction; how many facts were stored.

        A fact is refused if a message it rests on was edited, deleted or leased anew meanwhile, or
        if it was forgotten before, be it in other words (see `Retraction.facts_forgotten`). The
        unchanged messages of a fact refused for a change wait again, as the edited one does. Facts
        an earlier extraction drew from these messages, the newest they rest on, are replaced.

        `shown` are the messages the model saw beside the leased ones; a fact may rest on them, too. If one
        of them was edited or deleted meanwhile, no fact is stored and all messages wait again.
        """
        return await self._database.transact(lambda c: commit(c, lease, facts, shown, ceil_ms(self._clock())))

    async def release(self, lease: Lease) -> None:
        """Give the lease's messages back; no attempt is counted."""
        async with self._database.write() as connection:
            await connection.execute(back().where(held_by(lease)))

    async def failed(self, lease: Lease) -> None:
        """Give the lease's messages back and count an attempt."""
        async with self._database.write() as connection:
            await connection.execute(back().where(held_by(lease)).values(attempts=message.c.attempts + 1))

    async def bury(self, lease: Lease, reason: str) -> None:
        """Put the lease's messages aside, replayable; the reason never holds their text."""
        dead = update(message).where(held_by(lease)).values(extraction="dead", dead_reason=reason, **NO_LEASE)
        async with self._database.write() as connection:
            await connection.execute(dead)

    async def dead(self, guild_id: int) -> int:
        """How many messages are put aside."""
        query = select(func.count()).select_from(message).where(message.c.guild_id == guild_id, DEAD)
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one()

    async def dead_letters(self, guild_id: int | None = None) -> list[DeadLetter]:
        """The messages put aside, of one guild or of all, oldest first."""
        columns = (message.c.id, message.c.guild_id, message.c.channel_id, message.c.dead_reason, message.c.created_at)
        oldest_first = message.c.id + 0  # computed, lest SQLite walk all messages in this order
        query = select(*columns).where(DEAD, *_in_guild(guild_id)).order_by(oldest_first)
        async with self._database.read() as connection:
            return [
                DeadLetter(row.id, row.guild_id, row.channel_id, row.dead_reason, from_ms(row.created_at))
                for row in await connection.execute(query)
            ]

    async def replay_dead(self, guild_id: int | None = None, ids: Iterable[int] | None = None) -> int:
        """Let messages put aside wait again: all, those of a guild, or only these; how many there were."""
        these = [] if ids is None else [among(message.c.id, ids)]
        again = back().where(DEAD, *_in_guild(guild_id), *these).values(attempts=0, dead_reason=None)
        async with self._database.write() as connection:
            return (await connection.execute(again)).rowcount


def _in_guild(guild_id: int | None) -> list[ColumnElement[bool]]:
    return [] if guild_id is None else [message.c.guild_id == guild_id]
