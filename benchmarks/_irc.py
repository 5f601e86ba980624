"""Chat logs as messages: lines `[hh:mm] <name> words` and `[hh:mm]  * name does`, every other line is the system's.

The annotated ones are those of Kummerfeld et al. 2019, "A Large-Scale Corpus for Conversation Disentanglement": beside
`X.ascii.txt` stands `X.annotation.txt` with lines `a b -`, the later of two line numbers answering the earlier.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.model import Message

GUILD = 1
START = datetime(2024, 5, 6, 8, tzinfo=UTC)

_LINE = re.compile(r"\[(\d\d):(\d\d)\](?: <([^>]*)> ?|\s+\* (\S+) ?)(.*)")
_HOUR, _DAY = 60, 24 * 60  # minutes


def files(folder: Path) -> list[Path]:
    """The logs of a folder, by name."""
    return sorted(folder.glob("*.ascii.txt")) or sorted(folder.glob("*.txt"))


def log(file: Path, channel: int) -> Iterator[tuple[int, Message]]:
    """The messages of one log with their line numbers, from 0; the log is a channel that begins at START."""
    people: dict[str, int] = {}
    day = clock = elapsed = 0
    first = None
    for number, line in enumerate(file.read_text("utf-8", "replace").split("\n")):
        if (match := _LINE.match(line)) is None:
            continue
        said = int(match[1]) * _HOUR + int(match[2])
        if said < clock - _HOUR:  # less is a clock put right
            day += _DAY
        clock = said
        first = said if first is None else first
        elapsed = max(elapsed, day + said - first)
        name = match[3] or match[4] or "?"
        author = people.setdefault(name, 1000 * channel + len(people))
        at = START + timedelta(minutes=elapsed, milliseconds=number)
        yield number, message(channel, number, author, name, match[5], at)


def annotated(folder: Path) -> list[Path]:
    """Those of the logs that people annotated."""
    return [file for file in files(folder) if _annotation(file).is_file()]


def _annotation(log: Path) -> Path:
    return log.with_name(f"{log.name.removesuffix('.ascii.txt')}.annotation.txt")


def answered(file: Path) -> dict[int, set[int]]:
    """The annotated lines of a log with those they answer; a line that answers itself begins a conversation."""
    links: dict[int, set[int]] = defaultdict(set)
    for line in _annotation(file).read_text("utf-8").splitlines():
        numbers = sorted(int(number) for number in line.split() if number != "-")
        if numbers:
            links[numbers[-1]].add(numbers[0])
    return {child: parents - {child} or {child} for child, parents in links.items()}


def message(channel: int, number: int, author: int, name: str, words: str, at: datetime) -> Message:
    """What was said in one of the channels; ids are in order within a channel."""
    return Message(
        id=channel * 1_000_000 + number,
        guild_id=GUILD,
        channel_id=channel,
        access_id=channel,
        channel_name=f"channel-{channel}",
        author_id=author,
        author_name=name,
        content=words,
        created_at=at,
    )
