"""A town whose watcher catches up with what happened while nobody watched."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from watching import Town

from bot.capture.catchup import Catchup, Pace
from bot.capture.client import Client
from bot.capture.history import History
from bot.capture.presence import Presence
from bot.capture.reader import Reader
from bot.capture.recheck import Comparison
from bot.model import Message
from bot.sandbox.discord import Channel, Thread
from bot.settings import Settings
from bot.storage.cursors import Cursors
from bot.storage.departures import Departures
from bot.storage.doubts import Doubts
from bot.storage.guild_configs import GuildConfigs
from bot.storage.names import Names
from bot.storage.places import Places

NEVER = 3600.0


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until this holds, which nothing announces."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


class Absence:
    """The client of a town with everything that catches up; `back` says what a pace and messages are."""

    def __init__(self, town: Town, pace: Pace | None = None, messages: int = 0, **settings: object) -> None:
        self.town = town
        self.client: Client = town.client(**settings)
        self.doubts = Doubts(town.database)
        self.departures = Departures(town.database)
        self.cursors = Cursors(town.database)
        history = History(self.client, pauses=(0.01, 0.01))
        self.reader = Reader(
            history,
            town.observer,
            town.messages,
            town.observations,
            self.cursors,
            Names(town.database),
            GuildConfigs(town.database, Settings()),
        )
        self.comparison = Comparison(self.reader, town.retraction, Places(town.database), self.doubts, messages)
        self.catchup = Catchup(
            self.client,
            town.observer,
            town.observations,
            self.reader,
            self.comparison,
            town.clock,
            pace or Pace(move=NEVER, retry=0.01, hourly=NEVER),
        )
        self.client.presence = Presence(self.departures, town.observations, town.observer, town.clock)
        self.client.began, self.client.available = self.catchup.began, self.catchup.guild_available
        self.client.access_changed = self.catchup.access_changed
        town.observer.missed = self.catchup.missed

    async def held(self) -> list[Message]:
        """Every held message, oldest first, once nothing is behind."""
        await asyncio.wait_for(self.catchup.caught_up(), 10)
        return await self.all()

    async def all(self) -> list[Message]:
        """Every held message, oldest first, as it is now."""
        found = await self.town.messages.to_index(10_000, embedding=True)
        return sorted(found, key=lambda message: message.id)

    def pages(self, place: Channel | Thread) -> list[dict[str, str]]:
        """What was asked of the history of a place."""
        path = f"/channels/{place.id}/messages"
        return [call.query for call in self.town.server.calls if (call.method, call.path) == ("GET", path)]


@asynccontextmanager
async def back(town: Town, pace: Pace | None = None, messages: int = 0, **settings: Any) -> AsyncIterator[Absence]:
    """The watcher is back, and at work until the end.

    Nothing is repeated by the clock unless a pace is given, and of what is held it compares by itself
    that many messages a place: none, unless a test says so, lest it be ahead of what the test asks for.
    """
    absence = Absence(town, pace, messages, **settings)
    working = asyncio.create_task(absence.catchup.run())
    try:
        async with town.at_work(absence.client):
            yield absence
    finally:
        working.cancel()
        await asyncio.wait({working})
        if not working.cancelled():
            working.result()
