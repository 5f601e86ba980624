"""Why a memory was found, in plain words."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands.explain import why
from bot.commands.text import units
from bot.memory import boosts, recall
from bot.model import Hit, Memory, MemoryKind

SAID_AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def hit(name: str = "Ana", **signals: float) -> Hit:
    memory = Memory(
        id="id",
        kind=MemoryKind.MESSAGE,
        guild_id=7,
        channel_id=70,
        access_id=70,
        channel_name="general",
        subject_id=1,
        text="I like tea",
        speaker_ids=(1,),
        speaker_name=name,
        sources=(100,),
        said_at=SAID_AT,
        created_at=SAID_AT,
    )
    return Hit(memory, sum(signals.values()), signals)


def test_the_strongest_signal_comes_first() -> None:
    """Shares are told with their size, reasons without."""
    found = hit(bm25=0.61, speaker=0.2, dense=0.92, dense_window=0.8, bm25_window=0.1, recency=0.02, date=0.3)
    assert why(found) == (
        "meaning 0.92 · the talk around it (meaning) 0.80 · words 0.61 · said <t:1777636800:f>, near the time you name"
        " · you name Ana · the talk around it (words) 0.10 · recent"
    )


@pytest.mark.parametrize(
    ("signal", "reason"),
    [
        ("keyword", "words"),
        ("session", "part of a conversation that fits"),
        ("substance", "more than a few words"),
        ("importance", "important"),
        ("moon_phase", r"moon phase 0.50"),
        ("**@everyone**", "\\*\\*@\u200beveryone\\*\\* 0.50"),
    ],
)
def test_every_signal_has_words(signal: str, reason: str) -> None:
    """One that this version does not know is named as it is."""
    assert why(hit(**{signal: 0.5})) == reason


def test_what_gave_nothing_is_left_out_unless_there_is_nothing_else() -> None:
    """The last of a list has a share of zero, and was found by it all the same."""
    assert why(hit(dense=0.0, bm25=0.4)) == "words 0.40"
    assert why(hit(dense=0.0)) == "meaning 0.00"
    assert why(hit()) == ""


def test_every_signal_of_recall_has_words() -> None:
    """None is told by its name in the code."""
    for name, _, _ in recall._SIGNALS.values():
        assert not why(hit(**{name: 0.5})).startswith(name)
    weights = {name.lower(): weight for name, weight in vars(boosts).items() if re.fullmatch("[A-Z]+", name)}
    assert len(weights) == 7
    for name, weight in weights.items():
        _, reason = why(hit(dense=1.0, **{name: weight})).split(" · ")
        assert f"{weight:.2f}" not in reason


def test_a_weak_boost_is_no_reason() -> None:
    """Nearly every memory says something, is of some importance and near some time: half of a weight explains."""
    assert why(hit(dense=0.3, substance=0.08, importance=0.02, session=0.04, recency=0.009, date=0.1)) == "meaning 0.30"
    assert why(hit(dense=0.3, substance=0.1, importance=0.03)) == "meaning 0.30 · more than a few words · important"


def test_what_held_it_back_is_not_what_found_it() -> None:
    """It comes last and says so, unless it is next to nothing."""
    assert why(hit(dense=0.4, reaction=-0.1)) == "meaning 0.40 · ranked lower: said right after another match"
    assert why(hit(dense=0.0, reaction=-0.1)) == "meaning 0.00 · ranked lower: said right after another match"
    assert why(hit(dense=0.4, reaction=-0.001)) == "meaning 0.40"
    assert why(hit(dense=0.4, moon_phase=-0.1)) == "meaning 0.40"


def test_a_name_is_shown_as_text() -> None:
    """A display name cannot format, ping or break the line; without one the reason stands."""
    assert why(hit("*Ana*\n@here", speaker=0.2)) == "you name \\*Ana\\* @\u200bhere"
    assert why(hit("", speaker=0.2)) == "you name who said it"


@given(st.text(max_size=200), st.dictionaries(st.text(max_size=200), st.floats(allow_nan=False, width=16), max_size=30))
def test_an_explanation_fits_a_field(speaker: str, signals: dict[str, float]) -> None:
    """Whatever the signals are called, an embed's field takes the line."""
    assert units(why(replace(hit(speaker), signals=signals))) <= 1024
