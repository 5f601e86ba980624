"""Moving the memories to another index: with the bot stopped, or by the running bot, which only reads it then.

While the bot moves its index, nothing else writes to it, and once it has, nothing does until the bot is restarted:
what is captured and taken back meanwhile waits in the database, and goes into whichever index the bot starts on.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bot.errors import RecollectError
from bot.memory.checkpoint import Checkpoint
from bot.memory.migrate import Migrated, Migration
from bot.memory.places import Kind, Made, Place, open_source, open_target, parse
from bot.memory.shadow import Mirrored
from bot.memory.write_lock import WriteLock
from bot.model import Report
from bot.settings import Settings, shown_url
from bot.storage.database import LOCK_FILE, hold, holds_data
from bot.upkeep.restore import INDEX

_BOTS_PAGE, _BOTS_STEP = 32, 8  # an embedded index holds the GIL for 10 ms to read so many points with their keys


@dataclass(frozen=True, slots=True)
class Order:
    """A move as it was asked for. A key is read from a file, lest it stay in a shell's history."""

    source: str
    target: str
    source_collection: str | None = None
    target_collection: str | None = None
    source_key_file: str | None = None
    target_key_file: str | None = None
    into: bool = False
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """An order understood: from where to where, and the file that says how far it has come."""

    source: Place
    target: Place
    into: bool
    checkpoint: Path

    @property
    def folders(self) -> list[Path]:
        """The data folders that the two belong to."""
        places = [place.folder for place in (self.source, self.target) if place.kind is Kind.EDGE]
        return [folder.parent for folder in places if folder is not None and holds_data(folder.parent)]


def understood(order: Order, settings: Settings) -> Move:
    """What is asked for, on this machine. Raises `RecollectError`."""
    source = _place(order.source, order.source_collection, order.source_key_file, settings)
    target = _place(order.target, order.target_collection, order.target_key_file, settings)
    if source == target:
        raise RecollectError(f"The memories are in {source} already.")
    name = hashlib.sha256(f"{source}\n{target}".encode()).hexdigest()[:16]
    file = Path(order.checkpoint) if order.checkpoint else settings.storage.path / f"migration-{name}.json"
    return Move(source, target, order.into, file.absolute())


async def move_stopped(order: Order, settings: Settings, report: Report) -> dict[str, Any]:
    """Move with no bot at work on any of it. Raises `RecollectError`, so if one starts to be."""
    move = understood(order, settings)
    with _held(settings.storage.path, *move.folders):
        aside = move.checkpoint.with_suffix(".source")
        if move.source.folder is not None:
            report("Copying the source, to read it", 0, None)
        async with open_source(move.source, settings.qdrant, aside) as (source, made):
            async with open_target(move.target, settings.qdrant, made) as target:
                done = await Migration(source, target, Checkpoint(move.checkpoint), move.into).run(report)
    return _result(done, move, settings)


class Moving:
    """The running bot's own way to move its index. `problem` says, once it has, what its admins have to do."""

    def __init__(self, settings: Settings, index: Mirrored, lock: WriteLock) -> None:
        self._settings = settings
        self._index = index
        self._lock = lock
        self.problem: str | None = None

    async def move(self, order: Order, report: Report) -> dict[str, Any]:
        """Copy the index the bot works with. Raises `RecollectError`; then all goes on as before."""
        if self.problem:
            raise RecollectError(self.problem)
        settings = self._settings
        move = understood(order, settings)
        own = _own(settings)
        if move.source != own:
            raise RecollectError(f"The bot that runs here works with {own}: name that with --from, or stop the bot.")
        if move.target.kind is Kind.LOCAL:
            raise RecollectError("qdrant-client's local mode keeps a running bot from its work: stop the bot first.")
        report("Waiting for a pause of the index", 0, None)
        moving = f"The memories are being moved to {move.target}: repeat this after it."
        moved = f"The memories were moved to {move.target}, and nothing new is indexed until the bot is restarted."
        async with self._lock.closing(moving, then=moved):
            made = Made(self._index.fingerprint.embedding.dimensions, self._index.fingerprint)
            async with open_target(move.target, settings.qdrant, made, _BOTS_STEP) as target:
                migration = Migration(self._index, target, Checkpoint(move.checkpoint), move.into, _BOTS_PAGE)
                done = await migration.run(report)
        self.problem = moved
        return _result(done, move, settings)


def _own(settings: Settings) -> Place:
    if settings.qdrant.url:
        return parse(settings.qdrant.url, settings.qdrant.collection, settings.qdrant.api_key)
    return parse(f"{Kind.EDGE}:{settings.storage.path / INDEX}", "", SecretStr(""))


def _place(spec: str, collection: str | None, key_file: str | None, settings: Settings) -> Place:
    """The key of the settings is for the server of the settings, or for the first one: no other is shown it."""
    qdrant = settings.qdrant
    place = parse(spec, collection or qdrant.collection, SecretStr(""))
    if place.kind is Kind.EDGE and place.folder is not None:
        within = place.folder == settings.storage.path.absolute() or holds_data(place.folder)
        return replace(place, where=str(place.folder / INDEX)) if within else place
    if key_file is not None:
        return replace(place, api_key=SecretStr(_read(Path(key_file))))
    return replace(place, api_key=qdrant.api_key) if qdrant.url in ("", place.where) else place


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise RecollectError(f"The key file {file} cannot be read.") from error


@contextmanager
def _held(*folders: Path) -> Iterator[None]:
    """Keep every bot out of these data folders. Raises `DataFolderError` if one is in there."""
    with ExitStack() as locks:
        for folder in {folder.resolve() for folder in folders}:
            locks.enter_context(_holding(folder))
        yield


@contextmanager
def _holding(folder: Path) -> Iterator[None]:
    """Hold a folder. If nothing comes into it, leave it as absent or as empty as it was, and fit for a restore."""
    was_there, was_held = folder.exists(), (folder / LOCK_FILE).exists()
    lock = hold(folder)
    try:
        yield
    finally:
        with suppress(OSError):  # where an open file cannot be removed, it stays
            if not was_held and [path.name for path in folder.iterdir()] == [LOCK_FILE]:
                (folder / LOCK_FILE).unlink()
                if not was_there:
                    folder.rmdir()
        lock.release()


def _result(done: Migrated, move: Move, settings: Settings) -> dict[str, Any]:
    return {**asdict(done), "source": str(move.source), "target": str(move.target), "next": _next(move, settings)}


def _next(move: Move, settings: Settings) -> str:
    """What is to be done for the bot to work with the target."""
    target = move.target
    if target.kind is Kind.LOCAL:
        return "The bot itself cannot work with that; it is for other programs, or to be moved on."
    if target.kind is Kind.SERVER:
        wanted = {"url": shown_url(target.where), "collection": target.collection}
        now = {"url": settings.qdrant.url, "collection": settings.qdrant.collection}
        changed = [f'qdrant.{name} = "{value}"' for name, value in wanted.items() if now[name] != value]
        key = " and its key" if target.api_key != settings.qdrant.api_key else ""
        return f"Set {' and '.join(changed)}{key}, and start the bot again." if changed else "Start the bot again."
    place = settings.storage.path.absolute() / INDEX
    if target.folder == place:
        return 'Set qdrant.url = "", and start the bot again.'
    return f'Stop the bot, put that folder in place as {place}, set qdrant.url = "", and start the bot again.'
