"""Snapshots: the database as of one moment, in a file of its own, while others write."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from records import GUILD, Vault, said

from bot.errors import StorageUnavailable
from bot.storage import snapshot
from bot.storage.database import Database


def ids_in(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [id for (id,) in copy.execute("SELECT id FROM message ORDER BY id")]


async def test_a_snapshot_shows_one_moment(vault: Vault, database: Database, tmp_path: Path) -> None:
    """What is captured while pages are copied is not in it, and the copying neither starts over nor stops anyone."""
    await vault.hold(*(said(id, "word " * 300) for id in range(1, 2001)))
    told: list[tuple[int, int]] = []
    late = iter(range(5000, 9000))

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        captures.append(asyncio.create_task(vault.messages.capture(said(next(late)))))

    captures: list[asyncio.Task[bool]] = []
    await database.snapshot(tmp_path / "copy.db", progress)
    assert all(await asyncio.gather(*captures))
    assert ids_in(tmp_path / "copy.db") == [*range(1, 2001)]
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


async def test_a_snapshot_holds_nothing_removed_before(vault: Vault, database: Database, tmp_path: Path) -> None:
    """A backup made after a retraction has no trace of the text, even if the files here still do."""
    folder = tmp_path / "copies"
    folder.mkdir()
    await vault.hold(*(said(id, f"canary{id:04}singing " * 5) for id in range(1, 101)))
    await vault.retraction.messages_deleted(GUILD, range(1, 101, 2))
    await database.snapshot(folder / "copy.db", lambda *_: None)
    assert [file.name for file in folder.iterdir()] == ["copy.db"]
    content = (folder / "copy.db").read_bytes()
    assert [id for id in range(1, 101) if f"canary{id:04}".encode() in content] == [*range(2, 101, 2)]


async def test_a_cancelled_snapshot_stops_copying(
    vault: Vault, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gives up is not kept waiting until everything is copied, and the database can be closed."""
    monkeypatch.setattr(snapshot, "_PAGES", 1)
    await vault.hold(*(said(id, "word " * 300) for id in range(1, 2001)))
    begun = asyncio.Event()
    told: list[int] = []

    def progress(done: int, total: int) -> None:
        told.append(total - done)
        begun.set()

    copying = asyncio.create_task(database.snapshot(tmp_path / "copy.db", progress))
    await begun.wait()
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert min(told) > 0


async def test_a_snapshot_that_cannot_be_written_is_an_outage(database: Database, tmp_path: Path) -> None:
    """A folder that is not there is told in one sentence."""
    with pytest.raises(StorageUnavailable, match=r"^The database could not be copied: .+[.]$"):
        await database.snapshot(tmp_path / "nowhere" / "copy.db", lambda *_: None)
