"""Collapsing an answer: what says the same becomes one card, and nothing is lost.

Two rules. A fact and its own source messages are one card, the fact's: its messages become its
evidence. And near-duplicates are one card, the best-placed one's: the same words in the same order
up to case, spacing and punctuation, where a longer text may have a few words more. Never numbers,
negations or a question mark more: "we meet on Friday" and "we meet on Friday?" are two statements.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from bot.memory.wording import bare, folded, negates, words
from bot.model import Hit, Memory, MemoryKind

LONG = 8
"""From so many words on two people who say the same repeat one text; "count me in" are two statements."""
_MORE = 10  # one word in so many may be more than the other says
_EDGE = 3  # near-duplicates share as many words at the beginning or at the end
_RIVALS = 8  # with the same edge; more are not compared, so that the time stays linear


@dataclass(slots=True)
class _Card:
    """A hit, the hits that say the same, and the best place among its members, counted from 0."""

    rank: int
    place: int
    hit: Hit
    others: list[Hit] = field(default_factory=list)
    said: list[str] | None = None

    @property
    def words(self) -> list[str]:
        """The words of its hit; most cards are never asked."""
        if self.said is None:
            self.said = words(self.hit.memory.text)
        return self.said


def collapse(hits: Sequence[Hit]) -> list[Hit]:
    """One hit for each thing said, in the order of the best member's place; takes hits best first.

    A hit's score and signals are those of its best-placed member, its `evidence` are all other members,
    oldest first. A message that several facts rest on gives its place to the best-placed of them and is
    evidence of each. Facts stay apart when they say different things, whatever they rest on.
    """
    cards = _said_once(hits)
    resting: dict[tuple[int, int], list[_Card]] = {}
    for card in cards:
        if card.hit.memory.kind is MemoryKind.FACT:
            for message in {message for hit in (card.hit, *card.others) for message in _sources(hit)}:
                resting.setdefault(message, []).append(card)
    standing = [card for card in cards if card.hit.memory.kind is MemoryKind.FACT or not _given(card, resting)]
    standing.sort(key=lambda card: card.place)
    return [_collapsed(card, hits[card.place]) if card.others else card.hit for card in standing]


def _given(card: _Card, resting: dict[tuple[int, int], list[_Card]]) -> bool:
    """Give a card of messages to the facts that rest on them, if there are any."""
    members = (card.hit, *card.others)
    owners = [(fact, hit) for hit in members for message in _sources(hit) for fact in resting.get(message, ())]
    if not owners:
        return False
    best = min((fact for fact, _ in owners), key=lambda fact: fact.rank)
    best.place = min(best.place, card.place)
    best.others += members
    for fact, hit in owners:
        if fact is not best:
            fact.others.append(hit)
    return True


def _collapsed(card: _Card, best: Hit) -> Hit:
    members = {memory.id: memory for hit in (card.hit, *card.others) for memory in (hit.memory, *hit.evidence)}
    del members[card.hit.memory.id]
    oldest_first = sorted(members.values(), key=lambda memory: (memory.said_at, memory.id))
    return replace(card.hit, score=best.score, signals=best.signals, evidence=tuple(oldest_first))


def _sources(hit: Hit) -> Iterable[tuple[int, int]]:
    return [(hit.memory.guild_id, message) for message in hit.memory.sources]


def _said_once(hits: Sequence[Hit]) -> list[_Card]:
    """The hits as cards, each near-duplicate with the best-placed hit that says the same."""
    cards: list[_Card] = []
    beside: dict[tuple[object, ...], list[_Card]] = {}
    for rank, hit in enumerate(hits):
        card = _Card(rank, rank, hit)
        rivals = [beside.setdefault(edge, []) for edge in _edges(hit.memory)]
        for other in (other for some in rivals for other in some):
            if _says_the_same(card, other):
                other.others.append(hit)
                break
        else:
            cards.append(card)
            for some in rivals:
                if len(some) < _RIVALS:
                    some.append(card)
    return cards


def _edges(memory: Memory) -> tuple[tuple[object, ...], ...]:
    """What two texts must share to be compared: whose they are, and how they begin or how they end."""
    about = memory.subject_id if memory.kind is MemoryKind.FACT else memory.kind
    text = folded(memory.text)
    opening, closing = text.split(None, _EDGE)[:_EDGE], text.rsplit(None, _EDGE)[-_EDGE:]
    return (memory.guild_id, about, 0, *bare(opening)), (memory.guild_id, about, 1, *bare(closing))


def _says_the_same(card: _Card, other: _Card) -> bool:
    one, two = card.hit.memory, other.hit.memory
    if one.kind is MemoryKind.MESSAGE and len(card.words) < LONG and one.speaker_ids != two.speaker_ids:
        return False
    if not card.words:  # all punctuation
        return one.text == two.text
    return card.words == other.words or _repeats(*sorted((card.words, other.words), key=len))


def _repeats(shorter: Sequence[str], longer: Sequence[str]) -> bool:
    """Whether the longer of two texts is the shorter one with a few words more that change nothing."""
    if len(longer) - len(shorter) > len(longer) // _MORE:
        return False
    rest, more = iter(shorter), []
    expected = next(rest, None)
    for word in longer:
        if word == expected:
            expected = next(rest, None)
        else:
            more.append(word)
    return expected is None and all(word.isalpha() and not negates(word) for word in more)
