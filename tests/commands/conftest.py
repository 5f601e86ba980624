"""Fixtures of the command tests: the rooms as the app composes them, on a stand-in for Discord."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from town import Town, connected

from bot.commands import backfill
from bot.sandbox.discord import DiscordServer, Permission


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is shown at once, not every two seconds."""
    monkeypatch.setattr(backfill, "EVERY_SECONDS", 0.01)


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
