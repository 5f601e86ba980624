"""Fixtures of the memory tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from house import DIMENSIONS, Clock, House

from bot.memory.bm25 import Bm25
from bot.memory.edge import EdgeIndex
from bot.storage.database import Database
from bot.storage.facts import FactStore
from bot.storage.keyword import KeywordSearch
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue
from bot.storage.retraction import Retraction


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = Clock()
    database = await Database.open(tmp_path)
    index = EdgeIndex(tmp_path / "index", DIMENSIONS)
    await index.open()
    yield House(
        database,
        MessageStore(database, clock),
        FactStore(database, clock),
        ExtractionQueue(database, clock),
        Retraction(database, clock),
        KeywordSearch(database),
        index,
        Bm25("english"),
        clock,
    )
    await index.close()
    await database.close()
