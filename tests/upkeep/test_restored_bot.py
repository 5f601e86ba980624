"""A restored bot at work, connected to a stand-in for Discord."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from saved import bring_back, ignore
from town import eventually

from bot.app import App
from bot.errors import RecallPaused
from bot.model import Scope
from bot.sandbox.discord import Channel, DiscordServer, Guild, User
from bot.settings import Settings


class Place:
    """A guild with one observed channel, and the settings of a bot that is in it."""

    def __init__(self, server: DiscordServer, folder: Path) -> None:
        self.server = server
        world = server.world
        self.ada: User = world.add_user("ada")
        self.guild: Guild = world.add_guild(name="lab")
        world.add_member(self.guild, self.ada)
        self.channel: Channel = world.add_channel(self.guild, "general")
        self.scope = Scope(self.guild.id, frozenset({self.channel.id}))
        discord = {"token": server.token, "api_url": server.api_url, "gateway_url": server.gateway_url}
        self.settings = Settings.model_validate(
            {
                "storage": {"path": folder / "data"},
                "discord": {**discord, "observe": [self.channel.id]},
                "ollama": {"url": "http://127.0.0.1:9"},
                "memory": {"index_interval": "10ms"},
                "web": {"port": 0},
            }
        )

    async def say(self, text: str) -> int:
        """Something Ada says; its id."""
        return int((await self.server.say(self.channel, self.ada, text))["id"])

    async def found(self, app: App, query: str) -> list[str]:
        """What recall answers."""
        return [hit.memory.text for hit in (await app.recall.recall(query, self.scope, 20)).hits]


@pytest.fixture
async def place(discord_server: DiscordServer, tmp_path: Path) -> Place:
    """The guild, with a bot's settings for it."""
    return Place(discord_server, tmp_path)


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[App]:
    """The whole bot, connected; drained at the end."""
    async with App(settings) as app, asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(app.serve())
        await app.client.ready.wait()
        yield app
        app.stop()
        await serving


async def held(app: App, ids: list[int]) -> list[int]:
    """Those of these messages that are held."""
    return list(await app.messages.get(ids))


async def test_nothing_taken_back_returns_by_catch_up(place: Place, tmp_path: Path) -> None:
    """Backup, forget, delete, restore, catch up: what was said since is there, what was taken back since is not,
    though Discord still shows the forgotten message."""
    async with at_work(place.settings) as app:
        await eventually(lambda: app.observations.active(place.guild.id))
        ids = [await place.say(f"honey number {n}") for n in range(4)]
        await _until_held(app, ids)
        await app.backup.write(tmp_path / "b.zip", False, ignore)
        ids += [await place.say(f"honey afterwards {n}") for n in range(3)]
        await _until_held(app, ids)
        await app.retraction.messages_deleted(place.guild.id, [ids[1], ids[5]], "forgotten")
        await place.server.delete(place.channel, ids[2])
        async with asyncio.timeout(20):
            while await held(app, [ids[2]]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    shutil.rmtree(place.settings.storage.path)
    restored = await bring_back(place.settings, tmp_path / "b.zip")
    assert (restored.messages, restored.taken_back) == (2, 3)
    async with at_work(place.settings) as app:
        kept = [ids[0], ids[3], ids[4], ids[6]]
        await _until_held(app, kept)
        await eventually(lambda: app.catchup.behind() == 0)
        assert await held(app, ids) == kept
        await app.indexer.drain()
        assert len(await place.found(app, "honey")) == 4


async def test_without_its_journal_recall_waits_for_the_comparison(place: Place, tmp_path: Path) -> None:
    """What was deleted on Discord after the backup is found missing and forgotten before recall answers again."""
    async with at_work(place.settings) as app:
        await eventually(lambda: app.observations.active(place.guild.id))
        ids = [await place.say(f"honey number {n}") for n in range(12)]
        await _until_held(app, ids)
        await app.indexer.drain()
        await app.backup.write(tmp_path / "b.zip", False, ignore)
    await place.server.delete(place.channel, ids[5])
    shutil.rmtree(place.settings.storage.path)
    place.settings.journal_path.unlink()
    assert (await bring_back(place.settings, tmp_path / "b.zip")).recheck
    async with at_work(place.settings) as app:
        await eventually(lambda: not app.recheck.required)
        assert await held(app, ids) == [id for id in ids if id != ids[5]]
        assert "honey number 5" not in await place.found(app, "honey")
    async with App(place.settings) as app:
        assert len(await place.found(app, "honey number")) == 11


async def test_recall_says_why_it_is_off(place: Place, tmp_path: Path) -> None:
    """While Discord cannot be asked, the answer is the sentence."""
    async with App(place.settings) as app:
        await app.backup.write(tmp_path / "b.zip", False, ignore)
    shutil.rmtree(place.settings.storage.path)
    place.settings.journal_path.unlink()
    await bring_back(place.settings, tmp_path / "b.zip")
    async with App(place.settings) as app:
        with pytest.raises(RecallPaused):
            await place.found(app, "honey")


async def _until_held(app: App, ids: list[int]) -> None:
    """Wait for the bot to hold all of these messages, and none that is gone."""
    async with asyncio.timeout(20):
        while await held(app, ids) != ids:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
