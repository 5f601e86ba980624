"""Collapsing: what says the same is one card, and nothing is lost."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.memory.collapse import collapse
from bot.model import Hit, Memory, MemoryKind

ANN, BEN = 1, 2
FAIR = "The spring fair is on Saturday 3 May in the old town hall"


def memory(
    id: int,
    text: str,
    *sources: int,
    author: int = ANN,
    about: int | None = None,
    guild: int = 7,
    channel: int = 70,
) -> Memory:
    """A fact resting on `sources`; without any, the message with this id."""
    said_at = datetime(2026, 5, 1, tzinfo=UTC) + timedelta(minutes=id)
    return Memory(
        id=f"{guild}/{id}",
        kind=MemoryKind.FACT if sources else MemoryKind.MESSAGE,
        guild_id=guild,
        channel_id=channel,
        access_id=channel,
        channel_name="general",
        subject_id=about if sources else author,
        text=text,
        speaker_ids=(author,),
        speaker_name=f"member {author}",
        sources=sources or (id,),
        said_at=said_at,
        created_at=said_at,
    )


def ranked(*memories: Memory) -> list[Hit]:
    return [Hit(one, 9.0 - place, {"dense": 1 / (1 + place)}) for place, one in enumerate(memories)]


def ids(hits: list[Hit]) -> list[tuple[str, ...]]:
    """The ids of each card and its evidence."""
    return [tuple(one.id.split("/")[1] for one in (hit.memory, *hit.evidence)) for hit in hits]


def collapsed(*memories: Memory) -> list[tuple[str, ...]]:
    return ids(collapse(ranked(*memories)))


def test_a_fact_and_its_messages_are_one_card() -> None:
    """The fact is shown at the place of its best member, whose score and signals the card has."""
    hits = ranked(
        memory(3, "it is decided, May 3rd"),
        memory(9, "who brings tables?"),
        memory(20, "The fair is on 3 May", 2, 3),
        memory(2, "shall we take May 3rd?", author=BEN),
    )
    cards = collapse(hits)
    assert ids(cards) == [("20", "2", "3"), ("9",)]
    assert (cards[0].score, cards[0].signals) == (hits[0].score, hits[0].signals)
    assert cards[1] is hits[1]


def test_a_message_lifts_one_fact_and_is_evidence_of_each() -> None:
    """Facts that say different things stay apart; the best-placed one takes the message's place."""
    message = memory(1, "I moved to Berlin and bought a bike")
    other, berlin, bike = (
        memory(8, "something else"),
        memory(10, "Ann lives in Berlin", 1),
        memory(11, "Ann has a bike", 1),
    )
    assert collapsed(message, other, bike, berlin) == [("11", "1"), ("8",), ("10", "1")]


def test_a_repeated_message_goes_with_the_fact_made_of_it() -> None:
    """Who repeats what a fact rests on adds to its evidence, not to the cards."""
    assert collapsed(memory(1, FAIR), memory(2, FAIR.upper(), author=BEN), memory(9, "The fair: 3 May", 2)) == [
        ("9", "1", "2")
    ]


def test_a_message_of_another_server_with_the_same_id_is_no_source() -> None:
    """Nothing collapses across servers, neither by source nor by words."""
    assert len(collapsed(memory(1, FAIR), memory(2, "fair", 1, guild=8), memory(3, FAIR, guild=8))) == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("I like tea", "i like TEA!!"),
        ("don't   forget", "Don\N{RIGHT SINGLE QUOTATION MARK}t forget…"),
        ("👍", "👍"),
        ("...", "..."),
        ("我喜欢茶", "我喜欢茶"),
        (FAIR, f"**{FAIR}**"),
        (FAIR, f"hey {FAIR}"),
        (FAIR, f"{FAIR} everyone"),
        (FAIR, FAIR.replace("the old", "the lovely old")),
    ],
)
def test_the_same_words_of_one_speaker_are_one_card(first: str, second: str) -> None:
    """Case, spacing and punctuation make no difference, and a word more in a long text neither."""
    assert collapsed(memory(1, first), memory(2, second)) == [("1", "2")]
    assert collapsed(memory(2, second), memory(1, first)) == [("2", "1")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("I like C", "I like C++"),
        ("it costs 10%", "it costs 10"),
        ("on Friday?", "on Friday"),
        ("👍", "👎"),
        ("...", "!!!"),
        (FAIR, f"{FAIR}?"),
        (FAIR, FAIR.replace("3", "4")),
        (FAIR, FAIR.replace(" on", " not on")),
        (FAIR, f"{FAIR} 2026"),
        (FAIR, f"{FAIR} maybe who knows"),
        (FAIR, FAIR.replace("old town hall", "town hall old")),
        ("Ann owes Ben a cup of tea and a slice of cake", "Ben owes Ann a cup of tea and a slice of cake"),
    ],
)
def test_what_differs_in_meaning_stays_apart(first: str, second: str) -> None:
    """Other numbers, negations, questions, signs or orders of words are other statements."""
    assert len(collapsed(memory(1, first), memory(2, second))) == 2
    assert len(collapsed(memory(2, second), memory(1, first))) == 2


def test_short_words_of_two_people_are_two_statements() -> None:
    """ "+1" of two people is two votes; a long text is repeated, wherever it stands."""
    assert len(collapsed(memory(1, "+1"), memory(2, "+1", author=BEN))) == 2
    assert len(collapsed(memory(1, FAIR), memory(2, FAIR, author=BEN, channel=71))) == 1


def test_facts_collapse_when_they_say_the_same_about_the_same() -> None:
    """A fact drawn twice is one card with the messages of both; about someone else it is another fact."""
    first, again = memory(10, "Likes tea", 1, about=ANN), memory(11, "likes tea.", 2, about=ANN)
    assert collapsed(first, memory(2, "tea for me"), again, memory(1, "tea please")) == [("10", "1", "2", "11")]
    assert len(collapsed(first, memory(12, "Likes tea", 3, about=BEN))) == 2


_TEXTS = st.sampled_from(
    ["+1", "I like tea", "i like tea!", FAIR, f"hey {FAIR}", FAIR.replace("3", "4"), "...", "", "?"]
)
_MEMORIES = st.builds(
    memory,
    st.integers(1, 12),
    _TEXTS,
    author=st.sampled_from([ANN, BEN]),
    guild=st.sampled_from([7, 8]),
) | st.builds(
    lambda id, text, sources, about, guild: memory(id, text, *sources, about=about, guild=guild),
    st.integers(20, 40),
    _TEXTS,
    st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True),
    st.sampled_from([None, ANN, BEN]),
    st.sampled_from([7, 8]),
)


@given(st.lists(_MEMORIES, max_size=25, unique_by=lambda one: one.id))
def test_no_memory_is_lost(memories: list[Memory]) -> None:
    """Each memory is a card once or evidence, in the order of the best members, and never a stranger's evidence."""
    hits = ranked(*memories)
    cards = collapse(hits)
    shown = [hit.memory.id for hit in cards]
    evidence = [one.id for hit in cards for one in hit.evidence]
    assert len(shown) == len(set(shown))
    assert not set(shown) & set(evidence)
    assert {*shown, *evidence} == {one.id for one in memories}
    assert [hit.score for hit in cards] == sorted((hit.score for hit in cards), reverse=True)
    for hit in cards:
        assert all(one.guild_id == hit.memory.guild_id for one in hit.evidence)
        assert list(hit.evidence) == sorted(hit.evidence, key=lambda one: (one.said_at, one.id))
        assert hit.score >= next(given.score for given in hits if given.memory is hit.memory)
