"""Who changed or removed what, when: ids and counts, never words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import insert, select

from bot.model import utcnow
from bot.storage.database import Database
from bot.storage.rows import from_ms, to_ms
from bot.storage.tables import audit


class Action(StrEnum):
    """What was done."""

    FORGOT = "forgot"  # of (the member, if it was all of theirs), or of what others said: messages, facts, channel
    CORRECTED = "corrected"
    REMEMBERED = "remembered"  # message
    PURGED = "purged"  # messages, facts, and what it was limited to: member, channel, since, until
    CONFIGURED = "configured"  # name, value
    OBSERVED = "observed"  # channel
    UNOBSERVED = "unobserved"  # channel
    BACKFILLED = "backfilled"  # channel, since
    EXPORTED = "exported"
    OPTED_OUT = "opted_out"
    OPTED_IN = "opted_in"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the log. `actor_id` is None for the bot itself; `details` by action, see `Action`."""

    id: int
    guild_id: int
    at: datetime
    actor_id: int | None
    action: Action
    details: Mapping[str, int | str]


class Audit:
    """The log of a guild's admins. Raises `StorageUnavailable`."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._clock = clock

    async def record(self, guild_id: int, actor_id: int | None, action: Action, **details: int | str) -> None:
        """Note what somebody did, once it is done. `details` are ids, counts and names of settings."""
        entry = {"guild_id": guild_id, "at": to_ms(self._clock()), "actor_id": actor_id}
        async with self._database.write() as connection:
            await connection.execute(insert(audit).values(**entry, action=action, details=details))

    async def entries(self, guild_id: int, limit: int, before_id: int | None = None) -> Sequence[AuditEntry]:
        """The newest entries, newest first, of those before `before_id`."""
        query = select(audit).where(audit.c.guild_id == guild_id).order_by(audit.c.id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(audit.c.id < before_id)
        async with self._database.read() as connection:
            return [
                AuditEntry(row.id, row.guild_id, from_ms(row.at), row.actor_id, Action(row.action), row.details)
                for row in await connection.execute(query)
            ]
