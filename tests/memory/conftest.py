"""Fixtures of the memory tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import stamina
from house import DIMENSIONS, House, built
from pydantic import SecretStr

from bot.memory.embeddings import OpenAIEmbedder
from bot.sandbox.openai import OpenAIServer
from bot.settings_services import OpenAISettings


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with built(tmp_path) as house:
        yield house


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
