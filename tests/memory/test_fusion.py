"""Fusion: min-max normalised scores, summed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.memory.fusion import ScoreList, fuse, min_max

SCORES = st.dictionaries(st.text(min_size=1, max_size=3), st.floats(-1e6, 1e6), max_size=20)


def test_min_max_spreads_scores_between_zero_and_one() -> None:
    """The lowest score becomes 0, the highest 1, and what lies between keeps its place."""
    assert min_max({"a": 2.0, "b": 4.0, "c": 3.0}) == {"a": 0.0, "b": 1.0, "c": 0.5}


def test_a_floor_keeps_the_weakest_match_above_what_did_not_match() -> None:
    """With BM25's natural zero a list of matches is scaled from there, not from its weakest match."""
    assert min_max({"a": 2.0, "b": 4.0}, floor=0.0) == {"a": 0.5, "b": 1.0}


def test_a_floor_above_the_scores_does_not_push_them_below_zero() -> None:
    """A floor only ever lowers the bottom of the scale."""
    assert min_max({"a": -1.0, "b": 1.0}, floor=0.0) == {"a": 0.0, "b": 1.0}


def test_equal_scores_all_count_as_found() -> None:
    """One candidate alone, or several alike, get the full share: they were found, the others were not."""
    assert min_max({"a": 0.3}) == {"a": 1.0}
    assert min_max({"a": 0.3, "b": 0.3}) == {"a": 1.0, "b": 1.0}


def test_no_scores_are_no_scores() -> None:
    """Empty lists and no lists give an empty ranking."""
    assert min_max({}) == {}
    assert fuse([]) == []
    assert fuse([ScoreList("dense", {})]) == []


def test_what_both_lists_find_comes_first() -> None:
    """A candidate good in both lists beats the best of either, and tells what each list gave."""
    dense = ScoreList("dense", {"only dense": 0.9, "both": 0.8, "weak": 0.1})
    bm25 = ScoreList("bm25", {"only words": 10.0, "both": 8.0}, floor=0.0)

    ranking = fuse([dense, bm25])

    assert ranking[0].id == "both"
    assert ranking[0].signals == {"dense": pytest.approx(0.875), "bm25": pytest.approx(0.8)}
    assert ranking[0].score == pytest.approx(1.675)
    assert ranking[-1].id == "weak"


def test_equal_candidates_keep_one_order() -> None:
    """Ties are broken by id, whatever order the lists came in."""
    forward = fuse([ScoreList("x", {"b": 1.0, "a": 1.0})])
    backward = fuse([ScoreList("x", {"a": 1.0, "b": 1.0})])
    assert [hit.id for hit in forward] == [hit.id for hit in backward] == ["a", "b"]


def test_any_number_of_lists_can_join() -> None:
    """Four lists fuse as two do: the sum of four shares."""
    lists = [ScoreList(name, {"a": 1.0, "b": 0.0}) for name in ("dense", "window", "bm25", "bm25_window")]
    best = fuse(lists)[0]
    assert (best.id, best.score, len(best.signals)) == ("a", 4.0, 4)


@given(st.lists(SCORES, max_size=4))
def test_fusion_holds_every_candidate_once_in_order(lists: list[dict[str, float]]) -> None:
    """Whatever the scores: each candidate once, best first, every share within [0, 1]."""
    ranking = fuse([ScoreList(str(number), scores) for number, scores in enumerate(lists)])
    assert sorted(hit.id for hit in ranking) == sorted(set().union(*lists))
    assert [hit.score for hit in ranking] == sorted((hit.score for hit in ranking), reverse=True)
    assert all(0 <= share <= 1 for hit in ranking for share in hit.signals.values())


@given(SCORES.filter(bool), st.floats(0.5, 100), st.floats(-100, 100))
def test_a_ranking_does_not_depend_on_a_signals_unit(scores: dict[str, float], scale: float, shift: float) -> None:
    """Scaling and shifting a list leaves its best candidate its best."""
    moved = {id: score * scale + shift for id, score in scores.items()}
    best = fuse([ScoreList("x", scores)])[0]
    assert min_max(moved)[best.id] == pytest.approx(1.0)
