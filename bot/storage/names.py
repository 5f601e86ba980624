"""The names members go by in a guild, as their newest held messages tell."""

import json
from collections.abc import Iterable

from sqlalchemy import text

from bot.storage.database import Database

_NEWEST = text(
    """
    SELECT person.value AS user_id, (
        SELECT author_name FROM message
        WHERE guild_id = :guild_id AND author_id = person.value ORDER BY id DESC LIMIT 1
    ) AS name FROM json_each(:user_ids) AS person
    """
)


class Names:
    """Looks up names. Discord's history tells a user's own name, but not the one they chose in the guild."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, guild_id: int, user_ids: Iterable[int]) -> dict[int, str]:
        """The names of those of these users of whom a message is held, by user id."""
        given = {"guild_id": guild_id, "user_ids": json.dumps(sorted(set(user_ids)))}
        async with self._database.read() as connection:
            rows = await connection.execute(_NEWEST, given)
            return {row.user_id: row.name for row in rows if row.name is not None}
