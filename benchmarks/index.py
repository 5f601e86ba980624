"""The index: how fast it answers and takes, and what it needs, embedded and beside qdrant-client's local mode.

Points have all four keys, as the bot writes them. A query is a hybrid one by the two text keys, filtered to one member
(`selective`, 2 % of the points) or to the channels an asker sees (`wide`, 80 %), through the shipped index and back;
`four_lists` is one by all four keys, as a recall asks, for the latter. `loop_stall_ms` is the longest time that any of
these kept the event loop from other work, `idle_stall_ms` the longest the machine did so by itself, in as much time.
A process of its own opens the index and queries it: `rss_mb` is that process, `load_s` its opening. `recall` is
how many of the exact ten nearest the quantised search finds when asked for ten.
"""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _index_data import CHUNK, MOST_CHANNELS, ONE_MEMBER, Matrix, chunks, queries, sees
from _index_query import RECALL_AT, open_index
from _report import main
from rich.console import Console
from rich.progress import Progress

from bot.errors import RecollectError

BATCH = 256  # as the indexer writes
QUERIES = {"edge": 200, "local": 20}
LOCAL_UP_TO = 10_000


def run(sizes: list[int], dims: int) -> dict[str, Any]:
    """Measure at each number of points; vectors have `dims` dimensions."""
    figures: dict[str, Any] = {"edge": {}, "local": {}}
    with Progress(console=Console(stderr=True)) as progress:
        for size in sizes:
            for kind in ("edge", "local"):
                if kind == "edge" or size <= LOCAL_UP_TO:
                    figures[kind][str(size)] = _measure(kind, size, dims, progress)
    return figures


def _measure(kind: str, size: int, dims: int, progress: Progress) -> dict[str, float]:
    task = progress.add_task(f"{kind} {size:,}", total=size + CHUNK)
    exact = {"selective": Nearest(dims, QUERIES[kind]), "wide": Nearest(dims, QUERIES[kind])}
    with tempfile.TemporaryDirectory() as folder:
        seconds = asyncio.run(_fill(kind, Path(folder), size, dims, exact, lambda: progress.advance(task, CHUNK)))
        query = [sys.executable, str(Path(__file__).with_name("_index_query.py")), kind, folder]
        finished = subprocess.run(
            [*query, str(dims), str(QUERIES[kind])], check=True, stdout=subprocess.PIPE, text=True
        )
        progress.advance(task, CHUNK)
        disk = sum(file.stat().st_blocks * 512 for file in Path(folder).rglob("*") if file.is_file())
    found = json.loads(finished.stdout)
    figures = {"upsert_rate": size / seconds, "load_s": found["load_s"], "rss_mb": found["rss_mb"]}
    figures |= {"disk_mb": disk / 2**20, "loop_stall_ms": found["loop_stall"] * 1000}
    figures["idle_stall_ms"] = found["idle_stall"] * 1000
    for name in ("selective", "wide", "four_lists"):
        milliseconds = np.array(found[name]) * 1000
        figures[f"{name}_p50_ms"] = float(np.percentile(milliseconds, 50))
        figures[f"{name}_p95_ms"] = float(np.percentile(milliseconds, 95))
    for name in ("selective", "wide"):
        figures[f"{name}_recall"] = exact[name].recall(found[f"{name}_top"])
    return {key: round(value, 3) for key, value in figures.items()}


class Nearest:
    """The exact nearest neighbours of the queries among all points added, by cosine."""

    def __init__(self, dims: int, count: int) -> None:
        self._queries = np.array([vector for vector, _ in queries(count, dims)], np.float32).T
        self._best: list[list[tuple[float, str]]] = [[] for _ in range(count)]

    def add(self, vectors: Matrix, ids: list[str]) -> None:
        if not ids:
            return
        for best, scores in zip(self._best, (vectors @ self._queries).T, strict=True):
            top = np.argsort(-scores)[:RECALL_AT]
            best += [(float(scores[position]), ids[position]) for position in top]
            best.sort(reverse=True)
            del best[RECALL_AT:]

    def recall(self, found: list[list[str]]) -> float:
        """The share of the nearest that were found."""
        pairs = zip(self._best, found, strict=True)
        shares = [len({id for _, id in best} & set(ids)) / max(1, len(best)) for best, ids in pairs]
        return sum(shares) / len(shares)


async def _fill(kind: str, folder: Path, size: int, dims: int, exact: dict[str, Nearest], step: Any) -> float:
    """Write all points as the indexer would; the seconds the index took for it."""
    index = open_index(kind, folder, dims)
    await index.open()
    seconds = 0.0
    for vectors, points in chunks(size, dims):
        for name, scope in (("selective", ONE_MEMBER), ("wide", MOST_CHANNELS)):
            seen = [position for position, point in enumerate(points) if sees(scope, point)]
            exact[name].add(vectors[seen], [points[position].id for position in seen])
        started = time.perf_counter()
        for start in range(0, len(points), BATCH):
            await index.upsert(1, points[start : start + BATCH])
        seconds += time.perf_counter() - started
        step()
    await index.close()
    return seconds


def _options(sizes: str, dims: int) -> dict[str, Any]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", sizes):
        raise RecollectError(f"--sizes takes numbers with commas between them, as in 1000,10000: not {sizes}.")
    return run([int(size) for size in sizes.split(",")], dims)


if __name__ == "__main__":
    main(_options, __doc__, sizes="1000,10000,100000", dims=1536)
