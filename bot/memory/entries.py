"""Memories read from the index, in their windows again."""

from collections.abc import Sequence

from bot.memory.keys import Entry, entry
from bot.model import Memory, MemoryKind, Message, message_memory_id
from bot.storage.messages import MessageStore


async def entries_of(messages: MessageStore, memories: Sequence[Memory], embed_messages: bool) -> list[Entry]:
    """The memories in their windows: a message as it was last taken for indexing, a fact on what it rests on."""
    said = [memory.sources[0] for memory in memories if memory.kind is MemoryKind.MESSAGE and memory.sources]
    around = await messages.around(said)
    held = await messages.get({source for memory in memories for source in memory.sources})

    def surroundings(memory: Memory) -> Sequence[Message]:
        if memory.kind is MemoryKind.MESSAGE and memory.sources:
            window = around.get(memory.sources[0], []) if _is_of(memory, held.get(memory.sources[0])) else []
        elif memory.corrected:
            window = []
        else:
            window = [held[source] for source in sorted(memory.sources) if source in held]
        # A client may name any message as a source: words of another channel stay out of this one's keys.
        return [message for message in window if message.channel_id == memory.channel_id]

    return [entry(memory, surroundings(memory), embed_messages) for memory in memories]


def _is_of(memory: Memory, message: Message | None) -> bool:
    """Whether it is the message's own memory: no removal of a neighbour reaches another that names it as its source."""
    return message is not None and message_memory_id(message) == memory.id
