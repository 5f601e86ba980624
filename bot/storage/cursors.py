"""How far each place of an observation is read, where it is behind or ahead of the rest."""

import json
from collections.abc import Mapping

from sqlalchemy import Integer, bindparam, cast, func, select, true
from sqlalchemy.dialects.sqlite import insert

from bot.storage.database import Database
from bot.storage.tables import cursor, observation

# One statement for all places: a channel may have thousands of threads, and writers wait for each other.
_given = func.json_each(bindparam("read_to")).table_valued("key", "value")
_moved = insert(cursor).from_select(
    ["observation_id", "place_id", "read_to"],
    select(observation.c.id, cast(_given.c.key, Integer), _given.c.value)
    .join_from(observation, _given, true())
    .where(observation.c.id == bindparam("observation")),
)
_MOVE = _moved.on_conflict_do_update(
    index_elements=[cursor.c.observation_id, cursor.c.place_id],
    set_={"read_to": func.max(cursor.c.read_to, _moved.excluded.read_to)},
)


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
            await connection.execute(_MOVE, {"observation": observation_id, "read_to": json.dumps(read_to)})
