"""The journal: what was deleted, forgotten and opted out of, as ids alone, in a file outside the data folder.

A backup is older than what was taken back since. The journal outlives the data folder, so that a restored
one can be told. JSON lines: the journal's own id, then {"gone": tombstone, …}, {"out": [guild, user], …} and
{"mode": a guild's consent mode, …}.
"""

import asyncio
import json
import os
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import structlog

from bot.errors import StorageUnavailable
from bot.storage.ledger import JOURNAL_SIZE, Buried, Entry, Ledger, ModeSet, OptedOut
from bot.storage.state import StateStore
from bot.upkeep.threads import in_thread

STATE = "journal"
_PAGE = 1000
_LOOK_EVERY = 0.5  # seconds; while nothing is written, looking is no more than comparing two numbers
_RETRY_AFTER = 5.0

log = structlog.get_logger(__name__)


class JournalDamaged(ValueError):
    """The journal holds a line that is not one of ours."""


class Journal:
    """Keeps the file at `path` in step with the database; `problem` says why it is not, in a sentence."""

    def __init__(self, path: Path, ledger: Ledger, state: StateStore) -> None:
        self._path = path
        self._ledger = ledger
        self._state = state
        self._opened = False
        self._flushing = asyncio.Lock()
        self.problem: str | None = None
        self.on_replayed: Callable[[], Awaitable[None]] | None = None
        """Called once the database learnt from the file, for those who keep in memory what it says."""

    async def run(self) -> None:
        """Write forever what is to be journalled, within a second; an unwritable file only delays it."""
        while True:
            await self.flush()
            await asyncio.sleep(_RETRY_AFTER if self.problem else _LOOK_EVERY)

    async def flush(self) -> None:
        """Write what waits. A file that cannot be written is logged once and tried again by the next flush."""
        async with self._flushing:
            try:
                await self._catch_up()
            except OSError as error:
                self._fail(
                    f"The journal {self._path} cannot be written ({error.strerror or error}):"
                    " make it writable, or point journal.path elsewhere."
                )
            except JournalDamaged:
                self._fail(f"The journal {self._path} is damaged: move it away, and it is written anew.")
            except StorageUnavailable as error:
                self._fail(str(error))
            else:
                if self.problem:
                    log.info("journal_written_again", path=str(self._path))
                self.problem = None

    async def _catch_up(self) -> None:
        if not self._opened:
            await self._open()
            self._opened = True
        while entries := await self._ledger.waiting(_PAGE):
            try:
                size = await in_thread(_append, self._path, _lines(entries))
            except FileNotFoundError:
                self._opened = False  # somebody removed it: the next flush writes it anew
                raise
            await self._ledger.written(entries, size)

    async def _open(self) -> None:
        """Learn what this database does not know, or begin a new file if this one is not its own.

        A data folder put back from a copy knows less than its journal.
        """
        known, size = await self._state.get(STATE), int(await self._state.get(JOURNAL_SIZE) or 0)
        found = await in_thread(identify, self._path)
        if known is not None and found == known and (length := await in_thread(_trimmed, self._path)) >= size:
            if learned := await replay(self._path, self._ledger, size):
                log.warning("journal_replayed", entries=learned)
            if self.on_replayed:
                await self.on_replayed()
            await self._ledger.written((), length)
            return
        if known is None:
            known = uuid.uuid4().hex
            await self._state.put(STATE, known)
        await in_thread(_begin, self._path, known, found)
        await self._ledger.start_over()

    def _fail(self, problem: str) -> None:
        if self.problem is None:
            log.warning("journal_not_written", reason=problem)
        self.problem = problem


async def replay(path: Path, ledger: Ledger, start: int = 0) -> int:
    """Take back in the ledger's database what the journal names from byte `start` on; how many it did not know.

    Raises `JournalDamaged`.
    """
    learned = 0
    for apply in (ledger.apply_places_and_messages, ledger.apply_facts):
        entries = _entries(path, start)
        while page := await in_thread(_page, entries):
            learned += await apply(page)
    return learned


def _page(entries: Iterator[Entry]) -> list[Entry]:
    return list(islice(entries, _PAGE))


def identify(path: Path) -> str | None:
    """The id of the journal in this file; None if there is no file. Raises `JournalDamaged` for any other file."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline(200))
        return str(header["journal"])
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError) as error:
        raise JournalDamaged(path) from error


def _begin(path: Path, id: str, found: str | None) -> None:
    """A file with nothing but its id, put in place at once; what was there of another journal is moved aside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if found not in (id, None):
        path.rename(path.with_name(f"{path.name}.{found}"))
    fresh = path.with_name(f"{path.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(json.dumps({"journal": id, "version": 1}).encode() + b"\n")
        _synced(file)
    fresh.replace(path)


def _trimmed(path: Path) -> int:
    """The size of the file without a last line that a crash cut short."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 2**16))
        whole = end - len(file.read().rpartition(b"\n")[2])
        if whole != end:
            file.truncate(whole)
            _synced(file)
        return whole


def _append(path: Path, lines: bytes) -> int:
    """Add whole lines to a file that exists, on disk when it returns; the file's size."""
    with open(os.open(path, os.O_WRONLY | os.O_APPEND), "ab") as file:
        file.write(lines)
        _synced(file)
        return file.tell()


def _synced(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _lines(entries: Sequence[Entry]) -> bytes:
    return b"".join(json.dumps(_line(entry)).encode() + b"\n" for entry in entries)


def _line(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, Buried):
        return {"gone": entry.id, "guild": entry.guild_id, "reason": entry.reason, "at": entry.at}
    if isinstance(entry, ModeSet):
        return {"mode": entry.mode, "guild": entry.guild_id, "from": entry.started_at}
    return {"out": [entry.guild_id, entry.user_id], "from": entry.started_at, "to": entry.ended_at}


def _entries(path: Path, start: int) -> Iterator[Entry]:
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return  # cut short by a crash: its rows still wait
            try:
                row = json.loads(line)
                if "gone" in row:
                    yield Buried(str(row["gone"]), int(row["guild"]), str(row["reason"]), int(row["at"]))
                elif "out" in row:
                    guild_id, user_id = map(int, row["out"])
                    ended_at = row["to"]
                    yield OptedOut(guild_id, user_id, int(row["from"]), None if ended_at is None else int(ended_at))
                elif "mode" in row:
                    yield ModeSet(int(row["guild"]), str(row["mode"]), int(row["from"]))
                elif "journal" not in row:
                    raise JournalDamaged(path)
            except (ValueError, LookupError, TypeError) as error:
                raise JournalDamaged(path) from error
