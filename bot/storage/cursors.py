"""How far each place of an observation is read, where it is behind or ahead of the rest."""

from collections.abc import Mapping

from sqlalchemy import func, literal, select
from sqlalchemy.dialects.sqlite import insert

from bot.storage.database import Database
from bot.storage.tables import cursor, observation


class Cursors:
    """Keeps a message id for each (observation, place): everything said there up to it is committed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, observation_id: int) -> dict[int, int]:
        """How far the places of an observation are read, by place id."""
        query = select(cursor.c.place_id, cursor.c.read_to).where(cursor.c.observation_id == observation_id)
        async with self._database.read() as connection:
            return {row.place_id: row.read_to for row in await connection.execute(query)}

    async def move(self, observation_id: int, read_to: Mapping[int, int]) -> None:
        """Note how far these places are read; none is set back, and an observation that is gone has none."""
        async with self._database.write() as connection:
            for place_id, message_id in read_to.items():
                row = select(observation.c.id, literal(place_id), literal(message_id))
                moved = insert(cursor).from_select(
                    ["observation_id", "place_id", "read_to"], row.where(observation.c.id == observation_id)
                )
                newest = func.max(cursor.c.read_to, moved.excluded.read_to)
                keys = [cursor.c.observation_id, cursor.c.place_id]
                await connection.execute(moved.on_conflict_do_update(index_elements=keys, set_={"read_to": newest}))
