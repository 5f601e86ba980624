"""Doubts: kept until an admin decides, and what is fine is remembered."""

from datetime import timedelta

from records import CHANNEL, GUILD, NOON, Clock

from bot.storage.database import Database
from bot.storage.doubts import Doubt, Doubts


async def test_doubts_gather_until_they_are_resolved(database: Database, clock: Clock) -> None:
    """What is found missing later joins what is in doubt; resolving hands back all of it, once."""
    doubts = Doubts(database, clock)
    await doubts.put(GUILD, CHANNEL, [3, 1], held=10)
    clock.move(timedelta(hours=1))
    await doubts.put(GUILD, CHANNEL, [5, 3], held=8)
    await doubts.put(2, 99, [7], held=1)

    assert await doubts.all(GUILD) == [Doubt(GUILD, CHANNEL, (1, 3, 5), 8, NOON + timedelta(hours=1))]
    assert [doubt.place_id for doubt in await doubts.all()] == [CHANNEL, 99]
    assert await doubts.asked(CHANNEL) == {1, 3, 5}
    assert await doubts.resolve(CHANNEL) == (1, 3, 5)
    assert await doubts.resolve(CHANNEL) == ()
    assert await doubts.resolve(12345) == ()
    assert await doubts.all(GUILD) == []
    assert await doubts.asked(CHANNEL) == set()


async def test_what_is_fine_is_not_asked_about_again(database: Database, clock: Clock) -> None:
    """An admin's word stands while new doubts come and go."""
    doubts = Doubts(database, clock)
    await doubts.put(GUILD, CHANNEL, [1, 2], held=5)
    assert await doubts.resolve(CHANNEL, keep=True) == (1, 2)
    await doubts.put(GUILD, CHANNEL, [3], held=5)
    assert [doubt.missing for doubt in await doubts.all()] == [(3,)]
    assert await doubts.asked(CHANNEL) == {1, 2, 3}
    assert await doubts.resolve(CHANNEL) == (3,)
    assert await doubts.asked(CHANNEL) == {1, 2}
