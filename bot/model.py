"""The records every room speaks, and the ports that cross rooms.

All ids of guilds, channels, users and messages are Discord snowflakes (int). All times are
aware `datetime`s in UTC. Records are frozen: a change makes a new one.
"""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Protocol

DISCORD_EPOCH_MS = 1_420_070_400_000
MEMORY_NAMESPACE = uuid.UUID("6f1d6f3c-6f0e-5d5c-9a63-2f0c7c0c9d11")

Report = Callable[[str, int, int | None], None]
"""Told how a long operation gets on: what is being done, how many are done, of how many (None: nobody knows)."""

_USER_MENTION = re.compile(r"<@!?(\d+)>")


def utcnow() -> datetime:
    """The current time; rooms take it as their default `clock`, tests pass their own."""
    return datetime.now(UTC)


def snowflake_time(snowflake: int) -> datetime:
    """The creation time a snowflake carries (https://discord.com/developers/docs/reference#snowflakes)."""
    return datetime.fromtimestamp(((snowflake >> 22) + DISCORD_EPOCH_MS) / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Mention:
    """A user named in a message by `<@id>`, with the display name it had then."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file's name and its alt text; the file itself is never fetched."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One Discord message as captured.

    `channel_id` is the channel, thread or forum post it was said in. `access_id` is the id whose
    visibility decides who may read it: the channel's own id, for a public thread or forum post
    its parent's, for a private thread the thread's own. `revision` counts content changes.
    """

    id: int
    guild_id: int
    channel_id: int
    access_id: int
    channel_name: str
    author_id: int
    author_name: str
    content: str
    created_at: datetime
    edited_at: datetime | None = None
    reply_to: int | None = None
    mentions: tuple[Mention, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    revision: int = 0

    @property
    def text(self) -> str:
        """The words as people read them: mentions by name, attachments by name and description."""
        names = {mention.id: mention.name for mention in self.mentions}
        words = _USER_MENTION.sub(lambda m: f"@{names.get(int(m[1]), 'someone')}", self.content)
        files = [f"[{a.name}: {a.description}]" if a.description else f"[{a.name}]" for a in self.attachments]
        return "\n".join(part for part in (words.strip(), " ".join(files)) if part)

    @property
    def line(self) -> str:
        """`speaker: text`, the form in which messages are indexed and shown to a model."""
        return f"{self.author_name}: {self.text}"


class FactKind(StrEnum):
    """What a fact is about."""

    PREFERENCE = "preference"
    PERSONAL = "personal"
    SKILL = "skill"
    PLAN = "plan"
    EVENT = "event"
    DECISION = "decision"
    KNOWLEDGE = "knowledge"
    CLAIM = "claim"


class MemoryKind(StrEnum):
    """The two kinds of memory in the one index."""

    MESSAGE = "message"
    FACT = "fact"


@dataclass(frozen=True, slots=True)
class Fact:
    """One extracted fact. `subject_id` is the member it is about, None for the server itself.

    `sources` are the ids of the messages it rests on (never empty), `speaker_ids` their authors.
    `confidence` and `importance` lie in [0, 1]. `said_at` is the time of the newest source.
    A `corrected` one is in its subject's own words, given at `said_at`, and rests on no message: its
    `sources` are those of the fact it replaced that are still there.
    """

    id: str
    guild_id: int
    channel_id: int
    access_id: int
    channel_name: str
    subject_id: int | None
    subject_name: str
    text: str
    kind: FactKind
    speaker_ids: tuple[int, ...]
    speaker_name: str
    sources: tuple[int, ...]
    confidence: float
    importance: float
    said_at: datetime
    entities: tuple[str, ...] = ()
    sensitive: bool = False
    valid_from: date | None = None
    valid_until: date | None = None
    corrected: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What the index holds and recall returns: a message or a fact, with the messages it rests on.

    `speaker_ids` are the authors of `sources`. `subject_id` is the member it is about (a message is
    about its author), None for the server. `follows` is the message before it in its conversation, of
    those the index knows. For `corrected` see `Fact`. A memory read from a mem0 client that named no
    guild or channel never becomes a `Memory`.
    """

    id: str
    kind: MemoryKind
    guild_id: int
    channel_id: int
    access_id: int
    channel_name: str
    subject_id: int | None
    text: str
    speaker_ids: tuple[int, ...]
    speaker_name: str
    sources: tuple[int, ...]
    said_at: datetime
    created_at: datetime
    importance: float = 0.0
    fact_kind: FactKind | None = None
    entities: tuple[str, ...] = ()
    valid_from: date | None = None
    valid_until: date | None = None
    follows: int | None = None
    corrected: bool = False

    @property
    def line(self) -> str:
        """The text key: `speaker: text` for a message, the text alone for a fact (it names its subject)."""
        return f"{self.speaker_name}: {self.text}" if self.kind is MemoryKind.MESSAGE else self.text


@dataclass(frozen=True, slots=True)
class Window:
    """The messages of one LLM call: whole conversations as sections, with context and quoted replies.

    `context` are other lines of the channel, shown for understanding only; `quotes` maps the id of a
    message in a section to the held message it replies to, when that one is not in the window.
    """

    guild_id: int
    channel_id: int
    sections: tuple[tuple[Message, ...], ...]
    context: tuple[Message, ...] = ()
    quotes: Mapping[int, Message] = field(default_factory=dict)

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages to extract from, section after section."""
        return tuple(message for section in self.sections for message in section)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a recall may look at. Applied as a filter before ranking.

    `access_ids` are the channels and private threads the asker may view and read now: an empty
    set sees nothing. The other fields narrow further.
    """

    guild_id: int
    access_ids: frozenset[int]
    channel_id: int | None = None
    about_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory with its fused score and the share each signal gave (`dense`, `bm25`, …).

    `evidence` is what it stands for besides itself: the messages a fact rests on, or others that say the same.
    `contradicted_by` is a later memory of the same answer that says otherwise.
    """

    memory: Memory
    score: float
    signals: Mapping[str, float] = field(default_factory=dict)
    evidence: tuple[Memory, ...] = ()
    contradicted_by: Memory | None = None


class Degraded(StrEnum):
    """Why an answer is less than it could be; shown with it."""

    NO_EMBEDDER = "no embedder is configured, so this searched by keywords only"
    EMBEDDER_DOWN = "the embedding service is down, so this searched by keywords only"
    INDEX_DOWN = "the memory index is down, so this is a plain keyword search"


@dataclass(frozen=True, slots=True)
class Recalled:
    """The answer to one recall, best hit first."""

    hits: tuple[Hit, ...]
    degraded: Degraded | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """Who makes vectors and of what size: vectors of two of these cannot be compared."""

    provider: str
    name: str
    dimensions: int

    def __str__(self) -> str:
        return f"{self.provider}:{self.name} ({self.dimensions} dimensions)"


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """One outside service as last seen: `detail` is one sentence for people; `reachable` is whether it answered."""

    name: str
    ok: bool
    detail: str
    reachable: bool = True


class Visibility(Protocol):
    """Who may see what, now. Implemented where discord.py lives, used by every door."""

    async def visible(self, guild_id: int, user_id: int) -> frozenset[int]:
        """The `access_id`s this member may view and whose history they may read; empty when unsure."""
        ...

    async def public(self, guild_id: int, channel_id: int) -> frozenset[int]:
        """The `access_id`s that everybody who reads this channel or thread may read too; empty when unsure."""
        ...


def normalise(text: str) -> str:
    """Case-folded text with single spaces: two wordings that differ in neither are the same fact."""
    return " ".join(text.casefold().split())


def memory_id(guild_id: int, channel_id: int, subject_id: int | None, sources: Sequence[int], text: str = "") -> str:
    """The id of a memory: uuid5 of (guild, channel, subject, source ids, normalised text).

    A message's own id is its identity and its text may be edited, so for messages `text` stays empty.
    """
    subject = "SERVER" if subject_id is None else str(subject_id)
    ids = ",".join(str(source) for source in sorted(sources))
    return str(uuid.uuid5(MEMORY_NAMESPACE, f"{guild_id}/{channel_id}/{subject}/{ids}/{normalise(text)}"))


def message_memory_id(message: Message) -> str:
    """The id of the `message` memory of a message, the same for every revision."""
    return memory_id(message.guild_id, message.channel_id, message.author_id, [message.id])


def kept_fact_id(message_memory: str) -> str:
    """The id of the fact in which a message's words are kept because somebody asked for it, by its memory's id."""
    return str(uuid.uuid5(MEMORY_NAMESPACE, f"{message_memory}/kept"))


def is_kept(memory: Memory) -> bool:
    """Whether it is the words of a message, kept because somebody asked for it."""
    if memory.kind is not MemoryKind.FACT:
        return False
    said = memory_id(memory.guild_id, memory.channel_id, memory.subject_id, memory.sources)
    return memory.id == kept_fact_id(said)


def message_memory(message: Message) -> Memory:
    """A message as the memory of what its author said."""
    return Memory(
        id=message_memory_id(message),
        kind=MemoryKind.MESSAGE,
        guild_id=message.guild_id,
        channel_id=message.channel_id,
        access_id=message.access_id,
        channel_name=message.channel_name,
        subject_id=message.author_id,
        text=message.text,
        speaker_ids=(message.author_id,),
        speaker_name=message.author_name,
        sources=(message.id,),
        said_at=message.created_at,
        created_at=message.created_at,
    )


def fact_memory(fact: Fact) -> Memory:
    """A fact as a memory; it dates from when its newest source was said."""
    return Memory(
        id=fact.id,
        kind=MemoryKind.FACT,
        guild_id=fact.guild_id,
        channel_id=fact.channel_id,
        access_id=fact.access_id,
        channel_name=fact.channel_name,
        subject_id=fact.subject_id,
        text=fact.text,
        speaker_ids=fact.speaker_ids,
        speaker_name=fact.speaker_name,
        sources=fact.sources,
        said_at=fact.said_at,
        created_at=fact.said_at,
        importance=fact.importance,
        fact_kind=fact.kind,
        entities=fact.entities,
        valid_from=fact.valid_from,
        valid_until=fact.valid_until,
        corrected=fact.corrected,
    )
