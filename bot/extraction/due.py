"""Which windows a batch reads: a rule is given the waiting conversations of a channel and packs those to extract."""

from collections.abc import Callable, Sequence
from datetime import datetime

from bot.extraction.windows import pack, tokens
from bot.model import Message, Window
from bot.settings import BatchSettings

Talks = Sequence[Sequence[Message]]
Rule = Callable[[Talks, BatchSettings, datetime], list[Window]]


def everything(talks: Talks, batch: BatchSettings, now: datetime) -> list[Window]:
    """For an admin who asks: also those still going on."""
    return pack(talks, batch.window_tokens)


def settled(talks: Talks, batch: BatchSettings, now: datetime) -> list[Window]:
    """At the deadline: those that have gone quiet, or have waited for an interval."""
    quiet = [talk for talk in talks if talk[-1].created_at <= now - batch.settle or _overdue(talk, batch, now)]
    return pack(quiet, batch.window_tokens)


def worthwhile(talks: Talks, batch: BatchSettings, now: datetime) -> list[Window]:
    """Before the deadline: the settled ones, in windows that are nearly full or hold one that waited for an interval.

    A busy guild spreads its hundred messages over many channels; a call for each handful would
    cost several times as much as one at the deadline.
    """
    return [
        window
        for window in settled(talks, batch, now)
        if 3 * tokens(window.messages, batch.window_tokens) >= 2 * batch.window_tokens
        or any(_overdue(section, batch, now) for section in window.sections)
    ]


def _overdue(talk: Sequence[Message], batch: BatchSettings, now: datetime) -> bool:
    return talk[0].created_at <= now - batch.interval
