"""The index in use with the other one beside it, which holds nothing that the one in use does not say in the same way.

Whatever is written to or removed from the index in use is removed from the other at once. So what the other holds is
never out of date, what it lacks is what is left to do, and nothing that was taken back or edited survives in it. A
reindex fills it, however often it is interrupted, and after the switch the former index is kept in the same way.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from bot.memory.fingerprint import Fingerprint
from bot.memory.index import IndexPoint, ScoredPoint, Search
from bot.memory.sites import Beside, Sites
from bot.model import Scope


class Gate:
    """Lets everyone through, or waits until nobody is inside and keeps everyone out for a moment."""

    def __init__(self) -> None:
        self._open, self._empty = asyncio.Event(), asyncio.Event()
        self._open.set()
        self._empty.set()
        self._inside = 0

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Inside, once it is open."""
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """While nobody else is inside. For one caller at a time."""
        self._open.clear()
        try:
            await self._empty.wait()
            yield
        finally:
            self._open.set()


class Mirrored:
    """The `VectorIndex` in use at `sites`, of this `fingerprint`, which changes with a switch."""

    def __init__(self, sites: Sites, fingerprint: Fingerprint) -> None:
        self.fingerprint = fingerprint
        self._sites = sites
        self._current = sites.current(fingerprint)
        self._other: Beside | None = None
        self._looked = False
        self._looking = asyncio.Lock()
        self._gate = Gate()
        self._purging = asyncio.Lock()
        self.changed: set[tuple[int | None, str]] | None = None
        """While somebody fills the other: what was written meanwhile."""

    async def open(self) -> None:
        async with self._gate.passing():
            await self._current.open()
            if other := await self._beside():
                await other.index.open()

    async def close(self) -> None:
        await self._current.close()
        if self._other:
            await self._other.index.close()

    async def ping(self) -> None:
        async with self._gate.passing():
            await self._current.ping()

    async def upsert(self, guild_id: int | None, points: Sequence[IndexPoint]) -> None:
        async with self._gate.passing():
            ids = [point.id for point in points]
            if other := await self._beside():
                await other.index.delete(guild_id, ids)
            if self.changed is not None:
                self.changed.update((guild_id, id) for id in ids)
            await self._current.upsert(guild_id, points)

    async def delete(self, guild_id: int | None, ids: Sequence[str]) -> None:
        async with self._gate.passing():
            if other := await self._beside():
                await other.index.delete(guild_id, ids)
            await self._current.delete(guild_id, ids)

    async def search(self, scope: Scope, searches: Sequence[Search]) -> list[list[ScoredPoint]]:
        async with self._gate.passing():
            return await self._current.search(scope, searches)

    async def erase(self, guild_id: int, user_id: int, before: datetime) -> None:
        async with self._gate.passing():
            if other := await self._beside():
                await other.index.erase(guild_id, user_id, before)
            await self._current.erase(guild_id, user_id, before)

    async def retrieve(self, guild_id: int | None, ids: Sequence[str], keys: bool = False) -> list[IndexPoint]:
        async with self._gate.passing():
            return await self._current.retrieve(guild_id, ids, keys)

    async def scroll(
        self,
        guild_id: int | None,
        after: str | None = None,
        limit: int = 256,
        keys: bool = False,
        member_id: int | None = None,
    ) -> tuple[list[IndexPoint], str | None]:
        async with self._gate.passing():
            return await self._current.scroll(guild_id, after, limit, keys, member_id)

    async def count(self, guild_id: int | None) -> int:
        async with self._gate.passing():
            return await self._current.count(guild_id)

    async def counts(self) -> dict[int | None, int]:
        async with self._gate.passing():
            return await self._current.counts()

    async def empty(self) -> bool:
        async with self._gate.passing():
            return await self._current.empty()

    async def clear(self) -> None:
        async with self._gate.passing():
            if other := await self._beside():
                await other.index.clear()
            await self._current.clear()

    async def drop_guild(self, guild_id: int) -> None:
        async with self._gate.passing():
            if other := await self._beside():
                await other.index.drop_guild(guild_id)
            await self._current.drop_guild(guild_id)

    async def purge(self, guild_id: int | None) -> None:
        """See `VectorIndex`. A switch waits for its end."""
        async with self._purging, self._gate.passing():
            if other := await self._beside():
                await other.index.purge(guild_id)
            await self._current.purge(guild_id)

    async def other(self) -> Beside | None:
        """The index beside it, if there is one."""
        async with self._gate.passing():
            return await self._beside()

    async def take_as_stored(self) -> bool:
        """Use the index as what it says that it is; whether that is what was asked for. Raises `IndexUnavailable`."""
        stored = await self._sites.stored()
        if stored is None or stored == self.fingerprint:
            return True
        async with self._alone():
            await self._current.close()
            self._use(stored)
        return False

    async def make_other(self, fingerprint: Fingerprint) -> Beside:
        """Have an empty index beside it, instead of any that is there."""
        async with self._alone():
            await self._discard()
            await self._sites.make(fingerprint)
            self._looked = False
            other = await self._beside()
        if other is None:
            raise LookupError("the index that was made is not there")
        return other

    async def discard_other(self) -> bool:
        """Remove the index beside it; whether there was one."""
        async with self._alone():
            return await self._discard()

    async def swap(self) -> None:
        """Have the other in use from now on, and this one beside it. Raises `IndexUnavailable`: nothing changed."""
        async with self._alone():
            other = await self._beside()
            if other is None:
                raise LookupError("there is no other index")
            await self._current.close()
            await other.index.close()
            fingerprint = self.fingerprint
            try:
                await self._sites.swap()
                fingerprint = other.fingerprint
            finally:
                self._use(fingerprint)

    def _use(self, fingerprint: Fingerprint) -> None:
        self.fingerprint = fingerprint
        self._current = self._sites.current(fingerprint)
        self._other, self._looked = None, False

    async def _discard(self) -> bool:
        other = await self._beside()
        if other is not None:
            await other.index.close()
        self._other, self._looked = None, False
        await self._sites.discard()
        return other is not None

    async def _beside(self) -> Beside | None:
        async with self._looking:
            if not self._looked:
                self._other = await self._sites.other()
                self._looked = True
            return self._other

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        async with self._purging, self._gate.closed():
            yield
