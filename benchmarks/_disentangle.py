"""How well a grouping of chat messages agrees with people's: the measures of Kummerfeld et al. 2019."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy

Links = Mapping[int, set[int]]
Group = frozenset[tuple[str, int]]


@dataclass(frozen=True)
class Grouped:
    """One log: the lines each annotated line answers (itself, if it begins a conversation), by people and by us."""

    name: str
    gold: Links
    ours: Links

    def groups(self) -> tuple[list[Group], list[Group]]:
        """The conversations among the annotated lines, by people and by us; both hold the same lines."""
        first = min(self.gold)
        gold, ours = conversations(self.gold, first), conversations(self.ours, first)
        lines = set().union(*gold)
        ours = [group & lines for group in ours if group & lines]
        ours += [{line} for line in lines - set().union(*ours)]
        return self._named(gold), self._named(ours)

    def _named(self, groups: Sequence[set[int]]) -> list[Group]:
        return [frozenset((self.name, line) for line in group) for group in groups]


def conversations(links: Links, first: int) -> list[set[int]]:
    """The lines from `first` on that are linked with each other, through earlier ones too."""
    leader: dict[int, int] = {}

    def find(line: int) -> int:
        leader.setdefault(line, line)
        while leader[line] != line:
            leader[line] = leader[leader[line]]
            line = leader[line]
        return line

    for child, answered in links.items():
        for parent in answered:
            leader[find(child)] = find(parent)
    groups: dict[int, set[int]] = defaultdict(set)
    for line in list(leader):
        if line >= first:
            groups[find(line)].add(line)
    return list(groups.values())


def scores(logs: Sequence[Grouped]) -> dict[str, float]:
    """Link F1, scaled variation of information, one-to-one overlap and F of conversations found exactly, in percent."""
    pairs = [log.groups() for log in logs]
    gold = [group for people, _ in pairs for group in people]
    ours = [group for _, own in pairs for group in own]
    return {
        "link_f1": 100 * link_f1(logs),
        "vi": 100 * shared_information(gold, ours),
        "one_to_one": 100 * sum(one_to_one(*pair) for pair in pairs) / sum(map(len, gold)),
        "exact_f": 100 * exact_f(gold, ours),
    }


def link_f1(logs: Sequence[Grouped]) -> float:
    """F of the links, those of a line to itself included."""
    right = sum(len(log.gold[line] & log.ours[line]) for log in logs for line in log.gold)
    return (
        2 * right / sum(len(answered) for log in logs for links in (log.gold, log.ours) for answered in links.values())
    )


def shared_information(gold: Sequence[Group], ours: Sequence[Group]) -> float:
    """1 - variation of information (Meila 2007), scaled by its bound, the logarithm of the number of lines."""
    lines = sum(map(len, gold))
    place = {line: number for number, group in enumerate(gold) for line in group}
    joint = Counter((number, place[line]) for number, group in enumerate(ours) for line in group)
    variation = 2 * _entropy(joint.values(), lines) - _entropy(map(len, gold), lines) - _entropy(map(len, ours), lines)
    return 1 - variation / math.log2(lines)


def _entropy(sizes: Iterable[int], total: int) -> float:
    return -sum(size / total * math.log2(size / total) for size in sizes)


def one_to_one(gold: Sequence[Group], ours: Sequence[Group]) -> int:
    """The lines that two groupings share when each group is paired with at most one of the other, as well as can be."""
    from scipy.optimize import linear_sum_assignment  # half a second, which only this figure needs

    overlap = numpy.array([[len(group & people) for people in gold] for group in ours])
    return int(overlap[linear_sum_assignment(overlap, maximize=True)].sum())


def exact_f(gold: Sequence[Group], ours: Sequence[Group]) -> float:
    """F of the conversations of more than one line that are found as they are."""
    theirs, found = ({group for group in groups if len(group) > 1} for groups in (gold, ours))
    return 2 * len(theirs & found) / (len(theirs) + len(found))
