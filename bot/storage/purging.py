"""Purging: what admins have removed for good, by member, place or time. Counted first, and then in steps."""

from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, exists, func, or_, select, union

from bot.model import DISCORD_EPOCH_MS, Memory, MemoryKind, utcnow
from bot.storage import erasure
from bot.storage.burial import bury_author, hidden
from bot.storage.cascade import of_guild
from bot.storage.database import Database
from bot.storage.retraction import STEP, Retracted, Retraction
from bot.storage.rows import among, to_ms
from bot.storage.tables import fact, fact_source, message

REASON = "purged"

_PAGE = 50 * STEP  # ids looked up at once: each look-up passes by what stays


@dataclass(frozen=True, slots=True)
class Selection:
    """What was said by a member, in these places and their public threads, in [since, until); None sets no limit.

    With a member, what is known about them counts too. `access_ids` leaves out what those who may read only these
    channels and private threads do not see.
    """

    member_id: int | None = None
    places: frozenset[int] | None = None
    since: datetime | None = None
    until: datetime | None = None
    access_ids: frozenset[int] | None = None

    def covers(self, memory: Memory) -> bool:
        """Whether a memory that is in the index alone belongs to it."""
        return (
            (self.member_id is None or self.member_id in {memory.subject_id, *memory.speaker_ids})
            and (self.places is None or not self.places.isdisjoint({memory.channel_id, memory.access_id}))
            and (self.since is None or self.since <= memory.said_at)
            and (self.until is None or memory.said_at < self.until)
            and (self.access_ids is None or memory.access_id in self.access_ids)
        )

    @property
    def is_all_of_member(self) -> bool:
        """Whether it is everything a member ever said."""
        limits = (self.places, self.since, self.until, self.access_ids)
        return self.member_id is not None and all(limit is None for limit in limits)


class Purging:
    """Removes a selection as if each of its messages had been deleted on Discord, and keeps it from coming back.

    A fact belongs to it that rests on one of its messages, held or expired, and a corrected one, which rests on no
    message, by its own time. Each step is a transaction of its own and complete in itself: whoever captures waits
    for no more than one, and a purge that is cut short has removed what it counted and nothing else. Raises
    `StorageUnavailable`.
    """

    def __init__(self, database: Database, retraction: Retraction, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._retraction = retraction
        self._clock = clock

    async def count(self, guild_id: int, what: Selection) -> Retracted:
        """How many held messages and facts a purge would remove now."""
        facts = union(_facts_on_words(guild_id, what), _facts_themselves(guild_id, what))
        async with self._database.read() as connection:
            counts = [
                (await connection.execute(select(func.count()).select_from(query.subquery()))).scalar_one()
                for query in (_held(guild_id, what), facts)
            ]
        return Retracted(*counts)

    async def purge(self, guild_id: int, what: Selection) -> AsyncGenerator[Retracted, None]:
        """Remove it step by step; what is gone so far after each. Whatever is said after the call stays."""
        now, total = self._clock(), Retracted()
        here = Selection(what.member_id, what.places, what.since, min(what.until or now, now), what.access_ids)
        while facts := await self._some(_facts_themselves(guild_id, here), STEP):
            total += await self._retraction.facts_forgotten(guild_id, facts, REASON)
            yield total
        messages = union(_held(guild_id, here), _cited(guild_id, here)).subquery().select()
        while ids := await self._some(messages, _PAGE):
            for start in range(0, len(ids), STEP):
                total += await self._retraction.messages_deleted(guild_id, ids[start : start + STEP], REASON)
                yield total
        if what.is_all_of_member and what.member_id is not None:
            member_id = what.member_id  # also refused: what was never held, as an import may bring it
            await self._database.transact(lambda c: bury_author(c, guild_id, member_id, REASON, to_ms(now)))
            yield total

    async def without_record(self, memories: Collection[Memory]) -> set[str]:
        """Ids of those of these memories that stand in the index alone, and not on their way out of it."""
        said = {one.id: one.sources[0] for one in memories if one.kind is MemoryKind.MESSAGE and one.sources}
        points = {one.id for one in memories}

        def look(connection: Connection) -> set[str]:
            facts = connection.execute(select(fact.c.id).where(among(fact.c.id, points)))
            messages = set(connection.execute(select(message.c.id).where(among(message.c.id, said.values()))).scalars())
            recorded = {*facts.scalars(), *(id for id, source in said.items() if source in messages)}
            erasures = erasure.pending(connection)
            erased = {memory.id for memory in memories if any(one.covers(memory) for one in erasures)}
            return points - recorded - erased - hidden(connection, points)

        return await self._database.look(look) if points else set()

    async def _some(self, query: Select[Any], limit: int) -> list[Any]:
        async with self._database.read() as connection:
            return list((await connection.execute(query.limit(limit))).scalars())


def _held(guild_id: int, what: Selection) -> Select[int]:
    """The held messages of a selection."""
    query = select(message.c.id).where(*_in_time(message.c.id, what), *_in_place(message, what))
    if what.member_id is not None:
        return query.where(message.c.guild_id == guild_id, message.c.author_id == what.member_id)
    return query.where(of_guild(message, guild_id))


def _cited(guild_id: int, what: Selection) -> Select[int]:
    """The messages of a selection on which a fact rests, whether they are held or not."""
    return _resting(select(fact_source.c.message_id), guild_id, what)


def _facts_on_words(guild_id: int, what: Selection) -> Select[str]:
    """The facts that rest on messages of a selection."""
    return _resting(select(fact_source.c.fact_id), guild_id, what)


def _facts_themselves(guild_id: int, what: Selection) -> Select[str]:
    """The facts that go whatever they rest on: those about the member, or those that rest on no message."""
    query = select(fact.c.id).where(fact.c.guild_id == guild_id, *_in_place(fact, what))
    if what.since is not None:
        query = query.where(fact.c.said_at >= to_ms(what.since))
    if what.until is not None:
        query = query.where(fact.c.said_at < to_ms(what.until))
    if what.member_id is not None:
        return query.where(fact.c.subject_id == what.member_id)
    return query.where(~exists().where(fact_source.c.fact_id == fact.c.id))


def _resting(query: Select[Any], guild_id: int, what: Selection) -> Select[Any]:
    query = query.join(fact, fact.c.id == fact_source.c.fact_id).where(of_guild(fact, guild_id))
    if what.member_id is not None:
        query = query.where(fact_source.c.author_id == what.member_id)
    return query.where(*_in_time(fact_source.c.message_id, what), *_in_place(fact, what))


def _in_time(id: ColumnElement[int], what: Selection) -> list[ColumnElement[bool]]:
    """By the ids of messages, which begin with their time."""
    limits = []
    if what.since is not None:
        limits.append(id >= _first_id(what.since))
    if what.until is not None:
        limits.append(id < _first_id(what.until))
    return limits


def _in_place(table: Table, what: Selection) -> list[ColumnElement[bool]]:
    limits = []
    if what.places is not None:
        limits.append(or_(among(table.c.channel_id, what.places), among(table.c.access_id, what.places)))
    if what.access_ids is not None:
        limits.append(among(table.c.access_id, what.access_ids))
    return limits


def _first_id(at: datetime) -> int:
    """The smallest id of a message said at this time."""
    return (to_ms(at) - DISCORD_EPOCH_MS) << 22
