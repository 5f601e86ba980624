"""A copy of an embedded index, to be read in its place: Edge changes a folder's files by merely opening it.

It settles what its log still holds, and rewrites the files that say what it has settled. Nobody else may write to the
index while it is copied.
"""

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from bot.memory import fingerprint
from bot.memory.checkpoint import UNMAPPED
from bot.memory.shard_folders import ShardFolders, size

_PIECE = 2**16


def shards_in(root: Path) -> dict[str, Path]:
    """The folder that counts of each shard, by its name. Any other folder there is somebody else's."""
    folders = ShardFolders(root)
    names = (name for name in folders.names() if name == UNMAPPED or name.isdecimal())
    return {name: folder for name in names if (folder := folders.current(name))}


def copy_shards(root: Path, aside: Path, stopped: threading.Event) -> None:
    """Copy each shard's folder that counts to `aside`, which must not exist.

    Raises `OSError`, so once it is `stopped`, and `IndexUnavailable` if the disk has not room for it.
    """
    shards = shards_in(root)
    ShardFolders(aside).refuse_if_full(sum(size(folder) for folder in shards.values()))
    aside.mkdir(0o700, parents=True)
    if (stamp := root / fingerprint.FILE).exists():
        shutil.copyfile(stamp, aside / fingerprint.FILE)
    for name, folder in shards.items():
        shutil.copytree(folder, aside / name, copy_function=unless(stopped, _copy_file))


def unless(stopped: threading.Event, copy: Callable[[str, str], object]) -> Callable[[str, str], object]:
    """`copy` of a file that raises `OSError` once it is stopped, for `shutil.copytree`."""

    def copied(source: str, target: str) -> object:
        if stopped.is_set():
            raise InterruptedError(errno.EINTR, "stopped", target)
        return copy(source, target)

    return copied


def _copy_file(source: str, target: str) -> None:
    """Edge's files are mostly holes, which stay holes."""
    empty = bytes(_PIECE)
    with open(source, "rb", buffering=0) as read, open(target, "xb", buffering=0) as written:
        size = os.fstat(read.fileno()).st_size
        written.truncate(size)
        for start, end in _data(read.fileno(), size):
            for position in range(start, end, _PIECE):
                piece = os.pread(read.fileno(), min(_PIECE, end - position), position)
                if piece != empty[: len(piece)]:
                    os.pwrite(written.fileno(), piece, position)


def _data(file: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of an open file that are no holes, as far as the system can tell."""
    end = 0 if hasattr(os, "SEEK_DATA") else size
    if end:
        yield 0, end
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to its end
                return
            raise
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, end
