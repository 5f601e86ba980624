"""Fixtures that more than one room's tests use."""

from collections.abc import AsyncIterator

import pytest

from bot.sandbox.discord import DiscordServer


@pytest.fixture
async def discord_server() -> AsyncIterator[DiscordServer]:
    """A stand-in for Discord with an empty world."""
    async with DiscordServer() as server:
        yield server
