"""A house of real rooms for the memory tests: SQL in a temporary folder, the embedded index, a fake clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.memory.bm25 import Bm25
from bot.memory.edge import EdgeIndex
from bot.memory.embeddings import Embedder
from bot.memory.forget import Forget
from bot.memory.index import IndexPoint
from bot.memory.indexer import Indexer
from bot.memory.recall import Recall
from bot.model import Fact, FactKind, Message, Recalled, Scope, memory_id
from bot.storage.database import Database
from bot.storage.facts import FactStore
from bot.storage.keyword import KeywordSearch
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue
from bot.storage.retraction import Retraction

GUILD, OTHER_GUILD = 7, 8
GENERAL, STAFF = 70, 71
ANN, BEN, CLEO = 1, 2, 3
NAMES = {ANN: "Ann", BEN: "Ben", CLEO: "Cleo"}
START = datetime(2024, 5, 3, 12, tzinfo=UTC)
DIMENSIONS = 64


@dataclass
class Clock:
    """A clock that stands still until moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, by: timedelta) -> None:
        self.now += by


def said(id: int, text: str, author: int = ANN, channel: int = GENERAL, guild: int = GUILD) -> Message:
    """A message, one minute after the one with the id before it."""
    return Message(
        id=id,
        guild_id=guild,
        channel_id=channel,
        access_id=channel,
        channel_name={GENERAL: "general", STAFF: "staff"}.get(channel, "elsewhere"),
        author_id=author,
        author_name=NAMES[author],
        content=text,
        created_at=START + timedelta(minutes=id),
    )


def fact_of(text: str, sources: Sequence[Message], subject: int | None = None) -> Fact:
    """A fact resting on these messages."""
    newest = sources[-1]
    ids = tuple(message.id for message in sources)
    return Fact(
        id=memory_id(newest.guild_id, newest.channel_id, subject, ids, text),
        guild_id=newest.guild_id,
        channel_id=newest.channel_id,
        access_id=newest.access_id,
        channel_name=newest.channel_name,
        subject_id=subject,
        subject_name="SERVER" if subject is None else NAMES[subject],
        text=text,
        kind=FactKind.DECISION,
        speaker_ids=tuple(dict.fromkeys(message.author_id for message in sources)),
        speaker_name=newest.author_name,
        sources=ids,
        confidence=0.9,
        importance=0.5,
        said_at=newest.created_at,
    )


@dataclass
class House:
    """The rooms memory stands on, and memory itself."""

    database: Database
    messages: MessageStore
    facts: FactStore
    queue: ExtractionQueue
    retraction: Retraction
    keyword: KeywordSearch
    index: EdgeIndex
    bm25: Bm25
    clock: Clock

    def indexer(self, embedder: Embedder | None = None, embed_messages: bool = True) -> Indexer:
        return Indexer(
            self.messages,
            self.facts,
            self.retraction,
            self.index,
            embedder,
            self.bm25,
            embed_messages,
            timedelta(milliseconds=10),
            self.clock,
        )

    def recall(self, embedder: Embedder | None = None) -> Recall:
        return Recall(self.index, embedder, self.bm25, self.keyword, self.retraction, self.clock)

    def forget(self, indexer: Indexer) -> Forget:
        return Forget(self.retraction, indexer, self.index)

    async def learn(self, *facts: Fact) -> int:
        """Store facts as extraction does: leased messages, one transaction."""
        sources = {source for fact in facts for source in fact.sources}
        lease = await self.queue.claim(sorted(sources), timedelta(minutes=5))
        return await self.queue.commit(lease, facts)

    async def points(self, guild: int | None = GUILD) -> dict[str, IndexPoint]:
        """Everything a guild has in the index, keys included, by text."""
        page, following = await self.index.scroll(guild, limit=1000, keys=True)
        assert following is None
        return {point.payload["data"]: point for point in page}


def everywhere(**narrower: object) -> Scope:
    """The scope of someone who may read every channel."""
    return Scope(GUILD, frozenset({GENERAL, STAFF}), **narrower)  # type: ignore[arg-type]


def texts(recalled: Recalled) -> list[str]:
    """What was recalled, best first."""
    return [hit.memory.text for hit in recalled.hits]
