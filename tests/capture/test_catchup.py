"""Catching up behind the real client: what was said while nobody listened arrives, once, wherever it was said."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from watching import Town, contents

from bot.capture.catchup import Catchup, Pace
from bot.capture.client import Client
from bot.capture.history import History
from bot.capture.presence import Presence
from bot.capture.reader import Reader
from bot.capture.recheck import Comparison
from bot.model import Message
from bot.sandbox.discord import ChannelKind
from bot.settings import RetentionSettings
from bot.storage.cursors import Cursors
from bot.storage.departures import Departures
from bot.storage.doubts import Doubts
from bot.storage.names import Names
from bot.storage.places import Places


@asynccontextmanager
async def catching_up(town: Town, pace: Pace = Pace(), **settings: object) -> AsyncIterator[Catchup]:
    """The client at work with its catch-up."""
    client = town.client(**settings)
    catchup = catchup_of(town, client, pace)
    working = asyncio.create_task(catchup.run())
    try:
        async with town.at_work(client):
            yield catchup
    finally:
        working.cancel()
        await asyncio.wait({working})


def catchup_of(town: Town, client: Client, pace: Pace = Pace()) -> Catchup:
    reader = Reader(
        History(client, pauses=(0.01, 0.01)),
        town.observer,
        town.messages,
        town.observations,
        Cursors(town.database),
        Names(town.database),
        RetentionSettings(),
    )
    doubts = Doubts(town.database)
    comparison = Comparison(reader, town.retraction, Places(town.database), doubts)
    catchup = Catchup(client, town.observer, town.observations, reader, comparison, pace=pace)
    client.presence = Presence(Departures(town.database), town.observations, town.observer)
    client.began, client.available, town.observer.missed = catchup.began, catchup.guild_available, catchup.missed
    return catchup


async def all_held(town: Town, catchup: Catchup) -> list[Message]:
    """Every held message once nothing is behind."""
    async with asyncio.timeout(10):
        while catchup.behind():
            await asyncio.sleep(0.01)
    return await town.messages.to_index(1000, embedding=True)


async def test_what_was_said_while_away_arrives(town: Town) -> None:
    """Channels, threads, archived threads and forum posts are read, each message once, however many pages there are."""
    world = town.world
    forum = world.add_channel(town.guild, "ideas", kind=ChannelKind.FORUM)
    await town.observe(town.general, forum)
    thread = world.add_thread(town.general, "kettles", owner=town.alice)
    archived = world.add_thread(town.general, "cups", owner=town.alice, archived=True)
    private = world.add_thread(town.general, "secret", owner=town.alice, private=True, members=[world.bot])
    post = world.add_post(forum, "a pot", town.bob, "a bigger pot")
    said = ["a bigger pot"]
    for number in range(230):
        said.append(f"number {number}")
        await town.server.say(town.general, town.alice, said[-1], announce=False)
    for place in (thread, archived, post):
        said.append(f"in {place.name}")
        await town.server.say(place, town.bob, said[-1], announce=False)
    await town.server.say(private, town.alice, "not observed", announce=False)

    async with catching_up(town) as catchup:
        assert sorted(contents(await all_held(town, catchup))) == sorted(said)
