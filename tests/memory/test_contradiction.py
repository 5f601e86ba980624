"""Contradiction: which pairs of facts cannot both hold, and which may."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.memory.contradiction import contradicted
from bot.model import FactKind, Hit, Memory, MemoryKind

START = datetime(2026, 4, 20, tzinfo=UTC)


def fact(text: str, day: int = 0, about: int | None = 1, kind: FactKind = FactKind.PERSONAL, guild: int = 7) -> Hit:
    """A fact said some days after the start."""
    said_at = START + timedelta(days=day)
    return Hit(
        Memory(
            id=f"{guild}/{about}/{day}/{text}",
            kind=MemoryKind.FACT,
            guild_id=guild,
            channel_id=70,
            access_id=70,
            channel_name="general",
            subject_id=about,
            text=text,
            speaker_ids=(1,),
            speaker_name="Ada",
            sources=(100 + day,),
            said_at=said_at,
            created_at=said_at,
            fact_kind=kind,
        ),
        1.0,
    )


def otherwise(hits: list[Hit]) -> list[str | None]:
    """What is said to contradict each."""
    return [hit.contradicted_by.text if hit.contradicted_by else None for hit in contradicted(hits)]


CONTRADICT = [
    ("Ada lives in Berlin", "Ada lives in Hamburg"),
    ("Ada lives in New York.", "Ada now lives in New Orleans, with Ben"),
    ("Ada lives in Berlin", "Ada moved to Hamburg"),
    ("Ada works at Acme", "Ada works for Globex since May"),
    ("Ada has 2 cats", "Ada has 3 cats"),
    ("Ada has two cats", "Ada has 3 cats and a dog"),
    ("Ada is 30 years old", "Ada is 31 years old"),
    ("The meeting is on Friday", "The meeting is on Monday"),
    ("The fair is on Saturday 9 May", "The community decided: the fair will be on Sunday, 10 May"),
    ("The fair is on 2026-05-09", "The fair is scheduled for 2026-05-16"),
    ("The meeting takes place on Friday", "The meeting was moved to Monday"),
    ("The raid starts at 20:00", "The raid starts at 21:30"),
    ("The raid starts at 8 pm", "The raid starts at 9 pm"),
    ("The fee is 5 €", "The fee is 6 € from now on"),
    ("A ticket costs $5", "A ticket costs $7.50"),
    ("The server has 120 members", "The server has 150 members"),
    ("The treasurer is Ann", "The treasurer is Ben Smith"),
    ("Ada's birthday is on 3 March", "Ada's birthday is on 5 March"),
    ("The deadline is Friday", "The deadline is Sunday"),
    ("Ada's favourite tea is sencha", "Ada\N{RIGHT SINGLE QUOTATION MARK}s favourite tea is assam"),
    ("Ada prefers tea to coffee", "Ada prefers coffee to tea"),
    ("Ada likes tea", "Ada does not like tea"),
    ("Ada doesn't like tea", "Ada likes tea with milk"),
    ("Ada smokes", "Ada no longer smokes"),
    ("Ada plays the guitar", "Ada stopped playing guitar"),
    ("Ada eats meat every day", "Ada doesn't eat meat anymore"),
    ("Ada has 2 cats", "Ada has no cats"),
    ("Ada has been to Spain", "Ada has never been to Spain"),
    ("Ada lives in Berlin", "Ada used to live in Berlin"),
    ("Ada can come on Friday", "Ada can't come on Friday"),
    ("The meeting is on Friday", "The meeting isn't on Friday"),
    ("The score is 99999999999-1-1", "The score is 1.5-2-3"),
    ("Ada mag Tee", "Ada mag keinen Tee"),
    ("Das Fest ist 2026-05-09", "Das Fest ist 2026-05-10"),
    ("A Ada le gusta el té", "A Ada no le gusta el té"),
]

AGREE = [
    ("Ada likes tea", "Ada likes coffee"),
    ("Ada plays guitar", "Ada plays piano"),
    ("Ada lives in Berlin", "Ada lives in Berlin Kreuzberg"),
    ("Ada lives in Berlin", "Ada lives in a small flat"),
    ("Ada lives in Berlin", "Ada works at Acme"),
    ("Ada lives in Berlin", "Ada's sister lives in Hamburg"),
    ("Ada has 2 cats", "Ada has 3 dogs"),
    ("Ada has 2 cats", "Ada has two cats"),
    ("The fair is on 3 May", "The fair is on the 3rd of May"),
    ("The fair is on 3rd May", "The fair is on 3 May"),
    ("Ada has an exam on Friday", "Ada has an exam on Monday"),
    ("Ada bought 2 books", "Ada bought 3 books"),
    ("Ada was in Rome in 2019", "Ada was in Rome in 2021"),
    ("Ada is a vegetarian", "Ada is a teacher"),
    ("Ada prefers tea", "Ada prefers window seats"),
    ("Ada prefers tea to coffee", "Ada prefers trains to planes"),
    ("The meeting is on Friday", "The meeting is at 5 pm"),
    ("The meeting is on Friday", "The meeting is on 24 April"),
    ("The meeting is on Friday", "The party is on Monday"),
    ("The meeting is on Friday", "The meeting is not on Monday"),
    ("Practice is on Friday for juniors", "Practice is on Monday for seniors"),
    ("The fair is on 9 May", "The fair is on Saturday 9 May 2026"),
    ("The raid starts at 3 pm", "The raid starts at 15:00"),
    ("The raid starts at 8 pm", "The raid starts on Friday"),
    ("The fee is 5 €", "The fee is 6 $"),
    ("The reading group is on 2026-04-21", "The reading group is on 2026-04-28"),
    ("The reading group is on 21 April", "The reading group is on 28 April"),
    ("The club is open", "The club is Great"),
    ("Ada likes tea shops", "Ada does not like tea"),
    ("Ada likes Ben's tea shop", "Ada does not like tea"),
    ("Ada does not like tea", "Ada does not like coffee"),
    ("Ada likes tea", "Ada not only likes tea, she never drinks anything else"),
    ("Ada might come", "Ada will not come late"),
    ("", ""),
    ("...", "not"),
]


@pytest.mark.parametrize(("earlier", "later"), CONTRADICT)
def test_a_later_fact_that_says_otherwise_is_named(earlier: str, later: str) -> None:
    """The earlier fact names the later one, wherever they stand; the later one stands as it is."""
    assert otherwise([fact(earlier), fact(later, 10)]) == [later, None]
    assert otherwise([fact(later, 10), fact(earlier)]) == [None, later]


@pytest.mark.parametrize(("earlier", "later"), AGREE)
def test_facts_that_may_both_hold_are_left_alone(earlier: str, later: str) -> None:
    """What adds up, adds detail or speaks of something else contradicts nothing."""
    assert otherwise([fact(earlier), fact(later, 10)]) == [None, None]
    assert otherwise([fact(earlier, 10), fact(later)]) == [None, None]


def test_the_latest_word_counts() -> None:
    """Of several later facts the last one is named, and whoever repeats a fact says it again."""
    hits = [fact("Ada lives in Hamburg", 5), fact("Ada lives in Berlin"), fact("Ada lives in Munich", 9)]
    assert otherwise(hits) == ["Ada lives in Munich", "Ada lives in Munich", None]
    assert otherwise(hits[::-1]) == [None, "Ada lives in Munich", "Ada lives in Munich"]
    assert otherwise([hits[2], hits[0], hits[1]]) == [None, "Ada lives in Munich", "Ada lives in Munich"]
    again = replace(hits[0], evidence=(fact("Ada lives in Hamburg!", 12).memory,))
    assert otherwise([again, hits[2]]) == [None, "Ada lives in Hamburg!"]


def test_only_facts_about_the_same_are_compared() -> None:
    """Another member, another server, hearsay, a message and what was said at once contradict nothing."""
    first = fact("Ada lives in Berlin")
    later = "Ada lives in Hamburg"
    message = fact(later, 10)
    message = replace(message, memory=replace(message.memory, kind=MemoryKind.MESSAGE, fact_kind=None))
    assert otherwise([first, fact(later, 10, about=2)]) == [None, None]
    assert otherwise([first, fact(later, 10, guild=8)]) == [None, None]
    assert otherwise([first, fact(later, 10, kind=FactKind.CLAIM)]) == [None, None]
    assert otherwise([first, message]) == [None, None]
    assert otherwise([first, fact(later)]) == [None, None]


_WORDS = st.sampled_from(
    "Ada is not has 2 3 May 31 2026-99-99 Friday lives in Berlin Oslo prefers to never ist '".split()
)


@given(st.lists(st.tuples(st.lists(_WORDS, max_size=6).map(" ".join) | st.text(max_size=30), st.integers(0, 90))))
def test_whatever_was_said_only_later_facts_contradict(said: list[tuple[str, int]]) -> None:
    """Any text is taken; the hits keep their order, and a contradiction is later than what it contradicts."""
    hits = [fact(text, day) for text, day in said]
    marked = contradicted(hits)
    assert [replace(hit, contradicted_by=None) for hit in marked] == hits
    assert all(hit.contradicted_by.said_at > hit.memory.said_at for hit in marked if hit.contradicted_by)
