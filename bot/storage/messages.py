"""The messages: captured in groups, newest content first, read by every pipeline."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, Table, func, or_, select, union_all, update

from bot.model import Message, utcnow
from bot.storage import windows
from bot.storage.burial import place_key
from bot.storage.database import Database
from bot.storage.group import GroupCommit
from bot.storage.intake import record
from bot.storage.rows import MESSAGE_COLUMNS, among, ceil_ms, from_ms, given, listed, maybe_time, message_of, to_ms
from bot.storage.states import DEAD, LEASED, WAITING, indexing_is, oldest_to_index
from bot.storage.tables import fact, message, tombstone

_UNINDEXED = select(*MESSAGE_COLUMNS).where(
    given(message.c.id, "ids"), or_(*(indexing_is(message.c.indexing, state) for state in ("pending", "taken")))
)


@dataclass(frozen=True, slots=True)
class QueueStats:
    """A guild's numbers: messages by where they stand in extraction, and memories not yet in the index at all."""

    waiting: int
    oldest_waiting_at: datetime | None
    leased: int
    dead: int
    held: int
    not_indexed: int
    facts: int


class MessageStore:
    """Holds every captured message. `on_captured` is called after each commit that brought new words."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime] = utcnow,
        on_captured: Callable[[], None] = lambda: None,
        batch_interval: timedelta = timedelta(hours=1),
    ) -> None:
        self._database = database
        self._clock = clock
        self._on_captured = on_captured
        self._batch_interval = batch_interval
        self._group: GroupCommit[Message, bool] = GroupCommit(self._record)

    async def capture(self, message: Message) -> bool:
        """Hold a message, or the newer words of a held one, and return once that is committed.

        Whether it brought anything new: not if it, its channel or its author was deleted or forgotten
        or it has expired, and not if its content or a newer one is already held. Facts resting on older
        words are removed, and the message is extracted and indexed again.
        Raises `StorageUnavailable` if it could not be written; then it is not held.
        """
        return await self._group.submit(message)

    async def capture_many(self, messages: Sequence[Message]) -> int:
        """Hold many messages in one transaction; how many brought anything new."""
        return sum(await self._record(messages))

    async def _record(self, messages: Sequence[Message]) -> list[bool]:
        results = await self._database.transact(lambda c: self._write(c, messages))
        if any(results):
            self._on_captured()
        return results

    def _write(self, connection: Connection, messages: Sequence[Message]) -> list[bool]:
        now = self._clock()
        return record(connection, messages, ceil_ms(now), to_ms(now + self._batch_interval))

    async def get(self, ids: Iterable[int]) -> dict[int, Message]:
        """The held ones of these messages, in id order."""
        return await self._database.look(lambda connection: _get(connection, ids))

    async def refuses(self, place_ids: Iterable[int]) -> bool:
        """Whether nothing is held of what is said in one of these places, because Discord has deleted it."""
        query = select(tombstone.c.id).where(among(tombstone.c.id, [place_key(id) for id in place_ids]))
        async with self._database.read() as connection:
            return (await connection.execute(query)).first() is not None

    async def holds(self, message_id: int) -> bool:
        """Whether this message is held."""
        async with self._database.read() as connection:
            return (
                await connection.execute(select(message.c.id).where(message.c.id == message_id))
            ).first() is not None

    async def around(self, message_ids: Iterable[int]) -> dict[int, list[Message]]:
        """The window of each of these messages since it was last taken for indexing, in id order."""

        def look(connection: Connection) -> dict[int, list[Message]]:
            near = windows.recorded(connection, message_ids)
            found = _get(connection, set().union(*near.values()))
            return {id: [found[other] for other in sorted(ids)] for id, ids in near.items()}

        return await self._database.look(look)

    async def to_index(self, limit: int, embedding: bool, without: Collection[int] = ()) -> list[Message]:
        """Messages whose keys are missing or stale; with `embedding` also those lacking only vectors.

        They come channel by channel, each from its oldest on, so that conversations are seen as a whole.
        Messages of the guilds in `without` are left out. The others count as taken: `mark_indexed` tells
        which of them changed meanwhile and stay in line. Their windows are made anew; others whose windows
        are outdated by that are taken, too, as far as the limit allows.
        """
        line = oldest_to_index(message.c.id, limit, embedding, without, by=[message.c.channel_id])
        batch = await self._database.look(lambda c: _plan(c, line, limit))
        if not batch.ids:
            return []
        return await self._database.transact(lambda c: _take(c, line, limit, batch))

    async def mark_indexed(self, messages: Sequence[Message], complete: bool) -> list[int]:
        """Note that the index holds these messages; the ids no longer held, whose points must go.

        One whose words or window changed since it was taken stays in line.
        """
        state = "complete" if complete else "keywords"
        revisions = {held.id: held.revision for held in messages}
        async with self._database.write() as connection:
            query = select(message.c.id, message.c.revision).where(among(message.c.id, revisions))
            held = {row.id: row.revision for row in await connection.execute(query)}
            same = [id for id, revision in held.items() if revision == revisions[id]]
            await connection.execute(
                update(message)
                .where(among(message.c.id, same), message.c.indexing.in_(["taken", "keywords"]))
                .values(indexing=state)
            )
        return [id for id in revisions if id not in held]

    async def stats(self, guild_id: int) -> QueueStats:
        """A guild's numbers for people."""
        here = message.c.guild_id == guild_id
        oldest = select(func.min(message.c.id)).where(here, WAITING).scalar_subquery()
        query = select(
            _count(here, WAITING).label("waiting"),
            select(message.c.created_at).where(message.c.id == oldest).scalar_subquery().label("oldest_waiting_at"),
            _count(here, LEASED).label("leased"),
            _count(here, DEAD).label("dead"),
            _count(here).label("held"),
            (_not_indexed(message, guild_id) + _not_indexed(fact, guild_id)).label("not_indexed"),
            _count(fact.c.guild_id == guild_id).label("facts"),
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one()
        return QueueStats(
            waiting=row.waiting,
            oldest_waiting_at=maybe_time(row.oldest_waiting_at),
            leased=row.leased,
            dead=row.dead,
            held=row.held,
            not_indexed=row.not_indexed,
            facts=row.facts,
        )

    async def oldest_waiting(self) -> dict[int, datetime]:
        """Since when each guild's longest waiting message has been held without being extracted."""
        oldest = [
            select(message.c.guild_id, func.min(message.c.captured_at).label("at")).where(state).group_by("guild_id")
            for state in (WAITING, LEASED)
        ]
        waits = union_all(*oldest).subquery()
        query = select(waits.c.guild_id, func.min(waits.c.at).label("at")).group_by(waits.c.guild_id)
        async with self._database.read() as connection:
            return {row.guild_id: from_ms(row.at) for row in await connection.execute(query)}

    async def close(self) -> None:
        """Write what is queued."""
        await self._group.flush()


def unindexed(connection: Connection, ids: Iterable[int]) -> list[Message]:
    """Those of these messages whose words or window the index does not hold as they are now."""
    return [message_of(row) for row in connection.execute(_UNINDEXED, {"ids": listed(ids)})]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Messages to be taken for indexing."""

    ids: Collection[int]
    plan: windows.Plan


def _plan(connection: Connection, line: Select[int], limit: int) -> _Batch:
    """Read and think before anybody has to wait for the transaction that writes."""
    query = select(message.c.id, message.c.indexing).where(message.c.id.in_(line))
    found = {row.id: row.indexing for row in connection.execute(query)}
    stale = [id for id, state in found.items() if state != "keywords"]  # others get vectors for the window they have
    plan = windows.plan(connection, stale, room=limit - len(found))
    return _Batch(found.keys() | plan.windows.keys(), plan)


def _take(connection: Connection, line: Select[int], limit: int, batch: _Batch) -> list[Message]:
    if not windows.stands(connection, batch.plan):
        batch = _plan(connection, line, limit)
    windows.record(connection, batch.plan.windows)
    _put_in_state(connection, batch.plan.outdated, "pending")
    _put_in_state(connection, batch.plan.windows, "taken")
    return list(_get(connection, batch.ids).values())


def _put_in_state(connection: Connection, ids: Collection[int], state: str) -> None:
    where = among(message.c.id, ids) & (message.c.indexing != state)
    connection.execute(update(message).where(where).values(indexing=state))


def _get(connection: Connection, ids: Iterable[int]) -> dict[int, Message]:
    query = select(*MESSAGE_COLUMNS).where(among(message.c.id, ids)).order_by(message.c.id)
    return {row.id: message_of(row) for row in connection.execute(query)}


def _count(*where: ColumnElement[bool]) -> ScalarSelect[int]:
    return select(func.count()).where(*where).scalar_subquery()


def _not_indexed(table: Table, guild_id: int) -> ColumnElement[int]:
    """How many of the guild's messages or facts the index does not hold at all."""
    here = table.c.guild_id + 0 == guild_id  # computed, lest SQLite look for these rows among all of the guild's
    pending, taken = (_count(here, indexing_is(table.c.indexing, state)) for state in ("pending", "taken"))
    return pending + taken
