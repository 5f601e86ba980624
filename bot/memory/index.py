"""The port to the vector index: one collection of points with four keys each.

A point has up to four keys: its text and its window, each as a dense vector and as BM25. The
dense text vector is the unnamed one and `bm25` its sparse twin, as mem0 lays a collection out;
`window` and `bm25_window` are ours. Two implementations, `edge` and `server`, pass one
conformance suite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from bot.model import Scope


class Key(StrEnum):
    """The four keys of a memory; the value is the vector's name in the collection."""

    DENSE = ""
    WINDOW = "window"
    BM25 = "bm25"
    BM25_WINDOW = "bm25_window"


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Token ids and their weights, equally long."""

    indices: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class IndexPoint:
    """A stored memory: mem0's payload plus ours, and those of its keys that exist."""

    id: str
    payload: Mapping[str, Any]
    dense: Mapping[Key, Sequence[float]] = field(default_factory=dict)
    sparse: Mapping[Key, SparseVector] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Search:
    """One of the lists of a recall: the nearest `limit` points by one key."""

    key: Key
    vector: Sequence[float] | SparseVector
    limit: int


@dataclass(frozen=True, slots=True)
class ScoredPoint:
    """A point found by one search: cosine similarity for dense keys, BM25 for sparse ones."""

    id: str
    score: float
    payload: Mapping[str, Any]


class VectorIndex(Protocol):
    """Where memories live. `guild_id` None stands for the memories no guild has claimed.

    Every method raises `IndexUnavailable` when the index cannot be reached, and none blocks the
    event loop. A write has happened once its method returns.
    """

    async def open(self) -> None:
        """Create what is missing (collection, payload indexes). Raises `IndexMismatch` on another vector size."""
        ...

    async def close(self) -> None:
        """Flush and release everything."""
        ...

    async def ping(self) -> None:
        """Return if the index answers."""
        ...

    async def upsert(self, guild_id: int | None, points: Sequence[IndexPoint]) -> None:
        """Insert or replace points, their keys included."""
        ...

    async def delete(self, guild_id: int | None, ids: Sequence[str]) -> None:
        """Remove points; ids that are not there are fine."""
        ...

    async def search(self, scope: Scope, searches: Sequence[Search]) -> list[list[ScoredPoint]]:
        """Run all searches in one hop under the scope's filter: one list each, best first.

        What one of the searches finds is scored by each: a list leaves out only what lacks its key or, by BM25,
        shares no word with what is searched for.
        """
        ...

    async def erase(self, guild_id: int, user_id: int, before: datetime) -> None:
        """Remove every message a member said before a time."""
        ...

    async def retrieve(self, guild_id: int | None, ids: Sequence[str], keys: bool = False) -> list[IndexPoint]:
        """The points with these ids that exist."""
        ...

    async def scroll(
        self,
        guild_id: int | None,
        after: str | None = None,
        limit: int = 256,
        keys: bool = False,
        member_id: int | None = None,
    ) -> tuple[list[IndexPoint], str | None]:
        """A page of points in id order and where the next one starts (None at the end).

        With a member, only of points that are about them or on their words, in milliseconds.
        """
        ...

    async def count(self, guild_id: int | None) -> int:
        """How many points a guild has, exactly."""
        ...

    async def counts(self) -> dict[int | None, int]:
        """How many points each guild has that has any. It takes as long as opening, or listing, everything."""
        ...

    async def empty(self) -> bool:
        """Whether it holds no point at all."""
        ...

    async def clear(self) -> None:
        """Remove every point."""
        ...

    async def drop_guild(self, guild_id: int) -> None:
        """Remove a guild's points altogether."""
        ...

    async def purge(self, guild_id: int | None) -> None:
        """Leave no byte in our own files of what was deleted or replaced before this call.

        Reads and writes go on meanwhile. Other programs' files, as those of a Qdrant server, are theirs to purge.
        """
        ...
