"""The benchmark of capture still runs."""

from processes import benchmark


async def test_the_benchmark_reports_every_figure() -> None:
    """A short run ends well and prints the promised keys as JSON, and nothing else, on stdout."""
    figures = await benchmark("capture", "--messages", "300", "--pairs", "1", "--seconds", "1")
    assert {"rate", "idle_rate", "ratio_to_idle", "insert_rate", "steady_p99_ms"} <= figures.keys()
    assert all(value > 0 for value in figures.values())
