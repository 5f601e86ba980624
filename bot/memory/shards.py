"""Qdrant Edge shards, one folder per guild: the synchronous, thread-safe half of the embedded index.

A shard takes one call at a time, held by a lock per guild; different guilds work side by side.
"""

import json
import os
import shutil
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import qdrant_edge as edge
import structlog

from bot.errors import IndexMismatch, IndexUnavailable
from bot.memory.index import IndexPoint, Key, ScoredPoint, Search, SparseVector

UNMAPPED = "unmapped"
_HALF_MADE, _HALF_REMOVED = ".new", ".removed"
_DENSE = (Key.DENSE, Key.WINDOW)
_SPARSE = (Key.BM25, Key.BM25_WINDOW)
_LOOKUP = edge.IntegerIndexParams(lookup=True, range=False)
_PAYLOAD_INDEXES: dict[str, edge.KeywordIndexParams | edge.IntegerIndexParams] = {
    "guild_id": edge.KeywordIndexParams(),
    "access_id": _LOOKUP,
    "channel_id": _LOOKUP,
    "subject_id": _LOOKUP,
    "said_at": edge.IntegerIndexParams(lookup=False, range=True),
}
# Eight-bit TurboQuant codes are all a search reads: they find 99.5 % of the exact ten nearest of 100,000, with scores
# right to 0.0002. Rescoring by the full vectors would fetch those from disk, which doubles the time of a wide search.
_QUANTISATION = edge.TurboQuantQuantizationConfig(bits=edge.TurboQuantBitSize.Bits8)
_BY_CODES = edge.SearchParams(quantization=edge.QuantizationSearchParams(rescore=False))
# Edge holds the GIL in every call: 32 points of four keys take it for 7 ms, 256 for 50.
_UPSERT_STEP = 32
_RESERVE = 64 * 2**20  # bytes that must be free before a write
_FLUSH_AFTER = 2000  # a start replays this many changes in half a second

log = structlog.get_logger(__name__)


class Shards:
    """The shard folders under `folder`; at most `open_shards` idle ones stay open.

    Every method raises `IndexUnavailable` when a shard cannot be used and `IndexMismatch` when it
    holds vectors of another size.
    """

    def __init__(self, folder: Path, dimensions: int, open_shards: int) -> None:
        self._folder = folder
        self._dimensions = dimensions
        self._limit = open_shards
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._unflushed: Counter[str] = Counter()  # changes of each open shard since its last flush
        self._open: OrderedDict[str, edge.EdgeShard] = OrderedDict()
        self._mutex = threading.Lock()  # guards the two above, never held during a shard's call

    def prepare(self) -> None:
        """Make the folder, finish removals a crash cut short, and check every shard's vector size."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for folder in self._folder.iterdir():
                if folder.suffix in {_HALF_MADE, _HALF_REMOVED}:
                    with self._hold(folder.stem):
                        shutil.rmtree(folder)
                elif folder.is_dir():
                    self._check_at_start(folder)
        except OSError as error:
            raise IndexUnavailable(f"The index folder {self._folder} cannot be used: {error.strerror}.") from error

    def guilds(self) -> list[int | None]:
        """Whose shards exist."""
        if not self._folder.is_dir():
            return []
        names = sorted(folder.name for folder in self._folder.iterdir())
        return [None if name == UNMAPPED else int(name) for name in names if name == UNMAPPED or name.isdecimal()]

    def close(self) -> None:
        """Flush and close every open shard."""
        for name in list(self._open):
            with self._hold(name):
                self._close(name)

    def upsert(self, guild_id: int | None, points: Sequence[IndexPoint]) -> None:
        """Insert or replace points, in steps; on disk when it returns."""
        name = _name(guild_id)
        self._refuse_if_full()
        for start in range(0, len(points), _UPSERT_STEP):
            step = [_to_edge(point) for point in points[start : start + _UPSERT_STEP]]
            with self._hold(name):
                shard = self._opened(name) or self._made(name)
                shard.update(edge.UpdateOperation.upsert_points(step))
        self._sync(guild_id, len(points))

    def _refuse_if_full(self) -> None:
        """Qdrant Edge writes into mapped files: without room on the disk that ends the process, with SIGBUS."""
        place = next(path for path in (self._folder, *self._folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(place).free
        if free < _RESERVE:
            raise IndexUnavailable(
                f"Only {free >> 20} MB are free in {place}: the index needs {_RESERVE >> 20} to write."
            )

    def delete(self, guild_id: int | None, ids: Sequence[str]) -> None:
        """Remove points; on disk when it returns."""
        with self._use(guild_id) as shard:
            if shard is not None:
                shard.update(edge.UpdateOperation.delete_points(list(ids)))
        self._sync(guild_id, len(ids))

    def search(
        self, guild_id: int | None, searches: Sequence[Search], where: edge.Filter | None
    ) -> list[list[ScoredPoint]]:
        with self._use(guild_id) as shard:
            if shard is None:
                return [[] for _ in searches]
            lists = shard.query_batch(edge.QueryBatchRequest([_request(search, where) for search in searches]))
            return [[ScoredPoint(str(hit.id), hit.score, hit.payload or {}) for hit in hits] for hits in lists]

    def retrieve(self, guild_id: int | None, ids: Sequence[str], keys: bool = False) -> list[IndexPoint]:
        with self._use(guild_id) as shard:
            records = [] if shard is None else shard.retrieve(list(ids), with_payload=True, with_vector=keys)
            return [_from_edge(record) for record in records]

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
            request = edge.ScrollRequest(offset=after, limit=limit, filter=where, with_payload=True, with_vector=keys)
            records, following = shard.scroll(request)
            return [_from_edge(record) for record in records], None if following is None else str(following)

    def count(self, guild_id: int | None) -> int:
        with self._use(guild_id) as shard:
            return 0 if shard is None else shard.count(edge.CountRequest(exact=True))

    def drop(self, guild_id: int | None) -> None:
        """Close a shard and remove its folder; a crash in between is finished by `prepare`."""
        name = _name(guild_id)
        with self._hold(name):
            self._close(name)
            folder = self._folder / name
            doomed = folder.with_suffix(_HALF_REMOVED)
            shutil.rmtree(doomed, ignore_errors=True)
            if folder.exists():
                shutil.rmtree(folder.rename(doomed))

    @contextmanager
    def _use(self, guild_id: int | None) -> Iterator[edge.EdgeShard | None]:
        """The guild's shard for one call; None if it has none."""
        name = _name(guild_id)
        with self._hold(name):
            yield self._opened(name)

    @contextmanager
    def _hold(self, name: str) -> Iterator[None]:
        """Nobody else touches the shard meanwhile."""
        with self._mutex:
            lock = self._locks[name]
        with lock:
            try:
                yield
            except (IndexMismatch, IndexUnavailable, ValueError):
                raise
            except Exception as error:  # all that qdrant_edge raises is a plain Exception
                raise IndexUnavailable(f"The index in {self._folder / name} failed: {error}") from error

    def _sync(self, guild_id: int | None, changes: int) -> None:
        """Put the write-ahead log on disk, which survives a power cut as it stands, and now and then the segments.

        Edge syncs in `flush` alone. That holds the GIL for its syncs, while `os.fsync` lets it go;
        but only a flush shortens the log, which the next start would replay.
        """
        name = _name(guild_id)
        with self._use(guild_id) as shard:
            if shard is None:
                return
            self._unflushed[name] += changes
            if self._unflushed[name] >= _FLUSH_AFTER:
                shard.flush()
                self._unflushed[name] = 0
                return
            wal = self._folder / name / "wal"
            for file in (wal, *wal.iterdir()):
                with suppress(FileNotFoundError):  # Edge prepares the log's next file in a thread of its own
                    _fsync(file)

    def _opened(self, name: str) -> edge.EdgeShard | None:
        with self._mutex:
            if name in self._open:
                self._open.move_to_end(name)
                return self._open[name]
        return self._loaded(name) if (self._folder / name).is_dir() else None

    def _loaded(self, name: str) -> edge.EdgeShard:
        folder = self._folder / name
        self._check_size(folder)
        self._make_room()
        shard = edge.EdgeShard.load(str(folder), self._config())
        with self._mutex:
            self._open[name] = shard
        return shard

    def _made(self, name: str) -> edge.EdgeShard:
        """A new shard with its payload indexes, made aside and moved into place: no crash leaves half of one."""
        folder = self._folder / name
        aside = folder.with_suffix(_HALF_MADE)
        shutil.rmtree(aside, ignore_errors=True)
        shard = edge.EdgeShard.create(str(aside), self._config())
        for field, index in _PAYLOAD_INDEXES.items():
            shard.update(edge.UpdateOperation.create_field_index(field, index))
        shard.close()
        aside.rename(folder)
        return self._loaded(name)

    def _make_room(self) -> None:
        """Close the least recently used shards nobody is calling until there is room for one more."""
        with self._mutex:
            candidates = [(name, self._locks[name]) for name in self._open]
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
            self._unflushed.pop(name, None)

    def _config(self) -> edge.EdgeConfig:
        vector = edge.EdgeVectorParams(self._dimensions, edge.Distance.Cosine, memory=edge.Memory.Cold)
        return edge.EdgeConfig(
            vectors={key.value: vector for key in _DENSE},
            sparse_vectors={key.value: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf) for key in _SPARSE},
            quantization_config=_QUANTISATION,
            max_search_threads=1,
            payload_memory=edge.Memory.Cached,  # every answer is made of payloads
        )

    def _check_at_start(self, folder: Path) -> None:
        try:
            self._check_size(folder)
        except IndexUnavailable as error:
            log.error("shard_damaged", reason=str(error))  # the other guilds' shards are fine

    def _check_size(self, folder: Path) -> None:
        try:
            stored = json.loads((folder / "edge_config.json").read_text())["vectors"][Key.DENSE.value]["size"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise IndexUnavailable(f"The index in {folder} is damaged: move it away and index again.") from error
        if stored != self._dimensions:
            raise IndexMismatch(
                f"The index in {folder} holds vectors of size {stored}, but openai.dimensions is {self._dimensions}: "
                "set it back, or move the folder away and index again."
            )


def _fsync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name(guild_id: int | None) -> str:
    return UNMAPPED if guild_id is None else str(guild_id)


def _request(search: Search, where: edge.Filter | None) -> edge.QueryRequest:
    return edge.QueryRequest(
        query=edge.Query.Nearest(_vector(search.vector), using=search.key.value),
        filter=where,
        limit=search.limit,
        params=_BY_CODES,
        with_payload=True,
    )


def _vector(vector: Sequence[float] | SparseVector) -> Any:
    if isinstance(vector, SparseVector):
        return edge.SparseVector(list(vector.indices), list(vector.values))
    return list(vector)


def _to_edge(point: IndexPoint) -> edge.Point:
    dense = {key.value: _vector(vector) for key, vector in point.dense.items()}
    sparse = {key.value: _vector(vector) for key, vector in point.sparse.items()}
    return edge.Point(id=point.id, vector=dense | sparse, payload=dict(point.payload))


def _from_edge(record: edge.Record) -> IndexPoint:
    """A stored record; one with the unnamed vector alone returns it bare."""
    vector = record.vector or {}
    vectors: dict[str, Any] = vector if isinstance(vector, dict) else {Key.DENSE.value: vector}
    return IndexPoint(
        id=str(record.id),
        payload=record.payload or {},
        dense={key: vectors[key] for key in _DENSE if key in vectors},
        sparse={key: SparseVector(vectors[key].indices, vectors[key].values) for key in _SPARSE if key in vectors},
    )
