"""Index points as bytes: each a JSON head and the keys as little-endian 32-bit numbers, one after the other.

A record is two lengths (uint32), the head {"id", "payload", "keys": [[name, number of values, sparse?], …]}, then
for each key its values as float32, a sparse key's token ids (uint32) before them.
"""

import json
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from typing import IO, Any

from bot.memory.index import IndexPoint, Key, SparseVector

_LENGTHS = struct.Struct("<II")
_LONGEST = 2**28
_FLOAT, _UNSIGNED = "f", "I"


def pack(points: Iterable[IndexPoint]) -> bytes:
    """The points as one piece of a file."""
    return b"".join(map(_pack, points))


def unpack(file: IO[bytes]) -> Iterator[IndexPoint]:
    """The points of a file. Raises `ValueError` where it is no such file."""
    while lengths := file.read(_LENGTHS.size):
        if len(lengths) < _LENGTHS.size:
            raise ValueError("a point is cut short")
        head, body = _LENGTHS.unpack(lengths)
        if max(head, body) > _LONGEST:
            raise ValueError("a point is too long")
        yield _unpack(file.read(head), file.read(body))


def _pack(point: IndexPoint) -> bytes:
    keys: list[tuple[str, int, bool]] = []
    body = bytearray()
    for dense, vector in point.dense.items():
        keys.append((dense.value, len(vector), False))
        body += _bytes(_FLOAT, vector)
    for sparse, words in point.sparse.items():
        keys.append((sparse.value, len(words.indices), True))
        body += _bytes(_UNSIGNED, words.indices) + _bytes(_FLOAT, words.values)
    head = json.dumps({"id": point.id, "payload": point.payload, "keys": keys}).encode()
    return _LENGTHS.pack(len(head), len(body)) + head + body


def _unpack(head: bytes, body: bytes) -> IndexPoint:
    fields = json.loads(head)
    numbers = memoryview(body)
    dense, sparse = {}, {}
    for name, length, is_sparse in fields["keys"]:
        if is_sparse:
            indices, numbers = _numbers(_UNSIGNED, numbers, length)
            values, numbers = _numbers(_FLOAT, numbers, length)
            sparse[Key(name)] = SparseVector(indices, values)
        else:
            dense[Key(name)], numbers = _numbers(_FLOAT, numbers, length)
    return IndexPoint(fields["id"], fields["payload"], dense, sparse)


def _bytes(kind: str, numbers: Iterable[float]) -> bytes:
    packed: array[Any] = array(kind, numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _numbers(kind: str, rest: memoryview, length: int) -> tuple[list[Any], memoryview]:
    numbers: array[Any] = array(kind)
    numbers.frombytes(rest[: length * numbers.itemsize])
    if len(numbers) != length:
        raise ValueError("a key is cut short")
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist(), rest[length * numbers.itemsize :]
