"""The benchmark of erasing a member still runs."""

from processes import benchmark


async def test_nothing_is_left_of_the_member_and_all_of_the_others() -> None:
    """A short run forgets the member altogether, and prints the promised keys as JSON, and nothing else, on stdout."""
    figures = await benchmark("erase", "--memories", "60", "--others", "40", within=60)
    assert {"seconds", "answer_seconds", "recall_max_ms"} <= figures.keys()
    assert figures["memories"] > 50
    assert figures["others"] >= 40
    assert (figures["left"], figures["others_lost"]) == (0, 0)
