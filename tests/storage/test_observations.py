"""Observed channels: intervals in time, kept over restarts."""

from dataclasses import replace
from datetime import timedelta

import pytest
from records import CHANNEL, GUILD, MINUTE, NOON, Clock

from bot.storage.cursors import Cursors
from bot.storage.database import Database
from bot.storage.observations import Observation, Observations, Source


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


async def test_an_interval_opened_afterwards_covers_its_time_only(
    observations: Observations, database: Database, clock: Clock
) -> None:
    """It observes its channel during its time, switches nothing on, and may overlap others."""
    await observations.switch_on(GUILD, CHANNEL, 5)
    opened = await observations.open_interval(
        GUILD, CHANNEL, NOON - 2 * MINUTE, NOON + MINUTE, 6, Source.BACKFILL, announced=False
    )
    past = await observations.open_interval(GUILD, 21, NOON - MINUTE, NOON, None, Source.IMPORT, parent_id=CHANNEL)
    loaded = Observations(database, clock)
    await loaded.load()
    for known in (observations, loaded):
        minutes = {m: known.observed(GUILD, CHANNEL, NOON + m * MINUTE) for m in (-3, -2, -1, 0, 1, 2)}
        assert minutes == {-3: False, -2: True, -1: True, 0: True, 1: True, 2: True}
        assert known.observed_live(GUILD, CHANNEL, NOON)
        assert not known.observed_live(GUILD, CHANNEL, NOON - MINUTE)
        assert [one.channel_id for one in known.active(GUILD)] == [CHANNEL]
        assert [one.id for one in known.unread()] == [1, opened.id]
        assert [one.id for one in known.unannounced()] == [opened.id]
        assert known.private_threads(GUILD, CHANNEL) == [past.channel_id]
        assert known.guilds() == {GUILD}
        assert known.get(opened.id) == opened


async def test_how_far_an_interval_is_read_only_grows(
    observations: Observations, database: Database, clock: Clock
) -> None:
    """Its position never goes back, and its places' own positions go with it."""
    await observations.switch_on(GUILD, CHANNEL, 5)
    cursors = Cursors(database)
    await cursors.move(1, {CHANNEL: 100, 21: 50})
    await cursors.move(1, {CHANNEL: 90, 21: 60})
    await cursors.move(9, {CHANNEL: 90})
    assert (await cursors.of(1), await cursors.of(9)) == ({CHANNEL: 100, 21: 60}, {})

    await observations.mark_read({1: 70, 9: 80})
    await observations.mark_read({1: 65})
    assert await cursors.of(1) == {}
    loaded = Observations(database, clock)
    await loaded.load()
    for known in (observations, loaded):
        assert [one.read_to for one in known.unread()] == [70]


async def test_an_interval_can_be_ended_and_settled(
    observations: Observations, database: Database, clock: Clock
) -> None:
    """Truncated, fetched or announced, it says so after a restart; one that does not exist is left alone."""
    opened = [
        await observations.open_interval(GUILD, channel, NOON, NOON + 5 * MINUTE, 6, Source.BACKFILL, announced=False)
        for channel in (31, 32, 33)
    ]
    await observations.truncate(opened[0].id, NOON + MINUTE)
    await observations.truncate(opened[1].id, NOON - MINUTE)
    await observations.mark_fetched(opened[2].id)
    await observations.mark_announced([observations.get(opened[0].id), replace(opened[0], id=99)])
    loaded = Observations(database, clock)
    await loaded.load()
    for known in (observations, loaded):
        assert [known.get(one.id).ended_at for one in opened] == [NOON + MINUTE, NOON, NOON + 5 * MINUTE]
        assert known.unread() == []
        assert [one.id for one in known.unannounced()] == [opened[1].id, opened[2].id]


async def test_a_place_that_is_gone_is_observed_no_longer(
    observations: Observations, database: Database, clock: Clock
) -> None:
    """All its intervals end, what is left of them is not read, and nobody is to be told."""
    await observations.switch_on(GUILD, CHANNEL, 5)
    await observations.open_interval(GUILD, CHANNEL, NOON - MINUTE, NOON, 6, Source.BACKFILL, announced=False)
    await observations.switch_on(GUILD, 21, 5)
    clock.move(MINUTE)
    await observations.place_gone(GUILD, [CHANNEL, 77])
    loaded = Observations(database, clock)
    await loaded.load()
    for known in (observations, loaded):
        assert [one.channel_id for one in known.active(GUILD)] == [21]
        assert [one.channel_id for one in known.unread()] == [21]
        assert known.unannounced() == []
        assert known.get(1).ended_at == NOON + MINUTE
