"""The benchmark of a backlog still runs."""

from processes import benchmark


async def test_the_benchmark_reports_every_figure() -> None:
    """A short run drains, and prints the promised keys as JSON, and nothing else, on stdout."""
    figures = await benchmark("backlog", "--messages", "300", within=120)
    assert {"rate", "rss_growth_mb", "recall_p95_ms"} <= figures.keys()
    assert figures["facts"] > figures["llm_calls"] > 0
