"""Where text was removed that files may still hold: since when each guild's files wait to be rewritten."""

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from bot.storage.database import Database
from bot.storage.rows import among, from_ms
from bot.storage.tables import residue

_new = insert(residue)
_MARK = _new.on_conflict_do_update(
    index_elements=[residue.c.guild_id], set_={"last": func.max(residue.c.last, _new.excluded.last)}
)


class Residue:
    """The marks that whatever removes or replaces text leaves, in its own transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def marked(self) -> dict[int, datetime]:
        """The guilds with residue, and when the oldest was left.

        Waits its turn among those who write: what was removed before the call is marked. Whoever
        rewrites files therefore notes the time, calls this, rewrites, and calls `clear` with that time.
        """
        async with self._database.write() as connection:
            return {row.guild_id: from_ms(row.at) for row in await connection.execute(select(residue))}

    async def clear(self, guild_ids: Collection[int], before: datetime) -> None:
        """Note that these guilds' files hold nothing any more of what was removed up to this time."""
        noted = int(before.timestamp() * 1000)  # rounded down, as marks are rounded up: later removals stay marked
        these = among(residue.c.guild_id, guild_ids)
        async with self._database.write() as connection:
            await connection.execute(delete(residue).where(these, residue.c.last <= noted))
            await connection.execute(update(residue).where(these, residue.c.at <= noted).values(at=noted))


def mark(connection: Connection, guild_ids: Iterable[int], at: int) -> None:
    """Note that this transaction removes text of these guilds; `at` is the `ceil_ms` of a time after its begin."""
    if rows := [{"guild_id": id, "at": at, "last": at} for id in set(guild_ids)]:
        connection.execute(_MARK, rows)
