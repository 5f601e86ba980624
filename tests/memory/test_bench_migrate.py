"""The benchmark of moving to another index still runs."""

from processes import benchmark


async def test_nothing_is_lost_by_a_process_that_is_killed() -> None:
    """A short run kills the move once, finds every memory, and prints the promised keys as JSON on stdout."""
    figures = await benchmark("migrate", "--points", "640", "--dims", "8", "--kills", "1")
    assert {"rate", "bare_rate", "ratio", "rate_compared", "rss_growth_mb", "own_growth_mb"} <= figures.keys()
    assert (figures["points"], figures["kills"]) == (640, 1)
    assert (figures["lost"], figures["mismatched"], figures["rounded"], figures["source_changed"]) == (0, 0, 0, 0)
    assert figures["ratio"] > 0
