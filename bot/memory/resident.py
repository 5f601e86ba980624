"""Pages of mapped files: those read again soon, and those that are not."""

import ctypes
import os
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

_MAPS = Path("/proc/self/maps")
_PAGEOUT = 21  # MADV_PAGEOUT of madvise(2), since Linux 5.4; it never changes what a page holds
_DONTNEED = 4  # MADV_DONTNEED, which changes nothing either where the mapping is a shared one
_PIECE = 1 << 20  # bytes


def read_ahead(files: Iterable[Path]) -> None:
    """Have files in the page cache, so that who reads them through a mapping does not wait for the disk.

    Of a file with room at its end only as much is read as is on disk.
    """
    piece = bytearray(_PIECE)
    for path in files:
        with path.open("rb", buffering=0) as file:
            left = os.fstat(file.fileno()).st_blocks * 512  # as stat(2) counts, whatever the file system does
            while left > 0 and (read := file.readinto(piece)):
                left -= read


def page_out(folder: Path, *parts: str) -> None:
    """Give back the resident pages of the mapped files under `folder` in whose path one of the `parts` is.

    What was written through a mapping stays resident until memory is short. Only pages that are on disk
    already are given back. It is advice: elsewhere than on Linux nothing happens, and no failure matters.
    """
    _advise(_PAGEOUT, folder, parts)


def let_go(folder: Path) -> None:
    """Have no page of the mapped files under `folder` in this process, as `page_out`; all stay in the page cache.

    So it costs next to nothing to read them again, until memory is short.
    """
    _advise(_DONTNEED, folder, ("/",))


def _advise(advice: int, folder: Path, parts: Sequence[str]) -> None:
    if sys.platform != "linux":
        return
    for line in _MAPS.read_text().splitlines():
        if f" {folder.absolute()}/" in line and any(part in line for part in parts):
            addresses, permissions, _ = line.split(maxsplit=2)
            if permissions.endswith("s"):
                start, end = (int(address, 16) for address in addresses.split("-"))
                _libc().madvise(start, end - start, advice)


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return libc
