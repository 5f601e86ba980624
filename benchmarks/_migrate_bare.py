"""A process that writes points straight into a new index, as a migration does: its seconds for that alone."""

import asyncio
import json
import sys
import time

from _index_data import GUILD, chunks
from _migrate_runs import COLLECTION

from bot.memory.migrate import PAGE
from bot.memory.places import Made, open_target, parse
from bot.settings_services import QdrantSettings


async def fill(place: str, points: int, dims: int) -> float:
    """Write so many points; the seconds the index took for it."""
    seconds = 0.0
    settings = QdrantSettings(collection=COLLECTION)
    async with open_target(parse(place, COLLECTION, settings.api_key), settings, Made(dims, None)) as index:
        for _, chunk in chunks(points, dims):
            began = time.perf_counter()
            for start in range(0, len(chunk), PAGE):
                await index.upsert(GUILD, chunk[start : start + PAGE])
            seconds += time.perf_counter() - began
    return seconds


if __name__ == "__main__":
    place, points, dims = sys.argv[1:]
    json.dump(asyncio.run(fill(place, int(points), int(dims))), sys.stdout)
