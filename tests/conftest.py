"""Fixtures that more than one room's tests use."""

from collections.abc import AsyncIterator

import hypothesis
import pytest

from bot.sandbox.discord import DiscordServer

hypothesis.settings.register_profile("thorough", max_examples=4 * hypothesis.settings().max_examples)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: what is left at the end is then shared evenly among the workers."""
    longest = ("test_chaos", "test_cli", "test_demo")
    items.sort(key=lambda item: not item.path.stem.startswith(longest))


@pytest.fixture
async def discord_server() -> AsyncIterator[DiscordServer]:
    """A stand-in for Discord with an empty world."""
    async with DiscordServer() as server:
        yield server
