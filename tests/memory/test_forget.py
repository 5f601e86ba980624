"""Forgetting: what is told to go is gone from every answer at once, and from every store."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from house import ANN, BEN, CLEO, GENERAL, GUILD, OTHER_GUILD, House, everywhere, fact_of, said, texts
from sqlalchemy import Connection

from bot.errors import StorageUnavailable
from bot.memory.forget import Forgotten
from bot.memory.index import IndexPoint
from bot.model import fact_memory, message_memory
from bot.storage.purging import Selection
from bot.storage.retraction import Retracted

KILN, GLOVES, LUNCH = said(1, "the kiln arrives on monday"), said(2, "bring gloves", BEN), said(3, "lunch!", CLEO)
ABOUT_ANN = fact_of("Ann ordered a kiln.", [KILN], ANN)
SHARED = fact_of("The kiln arrives on Monday, with gloves.", [KILN, GLOVES])


def from_mem0(id: str, text: str, **payload: object) -> IndexPoint:
    """A memory as a plain mem0 client writes it."""
    times = dict.fromkeys(("created_at", "updated_at"), "2024-05-03T12:00:00+00:00")
    ids = {"agent_id": str(GUILD), "run_id": str(GENERAL), "user_id": str(ANN)}
    return IndexPoint(id, {"data": text, "hash": "…", **times, **ids, **payload})


@pytest.fixture
async def known(house: House) -> House:
    """A house that holds three messages and two facts, all indexed."""
    await house.messages.capture_many([KILN, GLOVES, LUNCH])
    await house.learn(ABOUT_ANN, SHARED)
    await house.indexer().drain()
    house.clock.now += timedelta(days=1)
    return house


async def test_a_forgotten_message_takes_its_facts_with_it(known: House) -> None:
    """The message and every fact resting on it leave queue, facts, index and answers; the counts say so."""
    gone = await known.forget(known.indexer()).memories(GUILD, [message_memory(KILN)])

    assert gone == Retracted(messages=1, facts=2)
    assert set(await known.points()) == {"bring gloves", "lunch!"}
    assert await known.messages.get([KILN.id]) == {}
    assert await known.facts.get([ABOUT_ANN.id, SHARED.id]) == {}
    assert await known.retraction.pending_removals(10) == []
    for break_first in (False, True):
        if break_first:
            known.index.break_down()
        assert texts(await known.recall().recall("kiln monday", everywhere(), 9)) == []


async def test_a_forgotten_fact_leaves_its_messages(known: House) -> None:
    """The fact goes and is refused from now on, the messages it rested on stay."""
    forget = known.forget(known.indexer())
    assert await forget.memories(GUILD, [fact_memory(SHARED)]) == Retracted(facts=1)
    assert set(await known.points()) == {KILN.content, "bring gloves", "lunch!", ABOUT_ANN.text}
    assert await forget.memories(GUILD, [fact_memory(SHARED)]) == Retracted()


async def test_the_windows_of_the_neighbours_forget_too(known: House) -> None:
    """After the next round of indexing no other memory's window holds the forgotten words."""
    indexer = known.indexer()
    await known.forget(indexer).memories(GUILD, [message_memory(KILN)])
    await indexer.drain()
    words = set(known.bm25.document("kiln monday").indices)
    for point in (await known.points()).values():
        assert not any(words & set(vector.indices) for vector in point.sparse.values())


async def test_everything_about_a_member_goes(known: House) -> None:
    """Their messages, facts about them and facts on their words go; everyone else's stay."""
    gone = await known.forget(known.indexer()).member(GUILD, ANN)
    assert gone == Forgotten(messages=1, facts=2)
    assert set(await known.points()) == {"bring gloves", "lunch!"}


async def test_what_mem0_clients_wrote_about_a_member_goes_too(known: House) -> None:
    """A memory that is in the index alone, about the member or on their words alone, is found and forgotten."""
    theirs = from_mem0("11111111-1111-4111-8111-111111111111", "Ann is allergic to nuts.")
    others = from_mem0("22222222-2222-4222-8222-222222222222", "Ben is left-handed.", user_id=str(BEN))
    await known.index.upsert(GUILD, [theirs, others])

    gone = await known.forget(known.indexer()).member(GUILD, ANN)

    assert gone == Forgotten(messages=1, facts=3)
    assert set(await known.points()) == {"bring gloves", "lunch!", "Ben is left-handed."}


async def test_a_large_guild_is_searched_to_its_end(known: House) -> None:
    """However many memories a guild has, each one about the member is found."""
    many = [from_mem0(f"00000000-0000-4000-8000-{number:012}", f"Ann, note {number}") for number in range(300)]
    await known.index.upsert(GUILD, many)
    assert await known.forget(known.indexer()).member(GUILD, ANN) == Forgotten(messages=1, facts=302)


async def test_a_hanging_index_does_not_hold_up_forgetting(known: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes when the index's time is up; what it still holds is hidden and goes later."""
    monkeypatch.setattr("bot.memory.forget._PATIENCE", 0.05)
    known.index.hangs = True
    assert await known.forget(known.indexer()).memories(GUILD, [message_memory(KILN)]) == Retracted(1, 2)
    known.index.hangs = False
    assert texts(await known.recall().recall("kiln", everywhere(), 9)) == []
    assert await known.indexer().remove_pending() == 3


async def test_a_memory_in_the_index_alone_can_be_forgotten(known: House) -> None:
    """A memory a mem0 client wrote is counted, hidden and removed like a fact."""
    foreign = from_mem0("11111111-1111-4111-8111-111111111111", "Ann is allergic to nuts.")
    await known.index.upsert(GUILD, [foreign])
    memory = replace(fact_memory(SHARED), id=foreign.id, text="Ann is allergic to nuts.", sources=())
    forget = known.forget(known.indexer())
    assert await forget.memories(GUILD, [memory]) == Retracted(facts=1)
    assert "Ann is allergic to nuts." not in await known.points()
    assert await forget.memories(GUILD, [memory]) == Retracted()


async def test_another_guilds_memories_are_left_alone(known: House) -> None:
    """A memory is forgotten only in its own guild."""
    forget = known.forget(known.indexer())
    assert await forget.memories(OTHER_GUILD, [message_memory(KILN), fact_memory(SHARED)]) == Retracted()
    assert await forget.member(OTHER_GUILD, ANN) == Forgotten()
    assert len(await known.points()) == 5


async def test_forgetting_does_not_need_the_index(known: House) -> None:
    """With the index down the memory is gone from SQL and hidden at once, and its point follows when it can."""
    indexer = known.indexer()
    known.index.break_down()
    assert await known.forget(indexer).memories(GUILD, [message_memory(KILN)]) == Retracted(1, 2)
    assert await known.forget(indexer).member(GUILD, BEN) == Forgotten(messages=1, complete=False)
    assert texts(await known.recall().recall("kiln gloves", everywhere(), 9)) == []

    known.index.down = None
    assert KILN.content in await known.points()
    assert texts(await known.recall().recall("kiln gloves", everywhere(), 9)) == []
    await indexer.drain()
    assert set(await known.points()) == {"lunch!"}


async def test_a_member_who_was_forgotten_in_sql_alone_leaves_the_index_later(known: House) -> None:
    """After a kill in between nothing of the member is found, and the next look at what is to be removed ends it."""
    await known.retraction.member_forgotten(GUILD, ANN)
    assert KILN.content in await known.points()
    assert texts(await known.recall().recall("kiln", everywhere(), 9)) == []
    gone = await known.forget(known.indexer()).member(GUILD, BEN)
    assert gone == Forgotten(messages=1)
    assert set(await known.points()) == {"lunch!"}
    assert await known.retraction.pending_erasures() == []


async def test_a_member_is_forgotten_in_steps_that_can_be_repeated(
    known: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that fails in between is told as such, nothing is shown any more, and once more does the rest."""
    monkeypatch.setattr("bot.storage.retraction.STEP", 1)
    monkeypatch.setattr("bot.storage.retraction._ERASED_AT_ONCE", 1)
    late = said(4, "the kiln is late")
    await known.messages.capture(late)
    transact, steps = known.retraction._transact, itertools.count()

    async def failing(work: Callable[[Connection, int], object]) -> object:
        if next(steps) == 2:
            raise StorageUnavailable
        return await transact(work)

    with monkeypatch.context() as patch:
        patch.setattr(known.retraction, "_transact", failing)
        with pytest.raises(StorageUnavailable):
            await known.forget(known.indexer()).member(GUILD, ANN)
    assert (await known.messages.get([KILN.id, late.id])).keys() == {KILN.id}  # the newest goes first
    assert not {KILN.content, late.content, ABOUT_ANN.text} & set(
        texts(await known.recall().recall("kiln", everywhere(), 9))
    )
    assert await known.forget(known.indexer()).member(GUILD, ANN) == Forgotten(messages=1, facts=1)
    assert set(await known.points()) == {"bring gloves", "lunch!"}


async def test_a_message_written_while_its_author_is_forgotten_goes_too(known: House) -> None:
    """The index is found to hold nothing of a member only while nothing is on its way there."""
    late = said(4, "the kiln is late")
    await known.messages.capture(late)
    known.index.before_upsert = lambda: known.retraction.member_forgotten(GUILD, ANN)
    indexer = known.indexer()
    await indexer.drain()
    await indexer.remove_pending()
    assert set(await known.points()) == {"bring gloves", "lunch!"}
    assert await known.retraction.pending_erasures() == []


async def test_a_purge_reaches_what_mem0_clients_wrote(known: House) -> None:
    """Counted first, then gone by member, place and time; what does not belong to the selection stays."""
    theirs = from_mem0("11111111-1111-4111-8111-111111111111", "Ann is allergic to nuts.")
    later = {"created_at": "2024-06-03T12:00:00+00:00"}
    others = from_mem0("22222222-2222-4222-8222-222222222222", "Ann is left-handed.", **later)
    await known.index.upsert(GUILD, [theirs, others])
    forget, what = known.forget(known.indexer()), Selection(ANN, until=datetime(2024, 5, 4, tzinfo=UTC))
    assert await forget.count(GUILD, what) == Forgotten(messages=1, facts=3)
    assert [gone async for gone in forget.purge(GUILD, what)][-1] == Forgotten(messages=1, facts=3)
    assert set(await known.points()) == {"bring gloves", "lunch!", "Ann is left-handed."}
    assert await forget.count(GUILD, what) == Forgotten()


async def test_a_purge_that_is_stopped_takes_out_what_is_gone(known: House) -> None:
    """No further step is taken, and the index holds nothing any more of the steps that were."""
    steps = known.forget(known.indexer()).purge(GUILD, Selection(ANN))
    await anext(steps)
    await steps.aclose()
    assert set(await known.points()) == {KILN.content, "bring gloves", "lunch!", SHARED.text}


async def test_a_purge_without_the_index_says_what_it_could_not_search(known: House) -> None:
    """What SQL knows is counted and goes; what is in the index alone may be left."""
    forget = known.forget(known.indexer())
    known.index.break_down()
    assert await forget.count(GUILD, Selection(BEN)) == Forgotten(messages=1, facts=1, complete=False)
    last = [gone async for gone in forget.purge(GUILD, Selection(BEN))][-1]
    assert last == Forgotten(messages=1, facts=1, complete=False)
