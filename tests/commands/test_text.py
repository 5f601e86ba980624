"""Text from members, made safe to show."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.commands.text import ago, counted, cut, escaped, plain, tidy, units

HEBREW, ARABIC = "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627"
FAMILY = "👩‍👩‍👧‍👦"


def test_units_count_what_a_client_counts() -> None:
    """An emoji outside the basic plane is two units."""
    assert units("abc") == 3
    assert units("😀") == 2
    assert units("\ud800") == 1


def test_cut_keeps_short_text() -> None:
    """Text within the limit is left alone."""
    assert cut("hello", 5) == "hello"


def test_cut_never_splits_a_grapheme() -> None:
    """An emoji family of seven code points stays whole or goes."""
    assert cut(FAMILY * 3, units(FAMILY) * 2 + 1) == FAMILY * 2 + "…"
    assert cut(FAMILY * 3, units(FAMILY) * 2) == FAMILY + "…"


@settings(deadline=None)
@given(st.text(), st.integers(min_value=1, max_value=50))
def test_cut_keeps_the_limit(text: str, limit: int) -> None:
    """Whatever the text, the limit holds."""
    assert units(cut(text, limit)) <= limit


@settings(deadline=None)
@given(st.text(), st.integers(min_value=5, max_value=80))
def test_escaped_and_plain_keep_the_limit(text: str, limit: int) -> None:
    """Escapes and isolates count towards the limit."""
    assert units(escaped(text, limit)) <= limit
    assert units(plain(text, limit)) <= limit


def test_four_thousand_emoji_are_cut_between_emoji() -> None:
    """The longest message there is becomes a card's worth of whole emoji."""
    shown = escaped(FAMILY * 570, 200)
    assert shown.removesuffix("…") == FAMILY * 18
    assert units(shown) <= 200


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**bold** _it_ `code` ~~gone~~ ||spoiler||", r"\*\*bold\*\* \_it\_ \`code\` \~\~gone\~\~ \|\|spoiler\|\|"),
        ("# big\n-# small\n> quote", "\\# big\n\\-# small\n\\> quote"),
        ("[safe](https://evil.example) [two](https://evil.example)",) * 2,
        ("https://example.com/a_b_c", "https://example.com/a_b_c"),
        ("<:party_cat:123456789012345678>", r":party\_cat:"),
    ],
)
def test_markdown_is_shown_not_obeyed(text: str, shown: str) -> None:
    """Formatting, headers and masked links become plain characters; addresses stay whole."""
    assert escaped(text, 500).replace("\u200b", "") == shown


def test_a_masked_link_is_taken_apart() -> None:
    """No text can hide where a link leads, not even the second one on a line."""
    assert "](" not in escaped("[a](https://x.example) **b** [c](https://y.example)", 500)


def test_mentions_cannot_ping() -> None:
    """Neither everyone nor a member nor a role is addressed."""
    shown = escaped("@everyone @here <@123456789012345678> <@&123456789012345678>", 500)
    assert "@everyone" not in shown
    assert "@here" not in shown
    assert "<@1" not in shown
    assert "<@&1" not in shown


def test_zalgo_is_combed() -> None:
    """A letter keeps four combining marks; real scripts lose nothing."""
    assert tidy("Z" + "\u0310" * 200 + "algo") == "Z" + "\u0310" * 4 + "algo"
    assert tidy("Tiếng Việt क्षि") == "Tiếng Việt क्षि"


def test_right_to_left_text_is_kept_apart() -> None:
    """Each right-to-left line is isolated, and controls that reorder what follows are gone."""
    assert escaped(f"{HEBREW}\nhello", 100) == f"\u2068{HEBREW}\u2069\nhello"
    assert tidy("abc\u202edef\u2066") == "abcdef"
    assert plain(ARABIC, 100) == f"\u2068{ARABIC}\u2069"


def test_height_is_limited() -> None:
    """Neither empty lines nor many lines make a card endless."""
    assert tidy("a\n\n\n\n\nb") == "a\n\nb"
    assert escaped("\n".join("abcdefghijklmnop"), 500, lines=3) == "a\nb\nc\n…"


def test_plain_is_one_line() -> None:
    """Where there is no markdown there are no lines either."""
    assert plain("a\n b\tc\x00", 100) == "a b c"


def test_small_words() -> None:
    """Numbers agree with their nouns, and times are told relative to the reader."""
    assert [counted(1, "memory", "memories"), counted(1200, "message")] == ["1 memory", "1,200 messages"]
    assert ago(datetime(2026, 5, 1, tzinfo=UTC)) == "<t:1777593600:R>"
