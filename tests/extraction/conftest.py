"""Fixtures of the extraction tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from workshop import Workshop

from bot.sandbox.ollama import OllamaServer
from bot.storage.database import Database


@pytest.fixture
async def server() -> AsyncIterator[OllamaServer]:
    """Ollama, nearby."""
    async with OllamaServer() as server:
        yield server


@pytest.fixture
async def workshop(tmp_path: Path, server: OllamaServer) -> AsyncIterator[Workshop]:
    """The real rooms over a fresh database."""
    database = await Database.open(tmp_path)
    workshop = await Workshop.open(database, server)
    yield workshop
    await workshop.close()
    await workshop.messages.close()
    await database.close()
