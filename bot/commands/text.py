"""Text from members, made safe to show: it cannot ping, format, link in disguise or break the layout."""

import re
import unicodedata
from bisect import bisect_right
from datetime import datetime

from discord.utils import escape_markdown, escape_mentions, format_dt

from bot.text import graphemes, with_named_emoji, without_piles

ELLIPSIS = "…"
_BLANK_LINES = re.compile(r"\n\s*\n\s*\n")
# Control characters (category Cc), but for tab and line feed; and of the marks of direction the explicit embeddings,
# overrides and isolates (UAX #9, 2), which reorder what follows them. Implicit marks do not.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"


def units(text: str) -> int:
    """Length as Discord may count it: its API counts code points, its clients UTF-16 units, the larger of the two.

    Source: github.com/discord/discord-api-docs/issues/1315.
    """
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def tidy(text: str) -> str:
    """Without control characters, reordering, piles of combining marks, and runs of blank lines."""
    text = _CONTROLS.sub("", with_named_emoji(text.replace("\r\n", "\n")))
    return _BLANK_LINES.sub("\n\n", without_piles(text)).strip()


def cut(text: str, limit: int) -> str:
    """At most `limit` units of `text`, cut between graphemes and then ended by an ellipsis."""
    if units(text) <= limit:
        return text
    room, kept = limit - units(ELLIPSIS), []
    for cluster in graphemes(text):
        room -= units(cluster)
        if room < 0:
            break
        kept.append(cluster)
    return "".join(kept).rstrip() + ELLIPSIS


def plain(text: str, limit: int) -> str:
    """One line for places without markdown: embed authors and footers, labels, choices."""
    line = " ".join(tidy(text).split())
    return _isolate(cut(line, limit - 2))


def escaped(text: str, limit: int, lines: int = 12) -> str:
    """At most `limit` units and `lines` lines of text for places with markdown, none of it markdown any more."""
    text = tidy(text)
    if text.count("\n") >= lines:
        text = "\n".join([*text.split("\n")[:lines], ELLIPSIS])
    if units(text) <= limit and units(safe := _escape(text)) <= limit:
        return safe
    clusters = list(graphemes(text[:limit]))

    def shortened(kept: int) -> str:
        return _escape("".join(clusters[:kept]).rstrip() + ELLIPSIS)

    most = bisect_right(range(1, len(clusters) + 1), limit, key=lambda kept: units(shortened(kept)))
    return shortened(most)


def ago(moment: datetime) -> str:
    """A time that every reader sees in their own zone, as in "3 hours ago"."""
    return format_dt(moment, "R")


def dated(moment: datetime) -> str:
    """A time that every reader sees in their own zone, as a date and a time of day."""
    return format_dt(moment, "f")


def jump_url(guild_id: int, channel_id: int, message_id: int) -> str:
    """The link that opens a message."""
    return f"https://discord.com/channels/{guild_id}/{channel_id}/{message_id}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 message`, `2 messages`, `1,000 memories`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _escape(text: str) -> str:
    # Parting "](" disarms every masked link; escape_markdown alone misses the second one on a line.
    safe = escape_mentions(escape_markdown(text.replace("](", "]\u200b(")))
    return "\n".join(_isolate(line) for line in safe.split("\n"))


def _isolate(line: str) -> str:
    """A line with right-to-left letters, kept from reordering what stands beside it."""
    if not line.isascii() and any(unicodedata.bidirectional(character) in {"R", "AL"} for character in line):
        return f"{_FIRST_STRONG_ISOLATE}{line}{_POP_ISOLATE}"
    return line
