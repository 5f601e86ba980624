"""An index that is copied aside to be read there."""

import asyncio
import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.memory import shard_copy
from bot.memory.edge import EdgeIndex
from bot.memory.index import IndexPoint, Key
from bot.memory.places import open_source, parse
from bot.settings_services import QdrantSettings


async def test_a_copy_that_is_stopped_is_put_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a large file leaves nothing of it behind, and no error but that it was stopped."""
    index = EdgeIndex(tmp_path / "index", 4)
    for guild in (1, 2):
        point = IndexPoint(
            f"6f1d6f3c-0000-4000-8000-{guild:012}", {"guild_id": str(guild)}, {Key.DENSE: [1.0, 2, 3, 4]}
        )
        await index.upsert(guild, [point])
    await index.close()
    started, go_on, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()
    copy = shard_copy._copy_file

    def slowly(source: str, target: str) -> None:
        loop.call_soon_threadsafe(started.set)
        go_on.wait(10)
        copy(source, target)

    monkeypatch.setattr(shard_copy, "_copy_file", slowly)
    aside = tmp_path / "aside"

    async def move() -> None:
        async with open_source(parse(f"edge:{tmp_path / 'index'}", "", SecretStr("")), QdrantSettings(), aside):
            pass

    moving = asyncio.create_task(move())
    await asyncio.wait_for(started.wait(), 10)
    moving.cancel()
    loop.call_later(0.05, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await moving
    await loop.shutdown_default_executor()  # whatever still went on is over then
    assert not aside.exists()
