"""Which facts of an answer a later one contradicts: by rules that would rather miss one than accuse wrongly.

Two facts about the same subject contradict each other when

- one is the other's negation: "Ada likes tea" and "Ada does not like tea", "Ada no longer smokes";
- or they begin with the same words up to a slot that holds one thing at a time, and fill it differently:
  a number, day or time after "is", "costs", "starts" and the like, a count after "has" ("has 2 cats"),
  a name after "lives in" or "works at", or as the holder of a role ("the treasurer is Ben"), anything
  after "favourite … is", and turned around after "prefers" ("prefers tea to coffee").

Whatever may add up is no contradiction ("likes tea", "likes coffee"), nor is a day that had passed when the
later fact was said: that was another occasion. Slots are known in English; negation and "is" with numbers
in some other languages too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import combinations

from bot.memory.statement import ISO_DATE, MONTHS, Slot, Statement, statement
from bot.model import FactKind, Hit, Memory, MemoryKind

_GOES_ON = frozenset("with in on at every and to for from since by when after before during again".split())


@dataclass(frozen=True, slots=True)
class _Told:
    """What the hit at a place states, as it was last said."""

    place: int
    memory: Memory
    statement: Statement

    @property
    def said_at(self) -> datetime:
        return self.memory.said_at


def contradicted(hits: Sequence[Hit]) -> list[Hit]:
    """The hits in their order, `contradicted_by` set to the latest fact among them that says otherwise.

    A fact that was said again counts from when it was last said. Messages contradict nothing: they are
    what somebody said then.
    """
    marked = list(hits)
    subjects: dict[object, list[tuple[int, Memory]]] = {}
    for place, hit in enumerate(hits):
        if hit.memory.kind is MemoryKind.FACT:
            memory = _last_said(hit)
            about = (memory.guild_id, memory.subject_id, memory.fact_kind is FactKind.CLAIM)
            subjects.setdefault(about, []).append((place, memory))
    for memories in subjects.values():
        if len(memories) > 1:
            told = [_Told(place, memory, statement(memory.text)) for place, memory in memories]
            for one, two in (*_denials(told), *_changes(told)):
                earlier, later = sorted((one, two), key=_said_at)
                known = marked[earlier.place].contradicted_by or earlier
                if known.said_at < later.said_at:
                    marked[earlier.place] = replace(hits[earlier.place], contradicted_by=later.memory)
    return marked


def _last_said(hit: Hit) -> Memory:
    facts = [memory for memory in hit.evidence if memory.kind is MemoryKind.FACT]
    return max([hit.memory, *facts], key=_said_at)


def _said_at(one: _Told | Memory) -> datetime:
    return one.said_at


def _denials(told: Sequence[_Told]) -> Iterator[tuple[_Told, _Told]]:
    """The pairs of which one denies the other."""
    denied = [(one, one.statement.stems()) for one in told if one.statement.negations == 1]
    if denied:
        affirmed = [(one, one.statement.stems()) for one in told if not one.statement.negations]
        yield from ((one, two) for one, no in denied for two, yes in affirmed if _denies(no, yes))


def _denies(no: Sequence[str], yes: Sequence[str]) -> bool:
    rest = yes[len(no) : len(no) + 1]
    return len(no) > 1 and yes[: len(no)] == no and (not rest or rest[0] in _GOES_ON)


def _changes(told: Sequence[_Told]) -> Iterator[tuple[_Told, _Told]]:
    """The pairs that fill the same slot in two ways that cannot both hold."""
    rivals: dict[object, list[_Told]] = {}
    for one in told:
        if one.statement.slot and not one.statement.negations:
            rivals.setdefault((one.statement.slot, one.statement.frame), []).append(one)
    for same in rivals.values():
        yield from (pair for pair in combinations(same, 2) if _fill_otherwise(*pair))


def _fill_otherwise(first: _Told, second: _Told) -> bool:
    one, two = first.statement, second.statement
    match one.slot:
        case Slot.VALUE | Slot.COUNT:
            changed = one.forms == two.forms and one.values != two.values
            return changed and _of_the_same(one, two) and not _over(*sorted((first, second), key=_said_at))
        case Slot.PREFERENCE:
            return one.filler != two.filler and sorted(one.filler) == sorted(two.filler)
        case Slot.ATTRIBUTE:
            return _apart(one.filler, two.filler)
        case _:
            return _apart(one.name, two.name)


def _of_the_same(one: Statement, two: Statement) -> bool:
    """Whether two values or counts are of the same: what follows them is, as far as both go on."""
    shorter, longer = sorted((one.filler[len(one.forms) :], two.filler[len(two.forms) :]), key=len)
    return longer[: len(shorter)] == shorter and (bool(shorter) or one.slot is Slot.VALUE)


def _apart(one: Sequence[str], two: Sequence[str]) -> bool:
    """Whether neither only adds detail to the other."""
    return not set(one) <= set(two) and not set(two) <= set(one)


def _over(earlier: _Told, later: _Told) -> bool:
    """Whether the earlier statement is of a day that had passed at the later one; a birthday comes again."""
    said = earlier.statement
    if "birthday" in said.frame:
        return False
    day, month, year = 0, 0, earlier.said_at.year
    try:
        for form, value in zip(said.forms, said.values, strict=True):
            if form == ISO_DATE:
                year, month, day = map(int, value.split("-"))
            elif form == "month":
                month = MONTHS.index(value) + 1
            elif form == "0":
                day, year = (day, int(value)) if len(value) == 4 else (int(value), year)
        return date(year, month, day) < later.said_at.date()
    except (ValueError, OverflowError):  # no whole date
        return False
