"""Where the shards' folders are: which of them counts, and what survives a crash or a power cut.

A guild's shard lies in `<name>`, and once it was rewritten in `<name>.2`, `<name>.3`, …: the lowest counts,
so that a copy takes its place at the instant in which the folder before it is renamed. `<name>.new` is half
made, and what ends in `.removed` is on its way out.
"""

import json
import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bot.errors import IndexUnavailable
from bot.memory.index import Key

_HALF_MADE, _HALF_REMOVED = ".new", ".removed"
_RESERVE = 64 * 2**20  # bytes that must be free before a write


class ShardFolders:
    """The folders under `root`. Raises `OSError` as the file system does, unless said otherwise."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: int | None = None  # a descriptor, which keeps the folder's number from being given to another
        self._learning = threading.Lock()

    def close(self) -> None:
        """Let go of the root."""
        if self._known is not None:
            os.close(self._known)
            self._known = None

    def refuse_another(self) -> None:
        """Raise `IndexUnavailable` if the root is gone or another folder lies there, as where a disk was unmounted.

        In that folder no shard would be found, and a deletion would seem done that was not. The first call that finds
        a folder learns which is right, until `close`.
        """
        try:
            same = os.path.samestat(os.fstat(self._first()), self.root.stat())
        except OSError:
            same = self._known is None
        if not same:
            raise IndexUnavailable(
                f"The index folder {self.root} is gone, or another has taken its place: put it back, or start again."
            )

    def _first(self) -> int:
        with self._learning:
            if self._known is None:
                self._known = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
            return self._known

    def names(self) -> list[str]:
        """Whose shards exist."""
        return sorted({name for name, generation in map(_place, self._all()) if generation})

    def generations(self, name: str) -> list[Path]:
        """A shard's folder, and after it the copies that were to follow on it."""
        return sorted((f for f in (self.root / name, *self.root.glob(f"{name}.*")) if _is_one(f)), key=_place)

    def current(self, name: str) -> Path | None:
        """The folder that counts."""
        first = self.root / name
        return first if first.is_dir() else next(iter(self.generations(name)), None)

    def unfinished(self) -> dict[str, list[Path]]:
        """What was left behind of each shard, or is being made."""
        left: defaultdict[str, list[Path]] = defaultdict(list)
        counting: set[str] = set()
        for folder in sorted(self._all(), key=_place):
            name, generation = _place(folder)
            if generation and name not in counting:
                counting.add(name)
            elif generation or folder.suffix in {_HALF_MADE, _HALF_REMOVED}:
                left[name].append(folder)
        return left

    def tidy(self, name: str) -> None:
        """Remove what was left behind of a shard that nobody is making or copying."""
        for folder in self.unfinished().get(name, ()):
            discard(folder)

    def half_made(self, name: str) -> Path:
        """A free place to make a shard in, before it is moved to where it belongs."""
        return _free(self.root / f"{name}{_HALF_MADE}")

    def next_to(self, folder: Path) -> Path:
        """A free place for the copy that is to follow on a folder."""
        name, generation = _place(folder)
        return _free(self.root / f"{name}.{generation + 1}")

    def retire(self, folder: Path) -> Path:
        """Have a folder count no more from this instant; where it is now, to be discarded."""
        return folder.rename(_free(folder.with_name(f"{folder.name}{_HALF_REMOVED}")))

    def refuse_if_full(self, needed: int = 0) -> None:
        """Qdrant Edge writes into mapped files: without room on the disk that ends the process, with SIGBUS.

        Raises `IndexUnavailable` if there is not room for `needed` bytes and some more.
        """
        place = next(path for path in (self.root, *self.root.absolute().parents) if path.exists())
        free, needed = shutil.disk_usage(place).free, needed + _RESERVE
        if free < needed:
            raise IndexUnavailable(
                f"Only {free >> 20} MB are free in {place}: the index needs {needed >> 20} to write."
            )

    def _all(self) -> list[Path]:
        return [folder for folder in self.root.iterdir() if folder.is_dir()] if self.root.is_dir() else []


def dimensions_of(shard: Path) -> int:
    """The size of the vectors in a shard's folder. Raises `IndexUnavailable`."""
    try:
        stored: int = json.loads((shard / "edge_config.json").read_text())["vectors"][Key.DENSE.value]["size"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise IndexUnavailable(
            f"The index in {shard} is damaged: move it away and start again, and what is held is indexed anew."
        ) from error
    return stored


def size(folder: Path) -> int:
    """The bytes that a folder takes on the disk: Edge's files are mostly holes."""
    total = 0
    for path in _tree(folder):
        with suppress(FileNotFoundError):  # Edge prepares the log's next file in a thread of its own
            total += path.stat().st_blocks * 512
    return total


def fsync(*paths: Path) -> None:
    """Put files and folders on disk. Unlike Edge's own flush this lets other threads work meanwhile."""
    for path in paths:
        with suppress(FileNotFoundError):  # as above
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def fsync_all(folder: Path) -> None:
    """Put everything in a folder on disk."""
    fsync(*_tree(folder))


def discard(folder: Path) -> None:
    """Remove a folder, which may be gone already."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise OSError(f"{folder} cannot be removed")


def _free(folder: Path) -> Path:
    discard(folder)
    return folder


def _tree(folder: Path) -> Iterator[Path]:
    for place, _, files in os.walk(folder):
        yield from (Path(place), *(Path(place, file) for file in files))


def _place(folder: Path) -> tuple[str, int]:
    """The name and generation of a shard's folder; generation 0 stands for what is none."""
    name, _, generation = folder.name.partition(".")
    if not generation:
        return name, 1
    return name, int(generation) if generation.isdecimal() else 0


def _is_one(folder: Path) -> bool:
    return _place(folder)[1] > 0 and folder.is_dir()
