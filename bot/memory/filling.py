"""Filling an index beside the one in use with the same memories, embedded by another model."""

import asyncio
import random
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

import structlog

from bot.errors import RecollectError
from bot.memory.embeddings import Embedder
from bot.memory.entries import entries_of
from bot.memory.index import IndexPoint, Key, Search, VectorIndex
from bot.memory.keys import DenseKeys, dense_keys
from bot.memory.mem0_adapter import from_payload
from bot.memory.shadow import Mirrored
from bot.model import Memory, MemoryKind, Report, Scope
from bot.storage.messages import MessageStore
from bot.storage.retraction import Retraction

log = structlog.get_logger(__name__)

_PAGE = 128  # points that are embedded together
_READ = 32  # points with their keys at once: an embedded index holds the GIL for 10 ms to read so many
_LISTED = 512  # points without their keys, in a page
_SAMPLED = 50
_NEAREST = 10
_AS_NEAR = 0.9  # of the best score: where many memories say the same, any of them is the nearest

_random = random.SystemRandom()


class Texts:
    """What is embedded of the points of an index: its memories in their windows, never what was taken back."""

    def __init__(self, messages: MessageStore, retraction: Retraction, embed_messages: bool) -> None:
        self._messages = messages
        self._retraction = retraction
        self._embed_messages = embed_messages

    async def dense(self, points: Sequence[IndexPoint], embedder: Embedder) -> dict[str, DenseKeys]:
        """The dense keys of each point that stands, by id. Raises `EmbedderUnavailable`."""
        memories = {one.id: memory for one in points if (memory := from_payload(one.id, one.payload))}
        gone = await self._retraction.retracted(memories.values())
        found: dict[str, DenseKeys] = {one.id: {} for one in points if one.id not in gone}
        embedded = [one for id, one in memories.items() if id not in gone and self._is_embedded(one)]
        if embedded:
            entries = await entries_of(self._messages, embedded, self._embed_messages)
            found |= zip((one.id for one in embedded), await dense_keys(embedder, entries), strict=True)
        # Nobody's yet: of these mem0 embeds the text alone.
        texts = {one.id: str(one.payload.get("data", "")) for one in points if one.id not in memories and one.dense}
        if texts:
            vectors = zip(texts, await embedder.documents(list(texts.values())), strict=True)
            found |= {id: {Key.DENSE: vector} for id, vector in vectors if vector is not None}
        return found

    async def standing(self, points: Sequence[IndexPoint]) -> set[str]:
        """Ids of the points that were not taken back."""
        memories = (memory for one in points if (memory := from_payload(one.id, one.payload)))
        return {one.id for one in points} - await self._retraction.retracted(memories)

    def _is_embedded(self, memory: Memory) -> bool:
        return self._embed_messages or memory.kind is MemoryKind.FACT


class Filling:
    """Copies what `other` lacks of `index`, while `index.changed` gathers what is written meanwhile.

    `lock` is the indexer's. Every method raises `ServiceUnavailable`; all can be repeated.
    """

    def __init__(
        self,
        index: Mirrored,
        other: VectorIndex,
        texts: Texts,
        embedder: Embedder,
        lock: asyncio.Lock,
        give_way: Callable[[], Awaitable[None]],
        report: Report,
    ) -> None:
        self._index = index
        self._other = other
        self._texts = texts
        self._embedder = embedder
        self._lock = lock
        self._give_way = give_way
        self._report = report
        self.embedded = 0

    async def sweep(self) -> None:
        """Remove what the index in use does not hold."""
        for guild_id in await self._other.counts():
            async for page in _pages(self._other, guild_id):
                ids = {one.id for one in page}
                await self._other.delete(guild_id, list(ids - await _held(self._index, guild_id, ids)))

    async def fill(self) -> None:
        """Copy what is lacking."""
        counts = await self._index.counts()
        done, total = 0, sum(counts.values())
        for guild_id in counts:
            async for page in _pages(self._index, guild_id):
                held = await _held(self._other, guild_id, [one.id for one in page])
                lacking = [one.id for one in page if one.id not in held and not self._changed(guild_id, one.id)]
                done += len(page) - len(lacking)
                for ids in _steps(lacking, _PAGE):
                    await self._copy(guild_id, ids)
                    done += len(ids)
                    self._report("Embedding", done, max(done, total))

    async def catch_up(self, few: int) -> None:
        """Copy what was written since, until it is no more than so many."""
        changed = self._index.changed or set()
        while len(changed) > few:
            by_guild: defaultdict[int | None, list[str]] = defaultdict(list)
            for guild_id, id in list(changed)[:_PAGE]:
                changed.discard((guild_id, id))
                by_guild[guild_id].append(id)
            for guild_id, ids in by_guild.items():
                await self._copy(guild_id, ids)

    async def differing(self) -> int:
        """How many points are not the same in both; what the other holds otherwise is removed from it."""
        counts = await self._index.counts()
        total = done = 0
        for guild_id in counts:
            async for page in _pages(self._index, guild_id):
                theirs = {one.id: one.payload for one in await self._other.retrieve(guild_id, [one.id for one in page])}
                now = await _held(self._index, guild_id, [one.id for one in page])
                doubtful = [one for one in page if one.id in now and theirs.get(one.id) != one.payload]
                standing = await self._texts.standing(doubtful)
                wrong = [id for id in standing if not self._changed(guild_id, id)]
                await self._other.delete(guild_id, wrong)
                total += len(wrong)
                done += len(page)
                self._report("Comparing", done, max(done, sum(counts.values())))
        if total:
            log.warning("reindexed_otherwise", points=total)
        return total

    async def check_neighbours(self, dimensions: int) -> None:
        """Search for some of the vectors: each has to find its own memory. Raises `RecollectError`."""
        guilds = [guild_id for guild_id in await self._other.counts() if guild_id is not None]
        for guild_id in _random.sample(guilds, min(len(guilds), _SAMPLED)):
            anywhere = str(uuid.UUID(int=_random.getrandbits(128)))
            for start in (anywhere, None):
                page, _ = await self._other.scroll(guild_id, start, max(1, _SAMPLED // len(guilds)), keys=True)
                for point in page:
                    await self._check_neighbours_of(guild_id, point, dimensions)

    async def _check_neighbours_of(self, guild_id: int, point: IndexPoint, dimensions: int) -> None:
        vector, access_id = point.dense.get(Key.DENSE), point.payload.get("access_id")
        if vector is None or not any(vector) or not isinstance(access_id, int):
            return
        if len(vector) != dimensions:
            raise RecollectError(f"The new index holds a vector of size {len(vector)}, not {dimensions}.")
        seen = Scope(guild_id, frozenset({access_id}))
        [hits] = await self._other.search(seen, [Search(Key.DENSE, vector, _NEAREST)])
        alike = len(hits) == _NEAREST and hits[-1].score >= _AS_NEAR * hits[0].score
        lost = not alike and point.id not in {hit.id for hit in hits}
        if lost and await _held(self._other, guild_id, [point.id]):  # else it was removed meanwhile
            raise RecollectError(f"The new index does not find memory {point.id} by its own vector.")

    async def _copy(self, guild_id: int | None, ids: Sequence[str]) -> None:
        await self._give_way()
        points = [one for step in _steps(ids, _READ) for one in await self._index.retrieve(guild_id, step, keys=True)]
        dense = await self._texts.dense(points, self._embedder)
        made = [replace(one, dense=dense[one.id]) for one in points if one.id in dense]
        async with self._lock:  # nothing is written or removed while it is found to be there still
            held = await _held(self._index, guild_id, [one.id for one in made])
            kept = [one for one in made if one.id in held and not self._changed(guild_id, one.id)]
            await self._other.upsert(guild_id, kept)
        self.embedded += len(kept)

    def _changed(self, guild_id: int | None, id: str) -> bool:
        return (guild_id, id) in (self._index.changed or ())


async def _pages(index: VectorIndex, guild_id: int | None) -> AsyncIterator[list[IndexPoint]]:
    after: str | None = None
    while True:
        page, after = await index.scroll(guild_id, after, _LISTED)
        yield page
        if after is None:
            return


async def _held(index: VectorIndex, guild_id: int | None, ids: Iterable[str]) -> set[str]:
    return {one.id for one in await index.retrieve(guild_id, list(ids))}


def _steps(ids: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
