"""Forgetting: retracted in SQL first, which hides it at once, then taken out of the index."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import structlog

from bot.errors import IndexUnavailable, ServiceUnavailable
from bot.memory.index import VectorIndex
from bot.memory.indexer import Indexer
from bot.memory.mem0_adapter import from_payload
from bot.model import Memory, MemoryKind
from bot.policy import may_forget
from bot.storage.erasure import Erasure
from bot.storage.purging import REASON, Purging, Selection
from bot.storage.retraction import Retracted, Retraction

log = structlog.get_logger(__name__)

_PATIENCE = 5.0  # seconds to wait for the index; what is retracted is hidden meanwhile


@dataclass(frozen=True, slots=True)
class Forgotten(Retracted):
    """What was removed; not `complete` if the index could not be searched for what is there alone."""

    complete: bool = True


class Forget:
    """Removes memories for good. Returns once no answer can hold them; counts what was held in SQL.

    If the index does not answer, its points wait in the outbox, hidden, until it does.
    """

    def __init__(self, retraction: Retraction, purging: Purging, indexer: Indexer, index: VectorIndex) -> None:
        self._retraction = retraction
        self._purging = purging
        self._indexer = indexer
        self._index = index

    async def memories(self, guild_id: int, memories: Sequence[Memory]) -> Retracted:
        """Forget these memories of a guild, and with a message the facts that rest on it."""
        own = [memory for memory in memories if memory.guild_id == guild_id]
        said = [source for memory in own if memory.kind is MemoryKind.MESSAGE for source in memory.sources]
        facts = [memory.id for memory in own if memory.kind is MemoryKind.FACT]
        gone = [
            await self._retraction.facts_forgotten(guild_id, facts),
            await self._retraction.points_forgotten(guild_id, facts),
            await self._retraction.messages_deleted(guild_id, said, "forgotten"),
        ]
        await self._take_out()
        return Retracted(sum(one.messages for one in gone), sum(one.facts for one in gone))

    async def messages(self, guild_id: int, ids: Sequence[int]) -> Retracted:
        """Forget messages that were deleted on Discord, and the facts that rest on them."""
        gone = await self._retraction.messages_deleted(guild_id, ids)
        await self._take_out()
        return gone

    async def member(self, guild_id: int, user_id: int, reason: str = "forgotten") -> Forgotten:
        """Forget every message a member wrote and every fact about them or on their words.

        What mem0 clients wrote about them is in the index alone: it goes too, if the index answers.
        """
        buried = await self._retraction.bury_member(guild_id, user_id, reason)
        elsewhere = asyncio.create_task(self._leave_index(buried.erasure))  # at the same time: it takes as long
        try:
            gone = buried.facts + await self._retraction.remove_buried(buried)
            foreign = await elsewhere
        finally:
            elsewhere.cancel()
            await asyncio.gather(elsewhere, return_exceptions=True)
        forgotten = await self._retraction.points_forgotten(guild_id, foreign or (), reason)
        await self._take_out()
        return Forgotten(gone.messages, gone.facts + forgotten.facts, complete=foreign is not None)

    async def _leave_index(self, erasure: Erasure) -> list[str] | None:
        """Free the index of a member's messages, and find what it alone holds of them; None if it does not answer.

        What it still holds is hidden, and the erasure stands until it does not.
        """
        try:
            await self._indexer.erase(erasure)
            await self._indexer.remove_pending()  # the facts about them: not to be looked through
            theirs = partial(may_forget, user_id=erasure.user_id, manager=False)
            return await self._foreign(erasure.guild_id, theirs, erasure.user_id)
        except IndexUnavailable as error:
            log.warning("index_not_searched", guild_id=erasure.guild_id, reason=str(error))
            return None

    async def count(self, guild_id: int, what: Selection) -> Forgotten:
        """How much a purge would remove now."""
        held = await self._purging.count(guild_id, what)
        try:
            foreign = await self._foreign(guild_id, what.covers, what.member_id)
        except IndexUnavailable:
            return Forgotten(held.messages, held.facts, complete=False)
        return Forgotten(held.messages, held.facts + len(foreign))

    async def purge(self, guild_id: int, what: Selection) -> AsyncGenerator[Forgotten, None]:
        """Remove a selection step by step; what is gone so far after each, and once more at the end.

        What mem0 clients wrote goes last. Whoever asks for no further step stops it; what is gone stays gone.
        """
        gone = Retracted()
        try:
            async with aclosing(self._purging.purge(guild_id, what)) as steps:
                async for gone in steps:
                    yield Forgotten(gone.messages, gone.facts)
            foreign = await self._forget_foreign(guild_id, what)
        finally:
            await self._take_out()
        yield Forgotten(gone.messages, gone.facts + foreign.facts, foreign.complete)

    async def _forget_foreign(self, guild_id: int, what: Selection) -> Forgotten:
        """Forget what a selection covers in the index alone."""
        try:
            foreign = await self._foreign(guild_id, what.covers, what.member_id)
            gone = await self._retraction.points_forgotten(guild_id, foreign, REASON)
        except IndexUnavailable as error:
            log.warning("index_not_searched", guild_id=guild_id, reason=str(error))
            return Forgotten(complete=False)
        return Forgotten(gone.messages, gone.facts)

    async def _foreign(self, guild_id: int, chosen: Callable[[Memory], bool], member_id: int | None) -> list[str]:
        """The guild's points without a record that are chosen and not on their way out already.

        With a member, nothing is chosen that is neither about them nor on their words.
        """
        found: list[str] = []
        after: str | None = None
        while True:
            points, after = await self._index.scroll(guild_id, after, member_id=member_id)
            memories = [memory for point in points if (memory := from_payload(point.id, point.payload))]
            found += await self._purging.without_record([one for one in memories if chosen(one)])
            if after is None:
                return found

    async def _take_out(self) -> None:
        self._indexer.wake()  # neighbours' windows changed, and what cannot be removed now is tried again
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._indexer.remove_pending()
        except (ServiceUnavailable, TimeoutError) as error:
            log.warning("removal_postponed", reason=str(error) or "slow")
