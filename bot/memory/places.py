"""Where an index can be, as people name it, and opening it there to be read or to be filled.

`edge:FOLDER` is the embedded index, a URL the collection on a Qdrant server, `local:FOLDER` that of qdrant-client's
local mode, which keeps everything in memory.
"""

import asyncio
import shutil
import sqlite3
import threading
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import SecretStr, ValidationError

from bot.errors import RecollectError
from bot.memory import fingerprint
from bot.memory.fingerprint import Fingerprint
from bot.memory.index import VectorIndex
from bot.memory.migrate import Source
from bot.memory.reading import reading
from bot.memory.shard_copy import copy_shards, shards_in, unless
from bot.memory.shard_folders import dimensions_of, discard
from bot.settings import shown_url
from bot.settings_services import QdrantSettings

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient

_LOCAL_FILE = "meta.json"  # says which collections there are in local mode
STEP = 64  # points in a request, where nobody waits for an answer while they are encoded


class Kind(StrEnum):
    """What holds an index."""

    EDGE = "edge"
    LOCAL = "local"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Place:
    """An index at an absolute folder or a URL. Two places are the same whatever key opens them."""

    kind: Kind
    where: str
    collection: str = ""
    api_key: SecretStr = field(default=SecretStr(""), compare=False, repr=False)

    def __str__(self) -> str:
        if self.kind is Kind.SERVER:
            return f"{shown_url(self.where)} (collection {self.collection})"
        return f"{self.kind}:{self.where}"

    @property
    def folder(self) -> Path | None:
        """Where it lies on this machine."""
        return None if self.kind is Kind.SERVER else Path(self.where)


@dataclass(frozen=True, slots=True)
class Made:
    """What the vectors of an index are; the fingerprint is None for one that does not say."""

    dimensions: int
    fingerprint: Fingerprint | None


def parse(spec: str, collection: str, api_key: SecretStr) -> Place:
    """The place people mean. Raises `RecollectError`."""
    kind, _, rest = spec.partition(":")
    if kind in (Kind.EDGE, Kind.LOCAL) and rest:
        folder = str(Path(rest).expanduser().absolute())
        return Place(Kind(kind), folder, collection if kind == Kind.LOCAL else "")
    try:
        url = QdrantSettings(url=spec, collection=collection).url
    except ValidationError:
        url = ""
    if not url:
        raise RecollectError(f"{shown_url(spec)} is no place: name edge:FOLDER, local:FOLDER or a server's URL.")
    return Place(Kind.SERVER, url, collection, api_key)


@asynccontextmanager
async def open_source(place: Place, settings: QdrantSettings, aside: Path) -> AsyncIterator[tuple[Source, Made]]:
    """An index to be read, of which nothing is changed: what lies in a folder is copied to `aside` and read there.

    Raises `RecollectError` if there is none.
    """
    async with AsyncExitStack() as opened:
        there = place
        if place.folder is not None:
            opened.push_async_callback(asyncio.to_thread, discard, aside)
            await _copied(place, aside)
            there = replace(place, where=str(aside))
        site = await opened.enter_async_context(_site(there, settings))
        made = await site.made()
        if made is None:
            raise RecollectError(f"There are no memories in {place}.")
        if place.kind is Kind.EDGE:
            yield await opened.enter_async_context(reading(aside, made.dimensions)), made
        else:
            yield await opened.enter_async_context(_opened(site.index(made, read_only=True))), made


@asynccontextmanager
async def open_target(
    place: Place, settings: QdrantSettings, made: Made, step: int = STEP
) -> AsyncIterator[VectorIndex]:
    """An index to be filled with such vectors, made if there is none; a server is sent `step` points at once.

    Raises `RecollectError` if there is one of other vectors.
    """
    async with AsyncExitStack() as opened:
        site = await opened.enter_async_context(_site(place, settings))
        if there := await site.made():
            _refuse_other(made, there, place)
        yield await opened.enter_async_context(_opened(site.index(made, read_only=False, step=step)))


class _Site(Protocol):
    """What may be in a place."""

    async def made(self) -> Made | None:
        """What it is made of; None if nothing is there."""
        ...

    def index(self, made: Made, read_only: bool, step: int = STEP) -> VectorIndex:
        """The index there, not open yet."""
        ...


class _Shards:
    """The embedded index in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def made(self) -> Made | None:
        return await asyncio.to_thread(made_in, self._folder)

    def index(self, made: Made, read_only: bool, step: int = STEP) -> VectorIndex:
        from bot.memory.edge import EdgeIndex

        return EdgeIndex(self._folder, made.dimensions, fingerprint=made.fingerprint, lean=True)


class _Collection:
    """A collection, on a server or in local mode."""

    def __init__(self, client: "AsyncQdrantClient", settings: QdrantSettings) -> None:
        self._client = client
        self._settings = settings

    async def made(self) -> Made | None:
        from bot.memory.qdrant import current_collection, layout_of

        layout = await layout_of(self._client, await current_collection(self._client, self._settings.collection))
        return None if layout is None else Made(layout.dimensions, layout.fingerprint)

    def index(self, made: Made, read_only: bool, step: int = STEP) -> VectorIndex:
        from bot.memory.server import ServerIndex

        return ServerIndex(self._settings, made.dimensions, self._client, made.fingerprint, read_only, step)


@asynccontextmanager
async def _site(place: Place, settings: QdrantSettings) -> AsyncIterator[_Site]:
    if place.kind is Kind.EDGE:
        yield _Shards(Path(place.where))
        return
    update = {"collection": place.collection, "api_key": place.api_key}
    if place.kind is Kind.SERVER:
        from bot.memory.qdrant import connect

        settings = settings.model_copy(update=update | {"url": place.where})
        client = connect(settings)
    else:
        settings = settings.model_copy(update=update | {"url": ""})
        client = await asyncio.to_thread(_local, Path(place.where))
    try:
        yield _Collection(client, settings)
    finally:
        await client.close()


@asynccontextmanager
async def _opened(index: VectorIndex) -> AsyncIterator[VectorIndex]:
    try:
        await index.open()
        yield index
    finally:
        await index.close()


def _local(folder: Path) -> "AsyncQdrantClient":
    """qdrant-client's local mode in a folder, without what it says to those who would run a bot on it."""
    from qdrant_client import AsyncQdrantClient

    for said in ("Payload indexes have no effect", "Local mode is not recommended"):
        warnings.filterwarnings("ignore", said, UserWarning)
    try:
        return AsyncQdrantClient(path=str(folder), force_disable_check_same_thread=True)
    except RuntimeError as error:
        raise RecollectError(f"The folder {folder} is in use by another program.") from error
    except (OSError, ValueError, LookupError, sqlite3.Error) as error:
        raise RecollectError(f"The folder {folder} holds nothing that qdrant-client can open.") from error


async def _copied(place: Place, aside: Path) -> None:
    """`_copy` in a worker thread. Whoever stops it may remove the copy at once: nothing is added to it any more."""
    stopped = threading.Event()
    copying = asyncio.create_task(asyncio.to_thread(_copy, place, aside, stopped))
    try:
        await asyncio.shield(copying)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.wait({copying})
        copying.exception()  # that it was stopped
        raise


def _copy(place: Place, aside: Path, stopped: threading.Event) -> None:
    """Copy what lies in a folder, while nobody else has it open. Raises `RecollectError`, so when it is stopped."""
    folder = Path(place.where)
    if not folder.is_dir():
        raise RecollectError(
            f"There is no folder {folder}: name one that holds memories, such as the bot's data folder (edge:data)."
        )
    if (made_in(folder) is None) if place.kind is Kind.EDGE else not (folder / _LOCAL_FILE).exists():
        raise RecollectError(f"There are no memories in {place}.")  # and whatever else it is, it is not copied
    try:
        discard(aside)
        if place.kind is Kind.EDGE:
            copy_shards(folder, aside, stopped)
        else:
            copy = unless(stopped, shutil.copy2)
            shutil.copytree(folder, aside, ignore=shutil.ignore_patterns(aside.name), copy_function=copy)
    except OSError as error:
        raise RecollectError(
            f"{place} cannot be copied to {aside} to be read there: {error.strerror or error}."
        ) from error


def made_in(folder: Path) -> Made | None:
    """What the embedded index in a folder is made of; None if there is none. Raises `IndexUnavailable`."""
    shard = next(iter(shards_in(folder).values()), None)
    return None if shard is None else Made(dimensions_of(shard), fingerprint.read(folder))


def _refuse_other(made: Made, there: Made, place: Place) -> None:
    """Vectors of another model or size cannot be compared with those that are there, were they kept at all."""
    mine, its = made.fingerprint, there.fingerprint
    if made.dimensions != there.dimensions or (mine and its and mine != its):
        one, other = (m.fingerprint or f"vectors of size {m.dimensions}" for m in (made, there))
        raise RecollectError(
            f"The memories to move were made with {one}, those in {place} with {other}: name a place where nothing is "
            "yet, and use `recollect reindex` to change the model."
        )
