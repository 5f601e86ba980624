"""The channels and threads of which something is held, and what is held of them, for comparing it with Discord."""

from datetime import datetime

from sqlalchemy import select, text

from bot.storage.database import Database
from bot.storage.rows import from_ms
from bot.storage.tables import message

# Channels are few and messages many: this hops from one channel to the next along the index.
_HELD = text(
    """
    WITH RECURSIVE place(id) AS (
        SELECT min(channel_id) FROM message
        UNION ALL
        SELECT (SELECT min(channel_id) FROM message WHERE channel_id > place.id) FROM place WHERE place.id IS NOT NULL
    ), newest(id) AS (
        SELECT (SELECT max(id) FROM message WHERE channel_id = place.id) FROM place WHERE place.id IS NOT NULL
    )
    SELECT message.channel_id, message.access_id FROM newest JOIN message USING (id)
    WHERE message.guild_id = :guild_id ORDER BY message.id DESC
    """
)
_RESTED_ON = text("SELECT DISTINCT channel_id, access_id FROM fact WHERE guild_id = :guild_id")


class Places:
    """Tells what is held where."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def held(self, guild_id: int) -> list[int]:
        """Ids of channels and threads with a message or a fact: channels before their threads, latest first."""
        async with self._database.read() as connection:
            rows = [
                row for query in (_HELD, _RESTED_ON) for row in await connection.execute(query, {"guild_id": guild_id})
            ]
        channels = [row.access_id for row in rows]
        return list(dict.fromkeys(channels + [row.channel_id for row in rows]))

    async def messages(self, place_id: int, before: int, limit: int) -> dict[int, datetime]:
        """The latest messages held of a place with ids below `before`, latest first, and the times of their words."""
        query = select(message.c.id, message.c.created_at, message.c.edited_at)
        query = query.where(message.c.channel_id == place_id, message.c.id < before)
        async with self._database.read() as connection:
            rows = await connection.execute(query.order_by(message.c.id.desc()).limit(limit))
            return {row.id: from_ms(row.edited_at or row.created_at) for row in rows}
