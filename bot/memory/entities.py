"""What links memories: an entity that few of them name, such as a product, a place or a person.

Facts list their entities; a message holds one if its text names it. A question that takes several memories to
answer ("which city have both visited?") finds the first by its words, and the others by what they share with it.
"""

from collections.abc import Sequence

from bot.model import Memory

BEST = 5
"""So many of the best memories link others to them."""
RARE = 0.1
"""What more than this share of the candidates name links all to all, and so nothing."""


def linked(ranked: Sequence[Memory]) -> set[str]:
    """The ids of the memories that share a rare entity with one of the best; `ranked` are all candidates, best first.

    What rests on the same messages is no link: a fact shares every entity with its own sources.
    """
    texts = [memory.text.casefold() for memory in ranked]
    entities = [{entity.casefold() for entity in memory.entities} for memory in ranked]
    most = max(2, int(len(ranked) * RARE))
    found: set[str] = set()
    for entity in set().union(*entities) - {""}:
        holders = [n for n, text in enumerate(texts) if entity in entities[n] or _names(text, entity)]
        best = [ranked[n] for n in holders if n < BEST]
        if len(holders) <= most:
            found |= {ranked[n].id for n in holders if any(_apart(ranked[n], one) for one in best)}
    return found


def _apart(memory: Memory, other: Memory) -> bool:
    return memory.id != other.id and not set(memory.sources) & set(other.sources)


def _names(text: str, entity: str) -> bool:
    """Whether the text holds the entity as a whole word, where its script has words."""
    start = text.find(entity)
    while start >= 0:
        end = start + len(entity)
        if not _one_word(text[start - 1 : start], entity[0]) and not _one_word(entity[-1], text[end : end + 1]):
            return True
        start = text.find(entity, start + 1)
    return False


def _one_word(left: str, right: str) -> bool:
    """Whether two characters side by side belong to one word: digits, and letters of scripts that have cases."""
    return all(bool(one) and (one.isdecimal() or one.upper() != one.lower()) for one in (left, right))
