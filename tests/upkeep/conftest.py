"""Fixtures of the upkeep tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from house import House, built


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """The rooms memory stands on, in a folder of their own."""
    async with built(tmp_path) as house:
        yield house
