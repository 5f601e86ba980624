"""A message's own words as a fact, kept because somebody asked for it: it stays when the words of messages expire.

It rests on the message like any fact, so it goes when the message is deleted, edited or forgotten.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, select

from bot.model import Fact, FactKind, Message, kept_fact_id, message_memory_id, utcnow
from bot.storage.burial import EXPIRED, burials
from bot.storage.database import Database
from bot.storage.extracted import forgotten, store, stored
from bot.storage.rows import MESSAGE_COLUMNS, ceil_ms, message_of
from bot.storage.tables import message

_IMPORTANCE = 0.8  # somebody thought it worth asking for


class Kept(StrEnum):
    """What came of the wish to keep a message."""

    NOW = "now"
    ALREADY = "already"
    REFUSED = "refused"  # not held, or forgotten before


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a message is on its way: `extraction` is waiting, leased, done or dead, and None if it is not held."""

    extraction: str | None = None
    indexed: bool = False
    expired: bool = False


class Keepsakes:
    """Keeps words for good. `on_kept` is called after each. Every method raises `StorageUnavailable`."""

    def __init__(
        self, database: Database, clock: Callable[[], datetime] = utcnow, on_kept: Callable[[], None] = lambda: None
    ) -> None:
        self._database = database
        self._clock = clock
        self._on_kept = on_kept

    async def keep(self, one: Message) -> Kept:
        """Keep the words of a message, as they are held."""

        def write(connection: Connection) -> Kept:
            if stored(connection, [kept_fact_id(message_memory_id(one))]):
                return Kept.ALREADY
            row = connection.execute(select(*MESSAGE_COLUMNS).where(message.c.id == one.id)).first()
            if row is None:
                return Kept.REFUSED
            words = _fact(message_of(row))
            if forgotten(connection, {words.id: words}):
                return Kept.REFUSED
            store(connection, [words], {row.id: row.author_id}, ceil_ms(self._clock()))
            return Kept.NOW

        kept = await self._database.transact(write)
        if kept is Kept.NOW:
            self._on_kept()
        return kept

    async def stage(self, guild_id: int, message_id: int) -> Stage:
        """Where a message stands."""

        def look(connection: Connection) -> Stage:
            query = select(message.c.extraction, message.c.indexing, message.c.guild_id)
            row = connection.execute(query.where(message.c.id == message_id)).first()
            if row is not None and row.guild_id == guild_id:
                return Stage(row.extraction, indexed=row.indexing in ("keywords", "complete"))
            buried = burials(connection, [str(message_id)]).get(str(message_id))
            return Stage(expired=buried is not None and buried.reason == EXPIRED)

        return await self._database.look(look)


def _fact(held: Message) -> Fact:
    return Fact(
        id=kept_fact_id(message_memory_id(held)),
        guild_id=held.guild_id,
        channel_id=held.channel_id,
        access_id=held.access_id,
        channel_name=held.channel_name,
        subject_id=held.author_id,
        subject_name=held.author_name,
        text=held.text,
        kind=FactKind.KNOWLEDGE,
        speaker_ids=(held.author_id,),
        speaker_name=held.author_name,
        sources=(held.id,),
        confidence=1.0,
        importance=_IMPORTANCE,
        said_at=held.created_at,
    )
