"""What the process remembers by name."""

from bot.storage.database import Database
from bot.storage.state import StateStore


async def test_a_value_is_kept_until_it_is_replaced_or_removed(database: Database) -> None:
    """The last value counts; an unknown name has none."""
    state = StateStore(database)
    assert await state.get("journal") is None
    await state.put("journal", "first")
    await state.put("journal", "second")
    await state.put("recheck", "required")
    assert await state.get("journal") == "second"
    await state.remove("journal")
    await state.remove("journal")
    assert await state.get("journal") is None
    assert await state.get("recheck") == "required"
