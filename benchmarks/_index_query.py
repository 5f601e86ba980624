"""A process that only opens an index and queries it: its latencies, its memory, and what it found."""

import asyncio
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import psutil
from _index_data import GUILD, MOST_CHANNELS, ONE_MEMBER, queries

from bot.app import fit_the_interpreter
from bot.memory.bm25 import Bm25
from bot.memory.edge import EdgeIndex
from bot.memory.index import Key, Search, VectorIndex
from bot.memory.recall import CANDIDATES
from bot.memory.server import ServerIndex
from bot.model import Scope
from bot.settings_services import QdrantSettings

WARM_UP = 5
TICK_SECONDS = 0.002
DENSE_KEYS = (Key.DENSE, Key.WINDOW)
TEXT_KEYS = (Key.DENSE, Key.BM25)
RECALL_AT = 10


def open_index(kind: str, folder: Path, dims: int) -> VectorIndex:
    """The embedded index, or qdrant-client's local mode behind the server implementation."""
    if kind == "edge":
        return EdgeIndex(folder, dims)
    from qdrant_client import AsyncQdrantClient

    warnings.filterwarnings("ignore", category=UserWarning, module="bot")  # local mode has no payload indexes
    return ServerIndex(QdrantSettings(), dims, AsyncQdrantClient(path=str(folder)))


async def measure(kind: str, folder: Path, dims: int, count: int) -> dict[str, Any]:
    started = time.perf_counter()
    index = open_index(kind, folder, dims)
    await index.open()
    await index.count(GUILD)
    loaded = time.perf_counter() - started
    asked = queries(count, dims)
    found = {
        "load_s": loaded,
        "selective": await ask(index, ONE_MEMBER, asked, TEXT_KEYS),
        "wide": await ask(index, MOST_CHANNELS, asked, TEXT_KEYS),
    }
    started = time.perf_counter()
    async with Ticking() as ticking:
        found["four_lists"] = await ask(index, MOST_CHANNELS, asked, tuple(Key))
    async with Ticking() as idle:
        await asyncio.sleep(time.perf_counter() - started)
    found |= {
        "loop_stall": ticking.longest_stall,
        "idle_stall": idle.longest_stall,
        "rss_mb": psutil.Process().memory_info().rss / 2**20,
        "selective_top": await tops(index, ONE_MEMBER, asked),
        "wide_top": await tops(index, MOST_CHANNELS, asked),
    }
    await index.close()
    return found


class Ticking:
    """A task that would run every few milliseconds: `longest_stall` is how many seconds the event loop kept it at most.

    `async with` runs it.
    """

    def __init__(self) -> None:
        self.longest_stall = 0.0
        self._last = time.perf_counter()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._tick()  # what never gave way kept it until now
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            self._last = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            self._tick()

    def _tick(self) -> None:
        self.longest_stall = max(self.longest_stall, time.perf_counter() - self._last - TICK_SECONDS)


async def ask(
    index: VectorIndex, scope: Scope, asked: list[tuple[list[float], str]], keys: Sequence[Key]
) -> list[float]:
    """Seconds of each hybrid query by these keys, with as many candidates as a recall takes."""
    bm25, took = Bm25("none"), []
    for vector, words in [*asked[:WARM_UP], *asked]:
        tokens = bm25.query(words)
        searches = [Search(key, vector if key in DENSE_KEYS else tokens, CANDIDATES) for key in keys]
        started = time.perf_counter()
        await index.search(scope, searches)
        took.append(time.perf_counter() - started)
    return took[WARM_UP:]


async def tops(index: VectorIndex, scope: Scope, asked: list[tuple[list[float], str]]) -> list[list[str]]:
    """The nearest ids by the dense text key, asked for no more than are counted: no candidates to spare."""
    lists = [await index.search(scope, [Search(Key.DENSE, vector, RECALL_AT)]) for vector, _ in asked]
    return [[point.id for point in points] for [points] in lists]


if __name__ == "__main__":
    kind, folder, dims, count = sys.argv[1:]
    fit_the_interpreter()  # as the bot does
    json.dump(asyncio.run(measure(kind, Path(folder), int(dims), int(count))), sys.stdout)
