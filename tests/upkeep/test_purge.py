"""Purging: no byte of removed text stays in the data folder, whatever is broken or goes on meanwhile."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from house import BEN, GUILD, OTHER_GUILD, START, House, fact_of, holding, said
from structlog.testing import capture_logs

from bot.errors import IndexUnavailable, StorageUnavailable
from bot.memory.indexer import Indexer
from bot.model import Fact
from bot.storage.residue import Residue
from bot.upkeep import purge
from bot.upkeep.purge import Purge, Purged

HOUR = timedelta(hours=1)


def purging(house: House, indexer: Indexer, within: timedelta = 24 * HOUR) -> Purge:
    return Purge(house.database, Residue(house.database), indexer, house.index, within, house.clock)


@pytest.fixture
async def indexer(house: House) -> Indexer:
    """Indexed messages and a fact."""
    await house.messages.capture_many([said(1, "the walrus sings"), said(2, "the kiln arrives", BEN)])
    await house.learn(fact_of("Somebody keeps a narwhal", [said(2, "the kiln arrives", BEN)]))
    indexer = house.indexer()
    assert await indexer.drain() == 3
    house.clock.forward(HOUR)
    return indexer


async def take_back(house: House) -> None:
    """Delete a message and forget the fact."""
    [narwhal] = await house.facts.resting_on([2])
    await house.retraction.facts_forgotten(GUILD, [narwhal.id])
    await house.retraction.messages_deleted(GUILD, [1])


async def take_back_elsewhere(house: House, indexer: Indexer) -> None:
    """Delete another guild's message too."""
    await house.messages.capture_many([said(11, "a quokka smiles", guild=OTHER_GUILD)])
    await indexer.drain()
    await house.retraction.messages_deleted(OTHER_GUILD, [11])


async def test_nothing_removed_is_left_in_any_file(house: House, indexer: Indexer, tmp_path: Path) -> None:
    """Deleted and forgotten text is gone from the database and the index; the rest is still there."""
    await take_back(house)
    steps: list[str] = []
    done = await purging(house, indexer).now(lambda what, *_: steps.append(what))
    assert done == Purged(1, frozenset())
    assert holding(tmp_path, "walrus", "narwhal", "kiln") == {"kiln"}
    assert list(dict.fromkeys(steps)) == ["removing", "rewriting", "scrubbing"]
    assert await purging(house, indexer).now() == Purged(0, frozenset())
    assert len(await house.points()) == 1


async def test_an_edit_that_is_not_indexed_yet_is_purged_too(house: House, indexer: Indexer, tmp_path: Path) -> None:
    """The index follows the edit first, or else the old words would be copied as if they were held."""
    await house.edit(1, "the penguin sings", START + HOUR)
    await purging(house, indexer).now()
    assert holding(tmp_path, "walrus", "penguin") == {"penguin"}


async def test_what_another_client_wrote_is_purged_too(house: House, indexer: Indexer, tmp_path: Path) -> None:
    """A memory without a record leaves its text in the index alone."""
    [point] = [one for one in (await house.points()).values() if one.payload["data"] == "the walrus sings"]
    foreign = str(uuid4())
    await house.index.upsert(GUILD, [replace(point, id=foreign, payload={**point.payload, "data": "the gnu sings"})])
    await house.retraction.points_forgotten(GUILD, [foreign])
    await purging(house, indexer).now()
    assert holding(tmp_path, "gnu", "walrus") == {"walrus"}


async def test_a_broken_guild_stops_no_other(house: House, indexer: Indexer, tmp_path: Path) -> None:
    """It is named, said once in the log, and purged as soon as it works again."""
    await take_back(house)
    await take_back_elsewhere(house, indexer)
    await indexer.drain()
    house.index.broken_guild = OTHER_GUILD
    one = purging(house, indexer)
    with capture_logs() as logs:
        for expected in (Purged(1, frozenset({OTHER_GUILD})), Purged(0, frozenset({OTHER_GUILD}))):
            assert await one.now() == expected
    assert [(line["event"], line["guild_id"]) for line in logs if line["log_level"] == "warning"] == [
        ("guild_not_purged", OTHER_GUILD)
    ]
    assert holding(tmp_path / "index", "walrus", "narwhal", "quokka") == {"quokka"}
    house.index.broken_guild = None
    assert await one.now() == Purged(1, frozenset())
    assert holding(tmp_path, "walrus", "quokka", "narwhal") == set()


async def test_a_guild_whose_removals_wait_is_not_taken_for_purged(house: House, indexer: Indexer) -> None:
    """While the index has not followed a retraction, rewriting would keep the text."""
    await take_back(house)
    house.index.broken_guild = GUILD
    await indexer.remove_pending()
    house.index.broken_guild = None
    one = purging(house, indexer)
    assert (await one.now()).postponed == {GUILD}
    house.clock.forward(HOUR)
    assert await one.now() == Purged(1, frozenset())


async def test_a_guild_that_failed_only_for_a_moment_is_not_taken_for_purged(
    house: House, indexer: Indexer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An edit that its files did not take is not in them, even if the guild may be tried again by now."""
    await house.edit(1, "the penguin sings", START + HOUR)
    house.index.broken_guild = GUILD
    to_index = house.facts.to_index

    async def look_last(*arguments: Any, **options: Any) -> list[Fact]:
        found = await to_index(*arguments, **options)
        house.index.broken_guild = None
        house.clock.forward(HOUR)
        return found

    one = purging(house, indexer)
    with monkeypatch.context() as patched:
        patched.setattr(house.facts, "to_index", look_last)
        assert await one.now() == Purged(0, frozenset({GUILD}))
    assert await one.now() == Purged(1, frozenset())
    assert holding(tmp_path, "walrus", "penguin") == {"penguin"}


async def test_an_outage_takes_nothing_for_purged(
    house: House, indexer: Indexer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the index or the database out of reach every mark stays, and the next try does it all."""
    await take_back(house)
    one = purging(house, indexer)
    house.index.break_down()
    with pytest.raises(IndexUnavailable):
        await one.now()
    house.index.down = None

    async def refuse() -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patched, pytest.raises(StorageUnavailable):
        patched.setattr(house.database, "scrub", refuse)
        await one.now()
    assert set(await Residue(house.database).marked()) == {GUILD}
    assert await one.now() == Purged(1, frozenset())
    assert holding(tmp_path, "walrus", "narwhal") == set()


async def test_what_is_removed_during_a_purge_stays_marked(house: House, indexer: Indexer, tmp_path: Path) -> None:
    """Its text may have been copied already, so it waits for the next purge."""
    await take_back(house)
    rewrite = house.index.purge

    async def purge_late(guild_id: int | None) -> None:
        await rewrite(guild_id)
        if guild_id == GUILD:
            house.clock.forward(HOUR)
            await house.retraction.messages_deleted(GUILD, [2])

    house.index.purge = purge_late
    one = purging(house, indexer)
    await one.now()
    house.index.purge = rewrite
    assert set(await Residue(house.database).marked()) == {GUILD}
    await one.now()
    assert holding(tmp_path, "walrus", "kiln") == set()


async def test_it_runs_by_itself_in_time_and_outlives_outages(
    house: House, indexer: Indexer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Half of the time after a removal it begins; an outage is one line in the log and is tried again."""
    monkeypatch.setattr(purge, "_SHORTEST_REST", 0.01)
    monkeypatch.setattr(purge, "_LONGEST_REST", 0.01)
    residue = Residue(house.database)
    await take_back(house)
    running = asyncio.create_task(purging(house, indexer).run())
    house.clock.forward(11 * HOUR)
    house.index.tried.clear()
    await asyncio.sleep(0.05)
    assert not house.index.tried.is_set()
    with capture_logs() as logs:
        house.index.break_down()
        house.clock.forward(2 * HOUR)
        for _ in range(3):
            await house.index.tried.wait()
            house.index.tried.clear()
        house.index.down = None
        async with asyncio.timeout(10):
            while await residue.marked():  # noqa: ASYNC110  (of another task)
                await asyncio.sleep(0.01)
    running.cancel()
    assert [line["event"] for line in logs if line["event"].startswith("purge")] == ["purge_postponed", "purged"]
    assert holding(tmp_path, "walrus", "quokka", "narwhal") == set()
