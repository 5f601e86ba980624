"""Putting what an index lost back in line."""

from functools import partial

from sqlalchemy import Connection, Table, select, union, update

from bot.storage.database import Database
from bot.storage.tables import fact, message

_STEP = 5000  # rows changed in one transaction: whoever captures waits for no more than one


class Reindex:
    """Messages and facts as records of which an index holds a copy."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def guilds(self) -> set[int]:
        """The guilds of which anything is held."""
        query = union(select(message.c.guild_id), select(fact.c.guild_id))
        async with self._database.read() as connection:
            return set((await connection.execute(query)).scalars())

    async def again(self, guild_id: int) -> int:
        """Send everything held of a guild back to be indexed; how many that were in the index, or on their way."""
        total = 0
        for table in (message, fact):
            while changed := await self._database.transact(partial(_send_back, table=table, guild_id=guild_id)):
                total += changed
        return total


def _send_back(connection: Connection, table: Table, guild_id: int) -> int:
    [key] = table.primary_key
    sent = select(key).where(table.c.guild_id == guild_id, table.c.indexing != "pending").limit(_STEP)
    return connection.execute(update(table).where(key.in_(sent)).values(indexing="pending")).rowcount
