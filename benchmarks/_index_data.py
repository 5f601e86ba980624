"""Synthetic memories with the shape of real ones: vectors in clusters of uneven directions, words by Zipf's law."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from bot.memory.bm25 import Bm25
from bot.memory.index import IndexPoint, Key
from bot.memory.mem0_adapter import to_payload
from bot.model import Memory, MemoryKind, Scope, memory_id

GUILD = 1
MEMBERS = 50
CHANNELS = 10
CHUNK = 2_000

_CLUSTERS = 300
_LATENT = 192  # embeddings of one language's chat fill far fewer directions than they have dimensions
_WORDS = 20_000
_WORDS_PER_MESSAGE = 12
_START = datetime(2024, 5, 3, tzinfo=UTC)

Matrix = NDArray[np.float32]

ONE_MEMBER = Scope(GUILD, frozenset(range(CHANNELS)), about_id=7)
"""2 % of the points."""
MOST_CHANNELS = Scope(GUILD, frozenset(range(CHANNELS * 8 // 10)))
"""80 % of the points."""


def vectors(count: int, dims: int, seed: int) -> Matrix:
    """Unit vectors: clusters in a space of few directions with falling weight, plus a little noise in all."""
    fixed, rng = np.random.default_rng(7), np.random.default_rng(seed)
    weights = np.linspace(1, 0.1, _LATENT, dtype=np.float32)[:, None]
    directions = fixed.standard_normal((_LATENT, dims), dtype=np.float32) * weights
    centres = fixed.standard_normal((_CLUSTERS, _LATENT), dtype=np.float32)
    latent = centres[rng.integers(_CLUSTERS, size=count)] + 0.8 * rng.standard_normal((count, _LATENT), np.float32)
    found = latent @ directions + 0.05 * rng.standard_normal((count, dims), np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def texts(count: int, words: int, seed: int) -> list[str]:
    """Texts of words as rare as words are."""
    shares = 1 / np.arange(1, _WORDS + 1)
    drawn = np.random.default_rng(seed).choice(_WORDS, (count, words), p=shares / shares.sum())
    return [" ".join(f"w{word}" for word in row) for row in drawn]


def queries(count: int, dims: int) -> list[tuple[list[float], str]]:
    """What is asked: a vector near one of the clusters, and six words."""
    return list(zip(vectors(count, dims, seed=1).tolist(), texts(count, 6, seed=1), strict=True))


def chunks(size: int, dims: int) -> Iterator[tuple[Matrix, list[IndexPoint]]]:
    """All points with their four keys, a chunk at a time, with the dense text vectors as a matrix."""
    bm25 = Bm25("none")
    for start in range(0, size, CHUNK):
        count = min(CHUNK, size - start)
        dense, window = vectors(count, dims, 1_000 + start), vectors(count, dims, 500_000 + start)
        lines = texts(count, _WORDS_PER_MESSAGE, 1_000 + start)
        points = []
        for offset, (line, vector, around) in enumerate(zip(lines, dense.tolist(), window.tolist(), strict=True)):
            memory = _memory(start + offset, line)
            neighbours = " ".join(lines[max(0, offset - 2) : offset + 2])
            points.append(
                IndexPoint(
                    memory.id,
                    to_payload(memory),
                    {Key.DENSE: vector, Key.WINDOW: around},
                    {Key.BM25: bm25.document(memory.line), Key.BM25_WINDOW: bm25.document(neighbours)},
                )
            )
        yield dense, points


def sees(scope: Scope, point: IndexPoint) -> bool:
    """Whether a point lies in one of the two scopes above."""
    return point.payload["access_id"] in scope.access_ids and scope.about_id in (None, point.payload["subject_id"])


def _memory(number: int, text: str) -> Memory:
    channel, member = number % CHANNELS, number * 7919 // CHANNELS % MEMBERS
    at = _START + timedelta(seconds=number)
    return Memory(
        id=memory_id(GUILD, channel, member, [number]),
        kind=MemoryKind.MESSAGE,
        guild_id=GUILD,
        channel_id=channel,
        access_id=channel,
        channel_name="general",
        subject_id=member,
        text=text,
        speaker_ids=(member,),
        speaker_name=f"member{member}",
        sources=(number,),
        said_at=at,
        created_at=at,
    )
