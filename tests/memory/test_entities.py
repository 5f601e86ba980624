"""Memories linked by the entities they share."""

from datetime import UTC, datetime

import pytest

from bot.memory.entities import BEST, linked
from bot.model import Memory, MemoryKind

SAID_AT = datetime(2026, 5, 1, tzinfo=UTC)


def memory(id: str, text: str, *entities: str, sources: tuple[int, ...] = ()) -> Memory:
    """A fact if it has entities, a message otherwise."""
    return Memory(
        id=id,
        kind=MemoryKind.FACT if entities else MemoryKind.MESSAGE,
        guild_id=1,
        channel_id=2,
        access_id=2,
        channel_name="general",
        subject_id=3,
        text=text,
        speaker_ids=(3,),
        speaker_name="Ada",
        sources=sources or (abs(hash(id)),),
        said_at=SAID_AT,
        created_at=SAID_AT,
        entities=entities,
    )


def others(count: int) -> list[Memory]:
    """So many memories of something else."""
    return [memory(f"other {number}", f"nothing of note {number}") for number in range(count)]


def test_a_message_that_names_a_rare_entity_of_a_hit_is_linked_to_it() -> None:
    """The fact found first names the place by which the others are found, whatever the case of its letters."""
    ranked = [memory("fact", "Ada lives in Rome.", "Rome"), *others(30), memory("far", "we were in ROME once")]
    assert linked(ranked) == {"far"}


def test_facts_link_by_their_entities_though_their_texts_do_not_name_them() -> None:
    """What the extraction named counts like what the text says."""
    ranked = [memory("a", "Ada moved there.", "Rome"), *others(30), memory("b", "Ben was there, too.", "rome")]
    assert linked(ranked) == {"b"}


def test_two_of_the_best_link_each_other() -> None:
    """Among the best the links are mutual."""
    assert linked([memory("a", "Ada lives in Rome.", "Rome"), memory("b", "I love Rome")]) == {"a", "b"}


def test_what_many_name_links_nothing() -> None:
    """An entity all talk about says nothing of two of them."""
    ranked = [memory("fact", "Ada lives in Rome.", "Rome"), *(memory(f"{n}", "Rome again") for n in range(30))]
    assert linked(ranked) == set()


def test_only_the_best_link_others() -> None:
    """What was hardly found itself does not bring others along."""
    ranked = [*others(BEST), memory("a", "Ada lives in Rome.", "Rome"), *others(20), memory("b", "I love Rome")]
    assert linked(ranked) == set()


def test_a_fact_is_not_linked_to_its_own_sources() -> None:
    """A fact and the message it was made of name the same things without adding to each other."""
    ranked = [
        memory("fact", "Ada lives in Rome.", "Rome", sources=(7,)),
        memory("source", "I live in Rome", sources=(7,)),
    ]
    assert linked(ranked) == set()


@pytest.mark.parametrize(
    ("entity", "text", "named"),
    [
        ("Rome", "romeo and juliet", False),
        ("Rome", "chrome", False),
        ("Rome", "romeo in rome", True),
        ("Go", "go1.22", False),
        ("C++", "I like c++, really", True),
        ("東京", "来週東京へ行く", True),
        ("Straße 7", "in der STRASSE 7", True),
    ],
)
def test_an_entity_is_named_by_whole_words(entity: str, text: str, named: bool) -> None:
    """A part of another word is not it; scripts without spaces have no such parts."""
    ranked = [memory("fact", "so it is", entity), *others(20), memory("message", text)]
    assert linked(ranked) == ({"message"} if named else set())


def test_no_memories_no_links() -> None:
    """Nothing is linked to nothing, and memories without entities are not linked."""
    assert linked([]) == set()
    assert linked(others(3)) == set()
