"""Fixtures of the memory tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import stamina
from house import DIMENSIONS, BreakableIndex, Clock, House
from pydantic import SecretStr

from bot.memory.bm25 import Bm25
from bot.memory.embeddings import OpenAIEmbedder
from bot.sandbox.openai import OpenAIServer
from bot.settings import OpenAISettings
from bot.storage.breaker import Breakers
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
    index = BreakableIndex(tmp_path / "index", DIMENSIONS)
    await index.open()
    breakers = await Breakers.load(database, clock=clock)
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
        breakers,
    )
    await index.close()
    await breakers.close()
    await database.close()


@pytest.fixture
async def openai() -> AsyncIterator[OpenAIServer]:
    """OpenAI's embeddings, nearby."""
    async with OpenAIServer() as server:
        yield server


@pytest.fixture
async def embedder(openai: OpenAIServer) -> AsyncIterator[OpenAIEmbedder]:
    """The real client, which retries without waiting."""
    settings = OpenAISettings(api_key=SecretStr("sk-test"), base_url=openai.url, dimensions=DIMENSIONS)
    embedder = OpenAIEmbedder(settings)
    with stamina.set_testing(True, attempts=2):
        yield embedder
    await embedder.close()
