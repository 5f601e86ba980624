"""A fact taken apart, so that two can be compared: its words, and the slot in it that holds one thing at a time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise, takewhile

from bot.memory.wording import bare, negates

_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
MONTHS = "january february march april may june july august september october november december".split()
_NUMBERS = {word: str(n) for n, word in enumerate("zero one two three four five six seven eight nine ten".split())}
_FORMS = {**dict.fromkeys(_DAYS, "day"), **dict.fromkeys(("am", "pm", "o'clock", "uhr"), "half")}
ISO_DATE = "0-0-0"
"""The form of 2026-05-09."""

_SINGLE = frozenset(  # what follows is the one number, day or time
    "is are ist sind est sont es son está están è sono é são "
    "costs cost starts start begins ends end opens closes lasts weighs born".split()
)
_COUNTED = frozenset("has have owns own needs need".split())
_PLACES = frozenset({("lives", "in"), ("live", "in"), ("works", "at"), ("work", "at")})
_ATTRIBUTES = frozenset("favourite favorite birthday deadline nickname timezone hometown".split())
_IGNORED = frozenset(
    "a an the now currently still actually instead really just already do does did any anymore".split()
)
_BEFORE_VALUES = frozenset({"on", "at", "for", "in"})

# The same said in other words, in this order; a pattern is tried on texts that hold one of its hints.
_REWORDED = tuple(
    (hints.split("|"), re.compile(pattern, re.IGNORECASE), simpler)
    for hints, pattern, simpler in (
        (
            "decided|agreed|change of plan",
            r"^[\w ]{0,40}\b(?:decided|agreed)(?: that|:)\s*|^change of plan:\s*",
            "",
        ),
        (
            "longer|used|stop|quit",
            r"\b(?:no longer|used to|stopped|quit)\b",
            "not",
        ),
        (
            "ed to |forward to |back to ",
            r"\b(?:(?:has|have|was|were|is|been|got) )*(?:moved|postponed|rescheduled|pushed back|brought forward) to "
            rf"(?=\d|{'|'.join(_DAYS)}|{'|'.join(MONTHS)})",
            "is ",
        ),
        (
            "will|take|is",
            r"\b(?:will be|(?:will )?takes? place|is (?:scheduled|planned|due|set)(?: for)?)\b",
            "is",
        ),
        (
            "moved|living",
            r"\b(?:has )?moved to\b|\bis living in\b",
            "lives in",
        ),
        (
            "work|employ",
            r"\bworks? for\b|\bis (?:employed|working) (?:at|by|for)\b",
            "works at",
        ),
    )
)
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)$")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Slot(Enum):
    """What holds one thing at a time, and so is told anew by another."""

    VALUE = auto()
    """A number, day or time: "is on Friday", "costs 5 €"."""
    COUNT = auto()
    """How many of something: "has 2 cats"."""
    NAME = auto()
    """A place or a company: "lives in Berlin", "works at Acme"."""
    ROLE = auto()
    """Who it is: "the treasurer is Ann"."""
    ATTRIBUTE = auto()
    """Anything: "favourite tea is sencha"."""
    PREFERENCE = auto()
    """One thing before another: "prefers tea to coffee"."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A fact's words in lower case, without articles and the like; `negations` counts those that deny it.

    With a `slot`, `frame` is what stands before it, `filler` what stands in it and after, `forms` what
    sorts of values the filler begins with (`0`, `0:0`, `day`, `month`) and `name` the capitalised words
    it begins with.
    """

    negations: int
    slot: Slot | None
    frame: tuple[str, ...]
    filler: tuple[str, ...]
    forms: tuple[str, ...]
    name: tuple[str, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """The numbers, days and times the filler begins with, one for each form."""
        return self.filler[: len(self.forms)]

    def stems(self) -> list[str]:
        """The words without negations and counts, each without its English ending."""
        stems = []
        for last, word in pairwise(["", *self.frame, *self.filler]):
            if word.endswith("n't"):
                verb = {"ca": "can", "wo": "will"}.get(word[:-3], word[:-3])
                stems += [_stem(verb)] if verb not in _IGNORED else []
            elif not negates(word) and not (last in _COUNTED and word.isdecimal()):
                stems.append(_stem(word))
        return stems


def statement(text: str) -> Statement:
    """Take a fact's text apart."""
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    lower = text.casefold()
    for hints, pattern, simpler in _REWORDED:
        if any(hint in lower for hint in hints):
            text = pattern.sub(simpler, text)
    spelled = bare(text.split())
    definite = spelled[:1] in (["The"], ["Our"])
    spelled = [part for part in spelled if part.casefold() not in _IGNORED]
    spelled = [
        part for part, following in pairwise([*spelled, ""]) if part not in _BEFORE_VALUES or not form(following)
    ]
    words = tuple(_plain(word) for word in map(str.casefold, spelled))
    slot, at = _slot(words, spelled, definite)
    return Statement(
        negations=sum(map(negates, words)),
        slot=slot,
        frame=words[:at],
        filler=words[at:],
        forms=tuple(takewhile(bool, map(form, spelled[at:]))),
        name=words[at : at + sum(1 for _ in takewhile(_capitalised, spelled[at:]))],
    )


def form(spelled: str) -> str:
    """What sort of value a word is, as `0`, `0:0`, `day` or `month`; empty for what is none."""
    word = spelled.casefold()
    if word in MONTHS and _capitalised(spelled):  # "may" and "march" are words, too
        return "month"
    word = _plain(word)
    return _FORMS.get(word) or (_NUMBER.sub("0", word) if any(map(str.isdecimal, word)) else "")


def _plain(word: str) -> str:
    """`3` for `three` and `3rd`."""
    return _NUMBERS.get(word) or _ORDINAL.sub("", word)


def _slot(words: Sequence[str], spelled: Sequence[str], definite: bool) -> tuple[Slot | None, int]:
    """The first slot of a statement, and where its filler begins."""
    for at in range(1, len(words)):
        last = words[at - 1]
        if last in _SINGLE and form(spelled[at]):
            return Slot.VALUE, at
        if last in _COUNTED and words[at].isdecimal():
            return Slot.COUNT, at
        if words[max(at - 2, 0) : at] in _PLACES and _capitalised(spelled[at]):
            return Slot.NAME, at
        if last == "is" and not _ATTRIBUTES.isdisjoint(words[:at]):
            return Slot.ATTRIBUTE, at
        if last == "is" and definite and all(map(_capitalised, spelled[at:])):
            return Slot.ROLE, at
        if last in {"prefers", "prefer"} and not {"to", "over"}.isdisjoint(words[at:]):
            return Slot.PREFERENCE, at
    return None, 0


def _capitalised(spelled: str) -> bool:
    return spelled[0].isupper()


def _stem(word: str) -> str:
    if word in {"has", "had"}:
        return "hav"
    for ending in ("ing", "es", "s"):
        if len(word) > len(ending) + 2 and word.endswith(ending):
            word = word.removesuffix(ending)
            break
    return word.removesuffix("e")
