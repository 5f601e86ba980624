"""Talk told again at its own pace, under a clock that the benchmark moves."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.model import Message

# Nothing waits longer than two intervals; more steps than this mean that something does not drain.
LONGEST_WAIT = timedelta(hours=4)


@dataclass
class Clock:
    """A clock that the benchmark moves."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


def steps(talk: list[Message], step: timedelta) -> Iterator[tuple[datetime, list[Message]]]:
    """The time and what was said since the step before, and then the time alone."""
    place, now = 0, talk[0].created_at
    while now <= talk[-1].created_at + LONGEST_WAIT:
        begin = place
        while place < len(talk) and talk[place].created_at <= now:
            place += 1
        if place > begin or place == len(talk):
            yield now, talk[begin:place]
        now += step
