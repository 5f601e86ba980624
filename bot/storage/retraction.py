"""Taking things back for good: what was deleted or forgotten, and what is past its time.

A tombstone keeps what was deleted or forgotten from coming back by a late write, and a removal
hides its point from every answer until the index no longer holds it.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, delete, func, select, text

from bot.model import Memory, MemoryKind, message_memory, utcnow
from bot.storage import erasure, extent
from bot.storage.burial import EXPIRED, bury_author, hidden, retracted
from bot.storage.cascade import erase_messages, expire_messages, of_guild, remove_messages
from bot.storage.database import Database
from bot.storage.erasure import Erasure
from bot.storage.facts import unindexed_facts
from bot.storage.messages import unindexed
from bot.storage.rows import AnyRow, among, ceil_ms, ids_of, to_ms
from bot.storage.steps import bury_places, drop_facts, drop_guild, forget_facts, forget_points
from bot.storage.tables import fact, message, removal

STEP = 1000  # rows removed in one transaction: whoever captures waits for no more than one
_PAGE = 100 * STEP  # ids looked up at once
_ERASED_AT_ONCE = 5  # steps: while the index is freed as well, each statement waits for its turn with the interpreter

R = TypeVar("R")
Step = Callable[[Connection, int], R]


@dataclass(frozen=True, slots=True)
class Retracted:
    """How many held messages and facts a retraction removed."""

    messages: int = 0
    facts: int = 0

    def __add__(self, other: "Retracted") -> "Retracted":
        return Retracted(self.messages + other.messages, self.facts + other.facts)


@dataclass(frozen=True, slots=True)
class Buried:
    """A member of whom nothing is shown any more, why, and the facts about them that went with the burial."""

    erasure: Erasure
    reason: str
    facts: Retracted


@dataclass(frozen=True, slots=True)
class Standing:
    """Memories by id, with what their messages say now, and the ids of those whose window the index has to learn."""

    memories: dict[str, Memory]
    outdated: Set[str]


class Retraction:
    """Removes messages and facts for good. Every method can be repeated.

    What is much goes in steps, each a transaction of its own that begins with the tombstones: all of it
    is hidden from the first step on, and a repetition does what a crash left undone.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._clock = clock

    async def messages_deleted(self, guild_id: int, ids: Iterable[int], reason: str = "deleted") -> Retracted:
        """Remove messages and every fact that rests on one of them, and keep them from ever coming back.

        Ids that were never held count too: a deletion may overtake the message. Messages a removed
        fact also rested on are extracted again.
        """
        wanted, total = sorted(set(ids)), Retracted()
        for start in range(0, len(wanted), STEP):
            total += await self._delete(guild_id, wanted[start : start + STEP], reason)
        return total

    async def place_deleted(self, guild_id: int, place_id: int, private_threads: Iterable[int] = ()) -> Retracted:
        """Remove everything said in a channel and its threads, or in a thread, and keep it from ever coming back.

        The channel's public threads are known by who may read them, its private ones by their
        observation; name those that may have none.
        """
        places = {place_id, *private_threads}
        places |= await self._transact(lambda c, at: bury_places(c, guild_id, places, at))
        messages = extent.messages_of_places(guild_id, places, _PAGE)
        return await self._remove(guild_id, extent.facts_of_places(guild_id, places), messages)

    async def guild_forgotten(self, guild_id: int) -> Retracted:
        """Remove everything of a guild but its members' opt-outs and the ids of what was taken back.

        Its part of the index is left to the caller, who then drops it altogether, and so are the
        observations that are kept in memory.
        """
        messages = extent.messages_of_guild(guild_id, _PAGE)
        removed = await self._remove(guild_id, extent.facts_of_guild(guild_id), messages)
        await self._transact(lambda c, _: drop_guild(c, guild_id))
        return removed

    async def expire(self, guild_id: int, messages_before: datetime, facts_before: datetime | None) -> Retracted:
        """Remove messages captured and facts said before these times; facts on removed messages stay.

        Both are refused from now on, so that an import brings nothing back. The windows in which
        removed words stood are indexed again.
        """
        messages, page = 0, [0]
        while page := await self._ids(extent.captured_before(guild_id, to_ms(messages_before), page[-1], STEP)):
            messages += await self._expire(guild_id, page)
        if facts_before is None:
            return Retracted(messages)
        facts = extent.facts_of_guild(guild_id).where(fact.c.said_at < to_ms(facts_before)).limit(STEP)
        return Retracted(messages) + await self._in_steps(
            lambda c, at: Retracted(facts=drop_facts(c, facts, at, EXPIRED))
        )

    async def past(
        self, guild_id: int, messages_before: datetime, facts_before: datetime | None
    ) -> list[tuple[int, int]]:
        """Of the guild's messages and of its facts: how many `expire` would remove, and how many are held."""
        counts: list[tuple[int, int]] = []
        async with self._database.read() as connection:
            for table, at, before in (
                (message, message.c.captured_at, messages_before),
                (fact, fact.c.said_at, facts_before),
            ):
                past = func.count().filter(at < (to_ms(before) if before else 0))
                gone, held = (
                    await connection.execute(select(past, func.count()).where(table.c.guild_id == guild_id))
                ).one()
                counts.append((gone, held))
        return counts

    async def facts_forgotten(self, guild_id: int, fact_ids: Iterable[str], reason: str = "forgotten") -> Retracted:
        """Remove facts and refuse them from now on; the messages they rest on stay.

        The same words make no fact about the same subject any more, so that none returns in another wording.
        """
        query = select(fact.c.id).where(among(fact.c.id, fact_ids), of_guild(fact, guild_id))
        return await self._transact(lambda c, at: Retracted(facts=forget_facts(c, guild_id, query, reason, at)))

    async def points_forgotten(self, guild_id: int, point_ids: Iterable[str], reason: str = "forgotten") -> Retracted:
        """Remove points behind which there is no record, as mem0 clients write them, and refuse them from now on.

        They count as facts. Points of held facts are left alone.
        """
        points = set(point_ids)
        return await self._transact(lambda c, at: Retracted(facts=forget_points(c, guild_id, points, reason, at)))

    async def member_forgotten(self, guild_id: int, user_id: int, reason: str = "forgotten") -> Retracted:
        """Remove every message the member wrote, and every fact about them or resting on their words.

        Nothing they wrote before comes back, be it held by now or not.
        """
        buried = await self.bury_member(guild_id, user_id, reason)
        return buried.facts + await self.remove_buried(buried)

    async def bury_member(self, guild_id: int, user_id: int, reason: str = "forgotten") -> Buried:
        """The first step of `member_forgotten`: nothing of it is shown from now on, and the index may be freed."""
        return await self._transact(lambda c, at: _bury_member(c, Erasure(guild_id, user_id, at), reason))

    async def remove_buried(self, buried: Buried) -> Retracted:
        """The further steps of `member_forgotten`: what they removed."""
        one, total = buried.erasure, Retracted()
        held = extent.held_of(one.guild_id, one.user_id, one.before).limit(_PAGE)
        async for ids in self._steps(held, _ERASED_AT_ONCE * STEP):
            total += await self._transact(partial(_erase, guild_id=one.guild_id, ids=ids, reason=buried.reason))
        everything = extent.written_by(one.guild_id, one.user_id, _PAGE)  # also by a clock that is ahead of ours
        return total + await self._remove_messages(one.guild_id, everything, buried.reason)

    async def resume(self) -> Retracted:
        """Do what a crash left undone: remove what is still held of deleted places and of forgotten members."""
        total = Retracted()
        for guild_id, place_id in await self._rows(extent.buried_places_with_remains()):
            total += await self.place_deleted(guild_id, place_id)
        for guild_id, user_id, reason, at in await self._rows(extent.buried_authors_with_remains()):
            older = extent.written_by(guild_id, user_id, _PAGE, at)
            total += await self._remove_messages(guild_id, older, reason)
        return total

    async def pending_removals(self, limit: int, without: Collection[int] = ()) -> list[tuple[int, str]]:
        """Guild and id of points still to be removed from the index, oldest first; none of the guilds in `without`."""
        query = select(removal.c.guild_id, removal.c.point_id).order_by(text("rowid")).limit(limit)
        if without:
            query = query.where(~among(removal.c.guild_id, without))
        async with self._database.read() as connection:
            return [(row.guild_id, row.point_id) for row in await connection.execute(query)]

    async def pending_erasures(self, without: Collection[int] = ()) -> list[Erasure]:
        """Forgotten members of whose messages the index may still hold points; none of the guilds in `without`."""
        return await self._database.look(lambda connection: erasure.pending(connection, without))

    async def erased(self, one: Erasure) -> None:
        """Note that the index holds none of these points; it does not count while their messages are held."""
        await self._database.transact(lambda connection: erasure.done(connection, one))

    async def removed(self, point_ids: Iterable[str]) -> None:
        """Note that the index no longer holds these points."""
        async with self._database.write() as connection:
            await connection.execute(delete(removal).where(among(removal.c.point_id, point_ids)))

    async def hidden(self, point_ids: Iterable[str]) -> set[str]:
        """Those of these points that must not be shown any more."""
        return await self._database.look(lambda connection: hidden(connection, point_ids))

    async def retracted(self, memories: Iterable[Memory]) -> set[str]:
        """Ids of those memories that must not be shown: on their way out of the index, or taken back.

        For answers read from the index earlier: a removal may have come and gone since, a tombstone
        stays. A fact outlives the expiry of the messages it rests on.
        """
        return await self._database.look(lambda connection: retracted(connection, memories))

    async def standing(self, memories: Iterable[Memory]) -> Standing:
        """Those of these memories that may be shown.

        The index holds an edited message by its old words for a while, and what was said around words
        that are gone by those; and see `retracted`.
        """
        found = {one.id: one for one in memories}

        def look(connection: Connection) -> Standing:
            gone = retracted(connection, found.values())
            said = {one.sources[0] for one in found.values() if one.kind is MemoryKind.MESSAGE and one.sources}
            current = {one.id: one for one in map(message_memory, unindexed(connection, said))}
            shown = {id: current.get(id, one) for id, one in found.items() if id not in gone}
            facts = [one.id for one in shown.values() if one.kind is MemoryKind.FACT]
            return Standing(shown, (current.keys() & shown) | unindexed_facts(connection, facts))

        return await self._database.look(look)

    async def _delete(self, guild_id: int, ids: list[int], reason: str | None) -> Retracted:
        return await self._transact(lambda c, at: Retracted(*remove_messages(c, guild_id, ids, at, reason)))

    async def _expire(self, guild_id: int, ids: list[int]) -> int:
        return await self._transact(lambda c, at: expire_messages(c, guild_id, ids, at))

    async def _remove(self, guild_id: int, facts: Select[str], messages: extent.Messages) -> Retracted:
        """Remove all that these queries find, and refuse none of it by itself."""
        gone = await self._in_steps(lambda c, at: Retracted(facts=drop_facts(c, facts.limit(STEP), at)))
        return gone + await self._remove_messages(guild_id, messages, reason=None)

    async def _remove_messages(self, guild_id: int, messages: extent.Messages, reason: str | None) -> Retracted:
        """Remove all that a query finds."""
        total = Retracted()
        async for ids in self._steps(messages, STEP):
            total += await self._delete(guild_id, ids, reason)
        return total

    async def _steps(self, messages: extent.Messages, step: int) -> AsyncIterator[list[int]]:
        """What a query finds, in steps, until it finds nothing: each has to be removed before the next is asked for.

        By their ids, as they lie on the disk; the newest first, for what came last leaves the index fastest.
        """
        while ids := sorted(set(await self._ids(messages)), reverse=True):
            for start in range(0, len(ids), step):
                yield ids[start : start + step]

    async def _in_steps(self, step: Step[Retracted]) -> Retracted:
        """Repeat a step until it finds nothing more to remove."""
        total = Retracted()
        while (done := await self._transact(step)) != Retracted():
            total += done
        return total

    async def _transact(self, work: Step[R]) -> R:
        """Run `work` as a transaction, with its time in milliseconds."""
        return await self._database.transact(lambda c: work(c, ceil_ms(self._clock())))

    async def _ids(self, query: extent.Messages) -> list[int]:
        return await self._database.look(lambda connection: ids_of(connection, query))

    async def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[AnyRow]:
        async with self._database.read() as connection:
            return (await connection.execute(query)).all()


def _bury_member(connection: Connection, one: Erasure, reason: str) -> Buried:
    """Refuse what the member wrote so far, and forget what is known about them."""
    bury_author(connection, one.guild_id, one.user_id, reason, one.before)
    erasure.order(connection, one)
    about = extent.facts_about(one.guild_id, one.user_id)
    gone = forget_facts(connection, one.guild_id, about, reason, one.before)
    return Buried(one, reason, Retracted(facts=gone))


def _erase(connection: Connection, at: int, guild_id: int, ids: Collection[int], reason: str) -> Retracted:
    return Retracted(*erase_messages(connection, guild_id, ids, at, reason))
