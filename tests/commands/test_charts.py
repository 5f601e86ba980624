"""The pictures: their size, that they show what they are given, and that nothing odd stops them."""

import io
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from PIL import Image

from bot.commands import charts
from bot.commands.charts import FEWEST_BARS, MOST_BARS, Picture, status_picture, timeline
from bot.storage.samples import Sample

NOW = datetime(2026, 11, 21, 18, 20, tzinfo=UTC)
TODAY = NOW.date()
MESSAGES, FACTS, WAITING = (0x56, 0xB4, 0xE9), (0xF0, 0xA9, 0x2D), (0x35, 0xC4, 0x9A)


def opened(picture: Picture | None) -> Image.Image:
    assert picture is not None
    return Image.open(io.BytesIO(picture.png)).convert("RGBA")


def pixels(picture: Picture | None, colour: tuple[int, int, int]) -> int:
    """How many pixels of exactly this colour there are."""
    image = opened(picture)
    return sum(count for count, found in image.getcolors(image.width * image.height) or [] if found == (*colour, 255))


def samples(count: int, waiting: int = 10, held: int = 1000, facts: int = 50) -> list[Sample]:
    """One each ten minutes up to now."""
    times = (NOW - timedelta(minutes=10 * back) for back in range(count - 1, -1, -1))
    return [Sample(at, waiting, held + number, facts) for number, at in enumerate(times)]


async def test_a_timeline_shows_messages_and_facts() -> None:
    """Twice as much of one colour for twice as many, corners that let any theme through, and the numbers in words."""
    low, high = TODAY - timedelta(days=1), TODAY
    picture = await timeline({low: 300, high: 600}, {high: 100})
    image = opened(picture)
    assert image.size == (1200, 520)
    assert image.getpixel((0, 0)) == (0, 0, 0, 0)
    only_messages, only_low = await timeline({low: 300, high: 600}, {}), await timeline({low: 300, high: 300}, {})
    assert pixels(picture, FACTS) > pixels(only_messages, FACTS)
    assert pixels(picture, MESSAGES) > 3000
    assert only_messages and only_low and only_messages.png != only_low.png
    assert picture and picture.alt == (
        "Bars by day, 20 Nov 2026 to 21 Nov 2026: 900 messages and 100 facts. The most, 700, on 21 Nov 2026."
    )
    assert picture.file("timeline.png").description == picture.alt


@pytest.mark.parametrize(
    ("days", "unit"),
    [
        (1, "day"),
        (60, "day"),
        (61, "week"),
        (410, "week"),
        (430, "month"),
        (1700, "month"),
        (1900, "quarter"),
        (4000, "quarter"),
        (6000, "year"),
        (60000, "year"),
    ],
)
def test_bars_are_neither_few_nor_many(days: int, unit: str) -> None:
    """A bar is as short a time as makes at most 60 of them, and every day lies in one."""
    first = TODAY - timedelta(days=days - 1)
    found, firsts = charts._bars(first, TODAY)
    assert found.name == unit
    assert FEWEST_BARS <= len(firsts) <= (MOST_BARS if days < 20_000 else 200)
    assert firsts[0] <= first
    assert firsts[-1] <= TODAY < found.moved(firsts[-1], 1)
    assert all(found.moved(one, 1) == other for one, other in pairwise(firsts))


def test_every_memory_is_in_a_bar() -> None:
    """What is counted by the day adds up to the same by the month."""
    counts = {TODAY - timedelta(days=back): back % 7 for back in range(0, 900, 3)}
    _, firsts = charts._bars(min(counts), max(counts))
    assert sum(charts._gathered(counts, firsts)) == sum(counts.values())


async def test_without_memories_there_is_no_timeline() -> None:
    """Nothing is drawn of nothing."""
    assert await timeline({}, {}) is None
    assert await timeline({TODAY: 0}, {TODAY: 0}) is None


@pytest.mark.parametrize(
    ("messages", "facts"),
    [
        ({TODAY: 1}, {}),
        ({}, {TODAY: 1}),
        ({TODAY: 123_456_789}, {TODAY - timedelta(days=4000): 1}),
        ({date(2015, 1, 1): 1, date(2154, 12, 31): 1}, {}),
        ({date(2024, 2, 29): 7}, {date(2023, 12, 31): 1}),
    ],
)
async def test_odd_timelines_are_drawn(messages: dict[date, int], facts: dict[date, int]) -> None:
    """One memory, only facts, a hundred million, centuries, leap days: each makes a picture of the same size."""
    assert opened(await timeline(messages, facts)).size == (1200, 520)


async def test_the_status_picture_shows_what_waited_and_what_is_held() -> None:
    """A line for what waits and layers for what is held; their heights differ with the numbers."""
    picture = await status_picture(samples(144, waiting=10), NOW)
    image = opened(picture)
    assert image.size == (1200, 740)
    assert image.getpixel((1199, 739)) == (0, 0, 0, 0)
    assert min(pixels(picture, colour) for colour in (MESSAGES, FACTS, WAITING)) > 300
    more = await status_picture(samples(144, waiting=10, facts=900), NOW)
    assert picture and more and picture.png != more.png
    assert picture.alt == (
        "The last day and the last week. Waiting for facts: 10 messages now, at most 10. "
        "Memories held: 1,143 messages and 50 facts, at first 1,000 and 50."
    )


async def test_a_gap_between_samples_is_left_open() -> None:
    """While the bot was off nothing is known: no line leads over it."""
    whole = samples(144)
    parted = [one for one in whole if not 40 < whole.index(one) < 90]
    assert pixels(await status_picture(parted, NOW), WAITING) < pixels(await status_picture(whole, NOW), WAITING)


async def test_too_few_samples_make_no_picture() -> None:
    """In its first hour the bot has nothing to show."""
    assert await status_picture([], NOW) is None
    assert await status_picture(samples(5), NOW) is None
    assert await status_picture(samples(6), NOW) is not None


@pytest.mark.parametrize(
    "odd",
    [
        samples(1008),
        samples(10, waiting=0, held=-9, facts=0),
        samples(10, waiting=10**9, held=10**10),
        [Sample(NOW - timedelta(hours=hours), 1, 1, 1) for hours in range(20, 0, -1)],  # each by itself
        [Sample(NOW + timedelta(days=days), 1, 1, 1) for days in range(20)],  # a clock that was set back
        [Sample(NOW - timedelta(days=30), 1, 1, 1)] * 9,
    ],
)
async def test_odd_samples_are_drawn(odd: list[Sample]) -> None:
    """Nothing at all, billions, lone samples and times outside the picture stop nothing."""
    assert opened(await status_picture(odd, NOW)).size == (1200, 740)
