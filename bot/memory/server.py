"""The index on a Qdrant server, behind the `VectorIndex` port. Imports `qdrant_client`, which takes a second.

One collection holds all guilds, laid out as mem0 does it: the unnamed dense vector and sparse
`bm25`, plus ours. `guild_id` is its tenant key (a string: Qdrant knows only keyword and uuid tenants).
A point belongs to the guild its `agent_id` names, as mem0 writes it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import structlog
from qdrant_client import AsyncQdrantClient, models

from bot.errors import IndexUnavailable
from bot.memory.filters import AnyOf, Between, conditions
from bot.memory.fingerprint import Fingerprint
from bot.memory.index import IndexPoint, Key, ScoredPoint, Search, SparseVector
from bot.memory.mem0_adapter import guild_of
from bot.memory.qdrant import DENSE_KEYS, SPARSE_KEYS, Refused, answer, connect, current_collection, layout_of, prepare
from bot.model import MemoryKind, Scope
from bot.settings_services import QdrantSettings
from bot.storage.rows import to_ms

# Encoding vectors as JSON takes the event loop 2 ms a point: it breathes between requests.
_UPSERT_STEP = 8
_LISTED = 1000  # points without their keys, in a page

T = TypeVar("T")
log = structlog.get_logger(__name__)


class ServerIndex:
    """The collection `settings.collection`. The server may be down at any time, at start too.

    One that is `read_only` must be there, and nothing is added that it lacks. A request carries `step` points.
    With `collection` it is that one, and no other that was put in the place of the settings'.
    """

    def __init__(
        self,
        settings: QdrantSettings,
        dimensions: int,
        client: AsyncQdrantClient | None = None,
        fingerprint: Fingerprint | None = None,
        read_only: bool = False,
        step: int = _UPSERT_STEP,
        collection: str | None = None,
    ) -> None:
        self._exactly = collection is not None
        self._read_only = read_only
        self._step = step
        self._settings = settings
        self._collection = collection or settings.collection
        self._dimensions = dimensions
        self._fingerprint = fingerprint
        self._client = client
        self._keys: frozenset[Key] = frozenset()  # the collection's vectors; empty until it has been opened
        self._opening = asyncio.Lock()
        self._scoped_idf = True

    async def open(self) -> None:
        """See `VectorIndex`. Not needed: every method opens the collection when it must."""
        self._keys = frozenset()
        await self._ready()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def ping(self) -> None:
        client = await self._ready()
        await self._ask(client.collection_exists(self._collection))

    async def upsert(self, guild_id: int | None, points: Sequence[IndexPoint]) -> None:
        client = await self._ready()
        for start in range(0, len(points), self._step):
            step = [_to_qdrant(point, self._keys) for point in points[start : start + self._step]]
            await self._ask(client.upsert(self._collection, step, wait=True))

    async def delete(self, guild_id: int | None, ids: Sequence[str]) -> None:

        if not ids:
            return
        client = await self._ready()
        theirs = models.Filter(must=[models.HasIdCondition(has_id=list(ids)), _belongs_to(guild_id)])
        await self._ask(client.delete(self._collection, models.FilterSelector(filter=theirs), wait=True))

    async def search(self, scope: Scope, searches: Sequence[Search]) -> list[list[ScoredPoint]]:
        found: list[list[ScoredPoint]] = [[] for _ in searches]
        if not scope.access_ids:
            return found
        client = await self._ready()
        asked = [(position, search) for position, search in enumerate(searches) if search.key in self._keys]
        if not asked:
            return found
        answers = await self._query(client, [search for _, search in asked], scope)
        for (position, _), hits in zip(asked, answers, strict=True):
            found[position] = [ScoredPoint(str(p.id), p.score, p.payload or {}) for p in hits.points]
        return found

    async def erase(self, guild_id: int, user_id: int, before: datetime) -> None:
        client = await self._ready()
        where = models.Filter(
            must=[
                _belongs_to(guild_id),
                models.FieldCondition(key="subject_id", match=models.MatchValue(value=user_id)),
                models.FieldCondition(key="said_at", range=models.Range(lt=to_ms(before))),
                models.FieldCondition(key="kind", match=models.MatchValue(value=MemoryKind.MESSAGE.value)),
            ]
        )
        await self._ask(client.delete(self._collection, models.FilterSelector(filter=where), wait=True))

    async def retrieve(self, guild_id: int | None, ids: Sequence[str], keys: bool = False) -> list[IndexPoint]:
        client = await self._ready()
        found = client.retrieve(self._collection, list(ids), with_payload=True, with_vectors=keys)
        records = await self._ask(found)
        return [point for record in records if guild_of((point := _from_qdrant(record)).payload) == guild_id]

    async def scroll(
        self,
        guild_id: int | None,
        after: str | None = None,
        limit: int = 256,
        keys: bool = False,
        member_id: int | None = None,
    ) -> tuple[list[IndexPoint], str | None]:
        """See `VectorIndex`. A page of unmapped points may hold fewer than `limit` before the end."""

        client = await self._ready()
        records, following = await self._ask(
            client.scroll(
                self._collection,
                scroll_filter=models.Filter(
                    must=[_belongs_to(guild_id)], should=None if member_id is None else _of_member(member_id)
                ),
                offset=after,
                limit=limit,
                with_payload=True,
                with_vectors=keys,
            )
        )
        points = [_from_qdrant(record) for record in records]
        theirs = [point for point in points if guild_of(point.payload) == guild_id]
        return theirs, None if following is None else str(following)

    async def count(self, guild_id: int | None) -> int:

        if guild_id is None:
            return await self._count_unmapped()
        client = await self._ready()
        theirs = models.Filter(must=[_belongs_to(guild_id)])
        return (await self._ask(client.count(self._collection, count_filter=theirs, exact=True))).count

    async def counts(self) -> dict[int | None, int]:
        """See `VectorIndex`. Page by page, as nothing but `agent_id` says it, which may have no index."""
        client = await self._ready()
        counts: Counter[int | None] = Counter()
        after: Any = None
        while True:
            page = client.scroll(
                self._collection, offset=after, limit=_LISTED, with_payload=["agent_id"], with_vectors=False
            )
            records, after = await self._ask(page)
            counts.update(guild_of(record.payload or {}) for record in records)
            if after is None:
                return dict(counts)

    async def empty(self) -> bool:
        client = await self._ready()
        return (await self._ask(client.count(self._collection, exact=True))).count == 0

    async def clear(self) -> None:
        client = await self._ready()
        everything = models.FilterSelector(filter=models.Filter())
        await self._ask(client.delete(self._collection, everything, wait=True))

    async def drop_guild(self, guild_id: int) -> None:

        client = await self._ready()
        theirs = models.Filter(must=[_belongs_to(guild_id)])
        await self._ask(client.delete(self._collection, models.FilterSelector(filter=theirs), wait=True))

    async def purge(self, guild_id: int | None) -> None:
        """Nothing to do: a server's files are its own."""

    async def _count_unmapped(self) -> int:
        """Page by page: whether an `agent_id` names a guild is no question for a filter."""
        total, after = 0, None
        while True:
            points, after = await self.scroll(None, after, limit=_LISTED)
            total += len(points)
            if after is None:
                return total

    async def _query(self, client: AsyncQdrantClient, searches: Sequence[Search], scope: Scope) -> list[Any]:
        requests = _requests(searches, scope, self._scoped_idf)
        try:
            return await self._ask(client.query_batch_points(self._collection, requests))
        except Refused as error:
            if error.status not in (400, 422) or not self._scoped_idf:
                raise
        log.info("qdrant_has_no_scoped_idf", collection=self._collection)
        self._scoped_idf = False
        return await self._query(client, searches, scope)

    async def _ready(self) -> AsyncQdrantClient:
        """The client, with the collection known to exist and fit."""
        async with self._opening:
            if self._client is None:
                self._client = connect(self._settings)
            if not self._keys:
                if not self._exactly:
                    self._collection = await current_collection(self._client, self._settings.collection)
                self._keys = await self._layout(self._client)
            return self._client

    async def _layout(self, client: AsyncQdrantClient) -> frozenset[Key]:
        if not self._read_only:
            return await prepare(client, self._collection, self._dimensions, self._fingerprint)
        if layout := await layout_of(client, self._collection):
            return layout.keys
        raise IndexUnavailable(f"There is no collection {self._collection} on this server.")

    async def _ask(self, request: Awaitable[T]) -> T:
        try:
            return await answer(request)
        except Refused as error:
            if error.status == 404:
                self._keys = frozenset()  # the collection is gone: the next call makes it anew
            raise


def _belongs_to(guild_id: int | None) -> Any:
    """The condition on a guild's points; None stands for points we have not written."""

    if guild_id is None:
        return models.IsEmptyCondition(is_empty=models.PayloadField(key="guild_id"))
    return models.FieldCondition(key="agent_id", match=models.MatchValue(value=str(guild_id)))


def _of_member(user_id: int) -> list[Any]:
    """The conditions of which a point about a member or on their words fulfils one."""
    return [
        models.FieldCondition(key="user_id", match=models.MatchValue(value=str(user_id))),
        models.FieldCondition(key="speaker_ids", match=models.MatchValue(value=user_id)),
    ]


def _requests(searches: Sequence[Search], scope: Scope, scoped_idf: bool) -> list[models.QueryRequest]:
    """A request for each search, which scores what all searches find: they are its prefetches."""
    seen = models.Filter(must=[_condition(condition) for condition in conditions(scope)])
    corpus = models.Filter(must=[_condition(one) for one in conditions(Scope(scope.guild_id, scope.access_ids))])
    scoped = models.SearchParams(idf=models.IdfCorpusParams(corpus=corpus))  # what is hidden makes no word common
    found = [
        models.Prefetch(
            query=_vector(search.vector),
            using=search.key.value or None,
            filter=seen,
            limit=search.limit,
            params=scoped if scoped_idf and search.key in SPARSE_KEYS else None,
        )
        for search in searches
    ]
    return [
        models.QueryRequest(
            prefetch=found if len(found) > 1 else None,
            query=one.query,
            using=one.using,
            filter=seen,
            limit=sum(search.limit for search in searches),
            params=one.params,
            with_payload=True,
        )
        for one in found
    ]


def _condition(condition: AnyOf | Between) -> models.FieldCondition:
    if isinstance(condition, AnyOf):
        return models.FieldCondition(key=condition.field, match=models.MatchAny(any=condition.values))
    span = models.Range(gte=condition.at_least, lt=condition.below)
    return models.FieldCondition(key=condition.field, range=span)


def _vector(vector: Sequence[float] | SparseVector) -> Any:
    if isinstance(vector, SparseVector):
        return models.SparseVector(indices=list(vector.indices), values=list(vector.values))
    return list(vector)


def _to_qdrant(point: IndexPoint, keys: frozenset[Key]) -> models.PointStruct:
    dense = {key.value: _vector(vector) for key, vector in point.dense.items() if key in keys}
    sparse = {key.value: _vector(vector) for key, vector in point.sparse.items() if key in keys}
    return models.PointStruct(id=point.id, vector=dense | sparse, payload=dict(point.payload))


def _from_qdrant(record: Any) -> IndexPoint:
    """A stored record; a collection with the unnamed vector alone returns it bare."""
    vectors = record.vector if isinstance(record.vector, dict) else {"": record.vector} if record.vector else {}
    return IndexPoint(
        id=str(record.id),
        payload=record.payload or {},
        dense={key: vectors[key] for key in DENSE_KEYS if key in vectors},
        sparse={key: SparseVector(vectors[key].indices, vectors[key].values) for key in SPARSE_KEYS if key in vectors},
    )
