"""Giving back the resident pages of mapped files, and reading ahead those needed soon."""

import mmap
import os
import resource
from pathlib import Path

from bot.memory.resident import let_go, page_out, read_ahead

SIZE = 32 * 2**20


def _resident() -> int:
    """Bytes of mapped files in this process's resident set (proc(5))."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * mmap.PAGESIZE


def test_what_is_on_disk_is_given_back_and_still_holds(tmp_path: Path) -> None:
    """Written pages leave the resident set once they are on disk, and read as they were."""
    words = os.urandom(2**20) * (SIZE // 2**20)
    with (tmp_path / "vectors.mmap").open("w+b") as file:
        file.truncate(SIZE)
        with mmap.mmap(file.fileno(), SIZE) as mapped:
            mapped[:] = words
            os.fsync(file.fileno())
            before = _resident()
            page_out(tmp_path, "elsewhere")
            assert _resident() > before - SIZE // 2
            page_out(tmp_path, "vectors")
            assert _resident() < before - SIZE // 2
            assert mapped[:] == words


def test_what_is_let_go_is_not_resident_and_nothing_is_lost(tmp_path: Path) -> None:
    """Pages that are not even on disk yet leave the resident set, but not those of a private mapping."""
    path = tmp_path / "vectors.mmap"
    path.write_bytes(bytes(SIZE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), SIZE) as shared:
        with mmap.mmap(file.fileno(), mmap.PAGESIZE, access=mmap.ACCESS_COPY) as private:
            shared[:] = words = os.urandom(2**20) * (SIZE // 2**20)
            private[:] = words[: mmap.PAGESIZE][::-1]
            before = _resident()
            let_go(tmp_path)
            assert _resident() < before - SIZE // 2
            assert shared[:] == words
            assert private[:] == words[: mmap.PAGESIZE][::-1]


def test_nobody_waits_for_the_disk_after_reading_ahead(tmp_path: Path) -> None:
    """A mapping of a file that had left the page cache reads all of it without a fault that goes to disk."""
    path = tmp_path / "codes.mmap"
    path.write_bytes(os.urandom(2**20) * (SIZE // 2**20))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        read_ahead([path])
        with mmap.mmap(file.fileno(), SIZE, prot=mmap.PROT_READ) as mapped:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
            assert sum(mapped[:: mmap.PAGESIZE]) > 0
            assert resource.getrusage(resource.RUSAGE_SELF).ru_majflt == before
