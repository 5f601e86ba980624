"""A process that merely opens an index: the bytes of anonymous memory that the index keeps of its points."""

import asyncio
import json
import sys

import psutil
from _migrate_runs import COLLECTION, anonymous

from bot.memory.places import Made, open_target, parse
from bot.settings_services import QdrantSettings


async def opened(place: str, dims: int) -> int:
    """By how much it grew for that, having opened such an index before, in which there is nothing."""
    await _count(f"{place}-empty", dims)
    before = anonymous(psutil.Process())
    return await _count(place, dims) - before


async def _count(place: str, dims: int) -> int:
    """Open an index as far as it takes to ask it for something: the anonymous memory of this process then."""
    settings = QdrantSettings(collection=COLLECTION)
    async with open_target(parse(place, COLLECTION, settings.api_key), settings, Made(dims, None)) as index:
        await index.counts()
        return anonymous(psutil.Process())


if __name__ == "__main__":
    place, dims = sys.argv[1:]
    json.dump(asyncio.run(opened(place, int(dims))), sys.stdout)
