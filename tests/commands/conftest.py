"""Fixtures of the command tests: the rooms as the app composes them, on a stand-in for Discord."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from town import Town

from bot.app import App
from bot.sandbox.discord import DiscordServer, Permission
from bot.settings import Settings


@pytest.fixture
def sections() -> dict[str, Any]:
    """What a test wants different in the settings; no outside service exists by default."""
    return {"ollama": {"url": "http://127.0.0.1:9"}}


@pytest.fixture
async def town(tmp_path: Path, sections: dict[str, Any]) -> AsyncIterator[Town]:
    """The bot, connected; messages are indexed and batches run only when a test says so."""
    async with DiscordServer() as server:
        world = server.world
        admin, ada, bob = world.add_user("admin"), world.add_user("ada"), world.add_user("bob")
        guild = world.add_guild(name="tea club", owner=admin)
        general = world.add_channel(guild, "general")
        staff = world.add_channel(guild, "staff", hidden_from_everyone=True)
        world.add_member(guild, ada)
        world.add_member(guild, bob)
        world.allow(staff, bob, Permission.VIEW_CHANNEL)
        world.allow(staff, world.bot, Permission.VIEW_CHANNEL)
        async with connected(server, tmp_path, sections) as app:
            yield Town(server, app, guild, general, staff, admin, ada, bob)


@asynccontextmanager
async def connected(server: DiscordServer, data: Path, sections: dict[str, Any]) -> AsyncIterator[App]:
    """The app's rooms, with only the connection to Discord at work."""
    discord = {"token": server.token, "api_url": server.api_url, "gateway_url": server.gateway_url}
    settings = Settings.model_validate(
        {"storage": {"path": data}, **sections, "discord": {**discord, **sections.get("discord", {})}}
    )
    async with App(settings) as app, asyncio.TaskGroup() as tasks:
        tasks.create_task(app.client.serve(server.token))
        await app.client.ready.wait()
        try:
            yield app
        finally:
            await app.client.close()
