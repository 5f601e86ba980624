"""One open Qdrant Edge shard and its folder. Its methods raise whatever Edge and the file system raise."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import qdrant_edge as edge

from bot.memory.edge_filter import FACETS, Present, Values
from bot.memory.edge_points import FULL_VECTORS, PointId, create_shard, load_shard, only, same_point, to_request
from bot.memory.index import ScoredPoint, Search
from bot.memory.resident import let_go, page_out, read_ahead
from bot.memory.shard_folders import fsync, fsync_all

_FLUSH_AFTER = 1000  # a start replays this many changes in a quarter of a second
_DELETION = 0.02  # of a change: it takes a start 0.02 ms, but a flush as long as ten thousand
_MOST_VALUES = 5000
_CODES = "quantized_data"  # the folders whose files a search reads from end to end
_LOG = "/wal/"  # in the paths of its files, which only a start reads
_LET_GO_AFTER = 32  # points that were read: with each of their vectors, 16 pages are mapped
_FLUSH_COPY_AFTER = 5000  # no start replays a copy's log, but it takes 12 kB a point


class OpenShard:
    """A shard for one caller at a time.

    While it is being copied, `changed` gathers the ids of the points written or deleted meanwhile.
    `lean` is for who moves points and searches for none: no page stays in memory.
    """

    def __init__(self, folder: Path, shard: edge.EdgeShard, lean: bool = False) -> None:
        self.folder = folder
        self._lean = lean
        self._read = 0  # points with their vectors, whose pages are still there
        self.changed: set[str] | None = None
        self._shard = shard
        self._unflushed = 0.0  # changes

    @classmethod
    def load(cls, folder: Path, dimensions: int, lean: bool = False) -> Self:
        """Open the shard that lies in a folder.

        What every search reads is read here first: Edge would fetch it from disk while it holds the GIL.
        """
        shard = load_shard(folder, dimensions)
        if not lean:
            read_ahead(folder.rglob(f"{_CODES}/*"))
        return cls(folder, shard, lean)

    @classmethod
    def create(cls, folder: Path, dimensions: int) -> Self:
        """Make a shard in a folder that does not exist yet."""
        return cls(folder, create_shard(folder, dimensions))

    def upsert(self, points: Sequence[edge.Point]) -> None:
        """Insert or replace points, their keys included."""
        self._note([str(point.id) for point in points])
        self._shard.update(edge.UpdateOperation.upsert_points(list(points)))

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points; ids that are not there are fine."""
        self._note(ids, cost=_DELETION)
        self._shard.update(edge.UpdateOperation.delete_points(list(ids)))

    def erase(self, where: edge.Filter, most: int | None) -> bool:
        """Remove the points under a filter, unless there seem to be more than so many: whether they are gone.

        By a filter this takes half of what it takes by ids.
        """
        count = self._shard.count(edge.CountRequest(filter=where, exact=False))  # in microseconds
        if most is not None and count > most:
            return False
        self._unflushed += _DELETION * count
        if self.changed is not None:
            self.changed.update(self._ids(where))
        self._shard.update(edge.UpdateOperation.delete_points_by_filter(where))
        return True

    def _ids(self, where: edge.Filter) -> list[str]:
        count = self._shard.count(edge.CountRequest(filter=where, exact=True))
        request = edge.ScrollRequest(limit=max(count, 1), filter=where, with_payload=False, with_vector=False)
        records, _ = self._shard.scroll(request)
        return [str(record.id) for record in records]

    def search(
        self, searches: Sequence[Search], where: edge.Filter | None, corpus: edge.Filter | None = None
    ) -> list[list[ScoredPoint]]:
        """One list for each search, best first; each scores what any of them finds. `corpus`: see `to_request`.

        Edge holds the GIL in every call, so each list is a call of its own and others have their turn in between;
        and it reads a payload anew for each list, so those are read once, for all lists together.
        """
        lists = [_scores(self._shard.query(to_request(search, where, corpus))) for search in searches]
        found = {id for scores in lists for id in scores}
        for scores, search in zip(lists, searches, strict=True):
            if missed := found - scores.keys():
                rest = to_request(replace(search, limit=len(missed)), only(missed), corpus)
                scores |= _scores(self._shard.query(rest))
        records = self._shard.retrieve(list(found), with_payload=True, with_vector=False) if found else []
        names = {record.id: str(record.id) for record in records}
        payloads = {record.id: record.payload or {} for record in records}
        return [[ScoredPoint(names[id], score, payloads[id]) for id, score in scores.items()] for scores in lists]

    def present(self) -> Present:
        """What occurs in those fields of a scope that have not very many values, some in deleted points perhaps."""
        facets = {field: self._shard.facet(edge.FacetRequest(field, limit=_MOST_VALUES)).hits for field in FACETS}
        return {
            field: Values({hit.value for hit in hits}, self._lacking(field))
            for field, hits in facets.items()
            if len(hits) < _MOST_VALUES
        }

    def _lacking(self, field: str) -> bool:
        """Whether there is a point without this field; half a millisecond for 100,000 points that all have it."""
        without = edge.Filter(must=[edge.IsEmptyCondition(field)])
        return self._shard.count(edge.CountRequest(filter=without, exact=True)) > 0

    def retrieve(self, ids: Sequence[str], keys: bool) -> list[edge.Record]:
        """The points with these ids that exist."""
        records = self._shard.retrieve(list(ids), with_payload=True, with_vector=keys)
        self._note_read(len(records) if keys else 0)
        return records

    def scroll(
        self, after: str | None, limit: int, keys: bool, where: edge.Filter | None = None
    ) -> tuple[list[edge.Record], str | None]:
        """A page of points in id order and where the next one starts (None at the end)."""
        request = edge.ScrollRequest(offset=after, limit=limit, filter=where, with_payload=True, with_vector=keys)
        records, following = self._shard.scroll(request)
        self._note_read(len(records) if keys else 0)
        return records, None if following is None else str(following)

    def count(self) -> int:
        """How many points there are, exactly."""
        return self._shard.count(edge.CountRequest(exact=True))

    def changes(self, limit: int | None = None) -> tuple[list[str], list[edge.Record]]:
        """Ids out of `changed`, all or so many, and those of their points that exist, with their keys."""
        ids = list(self.changed or ())[:limit]
        (self.changed or set()).difference_update(ids)
        return ids, self.retrieve(ids, keys=True)

    def take(self, records: Sequence[edge.Record], instead_of: Sequence[str] = ()) -> None:
        """Hold these points of another shard exactly as they are there, and none of the others `instead_of` names."""
        if records:
            self.upsert([same_point(record) for record in records])
        if gone := set(instead_of) - {str(record.id) for record in records}:
            self.delete(list(gone))
        if self._unflushed >= _FLUSH_COPY_AFTER:
            self.flush()

    @property
    def full(self) -> bool:
        """Whether it is time to flush."""
        return self._unflushed >= _FLUSH_AFTER

    def settle(self) -> Path | None:
        """The folder of the write-ahead log, for `sync_log`; None if it was time to flush, for then all is on disk.

        The log survives a power cut as it stands. Only a flush shortens it, which the next start would replay.
        """
        if not self.full:
            return self.folder / "wal"
        self.flush()
        return None

    def flush(self) -> None:
        """Put everything on disk, if anything changed.

        Edge holds the GIL while it syncs: of much, most is on disk before Edge is asked.
        """
        if self._unflushed > _FLUSH_AFTER // 10:
            fsync_all(self.folder)
        if self._unflushed:
            self._shard.flush()
            self._give_back()
        self._unflushed = 0

    def close(self) -> None:
        """Flush and let go of the files."""
        self._shard.close()

    def _note_read(self, count: int) -> None:
        """Give back what was read of the vectors, which searches do not need, once it is much."""
        self._read += count
        if self._read >= (_LET_GO_AFTER if self._lean else _FLUSH_AFTER):
            self._give_back()
            self._read = 0

    def _give_back(self) -> None:
        if self._lean:
            let_go(self.folder)
        else:
            page_out(self.folder, FULL_VECTORS, _LOG)

    def _note(self, ids: Sequence[str], cost: float = 1) -> None:
        self._unflushed += cost * len(ids)
        if self.changed is not None:
            self.changed.update(ids)


def _scores(hits: Sequence[edge.ScoredPoint]) -> dict[PointId, float]:
    """The scores by point id, best first."""
    return {hit.id: hit.score for hit in hits}


def sync_log(log: Path) -> None:
    """Put a write-ahead log on disk, whose pages only a start reads. Raises `FileNotFoundError` if it is gone."""
    fsync(log, *log.iterdir())
    page_out(log.parent, _LOG)
