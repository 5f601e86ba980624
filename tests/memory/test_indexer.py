"""The indexer: everything waiting gets its keys, through outages, edits and deletions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from house import BEN, GUILD, OTHER_GUILD, START, House, fact_of, said
from structlog.testing import capture_logs

from bot.errors import IndexMismatch, IndexUnavailable
from bot.memory.embeddings import OpenAIEmbedder
from bot.memory.index import Key
from bot.memory.indexer import Indexer
from bot.memory.mem0_adapter import to_payload
from bot.model import Attachment, Memory, Mention, message_memory_id
from bot.sandbox.openai import Fault, OpenAIServer
from bot.settings import OutageSettings
from bot.storage.breaker import Breaker, Breakers

ALL_KEYS = set(Key)
HOUR = timedelta(hours=1)
MANY = 2000  # more messages than a test can wait for


@asynccontextmanager
async def running(indexer: Indexer) -> AsyncIterator[None]:
    """The indexer's loop, ended and awaited on leaving; nothing may take long in here."""
    task = asyncio.create_task(indexer.run())
    try:
        async with asyncio.timeout(20):
            yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def impatient() -> Breaker:
    """A breaker of the index whose pauses are over at once."""
    return Breaker("Qdrant", OutageSettings(first_pause=timedelta(milliseconds=10)))


@asynccontextmanager
async def while_embedding(openai: OpenAIServer, indexer: Indexer) -> AsyncIterator[None]:
    """A drain whose embedding request hangs meanwhile, answers afterwards, and ends."""
    openai.fault = Fault.HANG
    drain = asyncio.create_task(indexer.drain())
    await openai.hanging.wait()
    openai.fault = None
    yield
    await openai.stop()
    await openai.start()
    await drain


async def keys_of(house: House) -> dict[str, set[Key]]:
    return {text: {*point.dense, *point.sparse} for text, point in (await house.points()).items()}


async def test_messages_are_indexed_with_both_keyword_keys(house: House) -> None:
    """Without an embedder a message has its text and its window as BM25, and is done with."""
    await house.messages.capture_many([said(1, "the kiln arrives on monday"), said(2, "bring gloves", BEN)])
    assert await house.indexer().drain() == 2

    kiln = (await house.points())["the kiln arrives on monday"]
    assert (kiln.dense, set(kiln.sparse)) == ({}, {Key.BM25, Key.BM25_WINDOW})
    assert kiln.sparse[Key.BM25] == house.bm25.document("Ann: the kiln arrives on monday")
    assert kiln.sparse[Key.BM25_WINDOW] == house.bm25.document("Ann: the kiln arrives on monday\nBen: bring gloves")
    assert await house.indexer().drain() == 0


async def test_a_burst_takes_few_requests(house: House, openai: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """Texts and windows share their requests, a batch of messages each, and no text is sent twice in one."""
    await house.messages.capture_many([said(id, f"message number {id}") for id in range(1, 301)])
    await house.messages.capture(said(301, "all alone", channel=99))

    assert await house.indexer(embedder).drain() == 301

    assert openai.requests == 3
    assert openai.texts.count("Ann: all alone") == 1
    assert "Ann: message number 1\nAnn: message number 2\nAnn: message number 3\nAnn: message number 4" in openai.texts
    assert set(map(frozenset, (await keys_of(house)).values())) == {frozenset(ALL_KEYS)}


async def test_a_fact_stands_on_its_sources(house: House, openai: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """A fact's window is the messages it rests on, or its own text once their raw text is gone."""
    kiln, gloves = said(1, "the kiln arrives on monday"), said(2, "bring gloves then", BEN)
    await house.messages.capture_many([kiln, gloves])
    await house.learn(fact_of("The kiln arrives on Monday.", [kiln, gloves]), fact_of("Gloves are needed.", [gloves]))
    indexer = house.indexer(embedder)
    await indexer.drain()
    assert "Ann: the kiln arrives on monday\nBen: bring gloves then" in openai.texts

    lid = said(3, "the lid is cracked")
    await house.messages.capture(lid)
    await house.learn(fact_of("The lid is cracked.", [lid]))
    await house.expire(lid.id)
    await indexer.drain()

    point = (await house.points())["The lid is cracked."]
    assert point.sparse[Key.BM25] == point.sparse[Key.BM25_WINDOW]
    assert openai.texts[-1] == "The lid is cracked."


async def test_each_guild_has_its_own(house: House) -> None:
    """Messages of two guilds in one batch go to their own guilds' points."""
    await house.messages.capture_many([said(1, "ours"), said(2, "theirs", guild=OTHER_GUILD, channel=80)])
    await house.indexer().drain()
    assert (set(await house.points(GUILD)), set(await house.points(OTHER_GUILD))) == ({"ours"}, {"theirs"})


async def test_repeating_after_a_lost_answer_changes_nothing(house: House, embedder: OpenAIEmbedder) -> None:
    """A write whose answer got lost is repeated into the same points, never into second ones."""
    await house.messages.capture_many([said(id, f"message number {id}") for id in range(1, 6)])
    indexer = house.indexer(embedder)
    house.index.lose_next_answer = True
    assert await indexer.drain() == 0
    before = await house.points()

    house.clock.forward(HOUR)
    assert await indexer.drain() == 5
    assert await house.points() == before


async def test_an_embedder_outage_costs_nothing_but_time(
    house: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """While the embedder refuses, entries get keywords only; when it is back, all of them get their vectors."""
    await openai.stop()
    early = said(1, "the kiln arrives on monday")
    await house.messages.capture(early)
    indexer = house.indexer(embedder)
    assert await indexer.drain() == 1
    await house.messages.capture(said(2, "bring gloves", BEN))
    await house.learn(fact_of("The kiln arrives on Monday.", [early]))
    await indexer.drain()
    assert set(map(frozenset, (await keys_of(house)).values())) == {frozenset({Key.BM25, Key.BM25_WINDOW})}
    assert (await house.messages.stats(GUILD)).not_indexed == 0
    assert not (await indexer.embedder_health()).ok

    await openai.start()
    house.clock.forward(HOUR)
    await indexer.drain()

    assert await keys_of(house) == dict.fromkeys(
        ("the kiln arrives on monday", "bring gloves", "The kiln arrives on Monday."), ALL_KEYS
    )
    assert (await indexer.embedder_health()).ok


async def test_an_embedder_that_failed_is_left_alone_for_longer_each_time(
    house: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """The pause doubles with each failure, and ends in ten minutes at most; a restart changes nothing about it."""
    openai.fault = Fault.UNAUTHORIZED
    await house.messages.capture(said(1, "the kiln arrives on monday"))
    await house.indexer(embedder).drain()
    for pause in (15, 30, 60, 120, 240, 480, 600, 600):
        await house.breakers.close()
        house.breakers = await Breakers.load(house.database, clock=house.clock)
        indexer = house.indexer(embedder)
        before = openai.refused
        house.clock.forward(timedelta(seconds=0.79 * pause))
        await indexer.drain()
        assert openai.refused == before
        house.clock.forward(timedelta(seconds=0.21 * pause))
        await indexer.drain()
        assert openai.refused == before + 1


async def test_an_exhausted_quota_pauses_for_an_hour(
    house: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """Nothing hammers an account without credit; after an hour one request asks again."""
    openai.fault = Fault.QUOTA
    await house.messages.capture(said(1, "the kiln arrives on monday"))
    indexer = house.indexer(embedder)
    await indexer.drain()
    house.clock.forward(timedelta(minutes=59))
    await indexer.drain()
    assert openai.refused == 1

    openai.fault = None
    house.clock.forward(timedelta(minutes=1))
    await indexer.drain()
    assert (await keys_of(house))["the kiln arrives on monday"] == ALL_KEYS


async def test_new_messages_do_not_queue_behind_old_vectors(
    house: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """After an outage what nobody can find yet is indexed before what only lacks its vectors."""
    openai.fault = Fault.ERROR
    await house.messages.capture_many([said(id, f"old {id}") for id in range(1, 4)])
    indexer = house.indexer(embedder)
    await indexer.drain()
    openai.fault = None
    house.clock.forward(HOUR)
    await house.messages.capture(said(9, "brand new", channel=99))

    await indexer.drain()

    assert [sorted(texts) for texts in house.index.upserts[1:]] == [
        ["brand new"],
        ["brand new", "old 1", "old 2", "old 3"],
    ]
    assert set(map(frozenset, (await keys_of(house)).values())) == {frozenset(ALL_KEYS)}


async def test_an_embedder_that_hangs_does_not_keep_words_from_being_found(
    house: House, openai: OpenAIServer, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is up after seconds, and from then on new messages are written before it is asked again."""
    monkeypatch.setattr("bot.memory.vectors._EMBEDDING_SECONDS", 0.05)
    openai.fault = Fault.HANG
    indexer = house.indexer(embedder)
    await house.messages.capture(said(1, "first"))
    assert await indexer.drain() == 1
    house.clock.forward(HOUR)
    openai.hanging.clear()
    await house.messages.capture(said(2, "second", channel=99))
    drain = asyncio.create_task(indexer.drain())
    await openai.hanging.wait()
    assert house.index.upserts == [["first"], ["second"]]
    assert await drain == 1


async def test_a_slow_embedder_is_asked_for_less_at_once(
    house: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """After a failure batches for the embedder are halved, and grow again once it answers."""
    openai.fault = Fault.ERROR
    await house.messages.capture_many([said(id, f"message number {id}") for id in range(1, 301)])
    indexer = house.indexer(embedder)
    await indexer.drain()
    openai.fault = None
    house.clock.forward(HOUR)
    await indexer.drain()
    assert [len(texts) for texts in house.index.upserts] == [128, 128, 44, 64, 128, 108]


async def test_a_text_the_embedder_refuses_holds_up_no_other(
    house: House, openai: OpenAIServer, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text too long for the embedder is found by keywords, and everything beside it by vectors too."""
    monkeypatch.setattr("bot.sandbox.openai.MOST_TOKENS", 30)
    long = said(1, "kiln " * 100, channel=99)
    await house.messages.capture_many([long, said(2, "bring gloves", BEN)])
    indexer = house.indexer(embedder)
    await indexer.drain()
    keys = await keys_of(house)
    assert (keys[long.text], keys["bring gloves"]) == ({Key.BM25, Key.BM25_WINDOW}, ALL_KEYS)
    house.clock.forward(HOUR)
    assert await indexer.drain() == 0


async def test_an_embedder_that_comes_later_embeds_everything(
    house: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """What was indexed while there was no key gets its vectors once there is one."""
    kiln = said(1, "the kiln arrives on monday")
    await house.messages.capture(kiln)
    await house.learn(fact_of("The kiln arrives on Monday.", [kiln]))
    assert await house.indexer().drain() == 2
    assert await house.indexer().drain() == 0
    assert await house.indexer(embedder).drain() == 2
    assert set(map(frozenset, (await keys_of(house)).values())) == {frozenset(ALL_KEYS)}


async def test_a_guild_whose_index_is_broken_stops_nobody_else(house: House) -> None:
    """Its entries and removals wait, out of the way of the others', until its part of the index is mended."""
    ours, theirs = said(1, "ours"), said(2, "theirs", guild=OTHER_GUILD, channel=80)
    await house.messages.capture_many([ours, theirs])
    indexer = house.indexer()
    await indexer.drain()
    for message in (ours, theirs):
        await house.retraction.messages_deleted(message.guild_id, [message.id])
    await house.messages.capture_many([said(id, f"ours {id}") for id in range(3, 300)])
    await house.messages.capture(said(300, "theirs again", guild=OTHER_GUILD, channel=80))
    house.index.broken_guild = GUILD

    assert await indexer.drain() == 1
    assert set(await house.points(OTHER_GUILD)) == {"theirs again"}
    assert (await house.messages.stats(GUILD)).not_indexed == 297

    house.index.broken_guild = None
    assert await indexer.drain() == 0
    house.clock.forward(HOUR)
    assert await indexer.drain() == 297
    assert "ours" not in await house.points()


async def test_a_message_that_makes_no_point_stops_no_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is put aside, and everything else is indexed; what the index held of it before is gone."""

    def picky(memory: Memory) -> dict[str, Any]:
        if memory.text == "odd":
            raise UnicodeError
        return to_payload(memory)

    monkeypatch.setattr("bot.memory.keys.to_payload", picky)
    await house.messages.capture_many([said(1, "odd"), said(2, "even")])
    assert await house.indexer().drain() == 1
    assert (set(await house.points()), await house.indexer().drain()) == ({"even"}, 0)
    assert await house.edit(2, "odd", START + HOUR)
    assert (await house.indexer().drain(), await house.points()) == (0, {})


async def test_half_a_surrogate_in_a_name_is_indexed(house: House) -> None:
    """A name that no text can hold does not keep its message from being found."""
    odd = replace(said(1, "hello <@5>"), mentions=(Mention(5, "\ud83d"),), attachments=(Attachment("\udc00.png"),))
    await house.messages.capture(odd)
    assert await house.indexer().drain() == 1
    assert set(await house.points()) == {"hello @?\n[?.png]"}


async def test_the_loop_opens_the_index(house: House, tmp_path: Path) -> None:
    """What a crash left half removed is gone before anything is written."""
    left = tmp_path / "index" / "9.removed"
    left.mkdir()
    await house.messages.capture(said(1, "the kiln arrives on monday"))
    async with running(house.indexer()):
        await house.index.written.wait()
    assert not left.exists()


async def test_messages_can_stay_in_the_house(house: House, openai: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """With embed_messages off no message's words reach the embedder, not even in a fact's window."""
    kiln = said(1, "the kiln arrives on monday, tell nobody")
    await house.messages.capture(kiln)
    await house.learn(fact_of("A kiln was ordered.", [kiln]))
    await house.indexer(embedder, embed_messages=False).drain()

    assert openai.texts == ["A kiln was ordered."]
    points = await house.points()
    assert points[kiln.content].dense == {}
    fact = points["A kiln was ordered."]
    assert (set(fact.dense), fact.dense[Key.DENSE]) == ({Key.DENSE, Key.WINDOW}, fact.dense[Key.WINDOW])
    assert fact.sparse[Key.BM25_WINDOW] == house.bm25.document(kiln.line)
    assert await house.indexer(embedder).drain() == 0  # that message is done with, whatever is set later


async def test_an_index_outage_loses_nothing(house: House) -> None:
    """While the index is down everything keeps waiting, and is indexed when it is back."""
    await house.messages.capture_many([said(id, f"message number {id}") for id in range(1, 4)])
    indexer = house.indexer()
    house.index.break_down()
    with pytest.raises(IndexUnavailable):
        await indexer.drain()
    assert (await house.messages.stats(GUILD)).not_indexed == 3
    assert not (await indexer.index_health()).ok

    house.index.down = None
    assert await indexer.drain() == 3
    assert (await indexer.index_health()).ok


async def test_a_later_message_completes_the_window_before_it(house: House) -> None:
    """The message before a new one is indexed again, since the new one belongs to its window."""
    indexer = house.indexer()
    await house.messages.capture(said(1, "the kiln arrives on monday"))
    await indexer.drain()
    await house.messages.capture(said(2, "bring gloves", BEN))
    await indexer.drain()
    window = (await house.points())["the kiln arrives on monday"].sparse[Key.BM25_WINDOW]
    assert window == house.bm25.document("Ann: the kiln arrives on monday\nBen: bring gloves")


async def test_a_message_deleted_while_it_is_embedded_is_never_written(
    house: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """A deletion is done at once, without waiting for the embedder, and the late answer brings nothing back."""
    await house.messages.capture_many([said(1, "delete me"), said(2, "keep me")])
    indexer = house.indexer(embedder)
    async with while_embedding(openai, indexer):
        await house.retraction.messages_deleted(GUILD, [1])
        assert await indexer.remove_pending() == 1
    assert house.index.upserts[0] == ["keep me"]
    await indexer.drain()

    points = await house.points()
    assert set(points) == {"keep me"}
    assert points["keep me"].sparse[Key.BM25_WINDOW] == house.bm25.document("Ann: keep me")


@pytest.mark.parametrize("window", ["before the write", "during the write"])
async def test_a_fact_retracted_on_its_way_is_never_left_behind(
    window: str, house: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """Whenever the message a fact rests on is deleted, the fact's point does not outlive it."""
    kiln = said(1, "the kiln arrives on monday")
    await house.messages.capture(kiln)
    indexer = house.indexer(embedder)
    await indexer.drain()
    await house.learn(fact_of("The kiln arrives on Monday.", [kiln]))

    async def delete() -> None:
        await house.retraction.messages_deleted(GUILD, [kiln.id])

    if window == "before the write":
        async with while_embedding(openai, indexer):
            await delete()
    else:
        house.index.before_upsert = delete
        await indexer.drain()
    await indexer.remove_pending()
    assert await house.points() == {}


async def test_a_deletion_during_the_write_wins(house: House) -> None:
    """A message deleted after the last look and before its point is written is taken out again at once."""
    await house.messages.capture_many([said(1, "delete me"), said(2, "keep me")])

    async def delete() -> None:
        await house.retraction.messages_deleted(GUILD, [1])

    house.index.before_upsert = delete
    await house.indexer().drain()

    assert set(await house.points()) == {"keep me"}


@pytest.mark.parametrize("window", ["while embedding", "during the write"])
async def test_the_newest_words_win(window: str, house: House, openai: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """A message edited on its way into the index ends up there with its new words alone."""
    await house.messages.capture_many([said(1, "the kiln arrives on monday"), said(2, "bring gloves", BEN)])
    indexer = house.indexer(embedder)

    async def edit() -> None:
        assert await house.edit(1, "the kiln arrives on friday", START + HOUR)

    if window == "while embedding":
        async with while_embedding(openai, indexer):
            await edit()
        assert not any("the kiln arrives on monday" in texts for texts in house.index.upserts)
    else:
        house.index.before_upsert = edit
        await indexer.drain()

    points = await house.points()
    assert set(points) == {"the kiln arrives on friday", "bring gloves"}
    expected = house.bm25.document("Ann: the kiln arrives on friday\nBen: bring gloves")
    assert {point.id: point.sparse[Key.BM25_WINDOW] for point in points.values()} == {
        message_memory_id(said(1, "")): expected,
        message_memory_id(said(2, "", BEN)): expected,
    }


async def test_a_deletion_does_not_wait_for_a_slow_embedder(
    house: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """The lock is held while points are written, never while their vectors are made."""
    await house.messages.capture(said(1, "slow to embed"))
    indexer = house.indexer(embedder)
    async with while_embedding(openai, indexer):
        assert not indexer.lock.locked()


async def test_removals_wait_out_an_index_outage(house: House) -> None:
    """What was retracted while the index was down is removed when it is back."""
    await house.messages.capture(said(1, "delete me"))
    indexer = house.indexer()
    await indexer.drain()
    house.index.break_down()
    await house.retraction.messages_deleted(GUILD, [1])
    with pytest.raises(IndexUnavailable):
        await indexer.remove_pending()

    house.index.down = None
    assert await indexer.remove_pending() == 1
    assert await house.points() == {}


async def outage(house: House) -> None:
    house.index.break_down()


async def fault(house: House) -> None:
    house.index.break_down(TypeError("a bug"))


@pytest.mark.parametrize("trouble", [outage, fault])
async def test_the_loop_outlives(trouble: Callable[[House], Awaitable[None]], house: House) -> None:
    """Neither an outage nor a bug ends the loop: when it is over, what waited is indexed."""
    await trouble(house)
    await house.messages.capture(said(1, "the kiln arrives on monday"))
    async with running(house.indexer(index_breaker=impatient())):
        await house.index.tried.wait()
        house.index.down = None
        await house.index.written.wait()
    assert set(await house.points()) == {"the kiln arrives on monday"}


async def test_an_index_outage_is_two_log_lines(house: House) -> None:
    """It is told when it begins and when it is over, however often it is met in between."""
    with capture_logs() as logs:
        house.index.break_down()
        async with running(house.indexer(index_breaker=impatient())):
            for id in range(1, 6):
                await house.messages.capture(said(id, f"message number {id}"))
                house.index.tried.clear()
                await house.index.tried.wait()
            house.index.down = None
            await house.index.written.wait()
    told = [(log["event"], log["service"]) for log in logs if log["log_level"] != "debug"]
    assert told[:1] == [("service_down", "Qdrant")]
    assert told[1:] in ([], [("service_back", "Qdrant")])  # it is told after the writing


async def test_a_restart_leaves_an_index_alone_that_is_down(house: House) -> None:
    """The next process knows of the outage, waits for the end of the pause, and ends it even if nothing is to do."""
    house.index.break_down()
    house.breakers.of("Qdrant").failed("refused")
    async with running(house.indexer()):
        await house.index.tried.wait()  # the one look at the start
        house.index.tried.clear()
        assert house.breakers.of("Qdrant").waiting
        house.index.down = None
        health = await house.indexer().index_health()
    assert (health.ok, house.breakers.of("Qdrant").waiting) == (True, False)


async def test_a_doubted_index_is_looked_at(house: House) -> None:
    """After a failed search the loop finds out by itself whether the whole index is down."""
    breaker = impatient()
    indexer = house.indexer(interval=HOUR, index_breaker=breaker)
    async with running(indexer):
        await house.messages.capture(said(1, "anyone here?"))
        indexer.wake()
        await house.index.written.wait()
        house.index.break_down()
        house.index.tried.clear()
        indexer.doubt_index()
        await house.index.tried.wait()
        house.index.tried.clear()
        await house.index.tried.wait()
        assert breaker.open


async def always_more(house: House) -> None:
    """One message after the other, each once the one before is indexed."""
    for id in range(1, MANY):
        await house.messages.capture(said(id, f"message number {id}"))
        while (await house.messages.stats(GUILD)).not_indexed:
            await house.index.written.wait()


async def test_while_there_is_always_more_others_have_their_turn(house: House) -> None:
    """A purge has the index settled between two batches, and an outage is over before all is written."""
    breaker = impatient()
    breaker.failed("refused")
    indexer = house.indexer(interval=timedelta(milliseconds=100), index_breaker=breaker)
    talking = asyncio.create_task(always_more(house))
    async with running(indexer):
        await house.index.written.wait()
        async with indexer._draining:  # as `settle` does
            assert not talking.done()
        while breaker.open:
            await house.messages.stats(GUILD)
        assert not talking.done()
        talking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await talking


async def test_vectors_of_another_size_end_the_loop(house: House) -> None:
    """An index made for other vectors is no outage: no waiting cures it, so whoever runs the loop is told."""
    house.index.break_down(IndexMismatch("The index holds vectors of size 8."))
    await house.messages.capture(said(1, "the kiln arrives on monday"))
    with pytest.raises(IndexMismatch, match="size 8"):
        await house.indexer().run()
    assert (await house.indexer().index_health()).detail == "The index holds vectors of size 8."


async def test_an_idle_loop_starts_at_once_when_woken(house: House) -> None:
    """The first message after a quiet time does not wait for the interval to end."""
    indexer = house.indexer(interval=HOUR)
    async with running(indexer):
        await house.messages.capture(said(1, "anyone here?"))
        indexer.wake()
        await house.index.written.wait()


async def test_a_busy_loop_lets_messages_gather(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is woken, within an interval after a batch the loop writes no other."""
    indexer = house.indexer(interval=HOUR)
    rest, at_rest = indexer._rest, asyncio.Event()

    async def noted(busy: bool) -> None:
        at_rest.set()
        await rest(busy)

    monkeypatch.setattr(indexer, "_rest", noted)
    await house.messages.capture(said(1, "message number 1"))
    async with running(indexer):
        await at_rest.wait()
        for id in range(2, 21):
            await house.messages.capture(said(id, f"message number {id}"))
            indexer.wake()
    assert house.index.upserts == [["message number 1"]]
    assert await indexer.drain() == 20


async def test_the_loop_needs_no_waking(house: House) -> None:
    """A message nobody announced is found within an interval."""
    async with running(house.indexer()):
        await house.messages.capture(said(1, "silently captured"))
        await house.index.written.wait()


async def test_an_index_that_hangs_is_unwell(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A health check does not wait for an index that does not answer."""
    monkeypatch.setattr("bot.memory.reach._PING_SECONDS", 0.05)
    house.index.hangs = True
    health = await house.indexer().index_health()
    assert (health.ok, health.detail) == (False, "The memory index is slow to answer.")


async def test_health_without_an_embedder_is_no_alarm(house: House) -> None:
    """A missing key is a choice: it is told, and the service counts as well."""
    indexer = house.indexer()
    embedder, index = await indexer.embedder_health(), await indexer.index_health()
    assert (embedder.name, embedder.ok, index.name, index.ok) == ("OpenAI", True, "Qdrant", True)
    assert "keywords" in embedder.detail
