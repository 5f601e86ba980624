"""Samples: how much of each guild waits and is held, taken now and then, for the pictures of /status."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, ScalarSelect, delete, func, literal, select
from sqlalchemy.dialects.sqlite import insert

from bot.storage.database import Database
from bot.storage.rows import from_ms, to_ms
from bot.storage.states import LEASED, WAITING
from bot.storage.tables import fact, message, sample, schedule

KEPT = timedelta(days=8)
"""How long a sample is kept: the longest picture shows a week."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A guild at one time: messages not extracted yet, those being read included, and what is held."""

    at: datetime
    waiting: int
    messages: int
    facts: int


class Samples:
    """Takes and reads samples. Every method raises `StorageUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, at: datetime) -> int:
        """One of every guild of which anything was ever said, and none kept that is too old; how many were taken.

        Counted before the transaction that writes, so that nobody waits for it.
        """
        rows = await self._database.look(lambda connection: _counted(connection, to_ms(at)))

        def keep(connection: Connection) -> None:
            connection.execute(delete(sample).where(sample.c.at < to_ms(at - KEPT)))
            if rows:
                connection.execute(insert(sample).on_conflict_do_nothing(), rows)

        await self._database.transact(keep)
        return len(rows)

    async def since(self, guild_id: int, moment: datetime) -> list[Sample]:
        """A guild's samples from a moment on, oldest first."""
        query = (
            select(sample.c.at, sample.c.waiting, sample.c.messages, sample.c.facts)
            .where(sample.c.guild_id == guild_id, sample.c.at >= to_ms(moment))
            .order_by(sample.c.at)
        )
        rows = await self._database.look(lambda connection: connection.execute(query).all())
        return [Sample(from_ms(row.at), row.waiting, row.messages, row.facts) for row in rows]


def _counted(connection: Connection, at: int) -> list[dict[str, int]]:
    """The rows to write: every guild has a schedule from its first message on."""
    here = message.c.guild_id == schedule.c.guild_id
    query = select(
        schedule.c.guild_id,
        literal(at).label("at"),
        (_count(here, WAITING) + _count(here, LEASED)).label("waiting"),
        _count(here).label("messages"),
        _count(fact.c.guild_id == schedule.c.guild_id).label("facts"),
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _count(*where: ColumnElement[bool]) -> ScalarSelect[int]:
    return select(func.count()).where(*where).correlate(schedule).scalar_subquery()
