"""Fixtures of the storage tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from records import Clock, Vault

from bot.storage.database import Database
from bot.storage.facts import FactStore
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue
from bot.storage.retraction import Retraction


@pytest.fixture
def clock() -> Clock:
    """A clock that stands at noon."""
    return Clock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A new database."""
    database = await Database.open(tmp_path)
    yield database
    await database.close()


@pytest.fixture
async def vault(database: Database, clock: Clock) -> AsyncIterator[Vault]:
    """The stores over a new database."""
    messages = MessageStore(database, clock)
    facts, retraction = FactStore(database, clock), Retraction(database, clock)
    yield Vault(database, messages, ExtractionQueue(database, clock), facts, retraction, clock)
    await messages.close()
