"""A copy of a SQLite database as of one moment, made while others write. It holds nothing that was removed before.

https://www.sqlite.org/backup.html: a backup begins anew whenever another connection writes. Within a read
transaction the source shows one state throughout, so this one does not.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bot.errors import StorageUnavailable
from bot.storage import scrub

_PAGES = 256  # of 4 kB, copied at a time

Progress = Callable[[int, int], None]


async def copy(source: Path, target: Path, progress: Progress) -> None:
    """Copy in a thread; `progress` is told pages done and their total. Being cancelled stops the copying.

    Raises `StorageUnavailable` if the source cannot be read or the target not be written.
    """
    loop, stopped = asyncio.get_running_loop(), threading.Event()

    def note(_: int, remaining: int, total: int) -> None:
        if stopped.is_set():
            raise InterruptedError
        loop.call_soon_threadsafe(progress, total - remaining, total)

    copying = asyncio.ensure_future(asyncio.to_thread(_copy, source, target, note))
    try:
        await asyncio.shield(copying)
    except sqlite3.Error as error:
        raise StorageUnavailable(f"The database could not be copied: {error}.") from error
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.gather(copying, return_exceptions=True)
        raise


def _copy(source: Path, target: Path, note: Callable[[int, int, int], None]) -> None:
    with (
        closing(sqlite3.connect(source, isolation_level=None)) as held,
        closing(sqlite3.connect(target, isolation_level=None)) as copied,
    ):
        held.execute("BEGIN")
        held.execute("SELECT count(*) FROM sqlite_master").fetchone()
        held.backup(copied, pages=_PAGES, progress=note)
    scrub.clean(target)
