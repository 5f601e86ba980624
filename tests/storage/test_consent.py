"""Consent: opt-outs as intervals in time, kept over restarts."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import ANA, BEN, GUILD, MINUTE, NOON, Clock

from bot.storage.consent import Consent
from bot.storage.database import Database
from bot.storage.guild_configs import ConsentMode

SECOND = timedelta(seconds=1)
GUILDS = count(1000)
DECISIONS = st.sampled_from(["agree", "object", "ask first", "do not ask", "as the settings"])


@pytest.fixture
async def consent(database: Database, clock: Clock) -> Consent:
    consent = Consent(database, clock=clock)
    await consent.load()
    return consent


async def test_an_opt_out_covers_its_time_only(consent: Consent, database: Database, clock: Clock) -> None:
    """What was written between opting out and in again is never allowed, however late it arrives."""
    assert await consent.opt_out(GUILD, ANA)
    clock.move(MINUTE)
    assert await consent.opt_in(GUILD, ANA)
    clock.move(MINUTE)
    assert await consent.opt_out(GUILD, ANA)

    loaded = Consent(database, clock=clock)
    await loaded.load()
    await loaded.load()
    for known in (consent, loaded):
        seconds = {s: known.allows(GUILD, ANA, NOON + timedelta(seconds=s)) for s in (-1, 0, 59, 60, 119, 120)}
        assert seconds == {-1: True, 0: False, 59: False, 60: True, 119: True, 120: False}
        assert known.opted_out_since(GUILD, ANA) == NOON + 2 * MINUTE
        assert known.allows(GUILD, BEN, NOON)
        assert known.allows(2, ANA, NOON)
        assert known.opted_out_since(2, ANA) is None


async def test_the_time_of_a_decision_can_be_discords(consent: Consent, database: Database, clock: Clock) -> None:
    """A host whose clock is ahead does not keep what was written right after an opt-out."""
    clock.move(MINUTE)
    assert await consent.opt_out(GUILD, ANA, NOON)
    assert await consent.opt_in(GUILD, ANA, NOON + timedelta(seconds=2))

    loaded = Consent(database, clock=clock)
    await loaded.load()
    for known in (consent, loaded):
        assert [known.allows(GUILD, ANA, NOON + timedelta(seconds=s)) for s in (-1, 0, 1, 2)] == [
            True,
            False,
            False,
            True,
        ]


async def test_deciding_twice_changes_nothing(consent: Consent, clock: Clock) -> None:
    """Opting in without an opt-out, or out twice, is told and keeps the first time."""
    assert await consent.opt_in(GUILD, ANA) is False
    assert await consent.opt_out(GUILD, ANA) is True
    clock.move(MINUTE)
    assert await consent.opt_out(GUILD, ANA) is False
    assert consent.opted_out_since(GUILD, ANA) == NOON
    assert await consent.opt_in(GUILD, ANA) is True
    assert consent.opted_out_since(GUILD, ANA) is None


async def test_where_a_server_asks_first_only_who_agreed_is_remembered(consent: Consent, clock: Clock) -> None:
    """From the change on it counts who agreed, be it before; what was said before the change is as it was."""
    assert await consent.opt_in(GUILD, BEN) is False
    clock.move(MINUTE)
    await consent.set_mode(GUILD, "opt_in")
    assert (consent.mode(GUILD), consent.mode(2)) == ("opt_in", "opt_out")
    assert [consent.allows(GUILD, ANA, NOON + n * SECOND) for n in (59, 60)] == [True, False]
    assert [consent.keeps_out(GUILD, user) for user in (ANA, BEN)] == [True, False]
    assert not consent.keeps_out(2, ANA)
    clock.move(MINUTE)
    assert await consent.opt_in(GUILD, ANA)
    assert not await consent.opt_in(GUILD, ANA)
    assert [consent.allows(GUILD, ANA, NOON + n * SECOND) for n in (119, 120)] == [False, True]
    clock.move(MINUTE)
    assert await consent.opt_out(GUILD, ANA)
    assert consent.keeps_out(GUILD, ANA)
    assert consent.agreed_since(GUILD, ANA) is None
    await consent.set_mode(GUILD, "opt_out")
    assert consent.keeps_out(GUILD, ANA)
    assert not consent.keeps_out(GUILD, 999)


async def test_the_mode_of_the_settings_holds_from_its_first_start_on(database: Database, clock: Clock) -> None:
    """Who changes it makes nothing permitted, or forbidden, that was said before; a server's own mode goes first."""

    async def started(mode: ConsentMode) -> Consent:
        consent = Consent(database, mode, clock)
        await consent.load()
        return consent

    assert [(await started("opt_in")).allows(GUILD, ANA, NOON - n * MINUTE) for n in (0, 9999)] == [False, False]
    clock.move(MINUTE)
    changed = await started("opt_out")
    assert [changed.allows(GUILD, ANA, NOON + n * SECOND) for n in (59, 60)] == [False, True]
    assert not changed.is_own_mode(GUILD)
    await changed.set_mode(GUILD, "opt_in")
    assert changed.is_own_mode(GUILD)
    clock.move(MINUTE)
    again = await started("opt_out")
    assert [again.allows(GUILD, ANA, NOON + n * SECOND) for n in (59, 60)] == [False, False]
    await again.set_mode(GUILD, None)
    assert (again.mode(GUILD), again.is_own_mode(GUILD)) == ("opt_out", False)
    assert [again.allows(GUILD, ANA, NOON + n * SECOND) for n in (119, 120)] == [False, True]


async def test_a_mode_never_begins_before_the_one_it_follows(consent: Consent, clock: Clock) -> None:
    """Discord's clock and the host's differ; the later decision holds."""
    await consent.set_mode(GUILD, "opt_in", NOON + MINUTE)
    await consent.set_mode(GUILD, "opt_out", NOON)
    assert consent.mode(GUILD) == "opt_out"
    assert consent.allows(GUILD, ANA, NOON + MINUTE)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(st.tuples(DECISIONS, st.integers(0, 2)), max_size=10))
async def test_any_story_allows_what_was_decided_by_then(
    consent: Consent, database: Database, story: Sequence[tuple[str, int]]
) -> None:
    """At each second, what may be kept follows from the decisions up to it, also after a restart."""
    guild, at, decisions = next(GUILDS), NOON, list[tuple[datetime, str]]()
    for what, pause in story:
        at += pause * SECOND
        decisions.append((at, what))
        match what:
            case "agree":
                await consent.opt_in(guild, ANA, at)
            case "object":
                await consent.opt_out(guild, ANA, at)
            case "ask first":
                await consent.set_mode(guild, "opt_in", at)
            case "do not ask":
                await consent.set_mode(guild, "opt_out", at)
            case _:
                await consent.set_mode(guild, None, at)
    loaded = Consent(database)
    await loaded.load()
    for known in (consent, loaded):
        for second in range(-1, int((at - NOON).total_seconds()) + 2):
            then = NOON + second * SECOND
            assert known.allows(guild, ANA, then) is _allowed(what for when, what in decisions if when <= then)
        assert known.keeps_out(guild, ANA) is not _allowed(what for _, what in decisions)


def _allowed(decisions: Iterable[str]) -> bool:
    """Whether a member is remembered after these decisions, one after the other."""
    agreed, objects, asks_first = False, False, False
    for what in decisions:
        agreed = what == "agree" or (agreed and what != "object")
        objects = what == "object" or (objects and what != "agree")
        asks_first = what == "ask first" or (asks_first and what not in ("do not ask", "as the settings"))
    return not objects and (agreed or not asks_first)
