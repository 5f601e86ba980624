"""What is believed of a model's answer."""

from datetime import date
from typing import Any

import pytest
from workshop import CHANNEL, GUILD, START, facts, said, stated

from bot.errors import AnswerRejected
from bot.extraction.answer import Checked, check
from bot.extraction.prompt import build
from bot.model import Fact, FactKind, Window, memory_id
from bot.policy import PersonFacts


def checked(*stated: dict[str, Any], person_facts: PersonFacts = "self", drop_sensitive: bool = True) -> Checked:
    talk = (
        said(11, "Ann", "I keep bees"),
        said(12, "Ben", "ann is allergic to honey, and <@4> agrees", mentions=["Dora"]),
        said(13, "Ann", "true"),
    )
    return check(facts(*stated), build(Window(GUILD, CHANNEL, (talk,)), person_facts, 2400, drop_sensitive))


def only(result: Checked) -> Fact:
    (fact,) = result.facts
    assert not result.refused
    return fact


def test_a_sound_fact_becomes_a_record() -> None:
    """Names and line numbers become ids; speakers and time come from the messages, not from the model."""
    told = stated([3, 1], kind="skill", entities=["bees", "bees"], valid_from="2024-05-01", confidence=5, importance=1)
    assert only(checked(told)) == Fact(
        id=memory_id(GUILD, CHANNEL, 1, [11, 13], "Ann keeps bees"),
        guild_id=GUILD,
        channel_id=CHANNEL,
        access_id=CHANNEL,
        channel_name="general",
        subject_id=1,
        subject_name="Ann",
        text="Ann keeps bees",
        kind=FactKind.SKILL,
        speaker_ids=(1,),
        speaker_name="Ann",
        sources=(11, 13),
        confidence=1.0,
        importance=0.2,
        said_at=START.replace(minute=13),
        entities=("bees",),
        valid_from=date(2024, 5, 1),
    )


def test_the_server_can_be_a_subject() -> None:
    """A decision belongs to no person, rests on anyone's words, and names all who spoke."""
    fact = only(checked(stated([1, 2], "SERVER", "Bees are banned", kind="decision")))
    assert (fact.subject_id, fact.subject_name, fact.speaker_ids) == (None, "SERVER", (1, 2))
    assert fact.speaker_name == "Ann, Ben"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (stated([4]), "unknown source"),
        (stated([]), "sources"),
        (stated([1, 99]), "unknown source"),
        (stated([1], "Zoe"), "foreign subject"),
        (stated(text="  \u202e\n "), "text"),
        (stated(text="x" * 501), "text"),
        (stated(kind="gossip"), "kind"),
        (stated(confidence=6), "confidence"),
        (stated(importance=0), "importance"),
        (stated(entities=["x"] * 17), "entities"),
        (stated(entities=[""]), "entities"),
        (stated(sensitive=True), "sensitive"),
        (stated(valid_from="next Friday"), "valid_from"),
        (stated(valid_until="2024-02-30"), "valid_until"),
        (stated(valid_until="1714694400"), "valid_until"),
        (stated(valid_from="2024-05-02", valid_until="2024-05-01"), "dates"),
        (stated([2], "SERVER", "Ann hates honey", kind="preference"), "personal fact about the server"),
        (stated([1], "Ann", "Ben keeps bees"), "about someone else"),
    ],
)
def test_a_fact_that_breaks_a_rule_is_refused_and_counted(told: dict[str, Any], reason: str) -> None:
    """One bad fact does not spoil the answer, and the log can say why it went."""
    result = checked(told, stated([3], text="Ann agrees"))
    assert [fact.text for fact in result.facts] == ["Ann agrees"]
    assert result.refused == {reason: 1}


def test_no_date_may_be_empty() -> None:
    """Small models write an empty string for null."""
    assert only(checked(stated(valid_from="", valid_until=None))).valid_from is None


def test_by_default_a_person_speaks_for_themselves() -> None:
    """What Ben says about Ann is no fact about Ann; where both spoke it is Ann's, and rests on the words of both."""
    assert checked(stated([2])).refused == {"not in their own words": 1}
    fact = only(checked(stated([2, 3])))
    assert (fact.sources, fact.speaker_ids, fact.speaker_name) == ((12, 13), (2, 1), "Ann")
    assert fact.said_at == START.replace(minute=13)


def test_with_all_hearsay_is_a_claim_that_names_its_speaker() -> None:
    """A fact about someone that rests on others' words alone says who said it, and is kept as a claim."""
    fact = only(checked(stated([2], text="Ann avoids honey"), person_facts="all"))
    assert (fact.kind, fact.text, fact.subject_id) == (FactKind.CLAIM, "Ben said: Ann avoids honey", 1)
    assert fact.speaker_name == "Ben"
    named = only(checked(stated([2], "Dora", "Dora agrees, says Ben"), person_facts="all"))
    assert (named.text, named.subject_id) == ("Dora agrees, says Ben", 4)


def test_with_none_only_the_server_has_facts() -> None:
    """No person becomes a subject, whatever the model answers."""
    result = checked(stated(), stated([1], "SERVER", "Bees are allowed", kind="decision"), person_facts="none")
    assert [fact.subject_id for fact in result.facts] == [None]
    assert result.refused == {"about a person": 1}


@pytest.mark.parametrize(
    "told",
    [
        stated(text="Ann keeps to herself", sensitive=True),
        stated(text="Ann has diabetes"),
        stated([2], "SERVER", "Ben was convicted of fraud", kind="event"),
    ],
)
def test_what_is_sensitive_is_dropped_or_marked(told: dict[str, Any]) -> None:
    """By what the model says of it or by its words; a server that keeps such facts has them marked."""
    assert checked(told).refused == {"sensitive": 1}
    assert only(checked(told, drop_sensitive=False)).sensitive
    assert not only(checked(stated(), drop_sensitive=False)).sensitive


def test_a_nickname_in_lower_case_is_a_person() -> None:
    """The fact knows whom it is about, however they write their name."""
    talk = (said(11, "ann", "I have diabetes"),)
    prompt = build(Window(GUILD, CHANNEL, (talk,)), "self", 2400)
    assert check(facts(stated(subject="ann", text="ann has diabetes")), prompt).refused == {"sensitive": 1}


def test_the_same_fact_twice_is_one() -> None:
    """Repetition, in case and spacing too, does not double a memory."""
    assert len(checked(stated(), stated(text="Ann  KEEPS bees")).facts) == 1


def test_no_facts_is_a_good_answer() -> None:
    """An empty list is accepted: most talk holds nothing to remember."""
    assert checked() == Checked(())


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Sure! Here are the facts:",
        "[]",
        "null",
        '{"facts": null}',
        '{"facts": [{}]}',
        '{"facts": [], "more": 1}',
        facts(stated() | {"mood": "good"}),
        facts(stated() | {"sources": ["1"]}),
        facts(stated() | {"text": None}),
        facts(stated())[:-5],
        "[" * 100_000,
    ],
)
def test_an_answer_of_another_shape_is_rejected(answer: str) -> None:
    """Without the schema's shape nothing of an answer is used; the error does not quote it."""
    prompt = build(Window(GUILD, CHANNEL, ((said(1, "Ann", "hi"),),)), "self", 2400)
    with pytest.raises(AnswerRejected) as error:
        check(answer, prompt)
    assert "Sure" not in str(error.value)


def test_an_absurd_number_of_facts_is_rejected() -> None:
    """A model in a loop is not believed."""
    with pytest.raises(AnswerRejected, match="40 facts from 3 lines"):
        checked(*(stated(text=f"Ann keeps bee {i}") for i in range(40)))


def test_ten_megabytes_are_rejected_unread() -> None:
    """A monstrous answer is refused by its length, before anything parses it."""
    prompt = build(Window(GUILD, CHANNEL, ((said(1, "Ann", "hi"),),)), "self", 2400)
    with pytest.raises(AnswerRejected, match="characters long"):
        check(facts(stated(text="x" * 10_000_000)), prompt)
