"""The database file: opened once per process, one writer, a few readers.

SQLite runs in WAL mode with `synchronous=FULL`: what a commit acknowledged survives a power cut.
Transactions are begun explicitly, as SQLAlchemy's SQLite dialect documents it, because Python's
driver would begin them too late.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Self, TypeVar

import portalocker
import stamina
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from bot.errors import DataFolderError, StorageUnavailable
from bot.storage import driver, schema, scrub, snapshot

FILE = "recollect.db"
LOCK_FILE = "recollect.lock"
READERS = 4
_HANDING_BACK = 3.0  # seconds that transactions at work have at the end
_WIPING_ATTEMPTS = 20
_WIPING_PAUSE = 0.25  # seconds between them
_OPENING_ATTEMPTS = 6  # while it is locked

_PRAGMAS = (
    "busy_timeout=5000",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",
    "wal_autocheckpoint=4000",  # pages, 16 MB: with 1,000 a large retraction copies the same pages again and again
    "temp_store=MEMORY",  # text never spills into temporary files
)
_OPTIONS: dict[str, Any] = {
    "max_overflow": 0,
    "hide_parameters": True,  # parameters are people's words, and exceptions are logged
    "connect_args": {"isolation_level": None},
}
_ASYNC = _OPTIONS | {"connect_args": {**_OPTIONS["connect_args"], "async_creator_fn": driver.connect}}

R = TypeVar("R")


class Database:
    """The one way to the data folder's database. Make it with `open`."""

    def __init__(self, engine: Engine, lock: portalocker.Lock[IO[str]]) -> None:
        self._engine = engine
        self._path = Path(engine.url.database or "")
        self._lock = lock
        url = engine.url.set(drivername="sqlite+aiosqlite")
        self._writer = create_async_engine(url, pool_size=1, **_ASYNC)
        self._readers = create_async_engine(url, pool_size=READERS, **_ASYNC)
        _set_up(self._writer.sync_engine, "BEGIN IMMEDIATE")
        _set_up(self._readers.sync_engine, "BEGIN")
        self._looks = create_engine(engine.url, pool_size=READERS, pool_use_lifo=True, **_OPTIONS)
        _set_up(self._looks, "BEGIN")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage")
        self._looking = ThreadPoolExecutor(READERS, thread_name_prefix="looking")
        self._writing = asyncio.Lock()
        self._closed = False
        self.writes = 0  # transactions so far: while this stands still, nothing has changed
        self._wiper: scrub.Wiper | None = None

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Open or create the folder's database and bring its schema up to date.

        Raises `DataFolderError` if the folder cannot be written, another process holds it, or its
        database is damaged or of a newer version.
        """
        return cls(*await asyncio.to_thread(_open, folder))

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write: one at a time, committed on leaving, rolled back on an exception.

        Raises `StorageUnavailable` if the database is locked by another process or the disk is full.
        """
        async with self._writing:
            self._refuse_if_closed()
            try:
                with _reported():
                    async with self._writer.begin() as connection:
                        yield connection
            finally:
                self.writes += 1

    async def transact(self, work: Callable[[Connection], R]) -> R:
        """Run `work` as one transaction that may write, in a single trip to a worker thread. Raises as `write`.

        For transactions of many rows or statements: each statement of `write` costs several trips
        through the event loop, together ten times what the group commit of a few messages takes.
        """

        def trip() -> R:
            with _reported(), self._engine.begin() as connection:
                return work(connection)

        async with self._writing:
            self._refuse_if_closed()
            try:
                return await self._in_thread(trip)
            finally:
                self.writes += 1

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads: it sees one committed state of the database throughout."""
        self._refuse_if_closed()
        with _reported():
            async with self._readers.begin() as connection:
                yield connection

    async def look(self, work: Callable[[Connection], R]) -> R:
        """Run `work` as one transaction that only reads, in a single trip to a worker thread.

        For those somebody waits for: each of the several trips of `read` queues behind whatever else is going on.
        Raises `StorageUnavailable` as `write` does.
        """

        def trip() -> R:
            with _reported(), self._looks.begin() as connection:
                return work(connection)

        self._refuse_if_closed()
        return await asyncio.get_running_loop().run_in_executor(self._looking, trip)

    async def snapshot(self, path: Path, progress: snapshot.Progress) -> None:
        """Copy the database as it is now to `path`, in steps, while others read and write.

        `progress` is told pages done and their total. Raises `StorageUnavailable` as `write` does.
        """
        self._refuse_if_closed()
        await snapshot.copy(self._path, path, progress)

    async def scrub(self) -> None:
        """Leave no byte of what was removed or replaced before in the database's files.

        Others read and write between short steps. Raises `StorageUnavailable` if readers leave the
        write-ahead log no moment to be emptied; it can be repeated.
        """
        for name in scrub.FULL_TEXT:
            more = await self.transact(partial(scrub.merge, full_text=name, begin=True))
            while more:
                more = await self.transact(partial(scrub.merge, full_text=name, begin=False))
        page: int | None = 0
        while page is not None:
            page = await self._wipe(page)

    async def _wipe(self, page: int) -> int | None:
        for _ in range(_WIPING_ATTEMPTS):
            async with self._writing:
                self._refuse_if_closed()
                await _handed_back(self._writer)
                await self._writer.dispose()  # with the pages that it keeps
                with suppress(scrub.FileInUse):
                    return await self._in_thread(partial(self._wipe_pages, page))
            await asyncio.sleep(_WIPING_PAUSE)
        raise StorageUnavailable("The database could not be scrubbed: it is being read all the time.")

    def _let_go(self) -> None:
        self._engine.dispose()
        if self._wiper is not None:
            self._wiper.close()

    def _wipe_pages(self, page: int) -> int | None:
        self._engine.dispose()
        try:
            self._wiper = self._wiper or scrub.Wiper(self._path)
            return self._wiper.wipe(page)
        except (sqlite3.Error, OSError) as error:
            raise StorageUnavailable(f"The database could not be scrubbed: {error}.") from error

    async def _in_thread(self, trip: Callable[[], R]) -> R:
        running = asyncio.get_running_loop().run_in_executor(self._thread, trip)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})  # no one else may write until the thread is done
            raise

    def _refuse_if_closed(self) -> None:
        if self._closed:  # the engines would open new connections, which nobody closes
            raise StorageUnavailable("The database is closed.")

    async def ping(self) -> None:
        """Return if the database answers; raises `StorageUnavailable` otherwise."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Wait for those who write or read, close every connection and let go of the folder."""
        async with self._writing:
            if self._closed:
                return
            self._closed = True
            with suppress(TimeoutError):
                async with asyncio.timeout(_HANDING_BACK):
                    await _handed_back(self._readers)
                    await _handed_back(self._writer)
            await self._readers.dispose()
            await self._writer.dispose()
            await self._in_thread(self._let_go)
            await asyncio.to_thread(self._thread.shutdown)
            await asyncio.to_thread(self._looking.shutdown)
            self._looks.dispose()
        self._lock.release()


async def _handed_back(engine: AsyncEngine) -> None:
    """Wait until nobody has a connection; who is cancelled hands it back a moment later, in another task."""
    pool = engine.sync_engine.pool
    while isinstance(pool, QueuePool) and pool.checkedout():  # noqa: ASYNC110  (a pool has nothing to await)
        await asyncio.sleep(0.01)


def holds_data(folder: Path) -> bool:
    """Whether there is a database in this folder."""
    return (folder / FILE).exists()


@contextmanager
def _reported() -> Iterator[None]:
    """Tell a database that cannot be used (locked, full, damaged) from a statement that is wrong."""
    try:
        yield
    except DatabaseError as error:
        if not isinstance(error, OperationalError) and type(error) is not DatabaseError:
            raise
        raise StorageUnavailable(f"The database could not be used: {error.orig}.") from error


def _set_up(engine: Engine, begin: str) -> None:
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))


def _configure(connection: DBAPIConnection, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _open(folder: Path) -> tuple[Engine, portalocker.Lock[IO[str]]]:
    lock = hold(folder)
    try:
        return _prepare(folder / FILE), lock
    except BaseException:
        lock.release()
        raise


def hold(folder: Path) -> portalocker.Lock[IO[str]]:
    """Create the folder if need be, and keep every other process out of it."""
    try:
        folder.mkdir(0o700, parents=True, exist_ok=True)
        lock = portalocker.Lock(folder / LOCK_FILE, fail_when_locked=True)
        lock.acquire()
    except (FileExistsError, NotADirectoryError):
        raise DataFolderError(f"The data folder {folder} is a file: point storage.path at a folder.") from None
    except portalocker.LockException:
        raise DataFolderError(
            f"The data folder {folder} is held by another process: stop it, or give this one a folder of its own."
        ) from None
    except OSError as error:
        raise DataFolderError(
            f"The data folder {folder} cannot be written ({error.strerror}):"
            " make it writable, or point storage.path elsewhere."
        ) from error
    return lock


def _is_locked(error: Exception) -> bool:
    return isinstance(error, OperationalError) and "database is locked" in str(error.orig)


def _prepare(path: Path) -> Engine:
    """Create the database or check the one that is there, and migrate it if its revision is an older one."""
    engine = create_engine(URL.create("sqlite", database=str(path)), pool_size=1, **_OPTIONS)
    _set_up(engine, "BEGIN IMMEDIATE")
    try:
        # Whoever writes at our start, be it a copy by other means, is waited for: each attempt takes five seconds.
        for attempt in stamina.retry_context(_is_locked, attempts=_OPENING_ATTEMPTS, timeout=None, wait_max=0.1):
            with attempt, engine.begin() as connection:
                schema.upgrade(connection, path)
    except DBAPIError as error:
        engine.dispose()
        raise DataFolderError(
            f"The database {path} cannot be used ({error.orig}): check the disk and the file's permissions,"
            " or restore the file from a backup."
        ) from error
    except BaseException:
        engine.dispose()
        raise
    return engine
