"""Fusing several score lists into one ranking: min-max normalisation, then a weighted sum.

Each list is scaled to [0, 1] by (s - min) / (max - min) over its candidates, and a candidate's
fused score is the sum of its scaled scores: CombSUM (Fox & Shaw, TREC-2, 1993) over min-max
normalised scores (Lee, SIGIR 1997), the convex combination of Bruch, Gai & Ingber (ACM TOIS
42(1), 2023). Unlike reciprocal ranks it keeps how much better one candidate is than the next.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoreList:
    """One signal's scores by candidate id; a list may hold any number of them.

    `floor` is the score of everything the list does not hold, where the scale has one: 0 for BM25,
    which leaves out what shares no word with the query. None for cosine similarities, where what is
    missing counts as much as the lowest score in the list. `weight` is what its best candidate gets.
    """

    signal: str
    scores: Mapping[str, float]
    floor: float | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Fused:
    """A candidate's fused score and the share each signal gave to it."""

    id: str
    score: float
    signals: Mapping[str, float]


def min_max(scores: Mapping[str, float], floor: float | None = None) -> dict[str, float]:
    """Scores scaled to [0, 1]; the lowest (or `floor`, if that is lower) becomes 0, the highest 1.

    Equal scores say nothing about each other, only that these candidates were found: all become 1.
    """
    if not scores:
        return {}
    highest, lowest = max(scores.values()), min(scores.values())
    if floor is not None:
        lowest = min(lowest, floor)
    span = highest - lowest
    return {id: (score - lowest) / span if span > 0 else 1.0 for id, score in scores.items()}


def fuse(lists: Sequence[ScoreList]) -> list[Fused]:
    """Every candidate of any list, best first; of equal ones the smaller id, so that an answer repeats itself."""
    shares: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for scored in lists:
        for id, share in min_max(scored.scores, scored.floor).items():
            shares[id][scored.signal] = scored.weight * share
    fused = [Fused(id, sum(signals.values()), signals) for id, signals in shares.items()]
    return sorted(fused, key=lambda candidate: (-candidate.score, candidate.id))
