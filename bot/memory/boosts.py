"""Small additive boosts on a fused ranking: what a question asks for besides its words.

The fused scores are scaled so that the best is 1, and each boost adds its weight at most. How the weights
were chosen is told in docs/recall.md.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from bot.memory.dates import Span, nearness
from bot.memory.fusion import Fused
from bot.model import Hit, Memory, MemoryKind

SPEAKER = 0.2
DATE = 0.3
SESSION = 0.1
SUBSTANCE = 0.2
REACTION = -0.1
IMPORTANCE = 0.05
RECENCY = 0.02

_SITTING = timedelta(hours=1)  # a longer silence in a channel ends a session
_SESSION_OF = 3  # the best so many memories speak for their session
_PHRASE, _SUBSTANTIAL = 10, 200  # characters: "Thanks!" says nothing, two sentences say something
_RECENT = timedelta(days=30)  # recency falls to 1/e in this time
_QUESTION_MARKS = ("?", "？", "؟")  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question names, the `names` as speakers go by them, and when it was asked."""

    names: Collection[str]
    spans: Sequence[Span]
    at: datetime


def boosted(fused: Sequence[Fused], memories: Mapping[str, Memory], asked: Asked) -> list[Hit]:
    """The hits, best first."""
    if not fused:
        return []
    best = fused[0].score or 1.0
    scores = {one.id: one.score / best for one in fused}
    sessions = _sessions(memories, scores)
    said = {(one.guild_id, source): one for one in memories.values() if _is_message(one) for source in one.sources}

    def boosts(memory: Memory) -> dict[str, float]:
        before = said.get((memory.guild_id, memory.follows)) if memory.follows is not None else None
        found = {
            "session": SESSION * sessions[memory.id],
            "speaker": SPEAKER * (memory.speaker_name in asked.names),
            "date": DATE * nearness(memory.said_at, asked.spans) if asked.spans else 0.0,
            "substance": SUBSTANCE * _substance(memory.text),
            "reaction": REACTION * scores.get(before.id, 0.0) if before and not _asks(before) else 0.0,
            "importance": IMPORTANCE * min(max(memory.importance, 0.0), 1.0),
            "recency": RECENCY * math.exp(min(0.0, (memory.said_at - asked.at) / _RECENT)),
        }
        return {name: share for name, share in found.items() if share}

    hits = []
    for one in fused:
        signals = {name: share / best for name, share in one.signals.items()} | boosts(memories[one.id])
        hits.append(Hit(memories[one.id], sum(signals.values()), signals))
    return sorted(hits, key=lambda hit: (-hit.score, hit.memory.id))


def _substance(text: str) -> float:
    """How much a text says, by its length, from 0 to 1."""
    return min(1.0, math.log1p(len(text) / _PHRASE) / math.log1p(_SUBSTANTIAL / _PHRASE))


def _is_message(memory: Memory) -> bool:
    return memory.kind is MemoryKind.MESSAGE


def _asks(memory: Memory) -> bool:
    """Whether a message asks something: what follows a question is its answer, what follows a statement a reaction."""
    return any(mark in memory.text for mark in _QUESTION_MARKS)


def _sessions(memories: Mapping[str, Memory], scores: Mapping[str, float]) -> dict[str, float]:
    """How well each memory's session matches, from 0 to 1: the mean of its best candidates, by memory id."""
    channels: defaultdict[int, list[Memory]] = defaultdict(list)
    for id in scores:
        channels[memories[id].channel_id].append(memories[id])
    found: dict[str, float] = {}
    for spoken in channels.values():
        for session in _sittings(sorted(spoken, key=lambda memory: memory.said_at)):
            strongest = sorted((scores[memory.id] for memory in session), reverse=True)[:_SESSION_OF]
            found.update(dict.fromkeys((memory.id for memory in session), sum(strongest) / len(strongest)))
    lowest, highest = min(found.values()), max(found.values())
    return {id: (mean - lowest) / (highest - lowest) if highest > lowest else 0.0 for id, mean in found.items()}


def _sittings(spoken: Sequence[Memory]) -> Iterable[Sequence[Memory]]:
    """A channel's memories in order of time, divided where it was silent."""
    ends = [at for at, (one, two) in enumerate(pairwise(spoken), start=1) if two.said_at - one.said_at > _SITTING]
    return (spoken[start:end] for start, end in zip([0, *ends], [*ends, len(spoken)], strict=True))
