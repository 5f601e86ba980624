"""A language model's words, as they are shown."""

import pytest

from bot.commands.cited import cited_text
from bot.commands.text import units
from bot.memory.answering import read

LINKS = ["https://discord.com/channels/1/2/3", None]


def shown(text: str, room: int = 4_000) -> str:
    return cited_text(read(text, 2).parts, LINKS, set(), room)


def test_numbers_are_links() -> None:
    """A memory of no message has none; lines stay lines."""
    assert shown("Blue [1].\n\nOr red [2].") == f"Blue [[1]]({LINKS[0]}).\n\nOr red [2]."


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("<@1> <#2> </ask:3> <t:4:R>", "<\u200b@1> <\u200b#2> <\u200b/ask:3> <\u200bt:4:R>"),
        ("[click](https://x.example)", "(click)(https:\u200b//x.example)"),
        ("**b** `c` # d", "\\*\\*b\\*\\* \\`c\\` # d"),
        ("1 < 2", "1 < 2"),
    ],
)
def test_nothing_else_does_anything(text: str, safe: str) -> None:
    """Neither mentions nor links nor markdown."""
    assert shown(text) == safe


@pytest.mark.parametrize("room", [2, 10, 30, 50, 80, 120, 200])
def test_it_is_cut_to_its_room(room: int) -> None:
    """Between graphemes and never within a link."""
    text = shown("👨‍👩‍👧‍👦 *tea* " * 3 + "[1] and then [1] " + "*" * 50 + " [1]", room)
    assert units(text) <= room
    assert text.endswith("…")
    assert text.count("[") == text.count("]") == 2 * text.count(LINKS[0] or "")
