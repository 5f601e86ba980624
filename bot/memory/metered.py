"""An embedder and an index whose work is counted."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from bot.memory.embedders.base import Usage
from bot.memory.embedders.fastembed import FastEmbedder
from bot.memory.embedders.ollama import OllamaEmbedder
from bot.memory.embeddings import Embedder
from bot.memory.index import IndexPoint, ScoredPoint, Search, VectorIndex
from bot.meters import Meters
from bot.model import Scope, ServiceHealth

_OWN_HARDWARE = (OllamaEmbedder.service, FastEmbedder.service)


class MeteredEmbedder:
    """An `Embedder` with its requests counted: their time, tokens and failures.

    A million tokens cost `price` US dollars, but on one's own hardware.
    """

    def __init__(self, embedder: Embedder, meters: Meters, price: float) -> None:
        self._embedder = embedder
        self._meters = meters
        self._price = 0.0 if embedder.name in _OWN_HARDWARE else price
        self._counted = Usage()
        self.name = embedder.name
        self.model = embedder.model
        self.dimensions = embedder.dimensions
        self.usage = embedder.usage
        self._count()  # from 0, so that the first request is an increase

    async def prepare(self) -> None:
        """See `Embedder`."""
        await self._embedder.prepare()

    async def documents(self, texts: Sequence[str], within: float | None = None) -> list[Sequence[float] | None]:
        """See `Embedder`."""
        with self._request("document"):
            return await self._embedder.documents(texts, within)

    async def queries(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """See `Embedder`. What is answered from memory is no request."""
        if all(self._embedder.known(text) is not None for text in texts):
            return await self._embedder.queries(texts)
        with self._request("query"):
            return await self._embedder.queries(texts)

    def known(self, text: str) -> Sequence[float] | None:
        """See `Embedder`."""
        return self._embedder.known(text)

    async def health(self) -> ServiceHealth:
        """See `Embedder`."""
        return await self._embedder.health()

    async def close(self) -> None:
        """See `Embedder`."""
        await self._embedder.close()

    @contextmanager
    def _request(self, use: str) -> Iterator[None]:
        try:
            with self._meters.request(self.name, self._meters.embedding_seconds, self.name, use):
                yield
        finally:
            self._count()

    def _count(self) -> None:
        """Count what was used up since it was last counted, be it by another call under way."""
        requests, tokens = self.usage.requests - self._counted.requests, self.usage.tokens - self._counted.tokens
        self._counted = replace(self.usage)
        self._meters.embedding_requests.add(requests, self.name)
        self._meters.embedding_tokens.add(tokens, self.name)
        self._meters.embedding_cost.add(tokens * self._price / 1e6, self.name)


def metered_index(index: VectorIndex, meters: Meters, dependency: str) -> VectorIndex:
    """The index with what is searched, written and removed counted. `dependency` is its name for people."""
    return cast(VectorIndex, _MeteredIndex(index, meters, dependency))


class _MeteredIndex:
    """All but what is counted is the index's own."""

    def __init__(self, index: VectorIndex, meters: Meters, dependency: str) -> None:
        self._index = index
        self._meters = meters
        self._dependency = dependency

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    async def upsert(self, guild_id: int | None, points: Sequence[IndexPoint]) -> None:
        """See `VectorIndex`."""
        with self._counted("upsert"):
            await self._index.upsert(guild_id, points)

    async def delete(self, guild_id: int | None, ids: Sequence[str]) -> None:
        """See `VectorIndex`."""
        with self._counted("delete"):
            await self._index.delete(guild_id, ids)

    async def erase(self, guild_id: int, user_id: int, before: datetime) -> None:
        """See `VectorIndex`."""
        with self._counted("erase"):
            await self._index.erase(guild_id, user_id, before)

    async def search(self, scope: Scope, searches: Sequence[Search]) -> list[list[ScoredPoint]]:
        """See `VectorIndex`."""
        with self._counted("search"):
            return await self._index.search(scope, searches)

    def _counted(self, operation: str) -> AbstractContextManager[None]:
        return self._meters.request(self._dependency, self._meters.index_seconds, operation)
