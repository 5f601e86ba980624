"""A backup: one zip of the database as of one moment, every point of the index with its keys, and a manifest.

The database comes first. A point that is written or removed while the index is read is put right by the
restore: points without a record are dropped, records without a point are indexed again.
"""

import hashlib
import os
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self

from bot.errors import RecollectError
from bot.memory.index import VectorIndex
from bot.model import EmbeddingModel, Report, utcnow
from bot.storage import schema
from bot.storage.archive import Archive
from bot.storage.database import FILE, Database
from bot.storage.state import StateStore
from bot.upkeep.archives import MANIFEST, Manifest, Part, part_of
from bot.upkeep.journal import STATE
from bot.upkeep.points import pack
from bot.upkeep.threads import in_thread

_PAGE = 32  # an embedded index holds the GIL for 10 ms to read so many points with their keys
_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup holds, and its size in bytes."""

    messages: int
    facts: int
    points: int
    size: int


class Backup:
    """Writes backups while everything else goes on."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        index: VectorIndex,
        embedding: Callable[[], EmbeddingModel],
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        self._database = database
        self._folder = folder
        self._archive = Archive(database)
        self._state = StateStore(database)
        self._index = index
        self._embedding = embedding
        self._clock = clock

    async def write(self, file: Path, replace: bool, report: Report) -> BackedUp:
        """Write an archive to `file`: whole and on disk when this returns, or not there at all.

        Raises `RecollectError` if the file exists and may not be replaced, or cannot be written, and
        `ServiceUnavailable` if the database or the index does not answer.
        """
        unfinished, copy = file.with_name(f"{file.name}.partial"), file.with_name(f"{file.name}.partial-db")
        try:
            _refuse(file, self._folder, replace)
        except OSError as error:
            raise _unwritable(file, error) from error
        try:
            manifest = await self._write(unfinished, copy, report)
            size = await in_thread(_put_in_place, unfinished, file)
        except OSError as error:
            raise _unwritable(file, error) from error
        finally:
            _remove(unfinished, copy)
        return BackedUp(manifest.messages, manifest.facts, manifest.points, size)

    async def _write(self, archive: Path, copy: Path, report: Report) -> Manifest:
        created_at, embedding = self._clock(), self._embedding()
        held, journal = await self._archive.held(), await self._state.get(STATE)
        await in_thread(_begin_copy, copy)
        await self._database.snapshot(copy, partial(report, "Copying the database"))
        with _Writer(archive, created_at) as writer:
            await writer.add(FILE, _pieces(copy, report), compress=True)
            _remove(copy)
            guilds = [None, *await self._archive.guilds()]
            counts = {guild_id: await self._index.count(guild_id) for guild_id in guilds}
            points = _Points(self._index, sum(counts.values()), report)
            for guild_id in filter(counts.get, guilds):
                await writer.add(part_of(guild_id), points.of(guild_id), compress=False)
            if self._embedding() != embedding:
                raise RecollectError("The embedding model was changed while the index was read: repeat the backup.")
            manifest = Manifest(
                created_at=created_at,
                revision=schema.revisions()[-1],
                provider=embedding.provider,
                embedding_model=embedding.name,
                dimensions=embedding.dimensions,
                journal=journal,
                messages=held.messages,
                facts=held.facts,
                points=points.done,
                files=writer.parts,
            )
            await writer.add(MANIFEST, _one(manifest.model_dump_json(indent=2).encode()), compress=True)
        return manifest


class _Points:
    """Reads an index page by page."""

    def __init__(self, index: VectorIndex, total: int, report: Report) -> None:
        self._index = index
        self._total = total
        self._report = report
        self.done = 0

    async def of(self, guild_id: int | None) -> AsyncIterator[bytes]:
        """A guild's points, packed."""
        following: str | None = None
        while True:
            points, following = await self._index.scroll(guild_id, following, _PAGE, keys=True)
            yield await in_thread(pack, points)
            self.done += len(points)
            self._report("Reading the index", self.done, max(self.done, self._total))
            if following is None:
                return


class _Writer:
    """A zip written piece by piece in a thread; `parts` says what is in it so far."""

    def __init__(self, path: Path, at: datetime) -> None:
        self._path = path
        self._at = at.timetuple()[:6]
        self.parts: dict[str, Part] = {}

    def __enter__(self) -> Self:
        self._file = open(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b")
        self._zip = zipfile.ZipFile(self._file, "w")
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._zip.close()

    async def add(self, name: str, pieces: AsyncIterator[bytes], compress: bool) -> None:
        """A file with these pieces as its content."""
        entry = zipfile.ZipInfo(name, self._at)
        entry.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        entry.external_attr = 0o600 << 16
        digest, size = hashlib.sha256(), 0
        with self._zip.open(entry, "w", force_zip64=True) as part:
            async for piece in pieces:
                await in_thread(part.write, piece)
                await in_thread(digest.update, piece)
                size += len(piece)
        self.parts[name] = Part(sha256=digest.hexdigest(), size=size)


def _unwritable(file: Path, error: OSError) -> RecollectError:
    reason = error.strerror or error
    return RecollectError(f"The backup {file} cannot be written ({reason}): name a place the bot's user may write to.")


def _refuse(file: Path, folder: Path, replace: bool) -> None:
    if file.absolute().is_relative_to(folder.absolute()):
        raise RecollectError(f"A backup must lie outside the data folder {folder}: name another place.")
    if file.is_dir():
        raise RecollectError(f"{file} is a folder: name a file in it.")
    if file.exists() and not replace:
        raise RecollectError(f"{file} exists already: name another file, or add --force to replace it.")


def _remove(*files: Path) -> None:
    for file in files:
        with suppress(OSError):  # why it cannot be removed is why it could not be written
            file.unlink()


def _begin_copy(path: Path) -> None:
    """An empty file for its owner alone, instead of what a crash may have left there."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


async def _pieces(path: Path, report: Report) -> AsyncIterator[bytes]:
    done = 0
    with open(path, "rb") as file:  # noqa: ASYNC230  (opening takes no time, reading is what a thread does)
        total = os.fstat(file.fileno()).st_size
        while piece := await in_thread(file.read, _PIECE):
            yield piece
            done += len(piece)
            report("Packing the database", done >> 20, total >> 20)


async def _one(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


def _put_in_place(unfinished: Path, file: Path) -> int:
    """On disk first, then under its name: no crash leaves part of an archive there. Returns its size."""
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
        size = os.fstat(written.fileno()).st_size
    unfinished.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return size
