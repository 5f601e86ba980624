"""Everything held about a member and by them, newest first, a page at a time.

A page costs the same for a hundred messages as for a hundred thousand: messages are read place by place through the
index of authors, in whose every place they lie in the order of their ids, facts through the indexes of subjects and
speakers, in the order of their times.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, func, or_, select, text, type_coerce, union

from bot.model import DISCORD_EPOCH_MS, Fact, FactKind, Memory, Message, fact_memory, message_memory
from bot.storage.burial import retracted
from bot.storage.database import Database
from bot.storage.facts import facts_of
from bot.storage.rows import MESSAGE_COLUMNS, among, listed, message_of, to_ms
from bot.storage.tables import fact, message

Found = tuple[int, int, Message | Fact]
"""When it was said in milliseconds, its row's id, and the record."""

_DAY_MS = 24 * 3600 * 1000
_FIRST_DAY = date(1970, 1, 1)
_LAST = (1 << 63) - 1

# Each place once, by stepping through the index from one to the next: SQLite would read every entry.
_PLACES = text(
    """
    WITH RECURSIVE place(id) AS (
        SELECT min(access_id) FROM message WHERE guild_id = :guild_id AND author_id = :member_id
        UNION ALL
        SELECT (
            SELECT min(access_id) FROM message
            WHERE guild_id = :guild_id AND author_id = :member_id AND access_id > place.id
        ) FROM place WHERE place.id IS NOT NULL
    )
    SELECT id FROM place WHERE id IS NOT NULL
    """
)

# Of each place the newest few, and of those the newest few.
_SAID = text(
    """
    SELECT said.id FROM json_each(:places) AS place CROSS JOIN message AS said
    WHERE said.guild_id = :guild_id AND said.author_id = :member_id AND said.access_id = place.value
    AND said.id < :before AND said.id >= max(:since, coalesce((
        SELECT id FROM message
        WHERE guild_id = :guild_id AND author_id = :member_id AND access_id = place.value AND id < :before
        ORDER BY id DESC LIMIT 1 OFFSET :limit - 1
    ), 0))
    ORDER BY said.id DESC LIMIT :limit
    """
)

# The `+` keeps SQLite from reading all that the member ever said, rather than what was said in the thread.
_SAID_IN_THREAD = text(
    """
    SELECT id FROM message
    WHERE channel_id = :channel_id AND id < :before AND id >= :since
    AND +guild_id = :guild_id AND +author_id = :member_id AND access_id IN (SELECT value FROM json_each(:places))
    ORDER BY id DESC LIMIT :limit
    """
)

_DAYS_OF_MESSAGES = text(
    """
    SELECT ((id >> 22) + :epoch) / :day AS day, count(*) AS number FROM message
    WHERE guild_id = :guild_id AND author_id = :member_id AND access_id IN (SELECT value FROM json_each(:places))
    GROUP BY day
    """
)


@dataclass(frozen=True, slots=True)
class Mine:
    """Which of the memories of a member: their messages, facts about them, and facts that rest on their words alone.

    Seen are those of the `visible` places (`access_id`s), and with `everywhere` also, wherever they stand, those that
    are the member's words alone. `access_id` narrows to a channel with its public threads, `channel_id` to one thread.
    """

    guild_id: int
    member_id: int
    visible: frozenset[int]
    everywhere: bool
    messages: bool = True
    facts: bool = True
    fact_kind: FactKind | None = None
    access_id: int | None = None
    channel_id: int | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Before which message, and before which fact (time in milliseconds, row), a page begins."""

    message_id: int = _LAST
    fact: tuple[int, int] = (_LAST, _LAST)


START = Position()


@dataclass(frozen=True, slots=True)
class Own:
    """A memory, and where a page begins that comes after it."""

    record: Message | Fact
    after: Position

    @property
    def memory(self) -> Memory:
        """It as recall would return it."""
        return message_memory(self.record) if isinstance(self.record, Message) else fact_memory(self.record)


@dataclass(frozen=True, slots=True)
class OwnPage:
    """Memories, newest first, and where the next page begins; None at the end.

    It may hold fewer than asked for, even none, before the end: what is being forgotten is left out.
    """

    items: tuple[Own, ...]
    after: Position | None


class OwnMemories:
    """Reads what is a member's. Every method raises `StorageUnavailable` as `Database.look`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, mine: Mine, begin: Position, limit: int) -> OwnPage:
        """At most `limit` memories from a position on."""
        return await self._database.look(lambda connection: _page(connection, mine, begin, limit))

    async def days(self, mine: Mine) -> tuple[Mapping[date, int], Mapping[date, int]]:
        """How many of the messages, and of the facts, date from each day in UTC."""
        return await self._database.look(lambda c: (_days_of_messages(c, mine), _days_of_facts(c, mine)))


def _page(connection: Connection, mine: Mine, begin: Position, limit: int) -> OwnPage:
    newest = [
        *_messages(connection, mine, begin.message_id, limit + 1),
        *_facts(connection, mine, begin.fact, limit + 1),
    ]
    newest.sort(key=itemgetter(0), reverse=True)
    items, after = [], begin
    for at, key, record in newest[:limit]:
        after = replace(after, message_id=key) if isinstance(record, Message) else replace(after, fact=(at, key))
        items.append(Own(record, after))
    gone = retracted(connection, [one.memory for one in items])
    shown = tuple(one for one in items if one.memory.id not in gone)
    return OwnPage(shown, after if len(newest) > limit else None)


def _messages(connection: Connection, mine: Mine, before: int, limit: int) -> list[Found]:
    if not mine.messages:
        return []
    since = 0 if mine.since is None else (to_ms(mine.since) - DISCORD_EPOCH_MS) << 22
    query = _SAID if mine.channel_id is None else _SAID_IN_THREAD
    given = {**_of(mine), "before": before, "since": since, "limit": limit}
    given["places"] = listed(_places(connection, mine))
    if mine.channel_id is not None:
        given["channel_id"] = mine.channel_id
    ids = connection.execute(query, given).scalars().all()
    rows = connection.execute(select(*MESSAGE_COLUMNS).where(among(message.c.id, ids)))
    return sorted(((_ms(row.id), row.id, message_of(row)) for row in rows), key=itemgetter(1), reverse=True)


def _facts(connection: Connection, mine: Mine, before: tuple[int, int], limit: int) -> list[Found]:
    if not mine.facts:
        return []
    said_at, seq = before
    where = (fact.c.said_at <= said_at) & or_(fact.c.said_at < said_at, fact.c.seq < seq)
    if mine.fact_kind is not None:
        where &= fact.c.kind == mine.fact_kind.value
    if mine.since is not None:
        where &= fact.c.said_at >= to_ms(mine.since)
    newest = [
        select(fact).where(theirs, where).order_by(fact.c.said_at.desc(), fact.c.seq.desc()).limit(limit)
        for theirs in _facts_of_member(mine)
    ]
    rows = {row.seq: row for query in newest for row in connection.execute(query)}.values()
    kept = sorted(rows, key=lambda row: (row.said_at, row.seq), reverse=True)[:limit]
    return [(row.said_at, row.seq, one) for row, one in zip(kept, facts_of(connection, kept), strict=True)]


def _facts_of_member(mine: Mine) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Which facts are about the member, and which rest on their words alone: some do both."""
    # As the column has it, in JSON, for the index over it.
    alone = type_coerce(fact.c.speaker_ids, String) == f"[{mine.member_id}]"
    about = fact.c.subject_id == mine.member_id
    here = fact.c.guild_id == mine.guild_id
    if mine.access_id is not None:
        here &= fact.c.access_id == mine.access_id
    if mine.channel_id is not None:
        here &= fact.c.channel_id == mine.channel_id
    visible = among(fact.c.access_id, mine.visible)
    if mine.everywhere:
        return here & about & or_(visible, alone), here & alone
    return here & about & visible, here & alone & visible


def _places(connection: Connection, mine: Mine) -> list[int]:
    """Where the member spoke, of the places that are asked for."""
    spoken = connection.execute(_PLACES, _of(mine)).scalars().all()
    asked = [id for id in spoken if mine.access_id in (None, id)]
    return asked if mine.everywhere else [id for id in asked if id in mine.visible]


def _days_of_messages(connection: Connection, mine: Mine) -> dict[date, int]:
    given = {**_of(mine), "places": listed(_places(connection, mine)), "epoch": DISCORD_EPOCH_MS, "day": _DAY_MS}
    return {_date(row.day): row.number for row in connection.execute(_DAYS_OF_MESSAGES, given)}


def _days_of_facts(connection: Connection, mine: Mine) -> dict[date, int]:
    found = union(*(select(fact.c.seq, fact.c.said_at).where(theirs) for theirs in _facts_of_member(mine))).subquery()
    day = (found.c.said_at // _DAY_MS).label("day")
    return {
        _date(row.day): row.number
        for row in connection.execute(select(day, func.count().label("number")).group_by(day))
    }


def _of(mine: Mine) -> dict[str, Any]:
    return {"guild_id": mine.guild_id, "member_id": mine.member_id}


def _ms(message_id: int) -> int:
    """When a message was said, in milliseconds: its id tells, so that the order of ids and of times is one."""
    return (message_id >> 22) + DISCORD_EPOCH_MS


def _date(day: int) -> date:
    return _FIRST_DAY + timedelta(days=day)
