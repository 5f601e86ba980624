"""What the process remembers about itself, by name."""

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from bot.storage.database import Database
from bot.storage.tables import state


class StateStore:
    """Short values that outlive the process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> str | None:
        """The value last put, None if there is none."""
        async with self._database.read() as connection:
            return (await connection.execute(select(state.c.value).where(state.c.name == name))).scalar_one_or_none()

    async def put(self, name: str, value: str) -> None:
        """Keep a value."""
        row = insert(state).values(name=name, value=value)
        async with self._database.write() as connection:
            await connection.execute(
                row.on_conflict_do_update(index_elements=[state.c.name], set_={"value": row.excluded.value})
            )

    async def remove(self, name: str) -> None:
        """Forget a value, if there is one."""
        async with self._database.write() as connection:
            await connection.execute(delete(state).where(state.c.name == name))
