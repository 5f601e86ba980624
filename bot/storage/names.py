"""The names members go by in a guild, as their newest held messages tell."""

import json
from collections import defaultdict
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

# Each author and place once, by stepping through the index from one pair to the next: SQLite would read every entry.
_SPEAKERS = text(
    """
    WITH RECURSIVE speaker(id) AS (
        SELECT min(author_id) FROM message WHERE guild_id = :guild_id
        UNION ALL
        SELECT (SELECT min(author_id) FROM message WHERE guild_id = :guild_id AND author_id > speaker.id)
        FROM speaker WHERE speaker.id IS NOT NULL
    ), spoken(id, place) AS (
        SELECT id, (SELECT min(access_id) FROM message WHERE guild_id = :guild_id AND author_id = speaker.id)
        FROM speaker WHERE id IS NOT NULL
        UNION ALL
        SELECT id, (
            SELECT min(access_id) FROM message
            WHERE guild_id = :guild_id AND author_id = spoken.id AND access_id > spoken.place
        ) FROM spoken WHERE place IS NOT NULL
    )
    SELECT place, (
        SELECT author_name FROM message WHERE guild_id = :guild_id AND author_id = spoken.id AND access_id = place
        ORDER BY id DESC LIMIT 1
    ) AS name FROM spoken WHERE place IS NOT NULL
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

    async def speakers(self, guild_id: int) -> dict[str, frozenset[int]]:
        """Where people spoke whose messages are held: the `access_id`s, by the name they last had there."""
        rows = await self._database.look(lambda c: c.execute(_SPEAKERS, {"guild_id": guild_id}).all())
        places: defaultdict[str, set[int]] = defaultdict(set)
        for place, name in rows:
            places[name].add(place)
        return {name: frozenset(heard) for name, heard in places.items()}
