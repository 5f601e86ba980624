"""Records and a clock for the storage tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.model import Fact, FactKind, Message, memory_id
from bot.storage.database import Database
from bot.storage.facts import FactStore
from bot.storage.lease import Lease
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue
from bot.storage.retraction import Retraction

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
GUILD, CHANNEL, ANA, BEN = 1, 20, 301, 302
MINUTE = timedelta(minutes=1)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        """Let this much time pass."""
        self.now += by


def said(id: int, content: str = "hello", author_id: int = ANA, **changes: Any) -> Message:
    """A message, by default Ana's in the one channel, said `id` seconds after noon."""
    channel_id = changes.pop("channel_id", CHANNEL)
    fields: dict[str, Any] = {
        "id": id,
        "guild_id": GUILD,
        "channel_id": channel_id,
        "access_id": channel_id,
        "channel_name": "general",
        "author_id": author_id,
        "author_name": "Ana" if author_id == ANA else "Ben",
        "content": content,
        "created_at": changes.get("created_at") or NOON + timedelta(seconds=id),
    }
    return Message(**fields | changes)


def stated(text: str, sources: Sequence[int], subject_id: int | None = ANA, **changes: Any) -> Fact:
    """A fact, by default about Ana and on her own words."""
    fields: dict[str, Any] = {
        "id": memory_id(GUILD, CHANNEL, subject_id, sources, text),
        "guild_id": GUILD,
        "channel_id": CHANNEL,
        "access_id": CHANNEL,
        "channel_name": "general",
        "subject_id": subject_id,
        "subject_name": "SERVER" if subject_id is None else "Ana",
        "text": text,
        "kind": FactKind.PREFERENCE,
        "speaker_ids": (ANA,),
        "speaker_name": "Ana",
        "sources": tuple(sources),
        "confidence": 0.9,
        "importance": 0.5,
        "said_at": NOON,
    }
    return Fact(**fields | changes)


@dataclass(frozen=True)
class Vault:
    """The stores over one database."""

    database: Database
    messages: MessageStore
    queue: ExtractionQueue
    facts: FactStore
    retraction: Retraction
    clock: Clock

    async def hold(self, *messages: Message) -> None:
        """Capture these messages."""
        await self.messages.capture_many(messages)

    async def claim(self, *ids: int) -> Lease:
        """Lease these messages for a minute."""
        return (await self.queue.take(ids, MINUTE)).lease

    async def extract(self, *facts: Fact, done: Sequence[int] = ()) -> int:
        """Store facts as one extraction of the messages they rest on, and of `done`."""
        sources = {source for fact in facts for source in fact.sources}
        return await self.queue.commit(await self.claim(*sources, *done), facts)

    async def index(self) -> list[int]:
        """Index everything that waits; the ids of the messages among it."""
        messages = await self.messages.to_index(1000, embedding=True)
        await self.messages.mark_indexed(messages, complete=True)
        await self.facts.mark_indexed(await self.facts.to_index(1000, embedding=True), complete=True)
        return [message.id for message in messages]

    async def waiting(self) -> list[int]:
        """The ids of the channel's messages that wait for extraction."""
        return [message.id for message in await self.queue.waiting(GUILD, CHANNEL, 1000)]
