"""The embedded index as one of mem0's vector stores. Imports mem0: import it late.

Everything mem0 writes goes to the shard of the guild its `agent_id` names, or to the unmapped one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import qdrant_edge as edge
from mem0.vector_stores.base import VectorStoreBase
from pydantic import BaseModel, ConfigDict

from bot.memory.bm25 import Bm25
from bot.memory.index import IndexPoint, Key, ScoredPoint, Search
from bot.memory.mem0_adapter import guild_of
from bot.memory.shards import Shards

_PAGE = 256


class EdgeStoreConfig(BaseModel):
    """What mem0's factory hands to `EdgeStore`."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    collection_name: str
    embedding_model_dims: int
    shards: Shards
    bm25: Bm25


class EdgeStore(VectorStoreBase):  # type: ignore[misc]  # mem0 is untyped
    """mem0's vector store over our shards: the unnamed dense vector and `bm25`, as mem0 lays a collection out."""

    def __init__(self, collection_name: str, embedding_model_dims: int, shards: Shards, bm25: Bm25) -> None:
        self.collection_name = collection_name
        self.embedding_model_dims = embedding_model_dims
        self._shards = shards
        self._bm25 = bm25

    def insert(
        self,
        vectors: Sequence[Sequence[float]],
        payloads: Sequence[Mapping[str, Any]] | None = None,
        ids: Sequence[str] | None = None,
    ) -> None:
        for id, vector, payload in zip(ids or (), vectors, payloads or (), strict=True):
            self._shards.upsert(guild_of(payload), [self._point(id, vector, payload)])
            self._shards.sync(guild_of(payload))

    def search(
        self, query: str, vectors: Sequence[float], top_k: int = 5, filters: Mapping[str, Any] | None = None
    ) -> Sequence[ScoredPoint]:
        return self._best(Search(Key.DENSE, vectors, top_k), filters)

    def keyword_search(
        self, query: str, top_k: int = 5, filters: Mapping[str, Any] | None = None
    ) -> Sequence[ScoredPoint]:
        return self._best(Search(Key.BM25, self._bm25.query(query), top_k), filters)

    def get(self, vector_id: str) -> IndexPoint | None:
        return next((point for _, point in self._found(vector_id)), None)

    def update(
        self, vector_id: str, vector: Sequence[float] | None = None, payload: Mapping[str, Any] | None = None
    ) -> None:
        """Replace a point. Like mem0 on a server this leaves its two keys alone; ours are rebuilt later."""
        for guild_id, point in self._found(vector_id, keys=True):
            dense = point.dense.get(Key.DENSE) if vector is None else vector
            self._shards.upsert(guild_id, [self._point(vector_id, dense, payload or point.payload)])
            self._shards.sync(guild_id)

    def delete(self, vector_id: str) -> None:
        for guild_id, _ in self._found(vector_id):
            self._shards.delete(guild_id, [vector_id])
            self._shards.sync(guild_id)

    def list(
        self, filters: Mapping[str, Any] | None = None, top_k: int | None = 100
    ) -> tuple[Sequence[IndexPoint], None]:
        found: list[IndexPoint] = []
        for guild_id in self._guilds(filters):
            after: str | None = None
            while top_k is None or len(found) < top_k:
                page, after = self._shards.scroll(guild_id, after, _PAGE, where=to_filter(filters))
                found += page
                if after is None:
                    break
        return found[:top_k], None

    def create_col(self, name: str, vector_size: int, distance: object) -> None:
        """Nothing to do: a guild's shard is made with its first point."""

    def list_cols(self) -> Sequence[str]:
        return [self.collection_name]

    def col_info(self) -> dict[str, Any]:
        total = sum(self._shards.count(guild_id) for guild_id in self._shards.guilds())
        return {"name": self.collection_name, "points_count": total}

    def delete_col(self) -> None:
        raise NotImplementedError("mem0 may not empty the index of every guild at once.")

    def reset(self) -> None:
        self.delete_col()

    def _point(self, id: str, vector: Sequence[float] | None, payload: Mapping[str, Any]) -> IndexPoint:
        words = self._bm25.document(str(payload.get("text_lemmatized") or payload.get("data") or ""))
        dense = {} if vector is None else {Key.DENSE: vector}
        return IndexPoint(id, payload, dense, {Key.BM25: words} if words.indices else {})

    def _best(self, search: Search, filters: Mapping[str, Any] | None) -> Sequence[ScoredPoint]:
        where = to_filter(filters)
        hits = [hit for guild_id in self._guilds(filters) for hit in self._shards.search_where(guild_id, search, where)]
        return sorted(hits, key=lambda hit: hit.score, reverse=True)[: search.limit]

    def _found(self, id: str, keys: bool = False) -> Iterator[tuple[int | None, IndexPoint]]:
        """Where a point is: mem0 asks by id alone."""
        for guild_id in self._shards.guilds():
            for point in self._shards.retrieve(guild_id, [id], keys):
                yield guild_id, point

    def _guilds(self, filters: Mapping[str, Any] | None) -> Sequence[int | None]:
        """The shards to look in: one if the filter names an `agent_id`, otherwise all."""
        if isinstance((filters or {}).get("agent_id"), str):
            return [guild_of(filters or {})]
        return self._shards.guilds()


class NoEntities(VectorStoreBase):  # type: ignore[misc]  # mem0 is untyped
    """mem0 keeps the names it finds in a second collection, where nothing would ever forget them: here it does not."""

    def search(self, *args: object, **kwargs: object) -> Sequence[object]:
        return []

    def list(self, *args: object, **kwargs: object) -> Sequence[object]:
        return []

    def list_cols(self) -> Sequence[object]:
        return []

    def col_info(self) -> dict[str, object]:
        return {}

    def get(self, vector_id: str) -> None:
        return None

    def _ignore(self, *args: object, **kwargs: object) -> None:
        """Nothing is kept, so there is nothing to change."""

    create_col = insert = update = delete = delete_col = reset = _ignore


class NoHistory:
    """mem0's history database keeps every text, the deleted ones too: this one keeps none."""

    def get_history(self, memory_id: str) -> list[dict[str, Any]]:
        return []

    def get_last_messages(self, session_scope: str, limit: int = 10) -> list[dict[str, Any]]:
        return []

    def _ignore(self, *args: object, **kwargs: object) -> None:
        """Nothing is kept, so there is nothing to change."""

    add_history = batch_add_history = save_messages = reset = close = _ignore


def to_filter(filters: Mapping[str, Any] | None) -> edge.Filter | None:
    """mem0's filter syntax (https://docs.mem0.ai/open-source/features/metadata-filtering) as Edge's.

    Raises `ValueError` for an operator that does not exist.
    """
    if not filters:
        return None
    must: list[Any] = []
    should: list[Any] = []
    must_not: list[Any] = []
    groups = {"AND": must, "$and": must, "OR": should, "$or": should, "NOT": must_not, "$not": must_not}
    for key, value in filters.items():
        if key in groups:
            groups[key].extend(group for part in value if (group := to_filter(part)))
        else:
            must.extend(_field(key, value))
    return edge.Filter(must=must or None, should=should or None, must_not=must_not or None)


_MATCHES: dict[str, Callable[[Any], Any]] = {
    "eq": edge.MatchValue,
    "ne": lambda value: edge.MatchExcept([value]),
    "in": edge.MatchAny,
    "nin": edge.MatchExcept,
    "contains": edge.MatchText,
    "icontains": edge.MatchText,
}
_BOUNDS = {"gt", "gte", "lt", "lte"}


def _field(key: str, value: Any) -> Iterable[edge.FieldCondition]:
    if value == "*":
        return
    if isinstance(value, list):
        value = {"in": value}
    if not isinstance(value, Mapping):
        value = {"eq": value}
    if bounds := {name: bound for name, bound in value.items() if name in _BOUNDS}:
        dates = all(isinstance(bound, str) for bound in bounds.values())
        yield edge.FieldCondition(key, range=(edge.RangeDateTime if dates else edge.RangeFloat)(**bounds))
    for name, operand in value.items():
        if name in _MATCHES:
            yield edge.FieldCondition(key, match=_MATCHES[name](operand))
        elif name not in _BOUNDS:
            raise ValueError(f"{name!r} is not an operator of mem0's filters.")
