"""Where an index and the records it copies differ, as after it was put back to an earlier time."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Column, Connection, Select, Table, select, update

from bot.model import memory_id, utcnow
from bot.storage import windows
from bot.storage.burial import burials, hidden
from bot.storage.cascade import hide, of_guild, touch_facts
from bot.storage.database import Database
from bot.storage.rows import AnyRow, among, ceil_ms
from bot.storage.tables import fact, message

_PAGE = 256
_INDEXED = ("complete", "keywords")


@dataclass(frozen=True, slots=True)
class Copy:
    """A point of the index: a message's, by the message's id, or a fact's.

    `text` is None where another client changed it. `ours` says that it was made of a record.
    """

    id: str
    message_id: int | None
    channel_id: int = 0
    text: str | None = None
    ours: bool = True

    @property
    def key(self) -> str:
        """By which a tombstone names it."""
        return self.id if self.message_id is None else str(self.message_id)


@dataclass(frozen=True, slots=True)
class Difference:
    """Between some copies and their records.

    `held` copies have a record, `indexed` ones one that the index is known to hold. Those of ours without any are
    `strange`, `unheard` of them not known to have been taken back. The `outdated` have other words than their record.
    What is on its way out of the index already, or waits to be indexed again, is in neither.
    """

    held: int
    indexed: int
    unheard: int
    strange: Sequence[Copy]
    outdated: Sequence[Copy]


class Drift:
    """Compares copies with records and marks what is to be mended, which the indexer then does."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._clock = clock

    async def compare(self, guild_id: int, copies: Sequence[Copy]) -> Difference:
        """What points of a guild have to do with its records."""
        return await self._database.look(lambda connection: _compare(connection, guild_id, copies))

    async def mend(self, guild_id: int, copies: Sequence[Copy]) -> int:
        """Have the strange ones of these removed, and the records of the outdated ones indexed again; how many.

        So is what may have them in its window.
        """
        at = ceil_ms(self._clock())

        def mend(connection: Connection) -> int:
            found = _compare(connection, guild_id, copies)
            hide(connection, guild_id, [one.id for one in found.strange], at)
            outdated = _index_again(connection, found.outdated)
            gone = [(one.channel_id, one.message_id) for one in found.strange if one.message_id is not None]
            for place in gone:
                windows.touch_around(connection, *place)
            touch_facts(connection, [id for _, id in gone])
            return len(found.strange) + outdated

        return await self._database.transact(mend)

    async def recorded(self, guild_id: int) -> AsyncIterator[list[Copy]]:
        """The points that the index is known to hold of a guild, in pages."""
        for read in (_messages, _facts):
            page, after = await self._database.look(partial(read, guild_id=guild_id, after=0))
            while page:
                yield page
                page, after = await self._database.look(partial(read, guild_id=guild_id, after=after))

    async def lost(self, copies: Collection[Copy]) -> int:
        """Have the records of these points indexed again that were known to be, and their neighbours; how many."""
        return await self._database.transact(lambda connection: _index_again(connection, copies))


def _compare(connection: Connection, guild_id: int, copies: Sequence[Copy]) -> Difference:
    records = _records(connection, guild_id, copies)
    leaving = hidden(connection, [one.id for one in copies if one.id not in records])
    strange = [one for one in copies if one.ours and one.id not in records and one.id not in leaving]
    buried = burials(connection, [one.key for one in strange])
    return Difference(
        held=sum(one.id in records for one in copies),
        indexed=sum(one.id in records and records[one.id].indexing in _INDEXED for one in copies),
        unheard=sum(one.key not in buried for one in strange),
        strange=strange,
        outdated=[
            one
            for one in copies
            if (record := records.get(one.id)) and one.text not in (None, record.text) and record.indexing in _INDEXED
        ],
    )


def _records(connection: Connection, guild_id: int, copies: Iterable[Copy]) -> dict[str, AnyRow]:
    """Text and state of the records of these points, by the points' ids."""
    columns = (message.c.id, message.c.channel_id, message.c.author_id, message.c.text, message.c.indexing)
    ids = [one.message_id for one in copies if one.message_id is not None]
    said = connection.execute(select(*columns).where(among(message.c.id, ids), of_guild(message, guild_id)))
    records: dict[str, AnyRow] = {memory_id(guild_id, row.channel_id, row.author_id, [row.id]): row for row in said}
    fact_ids = [one.id for one in copies if one.message_id is None]
    drawn = select(fact.c.id, fact.c.text, fact.c.indexing).where(among(fact.c.id, fact_ids), of_guild(fact, guild_id))
    return records | {row.id: row for row in connection.execute(drawn)}


def _index_again(connection: Connection, copies: Collection[Copy]) -> int:
    ids = [one.message_id for one in copies if one.message_id is not None]
    fact_ids = [one.id for one in copies if one.message_id is None]
    total = 0
    for table, chosen in ((message, among(message.c.id, ids)), (fact, among(fact.c.id, fact_ids))):
        again = update(table).where(chosen, table.c.indexing.in_(_INDEXED)).values(indexing="pending")
        total += connection.execute(again).rowcount
    windows.touch(connection, ids)
    touch_facts(connection, ids)
    return total


def _messages(connection: Connection, guild_id: int, after: int) -> tuple[list[Copy], int]:
    query = select(message.c.id, message.c.channel_id, message.c.author_id)
    rows = connection.execute(_page(query, message, message.c.id, guild_id, after)).all()
    page = [Copy(memory_id(guild_id, row.channel_id, row.author_id, [row.id]), row.id) for row in rows]
    return page, rows[-1].id if rows else after


def _facts(connection: Connection, guild_id: int, after: int) -> tuple[list[Copy], int]:
    rows = connection.execute(_page(select(fact.c.seq, fact.c.id), fact, fact.c.seq, guild_id, after)).all()
    return [Copy(row.id, None) for row in rows], rows[-1].seq if rows else after


def _page(query: Select[Any], table: Table, key: Column[int], guild_id: int, after: int) -> Select[Any]:
    where = (key > after, of_guild(table, guild_id), table.c.indexing.in_(_INDEXED))
    return query.where(*where).order_by(key).limit(_PAGE)
