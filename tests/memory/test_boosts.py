"""Boosts: each counts for what its name says, and for no more than its weight."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.memory import boosts
from bot.memory.boosts import Asked, boosted
from bot.memory.dates import Span
from bot.memory.fusion import Fused
from bot.model import Hit, Memory, MemoryKind

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)
NOBODY = Asked((), (), NOW)


def spoken(id: int, text: str = "yes", **changes: Any) -> Memory:
    """A message of a year ago: Ana's, two hours after the one with the id before it."""
    said_at = changes.pop("said_at", NOW - timedelta(days=400) + timedelta(hours=2 * id))
    fields: dict[str, Any] = {
        "id": f"m{id}",
        "kind": MemoryKind.MESSAGE,
        "guild_id": 7,
        "channel_id": 70,
        "access_id": 70,
        "channel_name": "general",
        "subject_id": 1,
        "text": text,
        "speaker_ids": (1,),
        "speaker_name": "Ana",
        "sources": (id,),
        "said_at": said_at,
        "created_at": said_at,
    }
    return Memory(**fields | changes)


def boost(scores: Mapping[Memory, float], asked: Asked = NOBODY, others: Sequence[Memory] = ()) -> list[Hit]:
    """The hits of memories with these fused scores; `others` were found by no list that counts."""
    fused = sorted((Fused(one.id, score, {"dense": score}) for one, score in scores.items()), key=lambda f: -f.score)
    return boosted(fused, {one.id: one for one in (*scores, *others)}, asked)


def shares(signal: str, hits: Sequence[Hit]) -> dict[str, float]:
    """What a signal gave to each memory that got something, by id."""
    return {hit.memory.id: round(hit.signals[signal], 6) for hit in hits if signal in hit.signals}


def test_nothing_found_is_nothing_boosted() -> None:
    """An answer without candidates stays one, whatever the question names."""
    assert boost({}, Asked(["Ana"], (), NOW)) == []


def test_a_score_is_the_sum_of_its_signals() -> None:
    """The best fused score counts as 1; everything a hit got is told, and nothing else."""
    hits = boost({spoken(1, "the kiln"): 3.0, spoken(2): 1.5}, Asked(["Ana"], (), NOW))
    assert [hit.signals["dense"] for hit in hits] == [1.0, 0.5]
    assert all(hit.score == pytest.approx(sum(hit.signals.values())) for hit in hits)
    assert all(share for hit in hits for share in hit.signals.values())


def test_scores_of_nothing_are_boosted_all_the_same() -> None:
    """Where every fused score is 0, what the question names decides."""
    hits = boost({spoken(1): 0.0, spoken(2, speaker_name="Ben"): 0.0}, Asked(["Ben"], (), NOW))
    assert [hit.memory.id for hit in hits] == ["m2", "m1"]


def test_equal_scores_stand_in_order_of_their_ids() -> None:
    """An answer repeats itself, in whatever order its candidates were found."""
    one, two = spoken(1, said_at=NOW), spoken(2, said_at=NOW)
    assert [hit.memory.id for hit in boost({two: 1.0, one: 1.0})] == ["m1", "m2"]


def test_who_is_named_goes_ahead() -> None:
    """What a named speaker said gets the weight, whatever else was found; what is said about them does not."""
    mine, about = spoken(1), spoken(2, "Ana likes tea", speaker_name="Ben")
    hits = boost({about: 1.0, mine: 1.0}, Asked(["Ana"], (), NOW))
    assert shares("speaker", hits) == {"m1": boosts.SPEAKER}
    assert shares("speaker", boost({about: 1.0, mine: 1.0})) == {}


def test_what_was_said_in_the_time_asked_about_goes_ahead() -> None:
    """Inside a span it is the whole weight, before and after less and less, and nothing where no time is named."""
    start = NOW - timedelta(days=300)
    within, after, long_after = (spoken(id, said_at=start + timedelta(days=days)) for id, days in enumerate((1, 9, 99)))
    scores = {within: 1.0, after: 1.0, long_after: 1.0}
    found = shares("date", boost(scores, Asked((), [Span(start, start + timedelta(days=7))], NOW)))
    assert found["m0"] == boosts.DATE
    assert boosts.DATE > found["m1"] > found.get("m2", 0.0)
    assert shares("date", boost(scores)) == {}


def test_a_session_is_as_good_as_its_best() -> None:
    """A silence of more than an hour parts two sessions; the worst one of an answer gets nothing."""
    good = [spoken(id, said_at=NOW + timedelta(minutes=id)) for id in range(3)]
    weak = [spoken(id, said_at=NOW + timedelta(minutes=id)) for id in range(70, 73)]
    hits = boost(dict(zip([*good, *weak], [1.0, 0.8, 0.0, 0.3, 0.2, 0.1], strict=True)))
    assert shares("session", hits) == {"m0": boosts.SESSION, "m1": boosts.SESSION, "m2": boosts.SESSION}


def test_only_the_best_of_a_session_speak_for_it() -> None:
    """A long conversation is not worse for all that was said besides."""
    long = {spoken(id, said_at=NOW + timedelta(seconds=id)): score for id, score in enumerate((1.0, 1.0, 1.0, 0, 0, 0))}
    short = {spoken(99, said_at=NOW - timedelta(days=1)): 0.9}
    assert set(shares("session", boost(long | short))) == {"m0", "m1", "m2", "m3", "m4", "m5"}


def test_sessions_are_of_one_channel() -> None:
    """What was said at the same time elsewhere is another session."""
    here, elsewhere = spoken(1, said_at=NOW), spoken(2, said_at=NOW, channel_id=71, access_id=71)
    assert shares("session", boost({here: 1.0, elsewhere: 0.5})) == {"m1": boosts.SESSION}


def test_one_session_is_no_reason() -> None:
    """Where everything found belongs to one conversation, nobody is boosted for it."""
    assert shares("session", boost({spoken(1, said_at=NOW): 1.0, spoken(2, said_at=NOW): 0.2})) == {}


def test_who_says_more_goes_ahead() -> None:
    """The longer text counts more, up to two hundred characters: the thousandth adds nothing."""
    texts = {1: "yes", 2: "the kiln arrives on monday", 3: "k" * 200, 4: "k" * 1000}
    found = shares("substance", boost({spoken(id, text): 1.0 for id, text in texts.items()}))
    assert 0 < found["m1"] < found["m2"] < found["m3"] == found["m4"] == boosts.SUBSTANCE


def test_what_follows_a_statement_that_matches_steps_back() -> None:
    """The better the statement matches the more: "great!" is found by what it is said to."""
    match, weak = spoken(1, "the kiln came"), spoken(11, "the kiln")
    great, nice = spoken(2, "great kiln!", follows=1), spoken(12, "nice kiln", follows=11)
    hits = boost({match: 1.0, great: 0.9, weak: 0.5, nice: 0.4})
    assert shares("reaction", hits) == {"m2": boosts.REACTION, "m12": boosts.REACTION / 2}


@pytest.mark.parametrize("mark", ["?", "？", "؟"])  # noqa: RUF001  (those are what is meant)
def test_what_follows_a_question_is_an_answer(mark: str) -> None:
    """A question that matches holds nothing back."""
    asks, answers = spoken(1, f"when does the kiln come{mark} anyone"), spoken(2, "the kiln comes on monday", follows=1)
    assert shares("reaction", boost({asks: 1.0, answers: 0.9})) == {}


def test_what_is_no_message_before_is_no_statement() -> None:
    """A message not found, one no list scored, a fact resting on it or another server's holds nothing back."""
    after = spoken(2, follows=1)
    assert shares("reaction", boost({after: 1.0})) == {}
    assert shares("reaction", boost({after: 1.0}, others=[spoken(1)])) == {}
    assert shares("reaction", boost({after: 1.0, spoken(1, kind=MemoryKind.FACT): 1.0})) == {}
    assert shares("reaction", boost({after: 1.0, spoken(1, guild_id=8): 1.0})) == {}


def test_importance_counts_a_little() -> None:
    """It adds its share of the weight, and no more than the weight if another client wrote nonsense."""
    scores = {spoken(id, importance=importance): 1.0 for id, importance in enumerate((0.0, 0.5, 1.0, 99.0, -9.0))}
    found = shares("importance", boost(scores))
    assert found == {"m1": boosts.IMPORTANCE / 2, "m2": boosts.IMPORTANCE, "m3": boosts.IMPORTANCE}


def test_random_importance_moves_no_more_than_its_weight() -> None:
    """Whatever the importances are, nobody passes another who was better by more than the weight."""
    drawn = random.Random(4)
    plain = {spoken(id, said_at=NOW): drawn.random() for id in range(60)}
    without = {hit.memory.id: hit.score for hit in boost(plain)}
    importances = {one: drawn.random() for one in plain}
    given = {spoken(one.sources[0], said_at=NOW, importance=importances[one]): score for one, score in plain.items()}
    hits = boost(given)
    assert all(0 <= hit.score - without[hit.memory.id] <= boosts.IMPORTANCE for hit in hits)
    lowest = float("inf")
    for hit in hits:
        assert without[hit.memory.id] <= lowest + boosts.IMPORTANCE
        lowest = min(lowest, without[hit.memory.id])


def test_the_newest_goes_ahead_a_little() -> None:
    """It fades over months and never grows: what a wrong clock dates into the future is as recent as now."""
    times = (NOW + timedelta(days=900), NOW, NOW - timedelta(days=30), NOW - timedelta(days=3000))
    found = shares("recency", boost({spoken(id, said_at=at): 1.0 for id, at in enumerate(times)}))
    assert found["m0"] == found["m1"] == boosts.RECENCY > found["m2"] > found["m3"] == 0.0


def test_no_boost_exceeds_its_weight() -> None:
    """Together they are less than what a memory gets that matches best, so that words and meaning decide."""
    asked = Asked(["Ana"], [Span(NOW - timedelta(days=9), NOW)], NOW)
    loaded = spoken(1, " ".join(f"word{n}" for n in range(50)), said_at=NOW - timedelta(hours=1), importance=1.0)
    hits = boost({loaded: 0.1, spoken(2, "no", speaker_name="Ben"): 1.0}, asked)
    signals = next(hit.signals for hit in hits if hit.memory == loaded)
    weights = {
        "speaker": boosts.SPEAKER,
        "date": boosts.DATE,
        "session": boosts.SESSION,
        "substance": boosts.SUBSTANCE,
        "importance": boosts.IMPORTANCE,
        "recency": boosts.RECENCY,
    }
    assert all(share <= weights[name] for name, share in signals.items() if name != "dense")
    assert sum(weights.values()) < 1
    assert boosts.IMPORTANCE <= 0.05 and boosts.RECENCY <= 0.05
