"""The queue from messages to facts: leases, and the transaction in which facts and messages change together."""

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Update, func, select, update
from sqlalchemy.dialects.sqlite import insert

from bot.model import Fact, Message, utcnow
from bot.storage.burial import burials, drawn_from, is_buried, keys_of
from bot.storage.cascade import remove_facts
from bot.storage.database import Database
from bot.storage.rows import MESSAGE_COLUMNS, among, ceil_ms, fact_row, from_ms, maybe_time, message_of, to_ms
from bot.storage.states import DEAD, LEASED, WAITING
from bot.storage.tables import fact, fact_source, message, removal, schedule


@dataclass(frozen=True, slots=True)
class Lease:
    """Messages one extraction may work on until the lease ends; `token` proves that it holds them."""

    token: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """Leased messages of one channel with what helps to understand them.

    `context` are the channel's last messages before them that were extracted already, oldest first;
    `answered` the held messages, by id, that leased ones reply to and that are not leased with them.
    """

    lease: Lease
    context: tuple[Message, ...] = ()
    answered: Mapping[int, Message] = field(default_factory=dict)


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


_NO_LEASE = {"lease": None, "lease_until": None}


class ExtractionQueue:
    """Hands out waiting messages and takes back facts."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._clock = clock

    async def release_all(self) -> int:
        """Take back every lease, at start: none outlives its process."""
        async with self._database.write() as connection:
            return (await connection.execute(_back().where(LEASED))).rowcount

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
            await connection.execute(_back().where(expired))

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
            return [message_of(row) for row in await connection.execute(query)]

    async def claim(self, ids: Sequence[int], lease_for: timedelta) -> Lease:
        """Lease those of these messages that wait or whose lease has ended; that may be fewer, or none."""
        return await self._database.transact(lambda c: _claim(c, ids, self._clock(), lease_for))

    async def take(self, ids: Sequence[int], lease_for: timedelta, context_lines: int) -> Taken:
        """`claim`, with at most so many lines of context and what is answered, in the same transaction."""
        return await self._database.transact(lambda c: _take(c, ids, self._clock(), lease_for, context_lines))

    async def commit(self, lease: Lease, facts: Sequence[Fact], shown: Collection[Message] = ()) -> int:
        """Store a lease's facts and mark its messages done, in one transaction; how many facts were stored.

        A fact is refused if a message it rests on was edited, deleted or leased anew meanwhile, or
        if it was forgotten before, be it in other words (see `Retraction.facts_forgotten`). The
        unchanged messages of a fact refused for a change wait again, as the edited one does. Facts
        an earlier extraction drew from these messages alone are replaced.

        `shown` are the messages the model saw beside the leased ones; a fact may rest on them, too. If one
        of them was edited or deleted meanwhile, no fact is stored and all messages wait again.
        """
        return await self._database.transact(lambda c: _commit(c, lease, facts, shown, ceil_ms(self._clock())))

    async def release(self, lease: Lease) -> None:
        """Give the lease's messages back; no attempt is counted."""
        async with self._database.write() as connection:
            await connection.execute(_back().where(_held_by(lease)))

    async def failed(self, lease: Lease) -> None:
        """Give the lease's messages back and count an attempt."""
        async with self._database.write() as connection:
            await connection.execute(_back().where(_held_by(lease)).values(attempts=message.c.attempts + 1))

    async def bury(self, lease: Lease, reason: str) -> None:
        """Put the lease's messages aside, replayable; the reason never holds their text."""
        dead = update(message).where(_held_by(lease)).values(extraction="dead", dead_reason=reason, **_NO_LEASE)
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
        again = _back().where(DEAD, *_in_guild(guild_id), *these).values(attempts=0, dead_reason=None)
        async with self._database.write() as connection:
            return (await connection.execute(again)).rowcount


def _back() -> Update:
    return update(message).values(extraction="waiting", **_NO_LEASE)


def _in_guild(guild_id: int | None) -> list[ColumnElement[bool]]:
    return [] if guild_id is None else [message.c.guild_id == guild_id]


def _held_by(lease: Lease) -> ColumnElement[bool]:
    ids = [held.id for held in lease.messages]
    return among(message.c.id, ids) & LEASED & (message.c.lease == lease.token)


def _claim(connection: Connection, ids: Sequence[int], now: datetime, lease_for: timedelta) -> Lease:
    token = uuid.uuid4().hex
    free = WAITING | (LEASED & (message.c.lease_until < to_ms(now)))
    claim = (
        update(message)
        .where(among(message.c.id, ids), free)
        .values(extraction="leased", lease=token, lease_until=to_ms(now + lease_for))
        .returning(*MESSAGE_COLUMNS)
    )
    claimed = [message_of(row) for row in connection.execute(claim)]
    return Lease(token, tuple(sorted(claimed, key=lambda held: held.id)))


def _take(connection: Connection, ids: Sequence[int], now: datetime, lease_for: timedelta, context_lines: int) -> Taken:
    lease = _claim(connection, ids, now, lease_for)
    if not lease.messages:
        return Taken(lease)
    first = lease.messages[0]
    before = (
        select(*MESSAGE_COLUMNS)
        .where(message.c.channel_id == first.channel_id, message.c.id < first.id, message.c.extraction == "done")
        .order_by(message.c.id.desc())
        .limit(context_lines)
    )
    context = [message_of(row) for row in connection.execute(before)]
    elsewhere = {one.reply_to for one in lease.messages if one.reply_to} - {one.id for one in lease.messages}
    answered = connection.execute(select(*MESSAGE_COLUMNS).where(among(message.c.id, elsewhere)))
    return Taken(lease, tuple(reversed(context)), {row.id: message_of(row) for row in answered})


def _commit(connection: Connection, lease: Lease, facts: Sequence[Fact], shown: Collection[Message], now: int) -> int:
    authors = _unchanged(connection, lease)
    beside = _as_shown(connection, shown)
    if facts and not beside.keys() >= {one.id for one in shown}:
        connection.execute(_back().where(_held_by(lease)))
        return 0
    changed = {held.id for held in lease.messages} - authors.keys()
    again = {id for one in facts if not changed.isdisjoint(one.sources) for id in one.sources} & authors.keys()
    known = beside | authors
    sound = {one.id: one for one in facts if known.keys() >= set(one.sources)}
    for id in _forgotten(connection, sound):
        del sound[id]
    remove_facts(connection, _drawn_before(connection, authors.keys(), beside.keys()) - sound.keys(), now)
    stored = _stored(connection, sound)
    fresh = [one for id, one in sound.items() if id not in stored]
    _store(connection, fresh, known, now)
    done = update(message).where(among(message.c.id, authors.keys() - again))
    connection.execute(done.values(extraction="done", **_NO_LEASE))
    connection.execute(_back().where(among(message.c.id, again)))
    return len(fresh)


def _unchanged(connection: Connection, lease: Lease) -> dict[int, int]:
    """Id and author of the messages this lease still holds: an edit or a new claim has taken the others from it."""
    query = select(message.c.id, message.c.author_id).where(_held_by(lease))
    return {row.id: row.author_id for row in connection.execute(query)}


def _as_shown(connection: Connection, shown: Collection[Message]) -> dict[int, int]:
    """Id and author of those of these messages that are still held in these words."""
    revisions = {one.id: one.revision for one in shown}
    query = select(message.c.id, message.c.author_id, message.c.revision).where(among(message.c.id, revisions))
    return {row.id: row.author_id for row in connection.execute(query) if row.revision == revisions[row.id]}


def _forgotten(connection: Connection, facts: Mapping[str, Fact]) -> set[str]:
    """Those of these facts that were forgotten, or that may be a forgotten one in other words."""
    keys = {id: _refused_by(one) for id, one in facts.items()}
    found = burials(connection, {key for some in keys.values() for key in some})
    buried = {id for id, one in facts.items() if is_buried(found, keys[id], to_ms(one.said_at))}
    return buried - _stored(connection, facts)


def _refused_by(one: Fact) -> set[str]:
    """The keys whose burial refuses a fact: its own, its places' and authors', and what is refused of its messages."""
    drawn = (drawn_from(source, one.subject_id) for source in one.sources)
    return {one.id, *drawn, *keys_of(one.guild_id, one.channel_id, one.access_id, one.speaker_ids)}


def _stored(connection: Connection, ids: Iterable[str]) -> set[str]:
    return set(connection.execute(select(fact.c.id).where(among(fact.c.id, ids))).scalars())


def _store(connection: Connection, facts: Sequence[Fact], authors: Mapping[int, int], now: int) -> None:
    if not facts:
        return
    connection.execute(insert(fact), [fact_row(one, now) for one in facts])
    sources = [
        {"fact_id": one.id, "message_id": id, "author_id": authors[id]} for one in facts for id in set(one.sources)
    ]
    connection.execute(insert(fact_source), sources)
    # A fact derived again must not fall to the removal of its former self.
    connection.execute(removal.delete().where(among(removal.c.point_id, [one.id for one in facts])))


def _drawn_before(connection: Connection, ids: Collection[int], beside: Collection[int]) -> set[str]:
    """The facts an earlier extraction drew from these messages, with nothing else than what was shown `beside` them.

    A fact was drawn from the newest message it rests on: one that merely stands beside these now may have answered
    one of them, and its facts are not stated again.
    """
    touching = select(fact_source.c.fact_id).where(among(fact_source.c.message_id, ids))
    rows = connection.execute(
        select(fact_source.c.fact_id, fact_source.c.message_id).where(fact_source.c.fact_id.in_(touching))
    )
    sources: dict[str, set[int]] = {}
    for row in rows:
        sources.setdefault(row.fact_id, set()).add(row.message_id)
    return {id for id, resting in sources.items() if resting <= {*ids, *beside} and max(resting) in ids}
