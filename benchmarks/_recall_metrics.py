"""How well a ranking finds the evidence of a question, and the means over many."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

DEPTH = 200  # beyond this nothing counts
CUTS = (5, 10, 20)
_NDCG_AT = 10

Figures = dict[str, float]


def judge(ranking: Sequence[str], evidence: Collection[str]) -> Figures:
    """What one ranking is worth, each figure from 0 to 1.

    R@k: the share of the evidence among the first k. MRR: 1 / the rank of the first evidence. nDCG@10 with a gain of 1
    for each evidence (Järvelin & Kekäläinen, TOIS 20(4), 2002).
    """
    ranks = [rank for rank, id in enumerate(ranking[:DEPTH], 1) if id in evidence]
    figures = {f"R@{cut}": sum(rank <= cut for rank in ranks) / len(evidence) for cut in CUTS}
    figures["MRR"] = 1 / ranks[0] if ranks else 0.0
    best = _gain(range(1, min(len(evidence), _NDCG_AT) + 1))
    figures[f"nDCG@{_NDCG_AT}"] = _gain(rank for rank in ranks if rank <= _NDCG_AT) / best
    return figures


def _gain(ranks: Iterable[int]) -> float:
    return sum(1 / math.log2(rank + 1) for rank in ranks)


def summary(judged: Iterable[tuple[str, Figures]]) -> dict[str, object]:
    """The means of (category, figures) pairs as percentages: of all, and `by_category` with the number `n` of each."""
    by_category: defaultdict[str, list[Figures]] = defaultdict(list)
    for category, figures in judged:
        by_category[category].append(figures)
    categories = {name: {"n": len(rows), **_means(rows)} for name, rows in sorted(by_category.items())}
    return {**_means(list(chain.from_iterable(by_category.values()))), "by_category": categories}


def _means(rows: Sequence[Mapping[str, float]]) -> Figures:
    return {name: round(100 * sum(row[name] for row in rows) / len(rows), 2) for name in rows[0]}
