"""Memories that were read earlier, as they are now."""

from collections.abc import Sequence

from bot.memory.index import VectorIndex
from bot.memory.mem0_adapter import from_payload
from bot.model import Memory, MemoryKind, fact_memory, message_memory
from bot.storage.facts import FactStore
from bot.storage.messages import MessageStore
from bot.storage.retraction import Retraction


class Held:
    """Reads memories again by id: records from SQL, and from the index alone what has no record."""

    def __init__(self, messages: MessageStore, facts: FactStore, retraction: Retraction, index: VectorIndex) -> None:
        self._messages = messages
        self._facts = facts
        self._retraction = retraction
        self._index = index

    async def again(self, guild_id: int, memories: Sequence[Memory]) -> list[Memory]:
        """These memories of a guild with their words of now, in order, without those that are gone.

        Raises `IndexUnavailable` if only the index could say whether one is still there.
        """
        said = [source for one in memories if one.kind is MemoryKind.MESSAGE for source in one.sources]
        messages = [message_memory(message) for message in (await self._messages.get(said)).values()]
        facts = [fact_memory(fact) for fact in (await self._facts.get(one.id for one in memories)).values()]
        now = {one.id: one for one in messages + facts}
        if unrecorded := [one.id for one in memories if one.id not in now]:
            points = await self._index.retrieve(guild_id, unrecorded)
            now |= {one.id: one for point in points if (one := from_payload(point.id, point.payload))}
        retracted = await self._retraction.retracted(now.values())
        return [now[one.id] for one in memories if one.id in now and one.id not in retracted]
