"""Taking removed text out of the database's file, while others read and write.

`secure_delete` overwrites rows as they are deleted, and yet three places keep copies:
- segments of a full-text index, until they are merged (https://www.sqlite.org/fts5.html#the_merge_command),
- the write-ahead log, until a checkpoint truncates it,
- the unused middle of b-tree pages: cells that were moved to another page leave a copy behind, which
  SQLite overwrites only when it needs the space (https://www.sqlite.org/fileformat2.html#b_tree_pages).
"""

import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, text

FULL_TEXT = ("message_fts", "fact_fts")
_MERGED_PAGES = 200  # in one transaction
_WIPED_PAGES = 2048  # while nobody writes
_PATIENCE = 0.2  # seconds in which those who read the log may come to their end

_HEADER_BYTES = {2: 12, 5: 12, 10: 8, 13: 8}  # of each type of b-tree page
_FILE_HEADER_BYTES = 100  # before the page header of the first page
_PAGE_HEADER = struct.Struct(">BHHH")  # type, first free block, number of cells, where their content starts
_TOTAL_CHANGES = text("SELECT total_changes()")


class FileInUse(Exception):
    """Others read or write the database just now."""


def merge(connection: Connection, full_text: str, begin: bool) -> bool:
    """Merge a few pages of all segments of a full-text index into one; whether there is more to do."""
    before = connection.execute(_TOTAL_CHANGES).scalar_one()
    command = f"INSERT INTO {full_text}({full_text}, rank) VALUES ('merge', ?)"  # noqa: S608  (our own name)
    connection.exec_driver_sql(command, (-_MERGED_PAGES if begin else _MERGED_PAGES,))
    changes: int = connection.execute(_TOTAL_CHANGES).scalar_one() - before
    return changes >= 2


def clean(path: Path) -> None:
    """Take removed text out of a database that nobody else uses."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        for name in FULL_TEXT:
            connection.execute(f"INSERT INTO {name}({name}) VALUES ('optimize')")  # noqa: S608  (our own name)
    with closing(Wiper(path)) as wiper:
        page: int | None = 0
        while page is not None:
            page = wiper.wipe(page)


class Wiper:
    """Overwrites the unused middle of pages in place: SQLite neither reads nor expects anything there.

    Closing any handle of the file would drop SQLite's own locks of it, for they are the process's. So
    this one is to stay open until the last connection is closed.
    """

    def __init__(self, path: Path) -> None:
        self._log = path.with_name(f"{path.name}-wal")
        self._connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        self._page_bytes: int = self._connection.execute("PRAGMA page_size").fetchone()[0]
        self._nothing = bytes(self._page_bytes)
        self._file = os.open(path, os.O_RDWR)

    def wipe(self, first: int) -> int | None:
        """Empty the log and wipe some pages, from number `first` (0) on: the next one, None at the end.

        No connection of this process may keep pages that it could write later. Raises `FileInUse` while
        someone reads from the log, or another process writes.
        """
        if self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise FileInUse
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if self._log.stat().st_size:
                raise FileInUse
            size = self._page_bytes
            pages = os.pread(self._file, _WIPED_PAGES * size, first * size)
            for start in range(0, len(pages), size):
                self._wipe_page(first * size + start, pages[start : start + size])
            os.fsync(self._file)
        finally:
            self._connection.execute("ROLLBACK")
        return first + _WIPED_PAGES if len(pages) == _WIPED_PAGES * size else None

    def close(self) -> None:
        """Let go of the file. No other connection may be open."""
        self._connection.close()
        os.close(self._file)

    def _wipe_page(self, at: int, page: bytes) -> None:
        start, end = _unused(page, _FILE_HEADER_BYTES if at == 0 else 0)
        if page[start:end] != self._nothing[: end - start]:
            os.pwrite(self._file, self._nothing[: end - start], at + start)


def _unused(page: bytes, header: int) -> tuple[int, int]:
    """Start and end of the unused bytes of a b-tree page, between the list of its cells and their content.

    None of any other page, which begins with a page number: its first byte is a type only in files of over 128 GB.
    """
    kind, _, cells, content = _PAGE_HEADER.unpack_from(page, header)
    start = header + _HEADER_BYTES.get(kind, len(page)) + 2 * cells
    end = content or 65536
    return (start, end) if start <= end <= len(page) else (0, 0)
