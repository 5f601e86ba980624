"""Which conversations a batch takes: a rule is given the waiting ones of a channel and returns those to extract."""

from collections.abc import Callable, Sequence
from datetime import datetime

from bot.extraction.windows import tokens
from bot.model import Message
from bot.settings import BatchSettings

Talks = Sequence[Sequence[Message]]
Rule = Callable[[Talks, BatchSettings, datetime], Talks]


def everything(talks: Talks, batch: BatchSettings, now: datetime) -> Talks:
    """For an admin who asks: also those still going on."""
    return talks


def settled(talks: Talks, batch: BatchSettings, now: datetime) -> Talks:
    """At the deadline: those that have gone quiet, or have waited for an interval."""
    return [talk for talk in talks if talk[-1].created_at <= now - batch.settle or _overdue(talk, batch, now)]


def worthwhile(talks: Talks, batch: BatchSettings, now: datetime) -> Talks:
    """Before the deadline: the settled ones, if they fill half a window or one has waited for an interval.

    A busy guild spreads its hundred messages over many channels; a call for each handful would
    cost several times as much as one at the deadline.
    """
    ready = settled(talks, batch, now)
    half_full = 2 * sum(tokens(talk, batch.window_tokens) for talk in ready) >= batch.window_tokens
    return ready if half_full or any(_overdue(talk, batch, now) for talk in ready) else []


def _overdue(talk: Sequence[Message], batch: BatchSettings, now: datetime) -> bool:
    return talk[0].created_at <= now - batch.interval
