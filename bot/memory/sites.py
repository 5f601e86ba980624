"""Where the index in use lies, and beside it at most one other: one that is being filled, or the one before."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bot.errors import IndexUnavailable
from bot.memory import fingerprint as stamps
from bot.memory.fingerprint import Fingerprint
from bot.memory.index import VectorIndex
from bot.memory.shard_folders import fsync
from bot.settings import Settings

_NEXT, _PREVIOUS, _REMOVED = ".next", ".previous", ".removed"


@dataclass(frozen=True, slots=True)
class Beside:
    """The other index. `former`: it was in use before, and would be again after an undo."""

    index: VectorIndex
    fingerprint: Fingerprint
    former: bool


class Sites(Protocol):
    """Every method raises `IndexUnavailable`. None is called while another one runs."""

    def current(self, fingerprint: Fingerprint) -> VectorIndex:
        """The index in use, not open yet; it refuses to be opened if it is of another fingerprint."""
        ...

    async def stored(self) -> Fingerprint | None:
        """What the index in use says that it was made with."""
        ...

    async def other(self) -> Beside | None:
        """The index beside it, if there is one."""
        ...

    async def make(self, fingerprint: Fingerprint) -> None:
        """Have an empty one beside it, where there is none."""
        ...

    async def swap(self) -> None:
        """Have the other in use instead, at one instant; neither may be open."""
        ...

    async def discard(self) -> None:
        """Remove the other, which may not be open, if there is one."""
        ...


class EdgeSites:
    """The embedded index in `folder`, the one to come in `<folder>.next`, the one before in `<folder>.previous`.

    A swap is two renames. What a crash left between them is finished, or undone, by making this.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next, self._previous, self._removed = (
            folder.with_name(f"{folder.name}{suffix}") for suffix in (_NEXT, _PREVIOUS, _REMOVED)
        )
        if not folder.exists() and self._next.exists() and self._previous.exists():
            self._next.rename(folder)
        if not (self._next / stamps.FILE).exists():  # half made
            shutil.rmtree(self._next, ignore_errors=True)
        shutil.rmtree(self._removed, ignore_errors=True)

    def current(self, fingerprint: Fingerprint) -> VectorIndex:
        from bot.memory.edge import EdgeIndex

        return EdgeIndex(self._folder, fingerprint.embedding.dimensions, fingerprint=fingerprint)

    async def stored(self) -> Fingerprint | None:
        return stamps.read(self._folder)

    async def other(self) -> Beside | None:
        from bot.memory.edge import EdgeIndex

        folder = self._beside()
        fingerprint = stamps.read(folder) if folder else None
        if folder is None or fingerprint is None:
            return None
        index = EdgeIndex(folder, fingerprint.embedding.dimensions, fingerprint=fingerprint, lean=True)
        return Beside(index, fingerprint, former=folder == self._previous)

    async def make(self, fingerprint: Fingerprint) -> None:
        try:
            await asyncio.to_thread(stamps.write, self._next, fingerprint)
        except OSError as error:
            raise IndexUnavailable(f"{self._next} cannot be written ({error.strerror or error}).") from error

    async def swap(self) -> None:
        await asyncio.to_thread(self._swap)

    async def discard(self) -> None:
        await asyncio.to_thread(self._discard)

    def _beside(self) -> Path | None:
        return next((folder for folder in (self._next, self._previous) if folder.exists()), None)

    def _swap(self) -> None:
        coming, going = (self._next, self._previous) if self._next.exists() else (self._previous, self._next)
        try:
            self._folder.rename(going)
            fsync(self._folder.parent)
            coming.rename(self._folder)
            fsync(self._folder.parent)
        except OSError as error:
            if not self._folder.exists() and going.exists():
                going.rename(self._folder)
            raise IndexUnavailable(f"{self._folder} cannot be renamed ({error.strerror or error}).") from error

    def _discard(self) -> None:
        try:
            for folder in filter(Path.exists, (self._next, self._previous)):
                shutil.rmtree(self._removed, ignore_errors=True)
                folder.rename(self._removed)
                shutil.rmtree(self._removed)
        except OSError as error:
            raise IndexUnavailable(f"{error.filename} cannot be removed ({error.strerror or error}).") from error


def open_sites(settings: Settings, folder: Path) -> Sites:
    """Where the settings have the index: on their server, or embedded in this folder."""
    if settings.qdrant.url:
        from bot.memory.server_sites import ServerSites

        return ServerSites(settings.qdrant)
    return EdgeSites(folder)
