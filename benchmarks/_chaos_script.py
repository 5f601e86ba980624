"""What happens in a run, decided by its seed alone: who says, edits and deletes what, and what breaks when.

Every text carries a token of its own for each of its revisions, `k00042b`. So wherever words turn up
later, in a row, a fact, a key of the index or an answer, they tell which message and which of its
revisions they came from.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from _chaos_wire import Fault

T = TypeVar("T")
TOKEN = re.compile(r"k\d{5}[a-z]")
_REVISIONS = "abcdfghjklmnpqrtvwxz"  # no letter that a stemmer would cut off

# Fewer than the fifth of a place from which on the bot does not believe in deletions and asks an admin.
_MOST_DELETED = 0.12
_MOST_PLACES = 30
_RECENT = 12  # messages that people still edit and answer
_ANSWERS = 0.3
_WORSE = 0.25  # how often a service is away when the bot is started again
_LOCKED = 5.5  # seconds; the bot's own patience with a locked database is five
_LONGEST_PAUSE = 0.12  # seconds between two acts
_THINGS = "lamp kettle ladder bicycle radio anchor barrel lantern violin compass".split()
_VERBS = "keep like want repair paint lend miss use".split()


def token(number: int, revision: int = 0) -> str:
    """The word that only this revision of this message holds."""
    return f"k{number:05d}{_REVISIONS[revision]}"


class Stage(StrEnum):
    """Where a message is on its way when the bot dies."""

    CAPTURE = "capture"
    CLAIM = "claim"
    LLM = "llm"
    FACTS = "facts"
    INDEX = "index"


class Do(StrEnum):
    """What people do."""

    SAY = "say"
    EDIT = "edit"
    DELETE = "delete"
    PREVIEW = "preview"
    """A link preview appears: Discord reports it as an edit."""
    OPEN = "open"
    """A thread or a forum post begins with a message."""
    ARCHIVE = "archive"


_HABITS = {Do.SAY: 70, Do.EDIT: 12, Do.DELETE: 10, Do.PREVIEW: 3, Do.OPEN: 2, Do.ARCHIVE: 3}


@dataclass(frozen=True, slots=True)
class Act:
    """One thing done in a place after a pause, in seconds. `numbers` are the messages it is done to."""

    do: Do
    place: str
    pause: float
    numbers: tuple[int, ...] = ()
    author: int = 0
    text: str = ""
    reply_to: int | None = None
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Outage:
    """A service is away for some seconds; `resumable` says if a gateway session outlives it."""

    service: str
    fault: Fault
    seconds: float
    resumable: bool


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL after the next sign of a stage, or any time. `delay`, from 0 to 1, is how long after it.

    `unheard` is what people do before the bot is started again, `away` what is away then.
    """

    stage: Stage | None
    delay: float
    unheard: tuple[Act, ...]
    away: Outage | None


@dataclass(frozen=True, slots=True)
class Round:
    """People talk, and meanwhile something breaks."""

    talk: tuple[Act, ...]
    event: Kill | Outage


FAULTS: dict[str, tuple[Fault, ...]] = {
    "ollama": tuple(Fault),
    "openai": tuple(Fault),
    "gateway": tuple(Fault),
    "index": (Fault.REFUSE, Fault.GARBAGE),
    "database": (Fault.SLOW, Fault.REFUSE),
}


@dataclass
class _Place:
    """The script's own memory of a place: the numbers of its messages that are not deleted, and how many it had."""

    key: str
    parent: str | None = None
    alive: list[int] = field(default_factory=list)
    said: int = 0

    @property
    def may_lose(self) -> int:
        """How many more messages may be deleted here, over the whole run: no absence of the bot sees more."""
        lost = self.said - len(self.alive)
        return max(1, int(self.said * _MOST_DELETED)) - lost if len(self.alive) > 1 else 0


class Script:
    """Makes the rounds of a seed.

    `places` are keys, with the channel's key for a thread. Nobody talks in a channel whose key ends in
    `forum`: there, posts begin, which are threads.
    """

    def __init__(self, seed: int, places: Mapping[str, str | None], people: int) -> None:
        self._random = random.Random(seed)
        self._people = people
        self._places = {key: _Place(key, parent) for key, parent in places.items()}
        self._revisions: list[int] = []  # by number
        self._kinds = self._turns([Kill, Kill, Kill, Outage, Outage])
        self._stages = self._turns([*Stage, None])
        self._faults = self._turns([(service, fault) for service, faults in FAULTS.items() for fault in faults])

    def everywhere(self) -> tuple[Act, ...]:
        """Something is said in every place."""
        return tuple(self._say(place) for place in self._talkative())

    def round(self) -> Round:
        """The next round. Stages and faults take turns, in an order of the seed's."""
        talk = self._acts(6, 12)
        if next(self._kinds) is Outage:
            return Round(talk, self._outage())
        unheard = self._acts(0, 5)
        away = self._outage() if self._random.random() < _WORSE else None
        return Round(talk, Kill(next(self._stages), self._random.random(), unheard, away))

    def choose(self, among: Sequence[T], count: int) -> list[T]:
        """Some of these, in an order of the seed's."""
        return self._random.sample(among, min(count, len(among)))

    def _outage(self) -> Outage:
        service, fault = next(self._faults)
        least = _LOCKED if (service, fault) == ("database", Fault.REFUSE) else 0.5
        return Outage(service, fault, self._random.uniform(least, least + 1), self._random.random() < 0.5)

    def _turns(self, choices: Sequence[T]) -> Iterator[T]:
        while True:
            yield from self._random.sample(choices, len(choices))

    def _talkative(self) -> list[_Place]:
        return [place for place in self._places.values() if not place.key.endswith("forum")]

    def _acts(self, least: int, most: int) -> tuple[Act, ...]:
        return tuple(self._act() for _ in range(self._random.randint(least, most)))

    def _act(self) -> Act:
        [do] = self._random.choices(list(_HABITS), list(_HABITS.values()))
        place = self._random.choice(self._talkative())
        match do:
            case Do.EDIT if editable := [one for one in place.alive if self._revisions[one] < len(_REVISIONS) - 1]:
                return self._edit(place, self._random.choice(editable[-_RECENT:]))
            case Do.DELETE if place.may_lose > 0:
                return self._delete(place)
            case Do.PREVIEW if place.alive:
                return Act(do, place.key, self._pause(), (self._random.choice(place.alive),))
            case Do.OPEN if len(self._places) < _MOST_PLACES:
                return self._open(self._random.choice([p for p in self._places.values() if p.parent is None]))
            case Do.ARCHIVE if place.parent is not None:
                return Act(do, place.key, self._pause())
            case _:
                return self._say(place)

    def _say(self, place: _Place) -> Act:
        number, answered = self._new(place), None
        if len(place.alive) > 1 and self._random.random() < _ANSWERS:
            answered = self._random.choice(place.alive[-_RECENT:-1])
        author = self._random.randrange(self._people)
        return Act(Do.SAY, place.key, self._pause(), (number,), author, self._text(number), answered)

    def _edit(self, place: _Place, number: int) -> Act:
        self._revisions[number] += 1
        return Act(Do.EDIT, place.key, self._pause(), (number,), text=self._text(number))

    def _delete(self, place: _Place) -> Act:
        """One message, or several at once, as moderators do."""
        gone = self._random.sample(place.alive, self._random.randint(1, min(place.may_lose, 3)))
        place.alive = [number for number in place.alive if number not in gone]
        return Act(Do.DELETE, place.key, self._pause(), tuple(gone))

    def _open(self, channel: _Place) -> Act:
        thread = _Place(f"{channel.key}/{len(self._places)}", channel.key)
        self._places[thread.key] = thread
        number, author = self._new(thread), self._random.randrange(self._people)
        return Act(Do.OPEN, thread.key, self._pause(), (number,), author, self._text(number), parent=channel.key)

    def _new(self, place: _Place) -> int:
        number = len(self._revisions)
        self._revisions.append(0)
        place.alive.append(number)
        place.said += 1
        return number

    def _text(self, number: int) -> str:
        verb, thing = self._random.choice(_VERBS), self._random.choice(_THINGS)
        return f"I {verb} the {thing} {token(number, self._revisions[number])}"

    def _pause(self) -> float:
        return self._random.uniform(0, _LONGEST_PAUSE)
