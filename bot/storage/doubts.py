"""Held messages that Discord no longer has in such numbers that an admin is to decide, by channel or thread."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from bot.model import utcnow
from bot.storage.database import Database
from bot.storage.rows import from_ms, to_ms
from bot.storage.tables import doubt


@dataclass(frozen=True, slots=True)
class Doubt:
    """`missing` are ids of held messages that Discord does not have, out of `held` that were looked for last."""

    guild_id: int
    place_id: int
    missing: tuple[int, ...]
    held: int
    at: datetime


class Doubts:
    """Keeps doubts until they are resolved, and what was found to be fine for good."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._clock = clock

    async def put(self, guild_id: int, place_id: int, missing: Iterable[int], held: int) -> None:
        """Doubt that these messages were deleted; they join those of the place that are in doubt already."""
        now = to_ms(self._clock())
        async with self._database.write() as connection:
            known = (await connection.execute(select(doubt).where(doubt.c.place_id == place_id))).first()
            everything = sorted({*missing, *(known.missing if known else ())})
            values = {"guild_id": guild_id, "missing": everything, "held": held, "at": now}
            row = insert(doubt).values(place_id=place_id, kept=known.kept if known else [], **values)
            await connection.execute(row.on_conflict_do_update(index_elements=[doubt.c.place_id], set_=values))

    async def all(self, guild_id: int | None = None) -> list[Doubt]:
        """What is in doubt, oldest first."""
        query = select(doubt).order_by(doubt.c.at)
        if guild_id is not None:
            query = query.where(doubt.c.guild_id == guild_id)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            Doubt(row.guild_id, row.place_id, tuple(row.missing), row.held, from_ms(row.at))
            for row in rows
            if row.missing
        ]

    async def asked(self, place_id: int) -> frozenset[int]:
        """The messages of a place about which an admin is or was asked: they are not looked for again."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(doubt).where(doubt.c.place_id == place_id))).first()
        return frozenset((*row.missing, *row.kept)) if row else frozenset()

    async def resolve(self, place_id: int, keep: bool = False) -> tuple[int, ...]:
        """An admin decided: the ids that were in doubt. With `keep` they are fine, and not asked about again."""
        async with self._database.write() as connection:
            row = (await connection.execute(select(doubt).where(doubt.c.place_id == place_id))).first()
            if row is None:
                return ()
            here = doubt.c.place_id == place_id
            kept = sorted({*row.kept, *row.missing}) if keep else row.kept
            await connection.execute(doubt.update().where(here).values(missing=[], kept=kept))
        return tuple(row.missing)
