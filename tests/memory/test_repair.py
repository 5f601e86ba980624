"""Repair: an index of an earlier time is brought back to what is held, and what others did to it is left alone."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from house import (
    BEN,
    DIMENSIONS,
    GUILD,
    OTHER_GUILD,
    STAFF,
    START,
    BreakableIndex,
    House,
    everywhere,
    fact_of,
    said,
    texts,
)
from structlog.testing import capture_logs

from bot.errors import IndexUnavailable, StorageUnavailable
from bot.memory.embeddings import OpenAIEmbedder
from bot.memory.index import IndexPoint
from bot.memory.mem0_adapter import to_payload
from bot.memory.repair import Repair
from bot.model import fact_memory, message_memory, message_memory_id
from bot.sandbox.openai import OpenAIServer
from bot.storage.drift import Drift

YARD = 72
KILN, GLAZE = said(1, "the kiln arrives on monday"), said(2, "the glaze is blue")
GLOVES, MASKS = said(3, "bring gloves", BEN, STAFF), said(4, "and masks", channel=STAFF)
APRONS, BOOTS = said(5, "aprons are in the cupboard", BEN, YARD), said(6, "boots as well", channel=YARD)
FOREIGN = "00000000-0000-4000-8000-00000000000"


def repair_of(house: House) -> Repair:
    return Repair(house.index, Drift(house.database, house.clock), house.messages, house.retraction)


@asynccontextmanager
async def reopened(house: House) -> AsyncIterator[House]:
    """The house after a start, on whatever lies in the index's folder by then."""
    index = BreakableIndex(folder_of(house), DIMENSIONS)
    await index.open()
    yield replace(house, index=index)
    await index.close()


def folder_of(house: House) -> Path:
    return house.index.shards._folders.root


async def test_an_index_of_an_earlier_time_is_brought_back(
    house: House, embedder: OpenAIEmbedder, openai: OpenAIServer, tmp_path: Path
) -> None:
    """What was deleted, edited, said and learned since is as if the index had never been put back."""
    await house.messages.capture_many([KILN, GLAZE, GLOVES, MASKS, APRONS])
    moved, gone = fact_of("The kiln arrives on Monday.", [KILN]), fact_of("Ben wants gloves.", [GLOVES], BEN)
    await house.learn(moved, gone)
    await house.indexer(embedder).drain()
    await house.index.close()
    await asyncio.to_thread(shutil.copytree, folder_of(house), tmp_path / "earlier")

    async with reopened(house) as later:
        house.clock.forward(timedelta(hours=1))
        await later.edit(1, "the kiln comes on tuesday", house.clock())
        await later.retraction.messages_deleted(GUILD, [GLOVES.id])
        await later.messages.capture(BOOTS)
        await later.learn(fact_of("The kiln arrives on Tuesday.", [KILN]))
        await later.indexer(embedder).drain()
        expected = await later.points()
    await asyncio.to_thread(shutil.rmtree, folder_of(house))
    await asyncio.to_thread(shutil.move, tmp_path / "earlier", folder_of(house))

    async with reopened(house) as now:
        assert {KILN.content, GLOVES.content, moved.text, gone.text} < set(await now.points())
        with capture_logs() as logs:
            assert await repair_of(now).run_once([GUILD]) == 6
        assert [(log["wrong"], log["lost"]) for log in logs if log["event"] == "index_repaired"] == [(4, 2)]
        assert not {moved.text, gone.text, KILN.content} & set(
            texts(await now.recall().recall("kiln gloves", everywhere(), 9))
        )
        await now.indexer(embedder).drain()
        assert await now.points() == expected

        sent = len(openai.texts)
        assert await repair_of(now).run_once([GUILD]) == 0
        await now.indexer(embedder).drain()
        assert len(openai.texts) == sent


async def test_what_other_clients_wrote_changed_and_deleted_stays(house: House) -> None:
    """They edit the index and no record: nothing of it is undone while the index is of this time."""
    await house.messages.capture_many([KILN, GLOVES, GLAZE])
    await house.indexer().drain()
    points = await house.points()
    kiln = points[KILN.content]
    edited = {**kiln.payload, "data": "the oven arrives", "updated_at": "2030-01-01T00:00:00+00:00"}
    adopted = {**to_payload(fact_memory(fact_of("Ben knits.", [GLOVES]))), "sources": [2]}
    odd = [{"color": "red"}, {**adopted, "sources": [[]]}, {**adopted, "sources": [2**63]}, {**adopted, "kind": [1]}]
    odd += [adopted, {**to_payload(message_memory(GLOVES)), "data": "a copy by another tool"}]
    await house.index.upsert(GUILD, [replace(kiln, payload=edited)])
    await house.index.upsert(GUILD, [IndexPoint(f"{FOREIGN}{n}", payload) for n, payload in enumerate(odd)])
    await house.index.delete(GUILD, [message_memory_id(GLAZE)])

    before = await house.points()
    assert await repair_of(house).run_once([GUILD]) == 0
    await house.indexer().drain()
    assert await house.points() == before


async def test_much_that_was_lost_comes_back(house: House) -> None:
    """Part of the index is gone without anything else being wrong: more than anybody deletes one by one."""
    many = [said(id, f"message number {id}") for id in range(1, 400)]
    await house.messages.capture_many(many)
    await house.indexer().drain()
    before = await house.points()
    await house.index.delete(GUILD, [message_memory_id(one) for one in many[::3]])
    assert await repair_of(house).run_once([GUILD]) == len(many[::3])
    await house.indexer().drain()
    assert await house.points() == before


async def test_the_index_of_another_database_is_left_alone(house: House) -> None:
    """A bot started on the wrong data folder, with a server that holds another bot's memories, removes nothing."""
    theirs = [message_memory(said(id, f"message number {id}")) for id in range(10, 150)]
    await house.index.upsert(GUILD, [IndexPoint(one.id, to_payload(one)) for one in theirs])
    await house.messages.capture(KILN)
    await house.indexer().drain()
    with capture_logs() as logs:
        assert await repair_of(house).run_once([GUILD]) == 0
    assert [(log["event"], log["points"]) for log in logs] == [("index_of_another_database", len(theirs))]
    await house.indexer().drain()
    assert await house.index.count(GUILD) == len(theirs) + 1


async def test_much_that_was_taken_back_goes_however_little_is_held(house: House) -> None:
    """The index holds what has expired or was deleted since, and hardly anything else: the tombstones know it."""
    many = [said(id, f"message number {id}") for id in range(10, 150)]
    await house.messages.capture_many([KILN, *many])
    await house.indexer().drain()
    points = await house.points()
    await house.forget(house.indexer()).messages(GUILD, [one.id for one in many])
    await house.index.upsert(GUILD, [points[one.content] for one in many])
    assert await repair_of(house).run_once([GUILD]) == len(many)
    await house.indexer().drain()
    assert set(await house.points()) == {KILN.content}


async def test_a_repair_that_was_cut_short_is_done_by_the_next(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few lost memories matter only as long as something wrong proves that the index is of an earlier time."""
    await house.messages.capture_many([KILN, GLAZE])
    await house.indexer().drain()
    before = await house.points()
    await house.index.delete(GUILD, [message_memory_id(GLAZE)])
    await house.index.upsert(GUILD, [IndexPoint(message_memory_id(BOOTS), to_payload(message_memory(BOOTS)))])

    async def fails(*_: object) -> int:
        raise StorageUnavailable

    for step in ("lost", "mend"):
        with monkeypatch.context() as patch, pytest.raises(StorageUnavailable):
            patch.setattr(Drift, step, fails)
            await repair_of(house).run_once([GUILD])
    assert await repair_of(house).run_once([GUILD]) == 1
    await house.indexer().drain()
    assert await house.points() == before


async def test_what_is_on_its_way_is_nothing_to_repair(house: House) -> None:
    """A removal and an edit that the index does not know of yet are left to the indexer."""
    await house.messages.capture_many([KILN, GLAZE, GLOVES, MASKS])
    await house.indexer().drain()
    await house.retraction.messages_deleted(GUILD, [KILN.id])
    await house.edit(GLOVES.id, "bring gloves, please", START + timedelta(hours=9))
    waiting = (await house.messages.stats(GUILD)).not_indexed
    assert await repair_of(house).run_once([GUILD]) == 0
    assert (await house.messages.stats(GUILD)).not_indexed == waiting


async def test_a_guild_being_freed_of_a_member_is_left_alone(house: House) -> None:
    """Their points leave the index before their messages leave the database, and must not come back meanwhile."""
    await house.messages.capture_many([said(id, f"message number {id}", BEN) for id in range(1, 150)])
    await house.indexer().drain()
    house.clock.forward(timedelta(days=1))
    forgotten = await house.retraction.bury_member(GUILD, BEN)
    await house.indexer().erase(forgotten.erasure)
    assert await house.index.count(GUILD) == 0
    repair = repair_of(house)
    assert await repair.run_once([GUILD]) == 0
    assert repair.passed_over


async def test_a_broken_guild_is_passed_over(house: House) -> None:
    """The others are compared; when the whole index is away, whoever asked is told."""
    theirs = said(2, "theirs", guild=OTHER_GUILD, channel=80)
    await house.index.upsert(OTHER_GUILD, [IndexPoint(message_memory_id(theirs), to_payload(message_memory(theirs)))])
    house.index.broken_guild = GUILD
    assert await repair_of(house).run_once([GUILD, OTHER_GUILD]) == 1
    house.index.break_down()
    with pytest.raises(IndexUnavailable):
        await repair_of(house).run_once([GUILD, OTHER_GUILD])


@asynccontextmanager
async def running(house: House, down: Exception) -> AsyncIterator[tuple[Repair, asyncio.Queue[None]]]:
    """The loop on an index that is down and holds a deleted message, and where it tells that it begins anew."""
    await house.index.upsert(GUILD, [IndexPoint(message_memory_id(KILN), to_payload(message_memory(KILN)))])
    house.index.break_down(down)
    begun: asyncio.Queue[None] = asyncio.Queue()

    async def guilds() -> list[int]:
        begun.put_nowait(None)
        return [GUILD]

    repair = repair_of(house)
    task = asyncio.create_task(repair.run(guilds, first=timedelta(0)))
    async with asyncio.timeout(10):
        yield repair, begun
    task.cancel()
    await asyncio.wait({task})


async def begin_again(repair: Repair, begun: asyncio.Queue[None]) -> None:
    repair.wake()
    await begun.get()


async def test_an_outage_is_one_line_and_what_it_kept_from_being_compared_is_compared(house: House) -> None:
    """However often it is tried meanwhile; the next time the index answers, all is put right."""
    with capture_logs() as logs:
        async with running(house, IndexUnavailable()) as (repair, begun):
            await begun.get()
            for _ in range(2):
                await begin_again(repair, begun)
            house.index.down = None
            for _ in range(2):  # the second begins when the first has ended
                await begin_again(repair, begun)
    assert [log["event"] for log in logs] == ["repair_postponed", "index_repaired"]
    await house.indexer().drain()
    assert await house.index.count(GUILD) == 0


async def test_a_bug_does_not_end_the_loop(house: House) -> None:
    """It is logged with its stack, and the next time is another try."""
    with capture_logs() as logs:
        async with running(house, RuntimeError("a bug")) as (repair, begun):
            await begun.get()
            await begin_again(repair, begun)  # which begins when the first try has failed
            house.index.down = None
            for _ in range(2):
                await begin_again(repair, begun)
    assert (logs[0]["event"], logs[0]["exc_info"]) == ("repair_failed", True)
    assert logs[-1]["event"] == "index_repaired"
