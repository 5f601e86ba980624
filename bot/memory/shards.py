"""Qdrant Edge shards, one folder per guild: the synchronous, thread-safe half of the embedded index.

A shard takes one call at a time, held by a lock per guild; different guilds work side by side.
"""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import qdrant_edge as edge
import structlog

from bot.errors import IndexMismatch, IndexUnavailable
from bot.memory.edge_filter import corpus, within
from bot.memory.edge_points import from_edge, to_edge
from bot.memory.fingerprint import Fingerprint, Stamp, refuse_size
from bot.memory.index import IndexPoint, ScoredPoint, Search
from bot.memory.open_shard import OpenShard, sync_log
from bot.memory.shard_folders import ShardFolders, dimensions_of, discard, fsync, fsync_all, size
from bot.model import Scope

UNMAPPED = "unmapped"
# Edge holds the GIL in every call: 16 points of four keys take it for 4 ms, 256 for 50.
STEP = 16
DELETED = 128  # for 3 ms

log = structlog.get_logger(__name__)


class Shards:
    """The shard folders under `folder`; at most `open_shards` idle ones stay open.

    Every method raises `IndexUnavailable` when a shard cannot be used and `IndexMismatch` when it
    was made with another embedding model, or holds vectors of another size. An index that does not say what it was
    made with is taken for one of `fingerprint`.
    """

    def __init__(
        self,
        folder: Path,
        dimensions: int,
        open_shards: int,
        fingerprint: Fingerprint | None = None,
        lean: bool = False,
    ) -> None:
        self._lean = lean
        self._folders = ShardFolders(folder)
        self._dimensions = dimensions
        self._fingerprint = fingerprint
        self._stamp = Stamp(folder, fingerprint)
        self._limit = open_shards
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._open: OrderedDict[str, OpenShard] = OrderedDict()
        self._mutex = threading.Lock()  # guards the two above, never held during a shard's call

    def prepare(self) -> None:
        """Make the folder, finish or undo what a crash cut short, and check what every shard was made with."""
        root = self._folders.root
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._folders.refuse_another()
            for name in self._folders.unfinished():
                with self._hold(name):
                    if name not in self._open or self._open[name].changed is None:
                        self._folders.tidy(name)
            self._stamp.check(filled=bool(names := self._folders.names()))
            for name in names:
                self._check_at_start(name)
            self._stamp.put()
        except OSError as error:
            raise IndexUnavailable(f"The index folder {root} cannot be used: {error.strerror}.") from error

    def guilds(self) -> list[int | None]:
        """Whose shards exist."""
        self._folders.refuse_another()
        names = self._folders.names()
        return [None if name == UNMAPPED else int(name) for name in names if name == UNMAPPED or name.isdecimal()]

    def close(self) -> None:
        """Flush and close every open shard."""
        try:
            for name in list(self._open):
                with self._hold(name):
                    self._close(name)
        finally:
            self._folders.close()

    def upsert(self, guild_id: int | None, points: Sequence[IndexPoint]) -> None:
        """Insert or replace points, on disk once `sync` has returned."""
        name = _name(guild_id)
        self._folders.refuse_if_full()
        found = [to_edge(point) for point in points]
        with self._hold(name):
            (self._opened(name) or self._made(name)).upsert(found)

    def sync(self, guild_id: int | None) -> None:
        """Put what was written on disk. Most goes there while others use the shard: it takes the longest."""
        with self._use(guild_id) as shard:
            full = shard.folder if shard is not None and shard.full else None
        # What is gone a purge has replaced by a fresh shard, which is on disk.
        with self._reporting(_name(guild_id)), suppress(FileNotFoundError):
            if full is not None:
                fsync_all(full)
            with self._use(guild_id) as shard:
                log = None if shard is None else shard.settle()
            if log is not None:
                sync_log(log)

    def delete(self, guild_id: int | None, ids: Sequence[str]) -> None:
        """Remove points, on disk once `sync` has returned."""
        with self._use(guild_id) as shard:
            if shard is not None:
                shard.delete(ids)

    def search(self, scope: Scope, searches: Sequence[Search]) -> list[list[ScoredPoint]]:
        """One list for each search under the scope's filter, best first; each scores what any of them finds."""
        with self._use(scope.guild_id) as shard:
            if shard is None:
                return [[] for _ in searches]
            present = shard.present()
            return shard.search(searches, within(scope, present), corpus(scope, present))

    def search_where(self, guild_id: int | None, search: Search, where: edge.Filter | None) -> list[ScoredPoint]:
        """One list under any filter."""
        with self._use(guild_id) as shard:
            return [] if shard is None else shard.search([search], where)[0]

    def retrieve(self, guild_id: int | None, ids: Sequence[str], keys: bool = False) -> list[IndexPoint]:
        with self._use(guild_id) as shard:
            return [] if shard is None else [from_edge(record) for record in shard.retrieve(ids, keys)]

    def scroll(
        self,
        guild_id: int | None,
        after: str | None = None,
        limit: int = 256,
        keys: bool = False,
        where: edge.Filter | None = None,
    ) -> tuple[list[IndexPoint], str | None]:
        with self._use(guild_id) as shard:
            if shard is None:
                return [], None
            records, following = shard.scroll(after, limit, keys, where)
            return [from_edge(record) for record in records], following

    def erase(self, guild_id: int, where: edge.Filter, most: int | None) -> bool:
        """Remove the points under a filter, on disk once `sync` has returned; False, and none, if it is too many."""
        with self._use(guild_id) as shard:
            return shard is None or shard.erase(where, most)

    def count(self, guild_id: int | None) -> int:
        with self._use(guild_id) as shard:
            return 0 if shard is None else shard.count()

    def drop(self, guild_id: int | None) -> None:
        """Close a shard and remove its folder; a crash in between is finished by `prepare`."""
        name = _name(guild_id)
        with self._hold(name):
            self._folders.refuse_another()
            self._close(name)
            for folder in reversed(self._folders.generations(name)):  # a copy must not outlive what it was made of
                discard(self._folders.retire(folder))

    def rewrite(self, guild_id: int | None) -> Generator[bool]:
        """Give a shard fresh files with its points exactly as they are, a step with each `next`.

        Edge keeps deleted and replaced text in its log and its pages, whatever is flushed or optimised; of what
        was gone before the first step, the fresh files hold nothing. Between two steps the shard is anyone's, and
        what is changed meanwhile is copied again. A crash or closing the iterator early leaves all as it was.
        Raises `IndexUnavailable` too if the disk has not room for a second copy.
        """
        name = _name(guild_id)
        with self._hold(name):
            shard = self._opened(name)
            if shard is not None and shard.changed is not None:
                raise IndexUnavailable(f"The index in {shard.folder} is being rewritten already.")
            self._folders.tidy(name)
            if shard is None:
                return
            self._folders.refuse_if_full(size(shard.folder))
            shard.changed = set()
        unneeded: OpenShard | None = None
        try:
            with self._reporting(name):
                unneeded = copy = OpenShard.create(self._folders.next_to(shard.folder), self._dimensions)
            yield from self._copy_points(name, shard, copy)
            yield from self._copy_changes(name, shard, copy)
            self._swap(name, shard, copy)
            unneeded = shard
            with self._reporting(name):
                fsync(self._folders.root)
        finally:
            with self._hold(name):
                shard.changed = None
            with self._reporting(name):
                if unneeded is not None:
                    unneeded.close()
                    discard(unneeded.folder)

    def _copy_points(self, name: str, shard: OpenShard, copy: OpenShard) -> Iterator[bool]:
        after: str | None = None
        while True:
            with self._hold(name):
                self._refuse_if_gone(name, shard)
                records, after = shard.scroll(after, STEP, keys=True)
            self._folders.refuse_if_full()
            with self._reporting(name):
                copy.take(records)
            yield True
            if after is None:
                return

    def _copy_changes(self, name: str, shard: OpenShard, copy: OpenShard) -> Iterator[bool]:
        """Copy again what was changed meanwhile, until that is so little that nobody waits long for the rest."""
        while shard.changed and len(shard.changed) > STEP:
            with self._hold(name):
                self._refuse_if_gone(name, shard)
                ids, records = shard.changes(STEP)
            with self._reporting(name):
                copy.take(records, instead_of=ids)
            yield True
        with self._reporting(name):
            copy.flush()
            fsync_all(copy.folder)

    def _swap(self, name: str, shard: OpenShard, copy: OpenShard) -> None:
        with self._hold(name):
            self._refuse_if_gone(name, shard)
            ids, records = shard.changes()
            copy.take(records, instead_of=ids)
            copy.flush()
            shard.folder = self._folders.retire(shard.folder)
            with self._mutex:
                self._open[name] = copy

    def _refuse_if_gone(self, name: str, shard: OpenShard) -> None:
        self._folders.refuse_another()
        if self._open.get(name) is not shard:
            raise IndexUnavailable(f"The index in {shard.folder} was closed while it was rewritten.")

    @contextmanager
    def _use(self, guild_id: int | None) -> Iterator[OpenShard | None]:
        """The guild's shard for one call; None if it has none."""
        name = _name(guild_id)
        with self._hold(name):
            yield self._opened(name)

    @contextmanager
    def _hold(self, name: str) -> Iterator[None]:
        """Nobody else touches the shard meanwhile."""
        with self._mutex:
            lock = self._locks[name]
        with lock, self._reporting(name):
            yield

    @contextmanager
    def _reporting(self, name: str) -> Iterator[None]:
        try:
            yield
        except (IndexMismatch, IndexUnavailable, ValueError):
            raise
        except Exception as error:  # all that qdrant_edge raises is a plain Exception
            raise IndexUnavailable(f"The index in {self._folders.root / name} failed: {error}") from error

    def _opened(self, name: str) -> OpenShard | None:
        self._folders.refuse_another()
        with self._mutex:
            if name in self._open:
                self._open.move_to_end(name)
                return self._open[name]
        folder = self._folders.current(name)
        return None if folder is None else self._loaded(name, folder)

    def _loaded(self, name: str, folder: Path) -> OpenShard:
        self._stamp.check(filled=True)
        self._check_size(folder)
        self._stamp.put()
        self._make_room()
        try:
            shard = OpenShard.load(folder, self._dimensions, self._lean)
        except Exception as error:  # as in `_reporting`
            raise IndexUnavailable(
                f"The index in {folder} failed to open: {error}. If no other program uses it, move it away and start "
                "again, and what is held is indexed anew."
            ) from error
        with self._mutex:
            self._open[name] = shard
        return shard

    def _made(self, name: str) -> OpenShard:
        """A new shard, made aside and moved into place: no crash leaves half of one."""
        self._stamp.check(filled=bool(self._folders.names()))
        self._stamp.put()
        aside = self._folders.half_made(name)
        OpenShard.create(aside, self._dimensions).close()
        return self._loaded(name, aside.rename(self._folders.root / name))

    def _make_room(self) -> None:
        """Close the least recently used shards nobody is calling or copying until there is room for one more."""
        with self._mutex:
            candidates = [(name, self._locks[name]) for name, shard in self._open.items() if shard.changed is None]
        for name, lock in candidates:
            if len(self._open) < self._limit:
                return
            if lock.acquire(blocking=False):
                try:
                    self._close(name)
                finally:
                    lock.release()

    def _close(self, name: str) -> None:
        with self._mutex:
            shard = self._open.pop(name, None)
        if shard is not None:
            shard.close()  # flushes

    def _check_at_start(self, name: str) -> None:
        folder = self._folders.current(name)
        try:
            if folder is not None:
                self._check_size(folder)
        except IndexUnavailable as error:
            log.error("shard_damaged", reason=str(error))  # the other guilds' shards are fine

    def _check_size(self, folder: Path) -> None:
        refuse_size(dimensions_of(folder), self._dimensions, f"The index in {folder}", self._fingerprint)


def _name(guild_id: int | None) -> str:
    return UNMAPPED if guild_id is None else str(guild_id)
