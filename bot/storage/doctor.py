"""Checks of the database: they change nothing in it and disturb no bot at work."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import portalocker
from sqlalchemy import URL, Connection, create_engine, func, select
from sqlalchemy.exc import DBAPIError

from bot.checks import Check, failed, passed, warned
from bot.errors import DataFolderError
from bot.storage import schema
from bot.storage.database import FILE, LOCK_FILE, holds_data
from bot.storage.observations import Source
from bot.storage.tables import message, observation

DATABASE, ENGINE = "Database", "SQLite"

_OLDEST = (3, 35)  # the first with RETURNING
_SECONDS = 1.0  # to wait for a lock


@dataclass(frozen=True, slots=True)
class Found:
    """The check, and what the database says of channels: (guild, channel) of each that is observed now."""

    check: Check
    observed: tuple[tuple[int, int], ...] = ()


def check_engine() -> Check:
    """Whether Python's SQLite can do what is asked of it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        options = {row[0] for row in connection.execute("PRAGMA compile_options")}
    if sqlite3.sqlite_version_info >= _OLDEST and "ENABLE_FTS5" in options:
        return passed(ENGINE, f"{sqlite3.sqlite_version} with full-text search")
    fix = "Use a Python whose SQLite is 3.35 or newer and has FTS5, as python.org's and the container image's."
    return failed(ENGINE, f"{sqlite3.sqlite_version} lacks what the database needs", fix)


def read_database(folder: Path) -> Found:
    """Look into the folder's database, if it has one. Blocks; raises nothing."""
    fix = "Check the disk and who may read the file, or restore a backup (`recollect restore`)."
    try:
        if not holds_data(folder):
            return Found(passed(DATABASE, "none yet: it is made at the first start"))
    except OSError as error:
        return Found(failed(DATABASE, f"it cannot be read ({error.strerror})", fix))
    # Not `ro`, in which SQLite leaves its shared memory and log behind.
    address = URL.create("sqlite", database=f"file:{(folder / FILE).absolute()}", query={"mode": "rw", "uri": "true"})
    engine = create_engine(address, hide_parameters=True, connect_args={"timeout": _SECONDS})
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            return _read(connection)
    except DBAPIError as error:
        return Found(failed(DATABASE, f"it cannot be read ({error.orig})", fix))
    finally:
        engine.dispose()


def _read(connection: Connection) -> Found:
    known, stored = schema.revisions(), schema.stored(connection)
    if stored is None or stored not in known:
        fix = "Update Recollect, or use another folder." if stored else "Restore a backup, or move the file away."
        return Found(failed(DATABASE, f"its schema is {stored or 'none'}, but {known[-1]} is the newest known", fix))
    if stored != known[-1]:
        fix = "Make a backup (`recollect backup`), then start the bot: it migrates the database."
        return Found(warned(DATABASE, f"its schema is {stored}, and {known[-1]} is due", fix))
    held = connection.execute(select(func.count()).select_from(message)).scalar_one()
    is_open = (observation.c.ended_at.is_(None)) & (observation.c.source == Source.LIVE.value)
    rows = connection.execute(select(observation.c.guild_id, observation.c.channel_id).where(is_open)).all()
    observed = tuple(sorted({(row.guild_id, row.channel_id) for row in rows}))
    return Found(passed(DATABASE, f"schema {stored} is current; {held:,} messages"), observed)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep bots out of a data folder for a moment.

    Raises `DataFolderError` if one is in it, or another command, and `OSError` if it cannot be written.
    """
    lock = portalocker.Lock(folder / LOCK_FILE, fail_when_locked=True)
    try:
        lock.acquire()
    except portalocker.LockException:
        raise DataFolderError("The data folder is held by another process.") from None
    try:
        yield
    finally:
        lock.release()


def in_use(folder: Path) -> bool:
    """Whether a bot or another command has the data folder open."""
    try:
        if (folder / LOCK_FILE).exists():
            with held(folder):
                return False
    except DataFolderError:
        return True
    except OSError:  # it is not ours to look into: another check says so
        return False
    return False
