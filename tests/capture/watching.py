"""A town on the stand-in, and the shipped client that watches it into a real database."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import discord
import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route
from sqlalchemy import select

from bot.capture.client import Client
from bot.capture.convert import Observable
from bot.capture.discretion import Discretion
from bot.capture.gateway import use_addresses
from bot.capture.observer import Observer
from bot.model import Message, utcnow
from bot.sandbox.discord import Channel, DiscordServer, Thread
from bot.sandbox.discord.entities import Json
from bot.settings import DiscordSettings, Settings
from bot.storage.consent import Consent
from bot.storage.database import Database
from bot.storage.guild_configs import GuildConfigs
from bot.storage.messages import MessageStore
from bot.storage.observations import Observations
from bot.storage.retraction import Retraction
from bot.storage.tables import tombstone


class Clock:
    """A time that tests set; it begins a day ago, so that what is said now comes after what is set up."""

    def __init__(self) -> None:
        self.now = utcnow() - timedelta(days=1)

    def __call__(self) -> datetime:
        return self.now


async def notice(place: Observable) -> discord.Message:
    """What the members of a place are told, whatever it is worded like."""
    if isinstance(place, discord.ForumChannel):
        return (await place.create_thread(name="A notice", content="I remember")).message
    return await place.send("I remember")


class Town:
    """Two people, a bot of somebody else's and a channel, before anyone watches."""

    def __init__(self, server: DiscordServer, database: Database) -> None:
        self.server, self.database, self.clock = server, database, Clock()
        world = self.world = server.world
        self.alice = world.add_user("alice", display_name="Alice")
        self.bob = world.add_user("bob", display_name="Bob")
        self.robot = world.add_user("robot", bot=True)
        self.guild = world.add_guild(name="tea club", owner=self.alice)
        for user in (self.bob, self.robot):
            world.add_member(self.guild, user)
        self.general = world.add_channel(self.guild, "general")
        self._captured = asyncio.Event()
        self.messages = MessageStore(database, on_captured=self._captured.set)
        self.retraction = Retraction(database)
        self.observations = Observations(database, self.clock)
        self.consent = Consent(database, clock=self.clock)
        self.configs = GuildConfigs(database, Settings())
        self.discretion = Discretion(self.configs)

    async def observe(self, *places: Channel | Thread) -> None:
        """Switch these on, since yesterday."""
        for place in places:
            await self.observations.switch_on(self.guild.id, place.id, self.alice.id)

    def client(self, **settings: object) -> Client:
        """The shipped client, pointed at the stand-in."""
        addresses = {"api_url": self.server.api_url, "gateway_url": self.server.gateway_url}
        self.settings = DiscordSettings.model_validate(addresses | settings)
        self.observer = Observer(
            self.messages, self.retraction, self.observations, self.consent, self.settings, self.discretion
        )
        use_addresses(self.settings)
        client = Client(self.settings, self.observer)
        client.announce = notice
        return client

    @asynccontextmanager
    async def watched(self, **settings: object) -> AsyncIterator[Client]:
        """The client at work; closed at the end."""
        async with self.at_work(self.client(**settings)) as client:
            yield client

    @asynccontextmanager
    async def at_work(self, client: Client) -> AsyncIterator[Client]:
        """A client made before at work; closed at the end."""
        serving = asyncio.create_task(client.serve(self.server.token))
        ready = asyncio.create_task(client.ready.wait())
        try:
            await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED, timeout=10)
            if serving.done():
                serving.result()
            await ready
            yield client
        finally:
            ready.cancel()
            await client.close()
            await serving

    async def held(self, client: Client) -> list[Message]:
        """Every held message, once all events so far are handled."""
        last = await self.server.say(self.general, self.alice, "that was all")
        await self.until_held([last])
        await client.settle()
        found = await self.messages.to_index(1000, embedding=True)
        return [one for one in found if one.content != "that was all"]

    async def until_held(self, payloads: Iterable[Json]) -> list[Message]:
        """Wait for these messages; how they are held."""
        ids = [int(payload["id"]) for payload in payloads]
        async with asyncio.timeout(5):
            while True:
                self._captured.clear()
                found = await self.messages.get(ids)
                if len(found) == len(ids):
                    return list(found.values())
                await self._captured.wait()

    async def tombstones(self) -> set[int]:
        """The ids of messages that may never come back."""
        return {int(id) for id in await self.buried()}

    async def buried(self) -> set[str]:
        """The ids of whatever may never come back."""
        async with self.database.read() as connection:
            return set((await connection.execute(select(tombstone.c.id))).scalars())


def contents(messages: Iterable[Message]) -> list[str]:
    """What they say."""
    return [message.content for message in messages]


@asynccontextmanager
async def town_at(server: DiscordServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    """A town with storage in the folder. discord.py's addresses are restored afterwards."""
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)
    database = await Database.open(folder)
    town = Town(server, database)
    try:
        yield town
    finally:
        await town.messages.close()
        await database.close()


__all__ = ["Clock", "Town", "contents", "town_at"]
