"""The driver under SQLAlchemy: few trips to the connection's thread, and nothing left open by who was cancelled."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.storage import driver


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[driver.Connection]:
    """A connection to a new database, as SQLAlchemy opens it."""
    connection = driver.connect(str(tmp_path / "file.db"), isolation_level=None, check_same_thread=False)
    await connection
    yield connection
    await connection.close()


async def test_a_statement_with_its_rows_is_one_trip(
    connection: driver.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cursor, statement, rows and the end of it wake the connection's thread once; so does a statement without rows."""
    put, trips = connection._tx.put_nowait, list[object]()

    def counted(item: Any) -> None:
        trips.append(item)
        put(item)

    monkeypatch.setattr(connection, "_tx", type("Queue", (), {"put_nowait": staticmethod(counted)}))
    for sql, rows in (("SELECT 1 UNION SELECT 2", [(1,), (2,)]), ("CREATE TABLE word (text)", [])):
        async with connection.cursor() as cursor:
            await cursor.execute(sql)
            assert await cursor.fetchall() == rows
    await connection.rollback()
    assert len(trips) == 2
    monkeypatch.undo()


async def test_a_statement_that_fails_raises(connection: driver.Connection) -> None:
    """What SQLite raises reaches who asked, and the connection goes on."""
    async with connection.cursor() as cursor:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await cursor.execute("SELECT * FROM word")
        await cursor.execute("SELECT ?", (3,))
        assert await cursor.fetchall() == [(3,)]


async def test_what_was_begun_for_somebody_cancelled_is_rolled_back(connection: driver.Connection) -> None:
    """The thread goes on when who asked is cancelled: what it begins later is rolled back all the same."""
    held = threading.Event()
    await connection.create_function("hold", 0, held.wait)
    asked = [asyncio.create_task(connection.cursor().execute(sql)) for sql in ("SELECT hold()", "BEGIN IMMEDIATE")]
    await asyncio.sleep(0)
    for task in asked:
        task.cancel()
    await asyncio.wait(asked)

    rolling_back = asyncio.create_task(connection.rollback())
    await asyncio.sleep(0)
    held.set()
    await rolling_back
    await connection.cursor().execute("SELECT 1")
    assert not connection.in_transaction
