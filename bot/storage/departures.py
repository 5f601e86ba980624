"""Guilds that removed the bot, and when."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from bot.storage.database import Database
from bot.storage.rows import from_ms, to_ms
from bot.storage.tables import departure


class Departures:
    """Remembers since when the bot has not been in a guild any more."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def left(self, guild_id: int, at: datetime) -> None:
        """Note that the bot was removed; the first time counts until it returns."""
        row = insert(departure).values(guild_id=guild_id, at=to_ms(at)).on_conflict_do_nothing()
        async with self._database.write() as connection:
            await connection.execute(row)

    async def returned(self, guild_id: int) -> None:
        """Note that the bot is there again, or that nothing is left of the guild."""
        async with self._database.write() as connection:
            await connection.execute(delete(departure).where(departure.c.guild_id == guild_id))

    async def all(self) -> dict[int, datetime]:
        """Every guild the bot was removed from, with the time."""
        async with self._database.read() as connection:
            return {row.guild_id: from_ms(row.at) for row in await connection.execute(select(departure))}
