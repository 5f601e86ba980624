"""The `since` option: how people say from when on."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from discord import app_commands

from bot.commands.replies import Refused

_DURATION = re.compile(r"(\d{1,4})\s*(h|d|w|y)[a-z]*", re.IGNORECASE)
_UNIT = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}
_NAMES = {"h": "hour", "d": "day", "w": "week", "y": "year"}
_SUGGESTIONS = ("24h", "7d", "4w", "1y")


def parse_since(text: str, now: datetime, option: str = "since") -> datetime:
    """`24h`, `7 days`, `4w`, `1y`, or an ISO date or time (UTC unless it says otherwise). Raises `Refused`.

    `option` is what the asker calls it.
    """
    try:
        if duration := _DURATION.fullmatch(text.strip()):
            return now - int(duration[1]) * _UNIT[duration[2].lower()]
        moment = datetime.fromisoformat(text.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(f"I read `{option}` as 24h, 7d, 4w, 1y or a date like 2026-05-01.") from None
    if moment > now:
        raise Refused(f"`{option}` lies in the future; give a moment that has passed.")
    return moment


def suggest_since(current: str, now: datetime, spans: Sequence[str] = _SUGGESTIONS) -> list[app_commands.Choice[str]]:
    """What was typed, if it can be read, otherwise the usual spans."""
    if current.strip():
        try:
            moment = parse_since(current, now)
        except Refused:
            current = ""
        else:
            return [app_commands.Choice(name=f"since {moment:%Y-%m-%d %H:%M} UTC", value=current.strip())]
    return [app_commands.Choice(name=_spoken(span), value=span) for span in spans]


def _spoken(span: str) -> str:
    number, unit = int(span[:-1]), _NAMES[span[-1]]
    return f"the last {number} {unit}s" if number > 1 else f"the last {unit}"
