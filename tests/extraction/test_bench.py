"""The benchmark of a backlog still runs."""

import asyncio
import json
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "benchmarks" / "backlog.py"


async def test_the_benchmark_reports_every_figure() -> None:
    """A short run drains, and prints the promised keys as JSON, and nothing else, on stdout."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, BENCH, "--messages", "300", "--json", "-"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, progress = await asyncio.wait_for(process.communicate(), 120)

    assert process.returncode == 0, progress.decode()
    figures = json.loads(out)
    assert {"rate", "rss_growth_mb", "recall_p95_ms"} <= figures.keys()
    assert figures["facts"] > figures["llm_calls"] > 0
