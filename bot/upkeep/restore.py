"""A restore: a backup, less everything that was taken back since, as a new data folder.

Nothing is touched before the whole archive is verified. The folder is built aside and put in place by one
rename. A mounted volume cannot be renamed: there it is built inside, and no bot starts on it until it is whole.
"""

import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import structlog

from bot.errors import DataFolderError, ServiceUnavailable
from bot.memory.index import VectorIndex
from bot.model import Report
from bot.settings import Settings
from bot.storage.archive import Archive
from bot.storage.database import FILE, Database
from bot.storage.ledger import JOURNAL_SIZE, Ledger
from bot.storage.retraction import Retraction
from bot.storage.state import StateStore
from bot.upkeep import journal
from bot.upkeep.archives import Manifest, opened, refuse_unfit, verify
from bot.upkeep.loading import load
from bot.upkeep.recheck import RECHECK, REQUIRED
from bot.upkeep.threads import in_thread

INDEX = "index"
"""The name of the embedded index in a data folder."""
_INSIDE = ".restoring"
_NOT_OURS = frozenset({_INSIDE, "lost+found"})  # may lie in a volume that is empty to us
_LOADING = "loading"  # names the server's collection that a restore fills

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore brought back.

    `taken_back` entries of the journal were newer than the backup. With `recheck`, there was no such
    journal, and recall stays off until everything held was compared with Discord.
    """

    messages: int
    facts: int
    points: int
    taken_back: int
    recheck: bool


async def restore(
    settings: Settings, file: Path, open_index: Callable[[Path], VectorIndex], report: Report
) -> Restored:
    """Make the data folder of the settings, which must be absent or empty, from the backup `file`.

    Raises `BackupDamaged`, `DataFolderError` if the folder or the server's collection is in use or cannot be
    written, and `RecollectError` if the backup does not fit these settings. After any of these, nothing has changed.
    """
    target = _empty(settings.storage.path)
    with opened(file) as (zipped, manifest):
        refuse_unfit(manifest, settings.embedding_model, file)
        await verify(zipped, manifest, file, report)
        aside = _aside(target)
        index = open_index(aside / INDEX)
        try:
            try:
                await _prepare(aside, index, settings)
                restored = await _built(zipped, manifest, aside, index, settings, report)
            finally:
                await index.close()
            await in_thread(_put_in_place, aside, target)
        except OSError as error:
            raise DataFolderError(f"{aside} cannot be written ({error.strerror or error}).") from error
    return restored


def settle_unfinished(folder: Path) -> None:
    """Make way for a bot that starts: what the server holds from now on is no longer that of a restore cut short.

    Raises `DataFolderError` for a volume in which a restore was cut short.
    """
    if (folder / _INSIDE).exists():
        raise DataFolderError(f"A restore into {folder} was cut short: repeat it, or empty the folder.")
    for place in (_beside(folder.resolve()), folder):
        (place / _LOADING).unlink(missing_ok=True)


async def _built(
    zipped: zipfile.ZipFile, manifest: Manifest, aside: Path, index: VectorIndex, settings: Settings, report: Report
) -> Restored:
    """Build everything, or leave no trace; what a server that is down still has is cleared by the next try."""
    try:
        return await _build(zipped, manifest, aside, index, settings.journal_path, report)
    except BaseException:
        try:
            if settings.qdrant.url:
                await index.clear()
        except ServiceUnavailable:
            log.warning("collection_not_cleared", collection=settings.qdrant.collection)
        else:
            _clear_away(aside)
        raise


async def _build(
    zipped: zipfile.ZipFile, manifest: Manifest, aside: Path, index: VectorIndex, journal_path: Path, report: Report
) -> Restored:
    with zipped.open(FILE) as content:
        await in_thread(_extract, content, aside / FILE)
    database = await Database.open(aside)
    try:
        retraction, archive = Retraction(database), Archive(database)
        taken_back = await _take_back(journal_path, Ledger(database, retraction), StateStore(database))
        points = await load(zipped, manifest, archive, retraction, index, report)
        held = await archive.held()
        recheck = await StateStore(database).get(RECHECK) is not None
    finally:
        await database.close()
    return Restored(held.messages, held.facts, points, taken_back, recheck)


async def _take_back(path: Path, ledger: Ledger, state: StateStore) -> int:
    """Apply what the journal has since the backup; without its journal, have everything compared with Discord."""
    known, size = await state.get(journal.STATE), int(await state.get(JOURNAL_SIZE) or 0)
    try:
        if known is not None and await in_thread(journal.identify, path) == known and _size(path) >= size:
            return await journal.replay(path, ledger, size)
    except (OSError, journal.JournalDamaged) as error:
        log.warning("journal_not_read", path=str(path), error=type(error).__name__)
    await state.remove(journal.STATE)  # what was taken back since is not in any journal of that id
    await state.put(RECHECK, REQUIRED)
    return 0


async def _prepare(aside: Path, index: VectorIndex, settings: Settings) -> None:
    """An empty folder and an empty index; what is there of a restore that was cut short is removed."""
    collection = settings.qdrant.collection if settings.qdrant.url else ""
    if collection and not await index.empty():
        if _loading(aside) != collection:
            raise DataFolderError(
                f"The collection {collection} on the server holds memories: delete it, or set qdrant.collection."
            )
        await index.clear()
    await in_thread(_begin, aside, collection)


def _empty(folder: Path) -> Path:
    """The folder itself if there is nothing in it. Raises `DataFolderError`."""
    target = folder.resolve()
    try:
        entries = {entry.name for entry in target.iterdir()} if target.exists() else set()
        mounted = target.is_mount()
    except OSError as error:
        raise DataFolderError(f"The data folder {folder} cannot be used ({error.strerror or error}).") from None
    # A volume whose restore was cut short has its mark, whatever else is there.
    if entries - _NOT_OURS if not mounted else entries - _NOT_OURS and _INSIDE not in entries:
        raise DataFolderError(f"The data folder {folder} is not empty: move it away, or set storage.path to another.")
    return target


def _aside(target: Path) -> Path:
    return target / _INSIDE if target.is_mount() else _beside(target)


def _beside(target: Path) -> Path:
    return target.with_name(f"{target.name}{_INSIDE}")


def _loading(aside: Path) -> str | None:
    mark = aside / _LOADING
    return mark.read_text("utf-8") if mark.exists() else None


def _begin(aside: Path, collection: str) -> None:
    if aside.name == _INSIDE and aside.exists():  # cut short while it was put in place
        for entry in aside.parent.iterdir():
            if entry.name not in _NOT_OURS:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    _clear_away(aside)
    aside.mkdir(0o700, parents=True)
    if collection:
        (aside / _LOADING).write_text(collection, "utf-8")


def _extract(content: IO[bytes], path: Path) -> None:
    with path.open("xb") as database:
        shutil.copyfileobj(content, database, 2**20)
        database.flush()
        os.fsync(database.fileno())


def _put_in_place(aside: Path, target: Path) -> None:
    """The mark goes last: until then what the server holds is known to be this restore's."""
    if aside.parent == target:
        for entry in aside.iterdir():
            if entry.name != _LOADING:
                entry.rename(target / entry.name)
        (aside / _LOADING).unlink(missing_ok=True)
        aside.rmdir()  # now a bot may start
    else:
        if target.exists():
            target.rmdir()
        aside.rename(target)
        (target / _LOADING).unlink(missing_ok=True)
    _sync(target.parent)


def _clear_away(aside: Path) -> None:
    if aside.exists():
        shutil.rmtree(aside)


def _size(path: Path) -> int:
    return path.stat().st_size


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
