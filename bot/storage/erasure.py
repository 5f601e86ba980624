"""Erasures: forgotten members of whose messages the index is still to be freed, a row for each instead of thousands.

An erasure stands for every message of the member that was said before a time. It is written in the transaction that
buries the member, and their tombstone hides those points until they are gone.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from bot.model import Memory, MemoryKind
from bot.storage import extent
from bot.storage.rows import among, to_ms
from bot.storage.tables import erasure

_new = insert(erasure)


@dataclass(frozen=True, slots=True)
class Erasure:
    """A member of a guild, and the time (in milliseconds) before which what was said goes."""

    guild_id: int
    user_id: int
    before: int

    def covers(self, memory: Memory) -> bool:
        """Whether it is one of those messages."""
        is_theirs = memory.guild_id == self.guild_id and memory.subject_id == self.user_id
        return is_theirs and memory.kind is MemoryKind.MESSAGE and to_ms(memory.said_at) < self.before


def order(connection: Connection, one: Erasure) -> None:
    """Have it done; of two for one member the later time counts."""
    row = _new.values(guild_id=one.guild_id, user_id=one.user_id, before=one.before)
    later = {"before": func.max(erasure.c.before, _new.excluded.before)}
    connection.execute(row.on_conflict_do_update(index_elements=[erasure.c.guild_id, erasure.c.user_id], set_=later))


def pending(connection: Connection, without: Collection[int] = ()) -> list[Erasure]:
    """Those that are not done; none of the guilds in `without`."""
    query = select(erasure.c.guild_id, erasure.c.user_id, erasure.c.before)
    if without:
        query = query.where(~among(erasure.c.guild_id, without))
    return [Erasure(*row) for row in connection.execute(query)]


def done(connection: Connection, one: Erasure) -> None:
    """Note that the index holds none of these points, unless messages that make some are still held."""
    held = extent.held_of(one.guild_id, one.user_id, one.before)
    if connection.execute(held.limit(1)).first() is None:
        this = (erasure.c.guild_id == one.guild_id) & (erasure.c.user_id == one.user_id)
        connection.execute(delete(erasure).where(this, erasure.c.before == one.before))
