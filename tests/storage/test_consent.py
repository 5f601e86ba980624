"""Consent: opt-outs as intervals in time, kept over restarts."""

from datetime import timedelta

import pytest
from records import ANA, BEN, GUILD, MINUTE, NOON, Clock

from bot.storage.consent import Consent
from bot.storage.database import Database


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
