"""The index on a Qdrant server and the one beside it: two collections, and an alias that says which is in use.

The collection of the settings is the first. Those made later are `<collection>-2`, `<collection>-3`, …, and
`<collection>-current` is an alias of the one in use once that is not the first: an alias cannot have the name of a
collection, and other clients go on reading the collection they were told to read.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qdrant_client import AsyncQdrantClient, models

from bot.errors import IndexUnavailable
from bot.memory.fingerprint import Fingerprint
from bot.memory.index import VectorIndex
from bot.memory.qdrant import alias_of, answer, connect, create, current_collection, fingerprint_of
from bot.memory.server import ServerIndex
from bot.memory.sites import Beside
from bot.settings_services import QdrantSettings

_OF = "recollect_of"
"""Among the metadata of a collection that a reindex made: the collection of the settings."""


class ServerSites:
    """See `Sites`. Collections that only look as if they were ours are left alone."""

    def __init__(self, settings: QdrantSettings) -> None:
        self._settings = settings
        self._first = settings.collection

    def current(self, fingerprint: Fingerprint) -> VectorIndex:
        return ServerIndex(self._settings, fingerprint.embedding.dimensions, fingerprint=fingerprint)

    async def stored(self) -> Fingerprint | None:
        async with self._connected() as client:
            name = await current_collection(client, self._first)
            if not await answer(client.collection_exists(name)):
                return None
            return fingerprint_of(await answer(client.get_collection(name)))

    async def other(self) -> Beside | None:
        async with self._connected() as client:
            current = await current_collection(client, self._first)
            for name in await self._others(client, current):
                if (fingerprint := fingerprint_of(await answer(client.get_collection(name)))) is not None:
                    size = fingerprint.embedding.dimensions
                    index = ServerIndex(self._settings, size, fingerprint=fingerprint, collection=name)
                    return Beside(index, fingerprint, former=self._number(name) < self._number(current))
        return None

    async def make(self, fingerprint: Fingerprint) -> None:
        async with self._connected() as client:
            numbers = [self._number(one.name) for one in (await answer(client.get_collections())).collections]
            name = f"{self._first}-{max(1, *numbers) + 1}"
            await create(client, name, fingerprint.embedding.dimensions, fingerprint, {_OF: self._first})
            if fingerprint_of(await answer(client.get_collection(name))) != fingerprint:
                await answer(client.delete_collection(name))
                raise IndexUnavailable("This Qdrant server cannot tell two indexes apart: update it to 1.16 or later.")

    async def swap(self) -> None:
        async with self._connected() as client:
            current, alias = await current_collection(client, self._first), alias_of(self._first)
            [name, *_] = await self._others(client, current)
            known = {one.alias_name for one in (await answer(client.get_aliases())).aliases}
            free = [models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))]
            take = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=alias))
            await answer(client.update_collection_aliases([*(free if alias in known else []), take]))

    async def discard(self) -> None:
        async with self._connected() as client:
            for name in await self._others(client, await current_collection(client, self._first)):
                await answer(client.delete_collection(name))

    async def _others(self, client: AsyncQdrantClient, current: str) -> list[str]:
        """The collections of ours that are not in use, the newest first."""
        names = [one.name for one in (await answer(client.get_collections())).collections]
        found = []
        for name in sorted(names, key=self._number, reverse=True):
            if name != current and self._number(name):
                metadata = (await answer(client.get_collection(name))).config.metadata or {}
                if name == self._first or metadata.get(_OF) == self._first:
                    found.append(name)
        return found

    def _number(self, name: str) -> int:
        """1 for the first, n for what is named like one made later, 0 for any other collection."""
        match = re.fullmatch(rf"{re.escape(self._first)}(?:-(\d{{1,9}}))?", name)
        return int(match[1] or 1) if match else 0

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncQdrantClient]:
        client = connect(self._settings)
        try:
            yield client
        finally:
            await client.close()
