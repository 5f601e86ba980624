"""The embedded index: Qdrant Edge behind the `VectorIndex` port, every call in a worker thread."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from bot.memory.edge_filter import of_member, said_by
from bot.memory.fingerprint import Fingerprint
from bot.memory.index import IndexPoint, ScoredPoint, Search
from bot.memory.shards import DELETED, STEP, Shards
from bot.model import Scope
from bot.storage.rows import to_ms

_THREADS = 4

P = ParamSpec("P")
T = TypeVar("T")


class EdgeIndex:
    """One shard folder per guild under `folder`, `unmapped` for memories no guild has claimed.

    `lean` keeps no page of a file in memory, which is for where nobody searches.
    """

    def __init__(
        self,
        folder: Path,
        dimensions: int,
        open_shards: int = 16,
        fingerprint: Fingerprint | None = None,
        lean: bool = False,
    ) -> None:
        self.shards = Shards(folder, dimensions, open_shards, fingerprint, lean)
        self._purging = asyncio.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="index")

    async def open(self) -> None:
        await self._write(self.shards.prepare)

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)  # first: a search that nobody waits for would open its shard again
        await asyncio.to_thread(self.shards.close)

    async def ping(self) -> None:
        await self._read(self.shards.guilds)

    async def upsert(self, guild_id: int | None, points: Sequence[IndexPoint]) -> None:
        """See `VectorIndex`. In steps, between which whoever waits for the shard has its turn."""
        for start in range(0, len(points), STEP):
            await self._write(self.shards.upsert, guild_id, points[start : start + STEP])
        if points:
            await self._write(self.shards.sync, guild_id)

    async def delete(self, guild_id: int | None, ids: Sequence[str]) -> None:
        """See `VectorIndex`. In steps, as `upsert`."""
        for start in range(0, len(ids), DELETED):
            await self._write(self.shards.delete, guild_id, ids[start : start + DELETED])
        if ids:
            await self._write(self.shards.sync, guild_id)

    async def search(self, scope: Scope, searches: Sequence[Search]) -> list[list[ScoredPoint]]:
        if not scope.access_ids:
            return [[] for _ in searches]
        return await self._read(self.shards.search, scope, searches)

    async def erase(self, guild_id: int, user_id: int, before: datetime) -> None:
        """See `VectorIndex`. In steps, as `upsert`: spans of time, halved until there is little in each."""
        spans = [(0, to_ms(before))]
        while spans:
            since, until = spans.pop()
            most = DELETED if until - since > 1 else None
            if not await self._write(self.shards.erase, guild_id, said_by(user_id, since, until), most):
                middle = (since + until) // 2
                spans += (middle, until), (since, middle)
        await self._write(self.shards.sync, guild_id)

    async def retrieve(self, guild_id: int | None, ids: Sequence[str], keys: bool = False) -> list[IndexPoint]:
        return await self._read(self.shards.retrieve, guild_id, ids, keys)

    async def scroll(
        self,
        guild_id: int | None,
        after: str | None = None,
        limit: int = 256,
        keys: bool = False,
        member_id: int | None = None,
    ) -> tuple[list[IndexPoint], str | None]:
        where = None if member_id is None else of_member(member_id)
        return await self._read(self.shards.scroll, guild_id, after, limit, keys, where)

    async def count(self, guild_id: int | None) -> int:
        return await self._read(self.shards.count, guild_id)

    async def counts(self) -> dict[int | None, int]:
        guilds = await self._read(self.shards.guilds)
        return {guild_id: count for guild_id in guilds if (count := await self.count(guild_id))}

    async def empty(self) -> bool:
        return not await self._read(self.shards.guilds)

    async def clear(self) -> None:
        for guild_id in await self._read(self.shards.guilds):
            await self._write(self.shards.drop, guild_id)

    async def drop_guild(self, guild_id: int) -> None:
        await self._write(self.shards.drop, guild_id)

    async def purge(self, guild_id: int | None) -> None:
        async with self._purging:
            steps = self.shards.rewrite(guild_id)
            try:
                while await self._write(next, steps, False):
                    pass
            finally:
                await self._write(steps.close)

    async def _read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in the pool; a caller who loses patience is let go at once."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(function, *args, **kwargs))

    async def _write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in the pool; a cancelled caller waits for the end, so that no later write overtakes this one."""
        task = asyncio.ensure_future(self._read(function, *args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise
