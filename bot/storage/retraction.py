"""Taking things back: every cascade of an edit, a deletion or a forgetting, each in one transaction.

A tombstone keeps what was deleted or forgotten from coming back by a late write, and a removal
hides its point from every answer until the index no longer holds it.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    String,
    Table,
    cast,
    delete,
    literal,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.model import Memory, memory_id, utcnow
from bot.storage import windows
from bot.storage.database import Database
from bot.storage.rows import among, each, to_ms
from bot.storage.tables import fact, fact_source, message, removal, tombstone

_TOMBSTONE = ["id", "guild_id", "reason", "at"]


@dataclass(frozen=True, slots=True)
class Retracted:
    """How many held messages and facts a retraction removed."""

    messages: int = 0
    facts: int = 0


class Retraction:
    """Removes messages and facts for good. Every method is one transaction and can be repeated."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._clock = clock

    async def messages_deleted(self, guild_id: int, ids: Iterable[int], reason: str = "deleted") -> Retracted:
        """Remove messages and every fact that rests on one of them, and keep them from ever coming back.

        Ids that were never held count too: a deletion may overtake the message. Messages a removed
        fact also rested on are extracted again.
        """
        wanted, at = set(ids), to_ms(self._clock())
        return await self._database.transact(lambda c: _remove_messages(c, guild_id, wanted, reason, at))

    async def facts_forgotten(self, guild_id: int, fact_ids: Iterable[str], reason: str = "forgotten") -> Retracted:
        """Remove facts and refuse them from now on; the messages they rest on stay.

        The same words make no fact about the same subject any more, so that none returns in another wording.
        """
        query = select(fact.c.id).where(among(fact.c.id, fact_ids), _of_guild(fact, guild_id))
        at = to_ms(self._clock())
        return await self._database.transact(lambda c: _forget_facts(c, guild_id, query, reason, at))

    async def points_forgotten(self, guild_id: int, point_ids: Iterable[str], reason: str = "forgotten") -> Retracted:
        """Remove points behind which there is no record, as mem0 clients write them, and refuse them from now on.

        They count as facts. Points of held facts are left alone.
        """
        points, at = set(point_ids), to_ms(self._clock())
        return await self._database.transact(lambda c: _forget_points(c, guild_id, points, reason, at))

    async def member_forgotten(self, guild_id: int, user_id: int, reason: str = "forgotten") -> Retracted:
        """Remove every message the member wrote, and every fact about them or resting on their words."""
        at = to_ms(self._clock())
        return await self._database.transact(lambda c: _forget_member(c, guild_id, user_id, reason, at))

    async def pending_removals(self, limit: int, without: Collection[int] = ()) -> list[tuple[int, str]]:
        """Guild and id of points still to be removed from the index, oldest first; none of the guilds in `without`."""
        query = select(removal.c.guild_id, removal.c.point_id).order_by(text("rowid")).limit(limit)
        if without:
            query = query.where(~among(removal.c.guild_id, without))
        async with self._database.read() as connection:
            return [(row.guild_id, row.point_id) for row in await connection.execute(query)]

    async def removed(self, point_ids: Iterable[str]) -> None:
        """Note that the index no longer holds these points."""
        async with self._database.write() as connection:
            await connection.execute(delete(removal).where(among(removal.c.point_id, point_ids)))

    async def hidden(self, point_ids: Iterable[str]) -> set[str]:
        """Those of these points that must not be shown any more."""
        async with self._database.read() as connection:
            return await hidden(connection, point_ids)

    async def retracted(self, memories: Iterable[Memory]) -> set[str]:
        """Ids of those memories that must not be shown: on their way out of the index, or deleted or forgotten.

        For answers read from the index earlier: a removal may have come and gone since, a tombstone stays.
        """
        points = {memory.id: {memory.id, *map(str, memory.sources)} for memory in memories}
        everything = {id for ids in points.values() for id in ids}
        query = select(tombstone.c.id).where(among(tombstone.c.id, everything))
        async with self._database.read() as connection:
            gone = set((await connection.execute(query)).scalars()) | await hidden(connection, points)
        return {point for point, ids in points.items() if ids & gone}


async def hidden(connection: AsyncConnection, point_ids: Iterable[str]) -> set[str]:
    """Those of these points that wait for their removal."""
    query = select(removal.c.point_id).where(among(removal.c.point_id, point_ids))
    return set((await connection.execute(query)).scalars())


def drawn_from(message_id: int, subject_id: int | None) -> str:
    """The id of a tombstone for whatever a message says about a subject, None for the server."""
    return f"{message_id}/{'SERVER' if subject_id is None else subject_id}"


def messages_edited(connection: Connection, ids: Collection[int], at: int) -> None:
    """Remove the facts resting on messages whose words changed; what they state may be derived again."""
    resting = _fact_ids(connection, _resting_on(ids))
    _derive_again(connection, resting, without=ids)
    remove_facts(connection, resting, at)


def remove_facts(connection: Connection, fact_ids: Collection[str], at: int, reason: str | None = None) -> None:
    """Remove facts and their points; with a reason they are also refused from now on."""
    if not fact_ids:
        return
    chosen = among(fact.c.id, fact_ids)
    if reason is not None:
        buried = select(fact.c.id, fact.c.guild_id, literal(reason), literal(at)).where(chosen)
        connection.execute(insert(tombstone).from_select(_TOMBSTONE, buried).on_conflict_do_nothing())
    points = select(fact.c.id, fact.c.guild_id, literal(at)).where(chosen)
    connection.execute(insert(removal).from_select(list(removal.c.keys()), points).on_conflict_do_nothing())
    connection.execute(delete(fact).where(chosen))


def _remove_messages(connection: Connection, guild_id: int, ids: Collection[int], reason: str, at: int) -> Retracted:
    _bury(connection, guild_id, ids, reason, at)

    resting = _fact_ids(connection, _resting_on(ids))
    _derive_again(connection, resting, without=ids)
    remove_facts(connection, resting, at, reason)

    columns = (message.c.id, message.c.channel_id, message.c.author_id)
    held = connection.execute(select(*columns).where(among(message.c.id, ids), _of_guild(message, guild_id))).all()
    _hide(connection, guild_id, [memory_id(guild_id, row.channel_id, row.author_id, [row.id]) for row in held], at)
    connection.execute(delete(message).where(among(message.c.id, [row.id for row in held])))
    windows.touch(connection, [(row.channel_id, row.id) for row in held])
    return Retracted(len(held), len(resting))


def _bury(connection: Connection, guild_id: int, ids: Iterable[int] | Iterable[str], reason: str, at: int) -> None:
    """Refuse these messages, facts or what was drawn from a message from now on."""
    rows = select(cast(each(ids), String), literal(guild_id), literal(reason), literal(at)).where(true())
    connection.execute(insert(tombstone).from_select(_TOMBSTONE, rows).on_conflict_do_nothing())


def _hide(connection: Connection, guild_id: int, points: Iterable[str], at: int) -> None:
    """Have these points removed from the index, and shown to nobody until then."""
    rows = select(each(points), literal(guild_id), literal(at)).where(true())
    connection.execute(insert(removal).from_select(list(removal.c.keys()), rows).on_conflict_do_nothing())


def _forget_facts(connection: Connection, guild_id: int, query: Select[str], reason: str, at: int) -> Retracted:
    forgotten = _fact_ids(connection, query)
    resting = (
        select(fact_source.c.message_id, fact.c.subject_id)
        .join(fact, fact.c.id == fact_source.c.fact_id)
        .where(among(fact.c.id, forgotten))
    )
    pairs = {drawn_from(row.message_id, row.subject_id) for row in connection.execute(resting)}
    _bury(connection, guild_id, pairs, reason, at)
    remove_facts(connection, forgotten, at, reason)
    return Retracted(facts=len(forgotten))


def _forget_points(connection: Connection, guild_id: int, points: set[str], reason: str, at: int) -> Retracted:
    foreign = points - set(_fact_ids(connection, select(fact.c.id).where(among(fact.c.id, points))))
    buried = set(connection.execute(select(tombstone.c.id).where(among(tombstone.c.id, foreign))).scalars())
    _bury(connection, guild_id, foreign, reason, at)
    _hide(connection, guild_id, foreign, at)
    return Retracted(facts=len(foreign - buried))


def _forget_member(connection: Connection, guild_id: int, user_id: int, reason: str, at: int) -> Retracted:
    about = select(fact.c.id).where(fact.c.guild_id == guild_id, fact.c.subject_id == user_id)
    facts = _forget_facts(connection, guild_id, about, reason, at).facts
    written = set(connection.execute(_written_by(guild_id, user_id)).scalars())
    removed = _remove_messages(connection, guild_id, written, reason, at)
    return Retracted(removed.messages, removed.facts + facts)


def _of_guild(table: Table, guild_id: int) -> ColumnElement[bool]:
    """Whether a row chosen by its id is the guild's; computed, lest SQLite walk all of the guild's rows instead."""
    return table.c.guild_id + 0 == guild_id


def _written_by(guild_id: int, user_id: int) -> CompoundSelect[int]:
    """Ids of the member's messages: those held, and those no longer held on which a fact still rests."""
    held = select(message.c.id).where(message.c.guild_id == guild_id, message.c.author_id == user_id)
    cited = (
        select(fact_source.c.message_id)
        .join(fact, fact.c.id == fact_source.c.fact_id)
        .where(fact.c.guild_id == guild_id, fact_source.c.author_id == user_id)
    )
    return held.union(cited)


def _derive_again(connection: Connection, fact_ids: Collection[str], without: Collection[int]) -> None:
    """Send the other messages these facts rest on back to be extracted."""
    others = select(fact_source.c.message_id).where(among(fact_source.c.fact_id, fact_ids))
    where = message.c.id.in_(others) & ~among(message.c.id, without) & (message.c.extraction == "done")
    connection.execute(update(message).where(where).values(extraction="waiting", attempts=0))


def _resting_on(ids: Collection[int]) -> Select[str]:
    where: ColumnElement[bool] = among(fact_source.c.message_id, ids)
    return select(fact_source.c.fact_id).where(where).distinct()


def _fact_ids(connection: Connection, query: Select[str]) -> list[str]:
    return list(connection.execute(query).scalars())
