"""What an index lost is indexed again from SQL, whoever moved it away."""

import shutil
from datetime import timedelta
from pathlib import Path

from house import GUILD, OTHER_GUILD, STAFF, House, fact_of, said
from structlog.testing import capture_logs


async def learned(house: House) -> None:
    """Two messages and a fact of one guild, and a message of another, all in the index."""
    await house.messages.capture_many(
        [said(1, "one"), said(2, "two"), said(3, "three", channel=STAFF, guild=OTHER_GUILD)]
    )
    await house.learn(fact_of("a fact", [said(1, "one")]))
    assert await house.indexer().drain() == 4


async def test_a_lost_index_is_made_again(house: House, tmp_path: Path) -> None:
    """After a start without a guild's folder all of it is written again, and nothing of the others."""
    await learned(house)
    house.index.shards.close()
    shutil.move(tmp_path / "index" / str(GUILD), tmp_path / "aside")
    with capture_logs() as logs:
        assert await house.indexer().drain() == 3
        assert await house.indexer().drain() == 0
    assert set(await house.points()) == {"one", "two", "a fact"}
    assert [(line["guild_id"], line["records"]) for line in logs if line["event"] == "index_rebuilt"] == [(GUILD, 3)]


async def test_a_broken_guild_that_lost_its_points_gets_them_back(house: House) -> None:
    """Once its part works again and is empty, what was in it is indexed anew, without a restart."""
    await learned(house)
    indexer = house.indexer()
    await indexer.drain()
    await house.messages.capture(said(4, "four"))
    house.index.broken_guild = GUILD
    assert await indexer.drain() == 0
    house.index.broken_guild = None
    await house.index.drop_guild(GUILD)
    house.clock.forward(timedelta(hours=1))
    assert await indexer.drain() == 4
    assert set(await house.points()) == {"one", "two", "four", "a fact"}


async def test_what_is_there_is_left_alone(house: House) -> None:
    """A start writes nothing that the index holds already, and a guild without a word is no loss."""
    await learned(house)
    await house.retraction.messages_deleted(OTHER_GUILD, [3])
    house.index.upserts.clear()
    with capture_logs() as logs:
        assert await house.indexer().drain() == 0
    assert house.index.upserts == []
    assert not [line for line in logs if line["event"] == "index_rebuilt"]
