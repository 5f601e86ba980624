"""Guilds that remove the bot, and guilds that only have an outage."""

import asyncio
from datetime import timedelta

import pytest
from absence import Absence, back
from test_catchup import session_lost, unheard
from watching import Town, contents

from bot.errors import StorageUnavailable
from bot.model import utcnow


async def event(absence: Absence, name: str) -> None:
    """Wait for an event of the gateway to be handled."""
    await asyncio.wait_for(absence.client.wait_for(name), 5)
    await absence.client.settle()


async def said_at(town: Town, content: str, hours: int) -> None:
    """Said so many hours after the town's time, and unheard."""
    at = town.clock.now + timedelta(hours=hours)
    await town.server.say(town.general, town.alice, content, at=at, announce=False)


async def test_a_removal_is_noted_and_a_return_forgotten(town: Town) -> None:
    """Nothing is forgotten at once; the channel stays observed, but not what was said in between."""
    await town.observe(town.general)
    async with back(town) as absence:
        await said_at(town, "before", hours=1)
        await session_lost(town, absence)
        assert contents(await absence.held()) == ["before"]
        town.clock.now += timedelta(hours=2)
        removed = asyncio.create_task(event(absence, "guild_remove"))
        town.world.leave_guild(town.guild)
        await removed
        assert set(await absence.departures.all()) == {town.guild.id}
        assert absence.catchup.behind() == 0

        await said_at(town, "in between", hours=1)
        returned = asyncio.create_task(event(absence, "guild_join"))
        town.world.join_guild(town.guild)
        await returned
        assert await absence.departures.all() == {}
        await unheard(town, town.general, "missed")
        await session_lost(town, absence)
        assert contents(await absence.held()) == ["before", "missed"]
    assert [one.by_user_id for one in town.observations.active(town.guild.id)] == [town.alice.id]


async def test_an_outage_is_no_removal(town: Town) -> None:
    """A guild that is unavailable, at the start or later, is not left; once it is back it is caught up."""
    await town.observe(town.general)
    town.world.set_unavailable(town.guild)
    await unheard(town, town.general, "during the first")
    async with back(town) as absence:
        await absence.client.settle()
        assert await absence.departures.all() == {}
        assert absence.catchup.behind() == 1
        for number in range(2):
            available = asyncio.create_task(event(absence, "guild_available"))
            town.world.set_unavailable(town.guild, False)
            await available
            assert len(await absence.held()) == number + 1
            gone = asyncio.create_task(event(absence, "guild_unavailable"))
            town.world.set_unavailable(town.guild)
            await gone
            await unheard(town, town.general, "during the second")
        assert await absence.departures.all() == {}


async def test_a_removal_while_away_is_noticed(town: Town) -> None:
    """A guild that the bot knows but that is not among those of a new session was left; one time counts."""
    await town.observe(town.general)
    async with back(town):
        pass
    town.world.leave_guild(town.guild)
    times = []
    for _ in range(2):
        async with back(town) as absence:
            await absence.client.settle()
            times.append(await absence.departures.all())
    assert set(times[0]) == {town.guild.id}
    assert times[0] == times[1]
    town.world.join_guild(town.guild)
    async with back(town) as absence:
        await absence.client.settle()
        assert await absence.departures.all() == {}


async def test_a_return_is_noted_even_if_the_database_refuses(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again, lest everything be forgotten of a guild that the bot is in."""
    await town.observe(town.general)
    await Absence(town).departures.left(town.guild.id, utcnow())
    async with back(town) as absence:
        await absence.client.settle()
        await absence.departures.left(town.guild.id, utcnow())

        async def refuse(guild_id: int) -> None:
            raise StorageUnavailable

        with monkeypatch.context() as broken:
            broken.setattr(absence.departures, "returned", refuse)
            await session_lost(town, absence)
    assert await absence.departures.all() == {}
