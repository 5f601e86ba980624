"""What waits to be indexed, as batches of entries: messages and facts behind one door."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bot.memory.keys import Entry, entry
from bot.model import Fact, Message, fact_memory, message_memory, message_memory_id
from bot.storage.facts import FactStore
from bot.storage.messages import MessageStore


@dataclass(frozen=True, slots=True)
class Batch(ABC):
    """Entries on their way into the index.

    `to_embed` says whether they are to have vectors at all, `lacking_vectors` whether the index holds
    them already, by keywords.
    """

    entries: Sequence[Entry]
    to_embed: bool
    lacking_vectors: bool

    @abstractmethod
    async def current(self) -> set[str]:
        """Ids of the entries whose record is still held as it was read."""

    @abstractmethod
    async def mark(self, ids: Collection[str], complete: bool) -> list[str]:
        """Note that the index holds these entries; the ids whose record is gone by now."""


@dataclass(frozen=True, slots=True)
class _Messages(Batch):
    messages: Mapping[str, Message]
    store: MessageStore

    async def current(self) -> set[str]:
        held = await self.store.get(message.id for message in self.messages.values())
        return {
            point
            for point, message in self.messages.items()
            if message.id in held and held[message.id].revision == message.revision
        }

    async def mark(self, ids: Collection[str], complete: bool) -> list[str]:
        points = {self.messages[point].id: point for point in ids}
        gone = await self.store.mark_indexed([self.messages[point] for point in ids], complete)
        return [points[id] for id in gone]


@dataclass(frozen=True, slots=True)
class _Facts(Batch):
    facts: Mapping[str, Fact]
    store: FactStore

    async def current(self) -> set[str]:
        return set(await self.store.get(self.facts))

    async def mark(self, ids: Collection[str], complete: bool) -> list[str]:
        return await self.store.mark_indexed([self.facts[id] for id in ids], complete)


class Backlog:
    """The records whose keys are missing or stale: messages channel by channel, each oldest first."""

    def __init__(self, messages: MessageStore, facts: FactStore, embed_messages: bool) -> None:
        self._messages = messages
        self._facts = facts
        self._embed_messages = embed_messages

    async def take(self, limit: int, lacking_vectors: bool, without: Collection[int]) -> Batch | None:
        """The next batch of those nobody can find yet or, if asked for, of those that lack only their vectors.

        Entries of the guilds in `without` are left where they are.
        """
        if self._embed_messages or not lacking_vectors:
            batch = await self._take_messages(limit, lacking_vectors, without)
            if batch is not None:
                return batch
        return await self._take_facts(limit, lacking_vectors, without)

    async def _take_messages(self, limit: int, lacking_vectors: bool, without: Collection[int]) -> Batch | None:
        messages = await self._messages.to_index(limit, lacking_vectors, without)
        if not messages:
            return None
        around = await self._messages.around(message.id for message in messages)
        return _Messages(
            entries=[
                entry(message_memory(message), around.get(message.id, ()), self._embed_messages) for message in messages
            ],
            to_embed=self._embed_messages,
            lacking_vectors=lacking_vectors,
            messages={message_memory_id(message): message for message in messages},
            store=self._messages,
        )

    async def _take_facts(self, limit: int, lacking_vectors: bool, without: Collection[int]) -> Batch | None:
        facts = await self._facts.to_index(limit, lacking_vectors, without)
        if not facts:
            return None
        resting = {fact.id: () if fact.corrected else fact.sources for fact in facts}
        held = await self._messages.get({source for sources in resting.values() for source in sources})
        sources = {fact: [held[id] for id in sorted(ids) if id in held] for fact, ids in resting.items()}
        return _Facts(
            entries=[entry(fact_memory(fact), sources[fact.id], self._embed_messages) for fact in facts],
            to_embed=True,
            lacking_vectors=lacking_vectors,
            facts={fact.id: fact for fact in facts},
            store=self._facts,
        )
