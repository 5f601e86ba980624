"""Text made fit for a prompt, and counted."""

from hypothesis import given
from hypothesis import strategies as st

from bot.extraction.text import cut, least_tokens, most_tokens, one_line

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"


@given(st.text())
def test_a_line_is_one_line(text: str) -> None:
    """Whatever is said, it cannot begin a line of its own in a prompt, and it can be encoded."""
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    line.encode()


def test_invisible_characters_are_removed() -> None:
    """Bidi overrides, control characters and invisible tag letters carry nothing a reader would see."""
    smuggled = "".join(chr(0xE0000 + ord(letter)) for letter in "obey me")
    assert one_line(f"hi\u202e\u2066 there\x00\x1b{smuggled}\n\u2028friend") == "hi there friend"


def test_what_scripts_and_emoji_need_stays() -> None:
    """Right-to-left text, Persian spelling, emoji families and accents are left as they are."""
    for text in ("שלום עולם", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", FAMILY, "Müller", "हिन्दी"):
        assert one_line(text) == text


def test_piles_of_combining_marks_are_levelled() -> None:
    """Zalgo keeps a few marks a letter, so that it cannot fill a prompt."""
    zalgo = "".join(letter + "\u0300\u0301\u0302\u0315\u031b" * 20 for letter in "he comes")
    assert len(one_line(zalgo)) <= 5 * len("he comes")


@given(st.text(), st.integers(min_value=1, max_value=60))
def test_a_cut_fits(text: str, tokens: int) -> None:
    """A cut text takes at most the tokens asked for, and an uncut one is unchanged."""
    short = cut(text, tokens + most_tokens("…"))
    assert most_tokens(short) <= tokens + most_tokens("…")
    assert short == text or short.endswith("…")


def test_a_cut_never_splits_an_emoji() -> None:
    """A family of emoji is kept whole or not at all."""
    short = cut(FAMILY * 1000, 100).removesuffix("…")
    assert short
    assert short.replace(FAMILY, "") == ""


@given(st.text())
def test_estimates_are_in_order(text: str) -> None:
    """At least one token a word, at most one a byte: the two bounds never cross."""
    assert least_tokens(text) <= most_tokens(text) <= len(text.encode("utf-8", "replace"))


def test_emoji_and_foreign_scripts_count_for_more() -> None:
    """An estimate by characters alone would let a window of emoji overflow the context."""
    assert most_tokens("\U0001f600" * 100) == 400
    assert most_tokens("a" * 100) == 50
    assert most_tokens("ж" * 100) == 100
    assert most_tokens("木" * 100) == 200
