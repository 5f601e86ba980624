"""The rules of who may do what, and of what is kept: a truth table each."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from bot.model import FactKind, Memory, MemoryKind
from bot.policy import (
    PersonFacts,
    is_claim,
    may_answer_mention,
    may_ask,
    may_ask_about,
    may_correct,
    may_forget,
    may_look_at,
    person_fact_allowed,
    sensitive_allowed,
    server_fact_allowed,
)

GUILD, HERE, HIDDEN = 7, 70, 71
ANN, BEN, CLEO = 1, 2, 3


def message(author: int, access_id: int = HERE) -> Memory:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    kind = MemoryKind.MESSAGE
    return Memory("m", kind, GUILD, HERE, access_id, "general", author, "words", (author,), "Ann", (10,), at, at)


def fact(subject: int | None, *speakers: int, access_id: int = HERE) -> Memory:
    return replace(message(ANN, access_id), kind=MemoryKind.FACT, subject_id=subject, speaker_ids=speakers)


@pytest.mark.parametrize(
    ("roles", "asker_roles", "manages", "allowed"),
    [
        ((), (), False, True),
        ((5,), (), False, True),
        ((), (5,), False, False),
        ((6,), (5,), False, False),
        ((5, 6), (5,), False, True),
        ((6,), (5, 6), False, True),
        ((), (5,), True, True),
    ],
)
def test_who_may_ask(roles: tuple[int, ...], asker_roles: tuple[int, ...], manages: bool, allowed: bool) -> None:
    """Everyone, or those with one of the roles that the guild named; whoever manages the server always."""
    assert may_ask(roles, asker_roles, manages) is allowed


def test_about_whom_one_may_ask() -> None:
    """About oneself always, about another only where the guild lets members."""
    assert may_ask_about(ANN, ANN, about_others=False)
    assert may_ask_about(ANN, ANN, about_others=True)
    assert may_ask_about(ANN, BEN, about_others=True)
    assert not may_ask_about(ANN, BEN, about_others=False)


def test_which_mention_asks() -> None:
    """One in the words of a person, where the guild wants it: no reply, and no ping of everyone."""
    asking = [
        case
        for case in product([False, True], repeat=5)
        if may_answer_mention(case[0], by_person=case[1], names_bot=case[2], reply=case[3], everyone=case[4])
    ]
    assert asking == [(True, True, True, False, False)]


@pytest.mark.parametrize(
    ("memory", "guild", "visible", "allowed"),
    [
        (message(BEN), GUILD, {HERE}, True),
        (message(BEN), GUILD, set(), False),
        (message(BEN, HIDDEN), GUILD, {HERE}, False),
        (message(ANN, HIDDEN), GUILD, {HERE}, True),
        (message(ANN), GUILD + 1, {HERE}, False),
        (fact(ANN, BEN, access_id=HIDDEN), GUILD, {HERE}, False),
        (fact(ANN, ANN, BEN, access_id=HIDDEN), GUILD, {HERE}, False),
        (fact(None, ANN, access_id=HIDDEN), GUILD, {HERE}, True),
        (fact(None, access_id=HIDDEN), GUILD, {HERE}, False),
        (fact(None), GUILD, {HERE}, True),
    ],
)
def test_what_one_may_look_at(memory: Memory, guild: int, visible: set[int], allowed: bool) -> None:
    """What stands where one can read, one's own words wherever they stand, and nothing of another guild."""
    assert may_look_at(memory, guild, ANN, visible) is allowed


@pytest.mark.parametrize(
    ("memory", "user", "allowed"),
    [
        (message(ANN), ANN, True),
        (message(ANN), BEN, False),
        (fact(ANN, ANN), ANN, True),
        (fact(ANN, ANN), BEN, False),
        (fact(ANN, BEN), ANN, True),
        (fact(ANN, BEN), BEN, True),
        (fact(ANN, ANN, BEN), BEN, False),
        (fact(None, ANN, BEN), ANN, False),
        (fact(None, CLEO), CLEO, True),
        (fact(None), ANN, False),
    ],
)
def test_who_may_forget_what(memory: Memory, user: int, allowed: bool) -> None:
    """One's own messages, facts about oneself, and facts on one's words alone; a manager anything they see."""
    assert may_forget(memory, user, manager=False) is allowed
    assert may_forget(memory, user, manager=True)


@pytest.mark.parametrize(
    ("memory", "user", "allowed"),
    [
        (fact(ANN, ANN), ANN, True),
        (fact(ANN, BEN), ANN, True),
        (fact(ANN, BEN), BEN, False),
        (fact(ANN, ANN, BEN), BEN, False),
        (fact(None, ANN), ANN, False),
        (fact(BEN, ANN), ANN, False),
        (fact(None), ANN, False),
        (message(ANN), ANN, False),
    ],
)
def test_who_may_correct_what(memory: Memory, user: int, allowed: bool) -> None:
    """A fact about oneself, whoever said it; never a message, nor what is known of the server."""
    assert may_correct(memory, user) is allowed


@pytest.mark.parametrize(
    ("subject", "speakers", "claim", "allowed_by"),
    [
        (None, {ANN}, False, {"self", "all", "none"}),
        (ANN, {ANN}, False, {"self", "all"}),
        (ANN, {ANN, BEN}, False, {"self", "all"}),
        (ANN, {BEN}, True, {"all"}),
        (ANN, {BEN, CLEO}, True, {"all"}),
    ],
)
def test_whose_words_make_a_fact_about_whom(
    subject: int | None, speakers: set[int], claim: bool, allowed_by: set[str]
) -> None:
    """What others alone say about somebody is a claim: kept where the guild takes anyone's word, else dropped."""
    rules: tuple[PersonFacts, ...] = ("self", "all", "none")
    assert {rule for rule in rules if person_fact_allowed(rule, subject, speakers)} == allowed_by
    assert is_claim(subject, speakers) is claim


def test_what_the_server_can_have() -> None:
    """Plans, events, decisions and knowledge are the server's; what only a person can have is not."""
    own = {kind for kind in FactKind if server_fact_allowed(kind)}
    assert own == {FactKind.PLAN, FactKind.EVENT, FactKind.DECISION, FactKind.KNOWLEDGE}


def test_what_is_sensitive_is_kept_only_where_the_guild_says_so() -> None:
    """Harmless things always; sensitive ones unless they are dropped."""
    assert sensitive_allowed(drop_sensitive=True, sensitive=False)
    assert sensitive_allowed(drop_sensitive=False, sensitive=False)
    assert sensitive_allowed(drop_sensitive=False, sensitive=True)
    assert not sensitive_allowed(drop_sensitive=True, sensitive=True)
