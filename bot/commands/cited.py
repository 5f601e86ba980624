"""A language model's words as they are shown: what they cite is linked, and nothing else in them does anything."""

import re
from collections.abc import Sequence, Set

from bot.commands.text import ELLIPSIS, escaped, units
from bot.memory.answering import without_urls

_MOST_LINES = 60
_UNCUT = 1_000_000
_WORTH_CUTTING = 20
_TAG = re.compile(r"<(?=[@#&/:a-z])", re.IGNORECASE)  # of mentions, commands, times, and links without a preview
_WITHOUT_BRACKETS = str.maketrans("[]", "()")  # of which links are made
_AROUND = re.compile(r"^(\s*)(.*?)(\s*)$", re.DOTALL)


def cited_text(parts: Sequence[str | int], links: Sequence[str | None], urls: Set[str], room: int) -> str:
    """Words and the numbers cited between them as markdown of at most `room` units; `[1]` leads to the first link.

    Of the URLs in the words only these `urls` can be followed.
    """
    room -= units(ELLIPSIS)
    shown = ""
    for part in parts:
        piece = linked(part, links) if isinstance(part, int) else _words(part, urls, _UNCUT)
        left = room - units(shown)
        if units(piece) > left:
            if isinstance(part, int) or left < _WORTH_CUTTING:
                return shown.rstrip() + ELLIPSIS
            return (shown + _words(part, urls, left)).strip()
        shown += piece
    return shown.strip()


def linked(number: int, links: Sequence[str | None]) -> str:
    """A number that leads to its link, if it has one; 1 is the first."""
    link = links[number - 1]
    return f"[[{number}]]({link})" if link else f"[{number}]"


def _words(text: str, urls: Set[str], room: int) -> str:
    """Words as they are, with the space around them: neither markdown nor mention, nor a link of their own making."""
    match = _AROUND.match(text)
    before, words, after = match.groups() if match else ("", text, "")
    safe = _TAG.sub("<\u200b", without_urls(words, urls)).translate(_WITHOUT_BRACKETS)
    return _gap(before) + escaped(safe, room - 4, _MOST_LINES) + _gap(after) if words else _gap(before)


def _gap(space: str) -> str:
    lines = min(space.count("\n"), 2)
    return "\n" * lines or " " * bool(space)
