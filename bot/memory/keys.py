"""The keys of a memory: its text and its window, each as a dense vector and as BM25.

The text key is `Memory.line`. The window key is the memory in its surroundings, one `speaker: text`
a line: for a message the two before it in its conversation, itself and the one after it, for a fact the
messages it rests on.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from bot.memory.embeddings import Embedder
from bot.memory.index import IndexPoint, Key, SparseVector
from bot.memory.lexicon import Lexicon
from bot.memory.mem0_adapter import to_payload
from bot.model import Memory, MemoryKind, Message

log = structlog.get_logger(__name__)

# The `updated_at` our keys were made for. A mem0 client's update changes `updated_at` alone and
# its add knows no such key: either way the point shows that its keys need rebuilding.
KEYS_FOR = "keys_for"
# The language our keys are made in; points from before guilds had their own know no such key.
KEYS_IN = "keys_in"

DenseKeys = dict[Key, Sequence[float]]
SparseKeys = dict[Key, SparseVector]


@dataclass(frozen=True, slots=True)
class Entry:
    """A memory and the lines of its window.

    `embedded_window` is the window the embedder may see: other people's messages stay out of it
    where messages are not to be embedded.
    """

    memory: Memory
    window: str
    embedded_window: str


@dataclass(frozen=True, slots=True)
class Words:
    """The BM25 keys of an entry, without those that hold no word, and the language they are made in."""

    keys: SparseKeys
    language: str


def entry(memory: Memory, surroundings: Sequence[Message], embed_messages: bool) -> Entry:
    """A memory among the messages of its window; by itself once their raw text is gone."""
    window = "\n".join(message.line for message in surroundings) or memory.line
    if memory.kind is MemoryKind.MESSAGE:
        before = [message.id for message in surroundings if message.id < memory.sources[0]]
        memory = replace(memory, follows=before[-1] if before else None)
    return Entry(memory, window, window if embed_messages else memory.line)


def stamped(payload: dict[str, Any], language: str) -> dict[str, Any]:
    """The payload, saying that the keys beside it are made for it, in which language."""
    return {**payload, KEYS_FOR: payload.get("updated_at"), KEYS_IN: language}


def point(entry: Entry, words: Words, dense: DenseKeys) -> IndexPoint:
    """The point of an entry with these keys."""
    return IndexPoint(entry.memory.id, stamped(to_payload(entry.memory), words.language), dense, words.keys)


def points_of(
    entries: Sequence[Entry], sparse: Sequence[Words], dense: Sequence[DenseKeys] | None
) -> dict[str, tuple[int, IndexPoint]]:
    """Guild and point of each entry, by id. One that makes no point stands in nobody's way: it is left out."""
    points = {}
    for entry, words, vectors in zip(entries, sparse, dense or [{}] * len(sparse), strict=True):
        try:
            points[entry.memory.id] = (entry.memory.guild_id, point(entry, words, vectors))
        except ValueError as error:
            log.error("makes_no_point", id=entry.memory.id, error=type(error).__name__)
    return points


async def sparse_keys(lexicon: Lexicon, entries: Sequence[Entry]) -> list[Words]:
    """Both BM25 keys of each entry, in the language of its guild; computed in a worker thread."""

    def compute() -> list[Words]:
        found = []
        for entry in entries:
            bm25 = lexicon.of(entry.memory.guild_id)
            keys = {Key.BM25: bm25.document(entry.memory.line), Key.BM25_WINDOW: bm25.document(entry.window)}
            found.append(Words({key: vector for key, vector in keys.items() if vector.indices}, bm25.language))
        return found

    return await asyncio.to_thread(compute)


async def dense_keys(embedder: Embedder, entries: Sequence[Entry], within: float | None = None) -> list[DenseKeys]:
    """Both dense keys of each entry, without those of a text the embedder refuses; for `within` see `documents`.

    Every distinct text is sent once, all in the same requests.
    """
    texts = list(dict.fromkeys(text for entry in entries for text in (entry.memory.line, entry.embedded_window)))
    vectors = dict(zip(texts, await embedder.documents(texts, within), strict=True))
    both = [{Key.DENSE: vectors[entry.memory.line], Key.WINDOW: vectors[entry.embedded_window]} for entry in entries]
    return [{key: vector for key, vector in keys.items() if vector is not None} for keys in both]
