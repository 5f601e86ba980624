"""Channels with a past, and a reader that waits before each page."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import discord
import pytest
from town import Town, eventually

from bot.app import App
from bot.capture.convert import Place
from bot.capture.history import History
from bot.model import utcnow
from bot.sandbox.discord import Answer, Channel, DiscordServer, Guild, User
from bot.storage.observations import Observation, Source

LONG_AGO = timedelta(days=100)


@contextmanager
def born_long_ago(server: DiscordServer) -> Iterator[None]:
    """What is made meanwhile has the id of a hundred days ago."""
    world, new = server.world, server.world.snowflake
    world.snowflake = lambda at=None: new(at or utcnow() - LONG_AGO)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del world.snowflake


async def old_channel(server: DiscordServer, guild: Guild, author: User, days: list[int]) -> Channel:
    """A channel with one message of each of so many days ago."""
    with born_long_ago(server):
        channel = server.world.add_channel(guild, "tearoom")
    for ago in days:
        at = utcnow() - timedelta(days=ago)
        await server.say(channel, author, f"tea of {ago} days ago", at=at, announce=False)
    return channel


async def tearoom(town: Town, days: list[int]) -> Channel:
    """An observed channel with a past that nobody read."""
    channel = await old_channel(town.server, town.guild, town.ada, days)
    await town.app.observations.switch_on(town.guild.id, channel.id, town.admin.id)
    await eventually(lambda: town.app.client.get_channel(channel.id))
    return channel


async def confirmed(town: Town, channel: Channel, since: str) -> Answer:
    """`/backfill`, and a press on its button; the answer while it goes on."""
    asked = await town.use(town.admin, "backfill", channel=channel, since=since)
    return await asked.click("Read it")


async def done(answer: Answer) -> str:
    """What stands there at the end."""
    return (await answer.until(lambda shown: shown.content.startswith(("Done", "Stopped", "I could not")))).content


async def held(app: App) -> set[str]:
    return {one.content for one in await app.messages.to_index(1000, embedding=True)}


def intervals(app: App, guild: Guild) -> list[Observation]:
    everything = [app.observations.get(id) for id in range(1, 10)]
    return [one for one in everything if one and one.guild_id == guild.id and one.source is Source.BACKFILL]


class Gate:
    """Holds the reader before each page until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pages: int) -> None:
        self.allowed = asyncio.Semaphore(pages)
        read = History.after

        async def after(history: History, place: Place, message_id: int) -> list[discord.Message]:
            await self.allowed.acquire()
            return await read(history, place, message_id)

        monkeypatch.setattr(History, "after", after)
        monkeypatch.setattr("bot.capture.reader.PAGE", 1)
        monkeypatch.setattr("bot.capture.history.PAGE", 1)

    def open(self) -> None:
        """Hold nothing any more."""
        for _ in range(100):
            self.allowed.release()
