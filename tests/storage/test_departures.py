"""Departures: since when the bot has not been in a guild."""

from datetime import timedelta

from records import NOON

from bot.storage.database import Database
from bot.storage.departures import Departures


async def test_the_first_departure_counts_until_the_return(database: Database) -> None:
    """Learning of it once more, after a restart say, does not prolong the time."""
    departures = Departures(database)
    await departures.left(1, NOON)
    await departures.left(1, NOON + timedelta(days=3))
    await departures.left(2, NOON)
    assert await departures.all() == {1: NOON, 2: NOON}
    await departures.returned(1)
    await departures.returned(1)
    assert await departures.all() == {2: NOON}
    await departures.left(1, NOON + timedelta(days=4))
    assert await departures.all() == {1: NOON + timedelta(days=4), 2: NOON}
