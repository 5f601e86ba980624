"""Discord's message formatting as rich text, the way a client would show it.

Source of the forms: https://discord.com/developers/docs/reference#message-formatting
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.text import Text

_TOKEN = re.compile(
    r"\\(?P<escaped>[!-/:-@\[-`{-~])"
    r"|<t:(?P<time>-?\d+)(?::(?P<style>[tTdDfFsSR]))?>"
    r"|<@!?(?P<user>\d+)>"
    r"|<#(?P<channel>\d+)>"
    r"|</(?P<command>[\w\- ]+):\d+>"
    r"|\[(?P<label>(?:\\.|\[[^\]]*\]|[^\]\\])+)\]\(<?(?P<url>https?://[^\s)>]+)>?\)"
    r"|\*\*(?P<bold>.+?)\*\*"
    r"|\*(?P<italic>[^*\s](?:[^*]*[^*\s])?)\*"
    r"|(?<!\w)_(?P<italics>[^_\s](?:[^_]*[^_\s])?)_(?!\w)"
    r"|`(?P<code>[^`]+)`"
    r"|(?P<bare>https?://[^\s<>)]+)"
)
_UNITS = (("year", 31_536_000), ("month", 2_592_000), ("day", 86_400), ("hour", 3600), ("minute", 60))
_LINK = "underline bright_blue"


def ago(then: datetime, now: datetime) -> str:
    """`3 days ago`, `in 5 minutes`: what a client shows for `<t:…:R>`."""
    seconds = (now - then).total_seconds()
    for unit, size in _UNITS:
        if (count := round(abs(seconds) / size)) and abs(seconds) >= size:
            words = f"{count} {unit}{'s' if count > 1 else ''}"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "just now"


@dataclass(frozen=True, slots=True)
class Markup:
    """Renders text for people who see `users` and `channels` (names by id) at the time `now`."""

    now: datetime
    users: Mapping[int, str] = field(default_factory=dict)
    channels: Mapping[int, str] = field(default_factory=dict)

    def render(self, content: str) -> Text:
        """The text of a message: quotes, headings and small print by line, the rest inline."""
        return Text("\n").join(self._line(line) for line in content.split("\n"))

    def _line(self, line: str) -> Text:
        for prefix, mark, style in (("> ", "▎ ", "dim"), ("-# ", "", "dim"), ("### ", "", "bold"), ("## ", "", "bold")):
            if line.startswith(prefix):
                text = Text(mark, style="bright_black") + self._inline(line.removeprefix(prefix))
                text.stylize(style)
                return text
        return self._inline(line)

    def _inline(self, content: str) -> Text:
        text = Text()
        position = 0
        for token in _TOKEN.finditer(content):
            text.append(content[position : token.start()])
            text.append_text(self._token(token))
            position = token.end()
        text.append(content[position:])
        return text

    def _token(self, token: re.Match[str]) -> Text:
        kind, value = next((name, value) for name, value in token.groupdict().items() if value is not None)
        match kind:
            case "time":
                return Text(self._time(int(value), token["style"] or "f"))
            case "user":
                return Text(f"@{self.users.get(int(value), 'unknown-user')}", style="bold cyan")
            case "channel":
                return Text(f"#{self.channels.get(int(value), 'unknown')}", style="bold cyan")
            case "command":
                return Text(f"/{value}", style="bold cyan")
            case "label":
                return _styled(self._inline(value), f"{_LINK} link {token['url']}")
            case "bare":
                return Text(value, style=f"{_LINK} link {value}")
            case "bold" | "italic" | "italics":
                return _styled(self._inline(value), "bold" if kind == "bold" else "italic")
            case "code":
                return Text(value, style="reverse dim")
            case _:
                return Text(value)

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


def _styled(text: Text, style: str) -> Text:
    text.stylize(style)
    return text
