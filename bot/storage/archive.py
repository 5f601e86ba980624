"""What a backup and a restore ask of the database beside its file: counts, and which points its records still want.

While an index is loaded, a record whose point has not come yet has the name of its state in upper case: so
any number of points is told from any number of records with nothing kept in memory.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Table, func, select, union, update

from bot.storage.database import Database
from bot.storage.rows import among
from bot.storage.tables import fact, message, observation, schedule

_HELD = ("complete", "keywords")
_AWAITED = tuple(state.upper() for state in _HELD)


@dataclass(frozen=True, slots=True)
class Held:
    """How much a database holds."""

    messages: int
    facts: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of some points, those whose record is held; of `stale` ones the window has changed since."""

    messages: Mapping[int, int]  # id → author
    facts: Collection[str]
    stale: Collection[int | str]


class Archive:
    """The database's side of a backup and a restore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def guilds(self) -> list[int]:
        """Every guild of which something is held or observed."""
        tables = (message, fact, observation, schedule)
        async with self._database.read() as connection:
            found = (await connection.execute(union(*(select(table.c.guild_id) for table in tables)))).scalars()
            return sorted(found)

    async def held(self) -> Held:
        """How many messages and facts there are."""
        counts = [select(func.count()).select_from(table).scalar_subquery() for table in (message, fact)]
        async with self._database.read() as connection:
            return Held(*(await connection.execute(select(*counts))).one())

    async def begin_loading(self) -> None:
        """Await the point of every record that the index is said to hold."""

        def await_all(connection: Connection) -> None:
            for table in (message, fact):
                state = table.c.indexing
                connection.execute(update(table).where(state.in_(_HELD)).values(indexing=func.upper(state)))

        await self._database.transact(await_all)

    async def arrived(self, message_ids: Collection[int], fact_ids: Collection[str]) -> Wanted:
        """Note that the index gets the points of these records; which of them are held."""

        def note(connection: Connection) -> Wanted:
            chosen = among(message.c.id, message_ids)
            columns = (message.c.id, message.c.author_id, message.c.indexing)
            messages = connection.execute(select(*columns).where(chosen)).all()
            facts = connection.execute(select(fact.c.id, fact.c.indexing).where(among(fact.c.id, fact_ids))).all()
            _arrived(connection, message, message_ids)
            _arrived(connection, fact, fact_ids)
            stale = [row.id for row in (*messages, *facts) if row.indexing in ("pending", "taken")]
            return Wanted({row.id: row.author_id for row in messages}, [row.id for row in facts], stale)

        return await self._database.transact(note)

    async def end_loading(self) -> int:
        """Send records whose point never came back to be indexed; how many."""

        def send_back(connection: Connection) -> int:
            tables = (message, fact)
            changes = (update(table).where(table.c.indexing.in_(_AWAITED)) for table in tables)
            return sum(connection.execute(change.values(indexing="pending")).rowcount for change in changes)

        return await self._database.transact(send_back)


def _arrived(connection: Connection, table: Table, ids: Collection[int] | Collection[str]) -> None:
    awaited = table.c.indexing.in_(_AWAITED)
    connection.execute(
        update(table).where(among(table.c.id, ids), awaited).values(indexing=func.lower(table.c.indexing))
    )
