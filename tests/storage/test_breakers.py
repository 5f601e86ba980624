"""The state of breakers, over restarts."""

from pathlib import Path

from records import MINUTE, NOON

from bot.storage.breakers import BreakerState, BreakerStore
from bot.storage.database import Database


async def test_a_breaker_keeps_its_state_over_a_restart(tmp_path: Path) -> None:
    """What was put last comes back, each breaker its own; an unknown one is closed."""
    opened = BreakerState(3, NOON, NOON + MINUTE, "connection refused")
    database = await Database.open(tmp_path)
    store = BreakerStore(database)
    assert await store.get("ollama") == BreakerState()
    await store.put("ollama", BreakerState(1, reason="timeout"))
    await store.put("ollama", opened)
    await database.close()

    database = await Database.open(tmp_path)
    assert await BreakerStore(database).get("ollama") == opened
    assert await BreakerStore(database).get("openai") == BreakerState()
    await BreakerStore(database).put("ollama", BreakerState())
    assert await BreakerStore(database).get("ollama") == BreakerState()
    await database.close()
