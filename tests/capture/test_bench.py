"""The benchmark of capture still runs."""

import asyncio
import json
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "benchmarks" / "capture.py"


async def test_the_benchmark_reports_every_figure() -> None:
    """A short run ends well and prints the promised keys as JSON, and nothing else, on stdout."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, BENCH, "--messages", "300", "--pairs", "1", "--seconds", "1", "--json", "-"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, progress = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 0, progress.decode()
    figures = json.loads(out)
    assert {"rate", "idle_rate", "ratio_to_idle", "insert_rate", "steady_p99_ms"} <= figures.keys()
    assert all(value > 0 for value in figures.values())
