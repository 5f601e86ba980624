"""Moving: 100,000 memories from an embedded index to another index, by a process that is killed twice on its way.

Points have all four keys. `recollect migrate` runs as a process of its own; it is killed with SIGKILL after a third
and after two thirds (`--kills` says how often), and started again. `rate` is points a second from the start of the
first process to the last acknowledged page: it counts starting three times, copying the source aside each time, and
what is done twice. `rate_compared` counts as well the comparison at the end, of every memory with its original.
`bare_rate` is the same points written straight into a new index of the same kind by such a process. `ratio` is `rate`
to `bare_rate`.

`lost` and `mismatched` are counted by a process that had no part in it, by hashes over ids, payloads and all keys;
`rounded` memories differ in the last bits of a vector, where the target normalises again. `source_changed` counts
files of the source. `rss_growth_mb` is by how much the two migrating processes grew, of all runs the most, once they
had copied 2,000 points; `anonymous_growth_mb` is the same without pages of files. An index keeps something of each of
its points in memory, whoever opens it: `index_mb` for all of them, which a process finds that does nothing else.
`own_growth_mb` is `rss_growth_mb` without that for the points which the run added, and does not grow with them.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _index_data import GUILD
from _migrate_bare import fill
from _migrate_runs import COLLECTION, Run, Runs
from _report import main, progress

from bot.errors import RecollectError
from bot.memory.index import IndexPoint, VectorIndex
from bot.memory.likeness import Likeness, digest, likeness
from bot.memory.migrate import PAGE
from bot.memory.places import Kind, Made, open_target, parse
from bot.settings_services import QdrantSettings


def run(points: int, dims: int, to: str, kills: int) -> dict[str, Any]:
    """Move so many points of so many dimensions to `edge`, or to `local`, which is qdrant-client's local mode."""
    if to not in (Kind.EDGE, Kind.LOCAL):
        raise RecollectError(f"There is no kind of index '{to}' to move to; there are: {Kind.EDGE}, {Kind.LOCAL}.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target = f"edge:{folder / 'source'}", f"{to}:{folder / 'target'}"
        progress(f"writing {points:,} points")
        asyncio.run(fill(source, points, dims))
        progress("writing them straight into such an index")
        bare = points / _by("_migrate_bare.py", f"{to}:{folder / 'bare'}", points, dims)
        before = _files(folder / "source")
        runs = _moved(Runs(folder, source, target), points, kills)
        comparing = _result(runs)["comparing_seconds"]
        changed = sum(before.get(path) != state for path, state in _files(folder / "source").items())
        progress("comparing what came of it")
        lost, mismatched, rounded = asyncio.run(_verdict(source, target, dims))
        index = _by("_migrate_opened.py", target, dims)
    seconds = sum(one.seconds for one in runs)
    rate = points / (seconds - comparing)
    figures = {"points": points, "rate": rate, "bare_rate": bare, "ratio": rate / bare}
    figures |= {"rate_compared": points / seconds, "lost": lost, "mismatched": mismatched, "rounded": rounded}
    own = max(0.0, *(one.growth.resident - one.growth.points * index / points for one in runs))
    figures |= {"source_changed": changed, "rss_growth_mb": max(one.growth.resident for one in runs) / 2**20}
    figures |= {"anonymous_growth_mb": max(one.growth.anonymous for one in runs) / 2**20}
    figures |= {"index_mb": index / 2**20, "own_growth_mb": own / 2**20}
    figures |= {"kills": len(runs) - 1, "seconds": seconds, "comparing_seconds": comparing}
    return {name: round(value, 3) for name, value in figures.items()}


def _by(script: str, *arguments: str | int) -> float:
    """The number that a process of its own comes to."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)]
    return float(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def _moved(runs: Runs, points: int, kills: int) -> list[Run]:
    """Every run it took; the last one went to the end."""
    done = []
    for until in [*(points * kill // (kills + 1) for kill in range(1, kills + 1)), None]:
        progress(f"moving until {until or points:,}")
        done.append(runs.run(until))
        if until is not None and done[-1].result is not None:
            raise RecollectError("It was done before it could be killed: take more points.")
    return done


def _result(runs: list[Run]) -> dict[str, Any]:
    if runs[-1].result is None:
        raise RecollectError("The last run failed: its sentence is above.")
    return runs[-1].result


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


async def _verdict(source: str, target: str, dims: int) -> tuple[int, int, int]:
    """How many of the source's points the target lacks, has otherwise, and has with their last bits rounded."""
    settings, lost, mismatched, rounded = QdrantSettings(collection=COLLECTION), 0, 0, 0
    places = [parse(place, COLLECTION, settings.api_key) for place in (source, target)]
    async with (
        open_target(places[0], settings, Made(dims, None)) as ours,
        open_target(places[1], settings, Made(dims, None)) as theirs,
    ):
        after: str | None = None
        while True:
            page, after = await ours.scroll(GUILD, after, PAGE, keys=True)
            held = await _held(theirs, page)
            lost += len(page) - len(held)
            for point in page:
                if point.id in held and digest(point) != digest(held[point.id]):
                    is_rounded = likeness(point, held[point.id]) is Likeness.ROUNDED
                    rounded, mismatched = rounded + is_rounded, mismatched + (not is_rounded)
            if after is None:
                return lost, mismatched, rounded


async def _held(index: VectorIndex, page: list[IndexPoint]) -> dict[str, IndexPoint]:
    return {point.id: point for point in await index.retrieve(GUILD, [point.id for point in page], keys=True)}


if __name__ == "__main__":
    main(run, __doc__, points=100_000, dims=1536, to="edge", kills=2)
