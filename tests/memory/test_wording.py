"""Words as they are compared."""

import pytest

from bot.memory.wording import negates, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The *Fair*, on  (Saturday)!", ["the", "fair", "on", "saturday"]),
        ("Why? C++ #3 50% 15:00 2.5", ["why?", "c++", "#3", "50%", "15:00", "2.5"]),
        ("Don\N{RIGHT SINGLE QUOTATION MARK}t", ["don't"]),
        ("'quoted' … ...", ["quoted"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("", []),
    ],
)
def test_words_have_no_case_and_no_punctuation_around_them(text: str, expected: list[str]) -> None:
    """Signs that mean something stay, and what is all punctuation is no word."""
    assert words(text) == expected


def test_negations_turn_a_statement_around() -> None:
    """Contracted or not, in English and some of its neighbours."""
    assert all(map(negates, ["not", "never", "doesn't", "nicht", "kein", "jamais", "не"]))
    assert not any(map(negates, ["now", "note", "tent", "now't", "want"]))
