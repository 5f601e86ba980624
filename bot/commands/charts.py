"""Pictures of numbers over time: PNGs on a dark card of their own, so that they suit both of Discord's themes.

Only our own words and numbers are drawn, for no font has the letters of every name. Days and times are in UTC.
"""

import asyncio
import io
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import discord

from bot.commands.paper import Paper, mixed
from bot.commands.text import counted
from bot.storage.samples import Sample

DAY, WEEK = timedelta(days=1), timedelta(days=7)
FEWEST_BARS, MOST_BARS = 12, 60
FEWEST_SAMPLES = 6  # an hour

_WIDTH, _MARGIN, _TITLE, _LABEL = 1200, 40, 34, 25  # pixels, of which a screen shows half as many
_BRIGHT, _SOFT, _GRID, _AXIS = "#f2f3f5", "#b5bac1", "#3d4046", "#6d7178"
# Of Okabe and Ito's colours, which the colour-blind tell apart (https://jfly.uni-koeln.de/color/).
_MESSAGES, _FACTS, _WAITING = "#56b4e9", "#f0a92d", "#35c49a"
_NUMBERS = 76.0  # the room that numbers take beside their axis
_OVERHANG = 12.0  # of a label over the end of its axis
_MISSED = timedelta(minutes=35)  # between two samples: in such a gap nothing is known


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG, and in words what it shows."""

    png: bytes
    alt: str

    def file(self, name: str) -> discord.File:
        """It as an attachment, for one request."""
        return discord.File(io.BytesIO(self.png), name, description=self.alt)


async def timeline(messages: Mapping[date, int], facts: Mapping[date, int]) -> Picture | None:
    """Bars of a member's messages and facts, counted by the day in UTC; None if there are none.

    A bar is a day, a week, a month, a quarter or a year, so that there are 12 to 60 of them.
    """
    if not any(messages.values()) and not any(facts.values()):
        return None
    return await asyncio.to_thread(_timeline, messages, facts)


async def status_picture(samples: Sequence[Sample], now: datetime) -> Picture | None:
    """What waited and what was held over the last day and week; None while less than an hour is known.

    `samples` come oldest first.
    """
    if len(samples) < FEWEST_SAMPLES:
        return None
    return await asyncio.to_thread(_status_picture, samples, now)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A length of time that a bar stands for: so many months, or so many days."""

    name: str
    months: int
    days: int
    label: str  # how strftime writes its first day, after its number if it is shorter than a month

    def first_day(self, day: date) -> date:
        """Where the unit begins in which a day lies."""
        if self.months:
            month = (day.year * 12 + day.month - 1) // self.months * self.months
            return date(month // 12, month % 12 + 1, 1)
        return day - timedelta(days=(day.toordinal() - 1) % self.days)  # day 1 was a Monday

    def moved(self, first: date, steps: int) -> date:
        """Where the unit begins that comes so many later, or earlier."""
        if self.months:
            month = first.year * 12 + first.month - 1 + steps * self.months
            return date(month // 12, month % 12 + 1, 1)
        return first + timedelta(days=steps * self.days)

    def named(self, first: date) -> str:
        """The unit in a few letters."""
        return first.strftime(self.label) if self.months else f"{first.day} {first:{self.label}}"

    def between(self, first: date, last: date) -> list[date]:
        """Where each unit begins from the one on `first` to the one in which `last` lies."""
        found = [first]
        while (following := self.moved(found[-1], 1)) <= last:
            found.append(following)
        return found


_UNITS = (
    _Unit("day", 0, 1, "%b"),
    _Unit("week", 0, 7, "%b"),
    _Unit("month", 1, 0, "%b %Y"),
    _Unit("quarter", 3, 0, "%b %Y"),
    _Unit("year", 12, 0, "%Y"),
)


class _Plot:
    """A part of the paper with an axis of numbers from zero on, and one of whatever runs from 0 to 1."""

    def __init__(
        self,
        paper: Paper,
        left: float,
        top: float,
        right: float,
        bottom: float,
        most: int,
        labelled: bool = True,
    ) -> None:
        self.paper = paper
        self.left, self.right, self.bottom = left, right, bottom
        step = _step(most)
        self._ceiling = step * -(-max(most, 1) // step)
        self._height = bottom - top
        for number in range(0, self._ceiling + 1, step):
            y = self.y(number)
            paper.line([(left, y), (right, y)], _GRID if number else _AXIS, 1.5)
            if labelled:
                paper.words((left - 14, y), _short(number), _LABEL, _SOFT, "rm")

    def x(self, share: float) -> float:
        """The place of a share of the way from left to right."""
        return self.left + share * (self.right - self.left)

    def y(self, number: float) -> float:
        """The height of a number."""
        return self.bottom - number / self._ceiling * self._height

    def label(self, share: float, words: str) -> None:
        """Words below a place of the axis, unless they would stick out."""
        x, half = self.x(share), self.paper.length(words, _LABEL) / 2
        if self.left - _OVERHANG <= x - half and x + half <= self.right + _OVERHANG:
            self.paper.words((x, self.bottom + 36), words, _LABEL, _SOFT, "ms")


def _timeline(messages: Mapping[date, int], facts: Mapping[date, int]) -> Picture:
    days = sorted(day for counts in (messages, facts) for day, count in counts.items() if count)
    unit, firsts = _bars(days[0], days[-1])
    said, learnt = _gathered(messages, firsts), _gathered(facts, firsts)
    told = counted(sum(said), "message"), counted(sum(learnt), "fact")
    when = f"{_dated(days[0])} to {_dated(days[-1])}" if days[0] < days[-1] else _dated(days[0])
    height = 520

    paper = Paper(_WIDTH, height)
    _heading(paper, 68, "Memories over time", (told[0], _MESSAGES), (told[1], _FACTS))
    paper.words((_MARGIN, 108), f"by {unit.name}, {when}, UTC", _LABEL, _SOFT)
    sums = [sum(both) for both in zip(said, learnt, strict=True)]
    plot = _Plot(paper, _MARGIN + _NUMBERS, 156, _WIDTH - _MARGIN, height - 78, max(sums))
    pitch = 1 / len(firsts)
    for number, (below, total) in enumerate(zip(said, sums, strict=True)):
        left, right = plot.x((number + 0.12) * pitch), plot.x((number + 0.88) * pitch)
        parted = 2 if 0 < below < total else 0
        paper.bar((left, plot.y(total)), (right, plot.y(below) - parted), _FACTS, 6, flat=True)
        paper.bar((left, plot.y(below)), (right, plot.bottom), _MESSAGES, 6 if below == total else 0, flat=True)
    labels = [unit.named(first) for first in firsts]
    room = max(paper.length(label, _LABEL) for label in labels) + 36
    every = -int(-room // (plot.x(pitch) - plot.left))
    for number in range(every // 2, len(labels), every):
        plot.label((number + 0.5) * pitch, labels[number])
    most = max(range(len(firsts)), key=sums.__getitem__)
    return Picture(
        paper.png(),
        f"Bars by {unit.name}, {when}: {told[0]} and {told[1]}. "
        f"The most, {sums[most]:,}, {'on' if unit.days == 1 else f'in the {unit.name} from'} {_dated(firsts[most])}.",
    )


def _bars(first: date, last: date) -> tuple[_Unit, list[date]]:
    """The shortest unit that makes few enough bars, and where each begins; empty ones before make up the fewest."""
    for unit in _UNITS:
        begin = unit.first_day(first)
        if unit is _UNITS[-1] or unit.moved(begin, MOST_BARS) > last:
            firsts = unit.between(begin, last)
            return unit, unit.between(unit.moved(begin, -max(0, FEWEST_BARS - len(firsts))), last)
    raise AssertionError("the last unit is always taken")


def _gathered(counts: Mapping[date, int], firsts: Sequence[date]) -> list[int]:
    gathered = [0] * len(firsts)
    for day, count in counts.items():
        if count:
            gathered[bisect_right(firsts, day) - 1] += count
    return gathered


def _status_picture(samples: Sequence[Sample], now: datetime) -> Picture:
    newest = samples[-1]
    waiting, messages, facts = (
        counted(newest.waiting, "message"),
        counted(newest.messages, "message"),
        counted(newest.facts, "fact"),
    )
    paper = Paper(_WIDTH, 740)
    _heading(paper, 68, "Waiting for facts", (f"{waiting} now", _WAITING))
    _day_and_week(paper, 100, samples, now, [_Layer(lambda one: one.waiting, _WAITING)])
    _heading(paper, 418, "Memories held", (messages, _MESSAGES), (facts, _FACTS))
    layers = [_Layer(lambda one: one.messages + one.facts, _FACTS), _Layer(lambda one: one.messages, _MESSAGES)]
    _day_and_week(paper, 450, samples, now, layers)
    return Picture(
        paper.png(),
        f"The last day and the last week. Waiting for facts: {waiting} now, at most "
        f"{max(one.waiting for one in samples):,}. Memories held: {messages} and {facts}, "
        f"at first {samples[0].messages:,} and {samples[0].facts:,}.",
    )


@dataclass(frozen=True, slots=True)
class _Layer:
    """A number of each sample, and the colour in which it is drawn down to zero."""

    number: Callable[[Sample], int]
    colour: str


def _day_and_week(paper: Paper, top: float, samples: Sequence[Sample], now: datetime, layers: Sequence[_Layer]) -> None:
    """Two plots side by side with one axis of numbers; later layers are drawn over earlier ones."""
    most = max(layer.number(one) for one in samples for layer in layers)
    left, middle, between = _MARGIN + _NUMBERS, _WIDTH / 2, 24
    day = _Plot(paper, left, top + 44, middle - between / 2, top + 214, most)
    week = _Plot(paper, middle + between / 2, top + 44, _WIDTH - _MARGIN, top + 214, most, labelled=False)
    for plot, span, title in ((day, DAY, "last 24 hours, UTC"), (week, WEEK, "last 7 days")):
        paper.words((plot.left, top + 26), title, _LABEL, _SOFT)
        begin = now - span
        for stretch in _stretches([one for one in samples if begin <= one.at <= now]):
            for layer in layers:
                points = [(plot.x((one.at - begin) / span), plot.y(layer.number(one))) for one in stretch]
                paper.area(points, plot.bottom, mixed(layer.colour, 0.35))
                paper.line(points, layer.colour, 2.5)
    midnight = datetime.combine((now - WEEK).astimezone(UTC).date(), time(), UTC)
    for number in range(8):
        noon = midnight + number * DAY + DAY / 2
        week.label(1 - (now - noon) / WEEK, f"{noon:%a}")
    for hours in range(6 * 24, 9 * 24, 6):
        at = midnight + timedelta(hours=hours)
        day.label(1 - (now - at) / DAY, f"{at:%H:%M}")


def _stretches(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Samples parted where some are missing; one without neighbours is nothing to draw."""
    stretch: list[Sample] = []
    for one in samples:
        if stretch and one.at - stretch[-1].at > _MISSED:
            yield from [stretch] if len(stretch) > 1 else []
            stretch = []
        stretch.append(one)
    yield from [stretch] if len(stretch) > 1 else []


def _heading(paper: Paper, y: float, title: str, *numbers: tuple[str, str]) -> None:
    """A title at the left, and numbers at the right in the colours in which they are drawn below."""
    paper.words((_MARGIN, y), title, _TITLE, _BRIGHT)
    x = float(_WIDTH - _MARGIN)
    for words, colour in reversed(numbers):
        paper.words((x, y), words, _LABEL, colour, "rs")
        x -= paper.length(words, _LABEL) + 28


def _step(most: int) -> int:
    """What to count by up to `most` in at most four steps: 1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power * 4 >= most:
                return digit * power
        power *= 10


def _short(number: int) -> str:
    """`950`, `2,500`, `12.5k`, `3M`."""
    for unit, name in ((1_000_000, "M"), (1000, "k")):
        if number >= max(unit, 10_000):
            return f"{number / unit:g}{name}"
    return f"{number:,}"


def _dated(day: date) -> str:
    return f"{day.day} {day:%b %Y}"
