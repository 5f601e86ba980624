"""Discord's message formatting, read into blocks and spans, and drawn as rich text for the terminal.

Source of the forms: https://discord.com/developers/docs/reference#message-formatting and
https://support.discord.com/hc/en-us/articles/210298617 (Markdown text).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

from rich.text import Text

from bot.sandbox.discord.entities import Place
from bot.sandbox.discord.state import State

_TOKEN = re.compile(
    r"\\(?P<escaped>[!-/:-@\[-`{-~])"
    r"|<t:(?P<time>-?\d+)(?::(?P<style>[tTdDfFsSR]))?>"
    r"|<@!?(?P<user>\d+)>"
    r"|<@&(?P<role>\d+)>"
    r"|<#(?P<channel>\d+)>"
    r"|</(?P<command>[\w\- ]+):\d+>"
    r"|<a?:(?P<emoji>\w+):\d+>"
    r"|\[(?P<label>(?:\\.|\[[^\]]*\]|[^\]\\])+)\]\(<?(?P<url>https?://[^\s)>]+)>?\)"
    r"|`(?P<code>[^`]+)`"
    r"|\*\*(?P<bold>(?:\\.|[^\\])+?)\*\*(?!\*)"
    r"|\*(?P<italic>[^*\s](?:[^*]*[^*\s])?)\*"
    r"|__(?P<underline>(?:\\.|[^\\])+?)__"
    r"|(?<!\w)_(?P<italics>[^_\s](?:[^_]*[^_\s])?)_(?!\w)"
    r"|~~(?P<strike>(?:\\.|[^\\])+?)~~"
    r"|\|\|(?P<spoiler>(?:\\.|[^\\])+?)\|\|"
    r"|(?P<bare>https?://[^\s<>)]+)"
)
_FENCE = re.compile(r"```(?:[\w+-]*\n)?(.+?)\n?```", re.DOTALL)
_UNITS = (("year", 31_536_000), ("month", 2_592_000), ("day", 86_400), ("hour", 3600), ("minute", 60))


class Kind(StrEnum):
    """What a span is."""

    TEXT = "text"
    BOLD = "bold"
    ITALIC = "italic"
    UNDERLINE = "underline"
    STRIKE = "strike"
    SPOILER = "spoiler"
    CODE = "code"
    LINK = "link"
    MENTION = "mention"
    TIME = "time"
    EMOJI = "emoji"


class Line(StrEnum):
    """What a block is."""

    PLAIN = "plain"
    QUOTE = "quote"
    SMALL = "small"
    ITEM = "item"
    HEADING_1 = "heading-1"
    HEADING_2 = "heading-2"
    HEADING_3 = "heading-3"
    CODE = "code"


_PREFIXES = {
    "> ": Line.QUOTE,
    "-# ": Line.SMALL,
    "- ": Line.ITEM,
    "* ": Line.ITEM,
    "# ": Line.HEADING_1,
    "## ": Line.HEADING_2,
    "### ": Line.HEADING_3,
}
_MARKS = {"bold": Kind.BOLD, "italic": Kind.ITALIC, "italics": Kind.ITALIC, "underline": Kind.UNDERLINE}
_MARKS |= {"strike": Kind.STRIKE, "spoiler": Kind.SPOILER, "label": Kind.LINK}

_STYLES = {
    Kind.BOLD: "bold",
    Kind.ITALIC: "italic",
    Kind.UNDERLINE: "underline",
    Kind.STRIKE: "strike",
    Kind.SPOILER: "reverse",
    Kind.CODE: "reverse dim",
    Kind.LINK: "underline bright_blue link",
    Kind.MENTION: "bold cyan",
}
_LINE_STYLES = {
    Line.QUOTE: ("▎ ", "dim"),
    Line.SMALL: ("", "dim"),
    Line.ITEM: ("• ", ""),
    Line.HEADING_1: ("", "bold"),
    Line.HEADING_2: ("", "bold"),
    Line.HEADING_3: ("", "bold"),
    Line.CODE: ("", "dim"),
}


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text within a line. Marks hold further spans, all others `text`; links have a `url`."""

    kind: Kind
    text: str = ""
    spans: tuple["Span", ...] = ()
    url: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A line of a message, or a fenced block of code in one span."""

    kind: Line
    spans: tuple[Span, ...]


def ago(then: datetime, now: datetime) -> str:
    """`3 days ago`, `in 5 minutes`: what a client shows for `<t:…:R>`."""
    seconds = (now - then).total_seconds()
    passed = round(abs(seconds) / 60) * 60 if abs(seconds) >= 60 else 0  # so that 3,599 seconds are an hour
    for unit, size in _UNITS:
        if passed >= size:
            count = round(passed / size)
            words = f"{count} {unit}{'s' if count > 1 else ''}"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "just now"


@dataclass(frozen=True, slots=True)
class Markup:
    """Reads text for people who see `users`, `channels` and `roles` (names by id) at the time `now`."""

    now: datetime
    users: dict[int, str] = field(default_factory=dict)
    channels: dict[int, str] = field(default_factory=dict)
    roles: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, world: State) -> Self:
        """For somebody who knows everybody's and every place's name, now."""
        guilds = world.guilds.values()
        places: list[Place] = [place for guild in guilds for place in guild.channels.values()]
        places += [thread for guild in guilds for thread in guild.threads.values()]
        return cls(
            world.clock(),
            {user.id: user.display_name for user in world.users.values()},
            {place.id: place.name for place in places},
            {role.id: role.name for guild in guilds for role in guild.roles.values()},
        )

    def blocks(self, content: str) -> Iterator[Block]:
        """The text of a message, line by line; code that is fenced is one block."""
        # Splitting by a pattern with one group gives the texts between with what is fenced at the odd places.
        for number, piece in enumerate(_FENCE.split(content)):
            if number % 2:
                yield Block(Line.CODE, (Span(Kind.TEXT, piece),))
                continue
            for line in piece.strip("\n").split("\n") if piece.strip("\n") or not number else ():
                yield self._line(line)

    def spans(self, content: str) -> tuple[Span, ...]:
        """The spans of one line, as embeds' titles have them."""
        return tuple(self._spans(content))

    def render(self, content: str) -> Text:
        """The text of a message for the terminal."""
        return Text("\n").join(map(_drawn, self.blocks(content)))

    def _line(self, line: str) -> Block:
        bare = line.lstrip(" ")
        for prefix, kind in _PREFIXES.items():
            if bare.startswith(prefix) and (kind is Line.ITEM or bare == line):
                return Block(kind, self.spans(bare.removeprefix(prefix)))
        return Block(Line.PLAIN, self.spans(line))

    def _spans(self, content: str) -> Iterator[Span]:
        position = 0
        for token in _TOKEN.finditer(content):
            if token.start() > position:
                yield Span(Kind.TEXT, content[position : token.start()])
            yield self._span(token)
            position = token.end()
        if position < len(content):
            yield Span(Kind.TEXT, content[position:])

    def _span(self, token: re.Match[str]) -> Span:
        name, value = next((name, value) for name, value in token.groupdict().items() if value is not None)
        match name:
            case "time":
                return Span(Kind.TIME, self._time(int(value), token["style"] or "f"))
            case "user":
                return Span(Kind.MENTION, f"@{self.users.get(int(value), 'unknown-user')}")
            case "role":
                return Span(Kind.MENTION, f"@{self.roles.get(int(value), 'unknown-role')}")
            case "channel":
                return Span(Kind.MENTION, f"#{self.channels.get(int(value), 'unknown')}")
            case "command":
                return Span(Kind.MENTION, f"/{value}")
            case "emoji":
                return Span(Kind.EMOJI, f":{value}:")
            case "bare":
                return Span(Kind.LINK, spans=(Span(Kind.TEXT, value),), url=value)
            case "code":
                return Span(Kind.CODE, value)
            case "escaped":
                return Span(Kind.TEXT, value)
            case _:
                return Span(_MARKS[name], spans=self.spans(value), url=token["url"] or "")

    def _time(self, seconds: int, style: str) -> str:
        then = datetime.fromtimestamp(seconds, UTC)
        date, time = f"{then.day} {then:%B %Y}", f"{then:%H:%M}"
        match style:
            case "R":
                return ago(then, self.now)
            case "t" | "T":
                return time
            case "d" | "D":
                return date
            case "F":
                return f"{then:%A}, {date} at {time}"
            case _:
                return f"{date} at {time}"


def _drawn(block: Block) -> Text:
    mark, style = _LINE_STYLES.get(block.kind, ("", ""))
    text = Text.assemble((mark, "bright_black"), *map(_drawn_span, block.spans))
    text.stylize(style)
    return text


def _drawn_span(span: Span) -> Text:
    text = Text.assemble(span.text, *map(_drawn_span, span.spans))
    text.stylize(f"{_STYLES.get(span.kind, '')} {span.url}".strip())
    return text
