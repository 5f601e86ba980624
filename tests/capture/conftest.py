"""The town of the capture tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from watching import Town, town_at

from bot.sandbox.discord import DiscordServer


@pytest.fixture
async def town(discord_server: DiscordServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    """People, a channel and storage, with nobody watching yet."""
    async with town_at(discord_server, tmp_path, monkeypatch) as town:
        yield town
