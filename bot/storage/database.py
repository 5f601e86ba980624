"""The database file: opened once per process, one writer, a few readers.

SQLite runs in WAL mode with `synchronous=FULL`: what a commit acknowledged survives a power cut.
Transactions are begun explicitly, as SQLAlchemy's SQLite dialect documents it, because Python's
driver would begin them too late.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any, Self

import portalocker
import sqlalchemy
from sqlalchemy import Engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from bot.errors import DataFolderError, StorageUnavailable
from bot.storage import schema

FILE = "recollect.db"
LOCK_FILE = "recollect.lock"
READERS = 4

_PRAGMAS = (
    "busy_timeout=5000",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",
    "temp_store=MEMORY",  # text never spills into temporary files
)


class Database:
    """The one way to the data folder's database. Make it with `open`."""

    def __init__(self, writer: AsyncEngine, readers: AsyncEngine, lock: portalocker.Lock[IO[str]]) -> None:
        self._writer = writer
        self._readers = readers
        self._lock = lock
        self._writing = asyncio.Lock()

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Open or create the folder's database and bring its schema up to date.

        Raises `DataFolderError` if the folder cannot be written, another process holds it, or its
        database is damaged or of a newer version.
        """
        lock = await asyncio.to_thread(_hold, folder)
        try:
            path = folder / FILE
            await asyncio.to_thread(_prepare, path)
            url = sqlalchemy.URL.create("sqlite+aiosqlite", database=str(path))
            return cls(_engine(url, "BEGIN IMMEDIATE", size=1), _engine(url, "BEGIN", size=READERS), lock)
        except BaseException:
            lock.release()
            raise

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write: one at a time, committed on leaving, rolled back on an exception.

        Raises `StorageUnavailable` if the database is locked by another process or the disk is full.
        """
        async with self._writing:
            with _reported():
                async with self._writer.begin() as connection:
                    yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads: it sees one committed state of the database throughout."""
        with _reported():
            async with self._readers.begin() as connection:
                yield connection

    async def ping(self) -> None:
        """Return if the database answers; raises `StorageUnavailable` otherwise."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Wait for the writer, close every connection and let go of the folder."""
        async with self._writing:
            await self._readers.dispose()
            await self._writer.dispose()
        self._lock.release()


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise StorageUnavailable(f"The database could not be used: {error.orig}.") from error


def _engine(url: sqlalchemy.URL, begin: str, size: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        hide_parameters=True,  # parameters are people's words, and exceptions are logged
        connect_args={"isolation_level": None},
    )
    _begin_with(engine.sync_engine, begin)
    event.listen(engine.sync_engine, "connect", _configure)
    return engine


def _begin_with(engine: Engine, statement: str) -> None:
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql(statement)

    event.listen(engine, "begin", begin)


def _configure(connection: DBAPIConnection, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _hold(folder: Path) -> portalocker.Lock[IO[str]]:
    """Create the folder if need be, and keep every other process out of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
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


def _prepare(path: Path) -> None:
    """Create the database or check the one that is there, and migrate it if its revision is an older one."""
    engine = sqlalchemy.create_engine(
        sqlalchemy.URL.create("sqlite", database=str(path)),
        poolclass=sqlalchemy.NullPool,
        hide_parameters=True,
        connect_args={"isolation_level": None},
    )
    event.listen(engine, "connect", _configure)
    _begin_with(engine, "BEGIN IMMEDIATE")
    try:
        with engine.begin() as connection:
            schema.upgrade(connection, path)
    except DBAPIError as error:
        raise DataFolderError(
            f"The database {path} cannot be used ({error.orig}): check the disk and the file's permissions,"
            " or restore the file from a backup."
        ) from error
    finally:
        engine.dispose()
