"""The database file: opening it, its transactions, and every way it can refuse."""

import asyncio
import os
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import StatementError

from bot.errors import DataFolderError, StorageUnavailable
from bot.storage.database import FILE, READERS, Database

NOBODY = 65534


async def names(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.execute(text("SELECT name FROM breaker ORDER BY name"))).scalars())


def put(name: str) -> str:
    return f"INSERT INTO breaker (name, failures) VALUES ('{name}', 0)"  # noqa: S608 - the test's own names


async def test_a_new_folder_is_created_with_its_parents(tmp_path: Path) -> None:
    """A folder that does not exist yet is made, parents and all."""
    database = await Database.open(tmp_path / "a" / "b")
    await database.ping()
    await database.close()
    assert (tmp_path / "a" / "b" / FILE).is_file()


async def test_every_connection_is_durable_and_tidy(database: Database) -> None:
    """Readers and both ways to write run with WAL, full sync, foreign keys and secure delete."""
    pragmas = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "temp_store": 2}

    def ask(connection: Connection) -> dict[str, object]:
        return {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in pragmas}

    async with database.read() as reader:
        assert await reader.run_sync(ask) == pragmas
    async with database.write() as writer:
        assert await writer.run_sync(ask) == pragmas
    assert await database.transact(ask) == pragmas


async def test_a_write_commits_on_leaving_and_rolls_back_on_an_exception(database: Database) -> None:
    """What was written stands when the block ends well, and not at all when it raises."""
    async with database.write() as connection:
        await connection.execute(text(put("kept")))
    with pytest.raises(RuntimeError):
        async with database.write() as connection:
            await connection.execute(text(put("lost")))
            raise RuntimeError
    assert await names(database) == ["kept"]


async def test_a_reader_sees_one_state_throughout(database: Database) -> None:
    """A read that has begun does not see what is committed meanwhile."""
    count = text("SELECT count(*) FROM breaker")
    async with database.read() as reader:
        before = (await reader.execute(count)).scalar()
        async with database.write() as connection:
            await connection.execute(text(put("new")))
        assert (await reader.execute(count)).scalar() == before == 0
    assert await names(database) == ["new"]


async def test_writers_take_turns(database: Database) -> None:
    """Many tasks writing both ways at once lose no update."""
    async with database.write() as connection:
        await connection.execute(text(put("counter")))
    read, add = text("SELECT failures FROM breaker"), text("UPDATE breaker SET failures = :n")

    async def increase() -> None:
        async with database.write() as connection:
            count = (await connection.execute(read)).scalar_one()
            await asyncio.sleep(0)
            await connection.execute(add, {"n": count + 1})

    def increase_in_thread(connection: Connection) -> None:
        connection.execute(add, {"n": connection.execute(read).scalar_one() + 1})

    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(increase())
            tasks.create_task(database.transact(increase_in_thread))
    async with database.read() as connection:
        assert (await connection.execute(read)).scalar() == 20


async def test_a_cancelled_write_leaves_nothing_and_blocks_nobody(database: Database) -> None:
    """Cancelling a writer in its transaction rolls it back, and the next writer goes on."""
    inside = asyncio.Event()

    async def write() -> None:
        async with database.write() as connection:
            await connection.execute(text(put("lost")))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.write() as connection:
        await connection.execute(text(put("kept")))
    assert await names(database) == ["kept"]


async def test_a_cancelled_trip_ends_before_the_next_writer_begins(database: Database) -> None:
    """A transaction in its thread cannot be stopped halfway: it commits, and others wait for it."""
    loop, inside = asyncio.get_running_loop(), asyncio.Event()
    go_on = asyncio.Event()

    def work(connection: Connection) -> None:
        connection.execute(text(put("first")))
        loop.call_soon_threadsafe(inside.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

    task = asyncio.create_task(database.transact(work))
    await inside.wait()
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.write() as connection:
        await connection.execute(text(put("second")))
    assert await names(database) == ["first", "second"]


async def test_a_cancelled_look_holds_up_nobody(database: Database) -> None:
    """Who looks is let go at once; the look ends by itself, and those behind it and the end of all wait for that."""
    loop, go_on, ended = asyncio.get_running_loop(), threading.Event(), threading.Event()
    inside = asyncio.Semaphore(0)

    def work(connection: Connection) -> None:
        loop.call_soon_threadsafe(inside.release)
        go_on.wait(10)
        connection.execute(text("SELECT 1"))
        ended.set()

    looks = [asyncio.create_task(database.look(work)) for _ in range(READERS)]
    for _ in looks:
        await inside.acquire()
    queued = asyncio.create_task(database.look(work))
    await asyncio.sleep(0)
    for look in (*looks, queued):
        look.cancel()
    assert [type(end) for end in await asyncio.gather(*looks, queued, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * (READERS + 1)
    assert not ended.is_set()
    go_on.set()
    assert await database.look(lambda connection: connection.execute(text("SELECT 2")).scalar_one()) == 2
    await database.close()
    assert ended.is_set()
    assert inside.locked()  # who was cancelled in the queue never began


async def test_a_locked_database_is_told_as_unavailable(database: Database, tmp_path: Path) -> None:
    """While another program holds the write lock, writes raise `StorageUnavailable` and reads go on."""
    async with database.write() as connection:
        await connection.execute(text("PRAGMA busy_timeout=0"))
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match=r"^The database could not be used: database is locked\.$"):
        async with database.write():
            pass
    assert await names(database) == []
    other.close()
    async with database.write() as connection:
        await connection.execute(text(put("later")))
    assert await names(database) == ["later"]


async def test_a_database_that_is_locked_at_the_start_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes into it when the bot starts holds the start up, and does not prevent it."""
    await (await Database.open(tmp_path)).close()
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("bot.storage.database._PRAGMAS", ("busy_timeout=10", "journal_mode=WAL"))
    monkeypatch.setattr("bot.storage.database._OPENING_ATTEMPTS", 1000)
    opening = asyncio.create_task(Database.open(tmp_path))
    await asyncio.wait({opening}, timeout=0.2)  # the first attempt is over by now
    assert not opening.done()
    other.close()
    await (await opening).close()


async def test_a_full_disk_is_told_as_unavailable(database: Database) -> None:
    """When there is no space left the transaction is refused whole, and works again once there is."""

    def fill(connection: Connection) -> None:
        connection.execute(text("UPDATE breaker SET reason = hex(randomblob(1000000))"))

    await database.transact(lambda c: c.execute(text(put("grows"))))
    await database.transact(lambda c: c.execute(text("PRAGMA max_page_count=1")))
    with pytest.raises(StorageUnavailable, match="full"):
        await database.transact(fill)
    await database.transact(lambda c: c.execute(text("PRAGMA max_page_count=1000000")))
    await database.transact(fill)


async def test_a_wrong_statement_is_not_an_outage(database: Database) -> None:
    """A violated constraint is a bug and surfaces as itself, without the row's content."""
    with pytest.raises(Exception, match="UNIQUE constraint failed") as raised:
        async with database.write() as connection:
            await connection.execute(text(put("same")))
            await connection.execute(
                text("INSERT INTO breaker (name, failures, reason) VALUES ('same', 0, :reason)"), {"reason": "private"}
            )
    assert not isinstance(raised.value, StorageUnavailable)
    assert "private" not in str(raised.value)


async def test_damage_found_later_is_told_as_unavailable(database: Database, tmp_path: Path) -> None:
    """Pages that turn out to be damaged while running are an outage of the storage, told as one."""
    await database.transact(lambda connection: connection.execute(text(put("first"))))
    await database.close()  # moves everything from the log into the file
    damaged = await Database.open(tmp_path)
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (os.fstat(file.fileno()).st_size - 4096))
    with pytest.raises(StorageUnavailable, match="malformed"):
        await names(damaged)
    await damaged.close()


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """A folder held by another process is refused in one sentence, and free once that one has gone."""
    script = f"""
import asyncio, pathlib
from bot.storage.database import Database
async def main():
    await Database.open(pathlib.Path({str(tmp_path)!r}))
    print("open", flush=True)
    input()
asyncio.run(main())
"""
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdin=pipe, stdout=pipe)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"open\n"
    with pytest.raises(DataFolderError, match=f"^The data folder {tmp_path} is held by another process: .+[.]$"):
        await Database.open(tmp_path)
    holder.kill()
    await holder.communicate()
    database = await Database.open(tmp_path)
    await database.close()


async def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """A path that is a file is named in one sentence, and left alone."""
    path = tmp_path / "data"
    path.write_text("mine")
    for folder in (path, path / "below"):
        with pytest.raises(DataFolderError, match=f"^The data folder {folder} is a file: .+[.]$"):
            await Database.open(folder)
    assert path.read_text() == "mine"


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder this process may read and not write, even if it was started as root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o700)


async def test_a_read_only_folder_is_refused(read_only: Path) -> None:
    """A folder that cannot be written is named in one sentence with what to do."""
    for folder in (read_only, read_only / "below"):
        with pytest.raises(DataFolderError) as raised:
            await Database.open(folder)
        assert str(raised.value) == (
            f"The data folder {folder} cannot be written (Permission denied):"
            " make it writable, or point storage.path elsewhere."
        )


async def test_something_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    """A damaged file is named in one sentence; it is neither overwritten nor does it keep the folder locked."""
    path = tmp_path / FILE
    path.write_bytes(b"not a database" * 1000)
    for _ in range(2):
        with pytest.raises(DataFolderError, match=f"^The database {path} cannot be used .+ backup[.]$"):
            await Database.open(tmp_path)
    assert path.read_bytes() == b"not a database" * 1000


async def test_closing_lets_go_of_everything(tmp_path: Path) -> None:
    """After closing, the folder can be opened again and holds what was written."""
    for name in ("a", "b"):
        database = await Database.open(tmp_path)
        async with database.write() as connection:
            await connection.execute(text(put(name)))
        await database.close()
    database = await Database.open(tmp_path)
    assert await names(database) == ["a", "b"]
    await database.close()


async def test_closing_waits_for_those_who_read_and_refuses_those_who_come_later(tmp_path: Path) -> None:
    """A read under way at the end is answered and its connection closed; a later one opens no new connection."""
    database = await Database.open(tmp_path)
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def read() -> int:
        async with database.read() as connection:
            reading.set()
            await go_on.wait()
            return (await connection.execute(text("SELECT 1"))).scalar_one()

    answer = asyncio.create_task(read())
    await reading.wait()
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    go_on.set()
    assert await answer == 1
    await closing
    with pytest.raises(StorageUnavailable, match="closed"):
        await database.ping()
    with pytest.raises(StorageUnavailable, match="closed"):
        async with database.write():
            pass
    with pytest.raises(StorageUnavailable, match="closed"):
        await database.look(lambda connection: None)


async def test_closing_waits_for_who_looks(tmp_path: Path) -> None:
    """A look under way at the end is answered, and its connection closed."""
    database = await Database.open(tmp_path)
    loop, inside, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def work(connection: Connection) -> int:
        loop.call_soon_threadsafe(inside.set)
        go_on.wait(10)
        return connection.execute(text("SELECT 1")).scalar_one()

    answer = asyncio.create_task(database.look(work))
    await inside.wait()
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    go_on.set()
    assert await answer == 1
    await closing


async def test_a_look_tells_what_is_wrong(database: Database, tmp_path: Path) -> None:
    """It sees what was committed; a database that cannot be used is an outage, a wrong statement is none."""
    async with database.write() as connection:
        await connection.execute(text(put("a")))
    query = "SELECT name FROM breaker"
    assert await database.look(lambda connection: connection.execute(text(query)).scalars().all()) == ["a"]
    with pytest.raises(StorageUnavailable):
        await database.look(lambda connection: connection.execute(text("SELECT * FROM nowhere")))
    with pytest.raises(StatementError):
        await database.look(lambda connection: connection.execute(text("SELECT :missing")))
