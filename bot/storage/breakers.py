"""The state of circuit breakers, kept across restarts."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from bot.storage.database import Database
from bot.storage.rows import maybe_ms, maybe_time
from bot.storage.tables import breaker


@dataclass(frozen=True, slots=True)
class BreakerState:
    """How often in a row a service failed, since when it is left alone and until when."""

    failures: int = 0
    opened_at: datetime | None = None
    retry_at: datetime | None = None
    reason: str | None = None


class BreakerStore:
    """One state per named breaker; an unknown one is closed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> BreakerState:
        """The breaker's state as last put."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(breaker).where(breaker.c.name == name))).one_or_none()
        if row is None:
            return BreakerState()
        return BreakerState(row.failures, maybe_time(row.opened_at), maybe_time(row.retry_at), row.reason)

    async def put(self, name: str, state: BreakerState) -> None:
        """Keep the breaker's state."""
        columns = {
            "failures": state.failures,
            "opened_at": maybe_ms(state.opened_at),
            "retry_at": maybe_ms(state.retry_at),
            "reason": state.reason,
        }
        row = insert(breaker).values(name=name, **columns)
        async with self._database.write() as connection:
            await connection.execute(row.on_conflict_do_update(index_elements=[breaker.c.name], set_=columns))
