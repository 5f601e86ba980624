"""Observed channels: intervals in time, kept over restarts."""

from datetime import timedelta

import pytest
from records import CHANNEL, GUILD, MINUTE, NOON, Clock

from bot.storage.database import Database
from bot.storage.observations import Observation, Observations


@pytest.fixture
async def observations(database: Database, clock: Clock) -> Observations:
    observations = Observations(database, clock)
    await observations.load()
    return observations


async def test_a_channel_is_observed_only_while_it_is_on(
    observations: Observations, database: Database, clock: Clock
) -> None:
    """A message counts by its own time: from the moment of switching on, until before switching off."""
    assert not observations.observed(GUILD, CHANNEL, NOON)
    assert await observations.switch_on(GUILD, CHANNEL, by_user_id=5)
    clock.move(MINUTE)
    assert await observations.switch_off(GUILD, CHANNEL)
    clock.move(MINUTE)
    assert await observations.switch_on(GUILD, CHANNEL, by_user_id=None)

    loaded = Observations(database, clock)
    await loaded.load()
    await loaded.load()
    for known in (observations, loaded):
        seconds = {s: known.observed(GUILD, CHANNEL, NOON + timedelta(seconds=s)) for s in (-1, 0, 59, 60, 119, 120)}
        assert seconds == {-1: False, 0: True, 59: True, 60: False, 119: False, 120: True}
        assert known.active(GUILD) == [Observation(2, GUILD, CHANNEL, NOON + 2 * MINUTE, None, None)]
        assert not known.observed(GUILD, 21, NOON)
        assert not known.observed(2, CHANNEL, NOON)


async def test_the_time_of_a_switch_can_be_discords(observations: Observations, clock: Clock) -> None:
    """A host whose clock is ahead does not keep what was said right after a channel was switched off."""
    clock.move(MINUTE)
    assert await observations.switch_on(GUILD, CHANNEL, None, NOON)
    assert await observations.switch_off(GUILD, CHANNEL, NOON + timedelta(seconds=2))
    seen = [observations.observed(GUILD, CHANNEL, NOON + timedelta(seconds=s)) for s in (-1, 0, 1, 2)]
    assert seen == [False, True, True, False]


async def test_switching_twice_changes_nothing(observations: Observations, clock: Clock) -> None:
    """On when on, and off when off, is told and leaves the interval as it began."""
    assert await observations.switch_off(GUILD, CHANNEL) is False
    assert await observations.switch_on(GUILD, CHANNEL, 5) is True
    clock.move(MINUTE)
    assert await observations.switch_on(GUILD, CHANNEL, 6) is False
    assert observations.active(GUILD) == [Observation(1, GUILD, CHANNEL, NOON, None, 5)]
    assert await observations.switch_off(GUILD, CHANNEL) is True
    assert observations.active(GUILD) == []


async def test_active_lists_one_guild_longest_first(observations: Observations, clock: Clock) -> None:
    """Each guild sees its own channels, in the order they were switched on."""
    for channel in (23, 22, 24):
        await observations.switch_on(GUILD, channel, None)
        clock.move(MINUTE)
    await observations.switch_on(2, 90, None)
    await observations.switch_off(GUILD, 24)
    assert [one.channel_id for one in observations.active(GUILD)] == [23, 22]
    assert [one.channel_id for one in observations.active(2)] == [90]
