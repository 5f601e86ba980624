"""aiosqlite with one trip to the connection's thread for a statement.

It makes four: for a cursor, the statement, its rows and the cursor's end. Each wakes a thread and then the event loop,
which takes longer than most statements do.
"""

import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import aiosqlite


class Connection(aiosqlite.Connection):
    """A connection that nobody streams rows from: a statement's rows are fetched with it.

    To be opened with `check_same_thread=False`: what does not touch the file is done where it is asked for.
    """

    idle = True  # nothing is under way in the thread, not even for somebody who was cancelled

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.idle = False
        result = await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        self.idle = True  # the thread takes one thing after the other
        return result

    def cursor(self) -> "Cursor":  # type: ignore[override]  # SQLAlchemy wants an asynchronous context manager: it is one
        return Cursor(self, self._conn.cursor())

    async def rollback(self) -> None:
        """Roll back, if there is anything: the pool asks for it whenever a connection comes back."""
        if not self.idle or self.in_transaction:
            await super().rollback()


class Cursor(aiosqlite.Cursor):
    """A statement's rows, fetched as it was executed."""

    _conn: Connection

    def __init__(self, connection: Connection, cursor: sqlite3.Cursor) -> None:
        super().__init__(connection, cursor)
        self._rows: list[Any] = []

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> "Cursor":
        self._rows = await self._conn._execute(self._executed, sql, () if parameters is None else parameters)
        return self

    def _executed(self, sql: str, parameters: Any) -> list[Any]:
        self._cursor.execute(sql, parameters)
        return self._cursor.fetchall() if self._cursor.description else []

    async def fetchall(self) -> list[Any]:
        return self._rows

    async def close(self) -> None:
        if self._conn.idle:
            self._cursor.close()
        else:
            await super().close()


def connect(database: str, **options: Any) -> Connection:
    """A connection to be awaited; a process may end without closing it, as with SQLAlchemy's own."""
    connection = Connection(partial(sqlite3.connect, database, **options), iter_chunk_size=64)
    connection._thread.daemon = True
    return connection
