"""Whether a point is the same in two indexes.

Both indexes normalise vectors as they take them, which leaves alone what is normal already. Only qdrant-client's local
mode divides by the length again, which can change a number in its last bits: such a point is alike but `ROUNDED`.
"""

import hashlib
import json
import math
from array import array
from collections.abc import Sequence
from enum import Enum, auto

from bot.memory.index import IndexPoint

_ROUNDING = 2e-6  # of a number, to which a length is exact that is summed up of 8,192 numbers of 32 bits


class Likeness(Enum):
    """How a point came out."""

    SAME = auto()
    ROUNDED = auto()
    OTHER = auto()


def likeness(ours: IndexPoint, theirs: IndexPoint | None) -> Likeness:
    """How a point of one index came out in the other, where it may be missing."""
    if theirs is None:
        return Likeness.OTHER
    if digest(ours) == digest(theirs):
        return Likeness.SAME
    bare = [digest(IndexPoint(one.id, one.payload, {}, one.sparse)) for one in (ours, theirs)]
    if bare[0] != bare[1] or ours.dense.keys() != theirs.dense.keys():
        return Likeness.OTHER
    close = all(_close(vector, theirs.dense[key]) for key, vector in ours.dense.items())
    return Likeness.ROUNDED if close else Likeness.OTHER


def digest(point: IndexPoint) -> bytes:
    """A hash over all of a point: id, payload, and each of its keys in 32-bit numbers."""
    hashed = hashlib.blake2b(json.dumps([point.id, point.payload], sort_keys=True).encode(), digest_size=16)
    for key, vector in sorted(point.dense.items()):
        hashed.update(f"{key.value} {len(vector)};".encode())
        hashed.update(array("f", vector))
    for key, words in sorted(point.sparse.items()):  # in what order, is the index's own affair
        pairs = sorted(zip(words.indices, words.values, strict=True))
        hashed.update(f"{key.value} {len(pairs)};".encode())
        hashed.update(array("I", [index for index, _ in pairs]))
        hashed.update(array("f", [value for _, value in pairs]))
    return hashed.digest()


def _close(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    pairs = zip(ours, theirs, strict=False)
    return len(ours) == len(theirs) and all(math.isclose(a, b, rel_tol=_ROUNDING, abs_tol=1e-9) for a, b in pairs)
