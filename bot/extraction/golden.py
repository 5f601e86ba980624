"""The golden set: invented conversations, what is to be learned from them, and what must not be."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from importlib.resources import files
from typing import Any

from bot.model import Fact, Message, Window
from bot.policy import PersonFacts

_LINE = re.compile(r"(?P<who>[^:>]+?)(?: >(?P<to>\d+))?: (?P<words>.+)", re.DOTALL)
_TEN = time(10, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Label:
    """A fact to be found, or, as a trap, one not to be made. `words` are lower case, alternatives by `|`."""

    about: tuple[str, ...] = ()
    lines: frozenset[int] = frozenset()
    words: tuple[str, ...] = ()
    why: str = ""

    def tells(self, fact: Fact) -> bool:
        """Whether the fact is about one of these people and says these words, in its sentence or its dates."""
        said = " ".join([fact.text, *(day.isoformat() for day in (fact.valid_from, fact.valid_until) if day)])
        about = not self.about or fact.subject_name in self.about
        return about and all(any(one in said.casefold() for one in word.split("|")) for word in self.words)


@dataclass(frozen=True)
class Golden:
    """One conversation with its labels. Its messages' ids are the numbers of its lines."""

    name: str
    day: date
    lines: tuple[str, ...]
    facts: tuple[Label, ...] = ()
    traps: tuple[Label, ...] = ()
    person_facts: PersonFacts = "self"

    @cached_property
    def window(self) -> Window:
        """The conversation as the bot would have read it, a line a minute from ten o'clock."""
        people: dict[str, int] = {}
        messages = []
        for number, line in enumerate(self.lines, 1):
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{self.name}: line {number} is not `name: words`")
            author = people.setdefault(match["who"], len(people) + 1)
            messages.append(
                Message(
                    id=number,
                    guild_id=0,
                    channel_id=0,
                    access_id=0,
                    channel_name="general",
                    author_id=author,
                    author_name=match["who"],
                    content=match["words"],
                    created_at=datetime.combine(self.day, _TEN) + timedelta(minutes=number),
                    reply_to=int(match["to"]) if match["to"] else None,
                )
            )
        return Window(0, 0, (tuple(messages),))


def golden_set() -> Sequence[Golden]:
    """The bundled conversations."""
    told = tomllib.loads(files("bot.extraction").joinpath("golden.toml").read_text("utf-8"))
    return [_golden(one) for one in told["window"]]


def _golden(told: Mapping[str, Any]) -> Golden:
    labels = {kind: tuple(map(_label, told.get(kind, ()))) for kind in ("facts", "traps")}
    return Golden(**{**told, "lines": tuple(told["lines"]), **labels})


def _label(told: Mapping[str, Any]) -> Label:
    about, words = tuple(told.get("about", ())), tuple(told.get("words", ()))
    return Label(about, frozenset(told.get("lines", ())), words, told.get("why", ""))
