"""A scope as the filter of one shard, as cheap as the shard allows.

Edge checks a condition point by point, so a filter takes as long as half of a scan. Asked plainly for any of many
values, it walks the merged lists of all these values, which takes twice as long again (31 against 15 ms for 80 % of
100,000). So what every point has is not asked at all, and of few values that most have not, it is those that are.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import qdrant_edge as edge

from bot.memory.filters import AnyOf, Between, conditions
from bot.model import MemoryKind, Scope

PLACE = "access_id"
FACETS = ("guild_id", PLACE)


@dataclass(frozen=True, slots=True)
class Values:
    """The values of a field that occur in a shard, and whether some point may have none, as other clients' may."""

    found: Set[str | int]
    lacking: bool = True


Present = Mapping[str, Values]
"""What occurs in a shard, of those fields of which that is known."""


def within(scope: Scope, present: Present) -> edge.Filter:
    """All conditions of the scope."""
    return _filter(conditions(scope), present)


def corpus(scope: Scope, present: Present) -> edge.Filter | None:
    """What the asker may see at all, None for everything: in what else there is, no word may be rare or common."""
    if PLACE in present and present[PLACE].found <= scope.access_ids:
        return None
    return _filter(conditions(Scope(scope.guild_id, scope.access_ids)), present)


def said_by(user_id: int, since: int, until: int) -> edge.Filter:
    """The messages a member said in [since, until), in milliseconds."""
    must: list[Any] = [
        _any_of("subject_id", [user_id]),
        edge.FieldCondition("said_at", range=edge.RangeFloat(gte=since, lt=until)),
        _any_of("kind", [MemoryKind.MESSAGE.value]),
    ]
    return edge.Filter(must=must)


def of_member(user_id: int) -> edge.Filter:
    """What is about a member or on their words; a mem0 client names them in text, which has no index."""
    named: list[Any] = [edge.IsEmptyCondition("subject_id"), _any_of("user_id", [str(user_id)])]
    should: list[Any] = [
        _any_of("subject_id", [user_id]),
        _any_of("speaker_ids", [user_id]),
        edge.Filter(must=named),
    ]
    return edge.Filter(should=should)


def _filter(found: Sequence[AnyOf | Between], present: Present) -> edge.Filter:
    must: list[Any] = []  # the library's lists are of any kind of condition
    must_not: list[Any] = []
    for condition in found:
        values = present.get(condition.field)
        if isinstance(condition, Between):
            span = edge.RangeFloat(gte=condition.at_least, lt=condition.below)
            must.append(edge.FieldCondition(condition.field, range=span))
        elif values is not None and len(others := values.found - set(condition.values)) < len(condition.values):
            if others:
                must_not.append(_any_of(condition.field, list(others)))
            if values.lacking:
                must_not.append(edge.IsEmptyCondition(condition.field))
        else:
            must.append(_any_of(condition.field, condition.values))
    return edge.Filter(must=must, must_not=must_not)


def _any_of(field: str, values: Sequence[str | int]) -> edge.FieldCondition:
    [first, *more] = values
    any_of: Any = list(values)  # all of one kind
    return edge.FieldCondition(field, match=edge.MatchAny(any_of) if more else edge.MatchValue(first))
