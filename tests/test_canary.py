"""Words planted everywhere, taken back in every way there is, and looked for in every byte of every file."""

import asyncio
import operator
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from house import fact_of, holding

from bot.app import App
from bot.memory.index import IndexPoint, Key
from bot.memory.mem0_adapter import from_payload
from bot.model import Memory, Scope, utcnow
from bot.sandbox.community import StoryClock
from bot.sandbox.discord import Channel, DiscordServer, Guild, User, World
from bot.sandbox.discord.entities import Attachment
from bot.sandbox.ollama import OllamaServer
from bot.sandbox.openai import OpenAIServer, embed
from bot.settings import Settings

LIVE = {"pandacanary", "ottercanary", "mynacanary"}
GONE = {
    "zebracanary",  # a message deleted, and the fact on it
    "ibiscanary",  # its attachment's description
    "tapircanary",  # and name
    "quokkacanary",  # words that were edited away
    "axolotlcanary",  # the name of a member who was forgotten
    "narwhalcanary",  # and what they said
    "okapicanary",  # said in a channel that was deleted
    "lemurcanary",  # and its name
    "mootcanary",  # said longer ago than words are kept
    "kiwicanary",  # a fact that was forgotten, while the message it rests on stays
    "gnucanary",  # what another mem0 client wrote
    "emucanary",  # and what it wrote without a server, given to a channel later
}
DIMENSIONS = 64


@dataclass
class Zoo:
    """The bot at work in a server with people in it."""

    server: DiscordServer
    app: App
    clock: StoryClock
    guild: Guild
    general: Channel
    doomed: Channel
    ada: User
    eve: User
    said: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    async def says(self, name: str, author: User, text: str, place: Channel | None = None, **more: Any) -> None:
        """Something is said, and captured."""
        self.said[name] = await self.server.say(place or self.general, author, text, **more)
        await self.until(name, bool)

    def id_of(self, name: str) -> int:
        return int(self.said[name]["id"])

    async def until(self, name: str, holds: Callable[[str], bool]) -> None:
        """Wait until the held words of a message are as they should be."""
        async with asyncio.timeout(10):
            while not holds(await self.words(name)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # on its way through the gateway

    async def words(self, name: str) -> str:
        """The held words of a message; none if it is not held."""
        return "".join(one.text for one in (await self.app.messages.get([self.id_of(name)])).values())

    async def recalled(self, words: str) -> list[str]:
        """What recall finds, evidence included."""
        scope = Scope(self.guild.id, frozenset({self.general.id, self.doomed.id}))
        hits = (await self.app.recall.recall(words, scope, 20)).hits
        return [memory.text for hit in hits for memory in (hit.memory, *hit.evidence)]

    async def memories(self, matches: Callable[[Memory], bool]) -> list[Memory]:
        """What the index holds of the server."""
        points, _ = await self.app.index.scroll(self.guild.id, limit=100)
        found = [memory for one in points if (memory := from_payload(one.id, one.payload))]
        return [memory for memory in found if matches(memory)]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Zoo]:
    """The bot, at work forty days ago."""
    clock = StoryClock(utcnow() - timedelta(days=40))
    async with DiscordServer(World(clock=clock)) as server, OllamaServer() as ollama, OpenAIServer() as openai:
        world = server.world
        owner, ada = world.add_user("owner"), world.add_user("ada", display_name="Ada")
        eve = world.add_user("eve", display_name="AxolotlCanary")
        guild = world.add_guild(name="zoo", owner=owner)
        for member in (ada, eve):
            world.add_member(guild, member)
        general, doomed = world.add_channel(guild, "general"), world.add_channel(guild, "lemurcanary-house")
        settings = Settings.model_validate(
            {
                "discord": {"token": server.token, "api_url": server.api_url, "gateway_url": server.gateway_url},
                "storage": {"path": folder},
                "ollama": {"url": ollama.url},
                "openai": {"api_key": "k", "base_url": openai.url, "dimensions": DIMENSIONS},
                "web": {"port": 0},
            }
        )
        async with App(settings, clock) as app, asyncio.TaskGroup() as tasks:
            for channel in (general, doomed):
                await app.observations.switch_on(guild.id, channel.id, owner.id)
            tasks.create_task(app.serve())
            await app.client.ready.wait()
            yield Zoo(server, app, clock, guild, general, doomed, ada, eve)
            app.stop()


async def plant(zoo: Zoo) -> None:
    """Everything is said, extracted and indexed."""
    await zoo.says("old", zoo.ada, "the mootcanary is over there")
    zoo.clock.forward_to(utcnow() - timedelta(hours=1))
    file = Attachment("tapircanary.png", description="a photo of an ibiscanary")
    await zoo.says("deleted", zoo.ada, "I love the zebracanary", attachments=[file])
    await zoo.says("kept", zoo.ada, "I like every pandacanary in town")
    await zoo.says("edited", zoo.ada, "meet me at the quokkacanary")
    await zoo.says("forgotten", zoo.eve, "I love the narwhalcanary")
    await zoo.says("gone", zoo.ada, "I play with the okapicanary", zoo.doomed)
    await zoo.says("quiet", zoo.ada, "what a nice day")
    quiet = list((await zoo.app.messages.get([zoo.id_of("quiet")])).values())
    lease = (await zoo.app.queue.take([zoo.id_of("quiet")], timedelta(minutes=5))).lease
    assert await zoo.app.queue.commit(lease, [fact_of("Somebody keeps a kiwicanary", quiet)]) == 1
    await zoo.app.worker.flush(zoo.guild.id)
    await zoo.app.indexer.drain()
    vector = {Key.DENSE: embed("x", DIMENSIONS)}
    born = {"created_at": utcnow().isoformat(), "user_id": str(zoo.ada.id)}
    mapped = {"agent_id": str(zoo.guild.id), "run_id": str(zoo.general.id)}
    for number, (word, place) in enumerate(
        {"gnucanary": zoo.guild.id, "mynacanary": zoo.guild.id, "emucanary": None}.items(), start=1
    ):
        payload = {"data": f"a {word} of mem0's", "hash": word, "text_lemmatized": word, **born}
        point = IndexPoint(f"6f1d6f3c-0000-4000-8000-{number:012}", payload | (mapped if place else {}), vector)
        await zoo.app.index.upsert(place, [point])
    await zoo.app.reconciler.run_once([zoo.guild.id])
    assert await zoo.app.reconciler.adopt(zoo.guild.id, zoo.general.id, zoo.general.id) == 1


async def take_back(zoo: Zoo) -> None:
    """Everything but the live words, each in its own way."""
    await zoo.server.delete(zoo.general, zoo.said["deleted"])
    await zoo.server.edit(zoo.general, zoo.said["edited"], "meet me at the ottercanary")
    zoo.server.world.remove_channel(zoo.doomed)
    for name in ("deleted", "gone"):
        await zoo.until(name, operator.not_)
    await zoo.until("edited", lambda words: "otter" in words)
    await zoo.app.forget.member(zoo.guild.id, zoo.eve.id)
    unwanted = await zoo.memories(lambda one: any(word in one.text for word in ("kiwi", "gnu", "emu")))
    assert len(unwanted) == 3
    await zoo.app.forget.memories(zoo.guild.id, unwanted)
    await zoo.app.retention.expire()  # unless it was time for that by itself
    assert not await zoo.app.messages.holds(zoo.id_of("old"))


async def test_what_is_taken_back_is_on_no_byte_of_the_disk(tmp_path: Path) -> None:
    """Every planted word is in the files; taken back and purged, none of them is, and the others are recalled."""
    async with opened(tmp_path / "data") as zoo:
        await plant(zoo)
        assert holding(tmp_path, *GONE, *LIVE) == (GONE | LIVE) - {"ottercanary"}

        await take_back(zoo)
        for word in GONE:
            assert not any(word in text.lower() for text in await zoo.recalled(word)), word
        done = await zoo.app.operations()["purge"]({}, lambda *_: None)
        assert done == {"guilds": 1, "postponed": []}

        assert holding(tmp_path, *GONE, *LIVE) == LIVE
        for word in LIVE:
            assert any(word in text for text in await zoo.recalled(word)), word
        await zoo.app.worker.flush(zoo.guild.id)
        await zoo.app.indexer.drain()
    assert holding(tmp_path, *GONE, *LIVE) == LIVE
    assert sorted(os.listdir(tmp_path)) == ["data", "data-journal"]
