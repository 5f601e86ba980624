"""Between our points and Qdrant Edge's, and how a shard is laid out."""

import uuid
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from bot.memory.index import IndexPoint, Key, Search, SparseVector

PointId = int | uuid.UUID | str
DENSE_KEYS = (Key.DENSE, Key.WINDOW)
SPARSE_KEYS = (Key.BM25, Key.BM25_WINDOW)
FULL_VECTORS = "/vectors/"  # in the paths of the files that hold them: see `_QUANTISATION`
_LOOKUP = edge.IntegerIndexParams(lookup=True, range=False)
_PAYLOAD_INDEXES: dict[str, edge.KeywordIndexParams | edge.IntegerIndexParams] = {
    "guild_id": edge.KeywordIndexParams(),
    "access_id": _LOOKUP,
    "channel_id": _LOOKUP,
    "subject_id": _LOOKUP,
    "speaker_ids": _LOOKUP,
    "said_at": edge.IntegerIndexParams(lookup=False, range=True),
}
# Four-bit TurboQuant codes are all a search reads. Beside eight bits they halve its memory and take a fifth off its
# time, for 0.2 points of R@10 (docs/recall.md). Rescoring would fetch full vectors from disk, and keep them.
_QUANTISATION = edge.TurboQuantQuantizationConfig(bits=edge.TurboQuantBitSize.Bits4)
_BY_CODES = edge.SearchParams(quantization=edge.QuantizationSearchParams(rescore=False))


def load_shard(folder: Path, dimensions: int) -> edge.EdgeShard:
    """Open the shard in a folder; one made before a payload index was thought of gets it."""
    shard = edge.EdgeShard.load(str(folder), _config(dimensions))
    _index_payloads(shard, _PAYLOAD_INDEXES.keys() - shard.info().payload_schema.keys())
    return shard


def create_shard(folder: Path, dimensions: int) -> edge.EdgeShard:
    """Make a shard with its payload indexes in a folder that does not exist yet."""
    shard = edge.EdgeShard.create(str(folder), _config(dimensions))
    _index_payloads(shard, _PAYLOAD_INDEXES)
    return shard


def _index_payloads(shard: edge.EdgeShard, fields: Iterable[str]) -> None:
    for field in fields:
        shard.update(edge.UpdateOperation.create_field_index(field, _PAYLOAD_INDEXES[field]))


def _config(dimensions: int) -> edge.EdgeConfig:
    vector = edge.EdgeVectorParams(dimensions, edge.Distance.Cosine, memory=edge.Memory.Cold)
    return edge.EdgeConfig(
        vectors={key.value: vector for key in DENSE_KEYS},
        sparse_vectors={key.value: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf) for key in SPARSE_KEYS},
        quantization_config=_QUANTISATION,
        max_search_threads=1,
        payload_memory=edge.Memory.Cached,  # every answer is made of payloads
    )


def to_request(search: Search, where: edge.Filter | None, corpus: edge.Filter | None = None) -> edge.QueryRequest:
    """One of the lists of a recall, as Edge is asked for it; words are as rare as they are in `corpus`."""
    by_corpus = edge.SearchParams(idf=edge.IdfParams(corpus=corpus)) if corpus and search.key in SPARSE_KEYS else None
    return edge.QueryRequest(
        query=edge.Query.Nearest(_vector(search.vector), using=search.key.value),
        filter=where,
        limit=search.limit,
        params=by_corpus or _BY_CODES,
        with_payload=False,
    )


def only(ids: set[PointId]) -> edge.Filter:
    """No other points than these."""
    return edge.Filter(must=[edge.HasIdCondition(ids)])


def to_edge(point: IndexPoint) -> edge.Point:
    """A point to store; Edge normalises its dense vectors."""
    dense = {key.value: _vector(vector) for key, vector in point.dense.items()}
    sparse = {key.value: _vector(vector) for key, vector in point.sparse.items()}
    return edge.Point(id=point.id, vector=dense | sparse, payload=dict(point.payload))


def from_edge(record: edge.Record) -> IndexPoint:
    """A stored record; one with the unnamed vector alone returns it bare."""
    vector = record.vector or {}
    vectors: dict[str, Any] = vector if isinstance(vector, dict) else {Key.DENSE.value: vector}
    return IndexPoint(
        id=str(record.id),
        payload=record.payload or {},
        dense={key: vectors[key] for key in DENSE_KEYS if key in vectors},
        sparse={key: SparseVector(vectors[key].indices, vectors[key].values) for key in SPARSE_KEYS if key in vectors},
    )


def same_point(record: edge.Record) -> edge.Point:
    """A stored record, to be stored elsewhere exactly as it is: Edge does not normalise what is normal already."""
    return edge.Point(id=record.id, vector=record.vector or {}, payload=record.payload)


def _vector(vector: Sequence[float] | SparseVector) -> Any:
    if isinstance(vector, SparseVector):
        return edge.SparseVector(list(vector.indices), list(vector.values))
    return vector if isinstance(vector, list | array) else list(vector)
