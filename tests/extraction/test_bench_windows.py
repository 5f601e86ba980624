"""The benchmark of conversations and windows: what it computes, and that it runs."""

from pathlib import Path

import pytest
from _disentangle import Grouped, scores
from processes import benchmark

GOLD = {10: {10}, 11: {10}, 12: {12}, 13: {12}}


def test_the_same_grouping_scores_a_hundred() -> None:
    """All measures agree that nothing is wrong."""
    figures = scores([Grouped("a", GOLD, GOLD), Grouped("b", GOLD, GOLD)])
    assert figures == pytest.approx(dict.fromkeys(["link_f1", "vi", "one_to_one", "exact_f"], 100))


def test_a_grouping_in_one_heap_is_told() -> None:
    """One wrong link of four joins two conversations: half of the lines can be paired, one bit of two is lost."""
    figures = scores([Grouped("a", GOLD, GOLD | {12: {11}})])
    assert figures == pytest.approx({"link_f1": 75, "vi": 50, "one_to_one": 50, "exact_f": 0})


def test_a_link_through_an_earlier_line_joins_lines() -> None:
    """What is said before the annotated lines counts for who belongs together, and for nothing else."""
    figures = scores([Grouped("a", GOLD, {10: {3}, 11: {3}, 12: {12}, 13: {12}})])
    assert (figures["one_to_one"], figures["exact_f"], figures["link_f1"]) == (100, 100, 50)


async def test_the_benchmark_reports_every_figure(tmp_path: Path) -> None:
    """A small log goes through the worker; stdout has the promised keys as JSON, and nothing else."""
    lines = ["=== ann has joined", "[10:00] <ann> which bees sting?", "[10:00] <cleo> any soup left?"]
    lines += ["[10:01] <ben> ann: all of them", "[10:01] <dora> cleo: tomato", "[10:02]  * ann thanks ben"]
    (tmp_path / "one.ascii.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "one.annotation.txt").write_text("0 0 -\n1 1 -\n2 2 -\n1 3 -\n2 4 -\n3 5 -\n")
    figures = await benchmark("windows", tmp_path)
    grouping = {"link_f1", "vi", "one_to_one", "exact_f"}
    assert figures.keys() == grouping | {"cut", "split", "mixed", "calls_per_1000"}
    assert (figures["cut"], figures["calls_per_1000"]) == (0, 200)
