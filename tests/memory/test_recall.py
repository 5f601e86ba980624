"""Recall: the right memories first, only those the asker may see, and an answer whatever is down."""

import asyncio
from datetime import timedelta

import pytest
from house import (
    ANN,
    BEN,
    CLEO,
    GENERAL,
    GUILD,
    OTHER_GUILD,
    STAFF,
    START,
    House,
    everywhere,
    fact_of,
    said,
    texts,
)
from structlog.testing import capture_logs

from bot.errors import IndexMismatch, IndexUnavailable, QueryTooShort
from bot.memory.embeddings import OpenAIEmbedder
from bot.memory.index import IndexPoint
from bot.model import Degraded, Scope
from bot.sandbox.openai import Fault, OpenAIServer

TALK = [
    said(1, "the kiln arrives on monday"),
    said(2, "bring gloves then, it will be hot", BEN),
    said(3, "lunch is on me today", CLEO),
    said(4, "salaries rise in march, keep it to yourselves", BEN, STAFF),
]


@pytest.fixture
async def talk(house: House, embedder: OpenAIEmbedder) -> House:
    """A house in which a small conversation is indexed with all its keys."""
    await house.messages.capture_many(TALK)
    await house.indexer(embedder).drain()
    return house


async def test_the_answer_comes_first_and_says_why(talk: House, embedder: OpenAIEmbedder) -> None:
    """The memory both lists favour is first, with its sources and the share each signal gave."""
    recalled = await talk.recall(embedder).recall("when does the kiln arrive?", everywhere(), 5)
    best = recalled.hits[0]
    assert (best.memory.text, best.memory.sources, recalled.degraded) == ("the kiln arrives on monday", (1,), None)
    assert (best.score, best.signals) == (2.0, {"dense": 1.0, "bm25": 1.0})


async def test_meaning_is_found_without_the_word(talk: House, embedder: OpenAIEmbedder) -> None:
    """A query that shares no word with any memory is answered by the dense list alone."""
    hits = (await talk.recall(embedder).recall("kilns arriving", everywhere(), 5)).hits
    assert hits[0].memory.text == "the kiln arrives on monday"
    hits = (await talk.recall(embedder).recall("glovesss", everywhere(), 5)).hits
    assert (hits[0].memory.text, set(hits[0].signals)) == ("bring gloves then, it will be hot", {"dense"})


async def test_what_resembles_nothing_recalls_nothing(talk: House, embedder: OpenAIEmbedder) -> None:
    """The nearest vectors are no answer when none of them is near."""
    assert texts(await talk.recall(embedder).recall("zzyzx", everywhere(), 20)) == []


async def test_facts_and_messages_compete_in_one_list(talk: House, embedder: OpenAIEmbedder) -> None:
    """A fact is recalled beside the message it rests on."""
    await talk.learn(fact_of("The kiln arrives on Monday 6 May.", [TALK[0]]))
    await talk.indexer(embedder).drain()
    recalled = await talk.recall(embedder).recall("kiln monday", everywhere(), 2)
    assert set(texts(recalled)) == {"The kiln arrives on Monday 6 May.", "the kiln arrives on monday"}


async def test_at_most_limit_memories(talk: House, embedder: OpenAIEmbedder) -> None:
    """The best `limit` are returned, not more."""
    assert len((await talk.recall(embedder).recall("the kiln gloves lunch salaries", everywhere(), 2)).hits) == 2


@pytest.mark.parametrize("mode", ["hybrid", "keywords", "index down"])
async def test_nobody_recalls_what_they_may_not_read(mode: str, talk: House, embedder: OpenAIEmbedder) -> None:
    """A channel outside the scope stays out of every kind of answer and of its scores."""
    if mode == "index down":
        talk.index.break_down()
    recall = talk.recall(embedder if mode == "hybrid" else None)
    public = Scope(GUILD, frozenset({GENERAL}))
    assert "salaries rise in march, keep it to yourselves" in texts(await recall.recall("salaries", everywhere(), 20))
    assert texts(await recall.recall("salaries in march", public, 20)) == []
    assert texts(await recall.recall("salaries", Scope(OTHER_GUILD, frozenset({GENERAL, STAFF})), 20)) == []
    assert texts(await recall.recall("salaries", Scope(GUILD, frozenset()), 20)) == []


async def test_hidden_memories_do_not_bend_the_scores(house: House, embedder: OpenAIEmbedder) -> None:
    """What an asker may not see changes neither what they get nor how it is scored."""
    public = Scope(GUILD, frozenset({GENERAL}))
    await house.messages.capture_many(TALK[:3])
    indexer, recall = house.indexer(embedder), house.recall(embedder)
    await indexer.drain()
    before = await recall.recall("when does the hot kiln arrive", public, 20)
    await house.messages.capture(said(5, "the kiln arrives when the staff says so", BEN, STAFF))
    await indexer.drain()
    after = await recall.recall("when does the hot kiln arrive", public, 20)
    assert texts(before) == texts(after)
    assert [hit.signals["dense"] for hit in before.hits] == [hit.signals["dense"] for hit in after.hits]


async def test_a_scope_narrows(talk: House, embedder: OpenAIEmbedder) -> None:
    """A member, a channel and a time narrow what is looked at."""
    recall = talk.recall(embedder)
    query = "the kiln, gloves, lunch, salaries"
    assert texts(await recall.recall(query, everywhere(about_id=CLEO), 9)) == ["lunch is on me today"]
    assert texts(await recall.recall(query, everywhere(channel_id=STAFF), 9)) == [TALK[3].content]
    since = everywhere(since=START + timedelta(minutes=3), until=START + timedelta(minutes=4))
    assert texts(await recall.recall(query, since, 9)) == ["lunch is on me today"]


async def test_a_payload_that_moved_out_of_the_scope_is_not_shown(talk: House, embedder: OpenAIEmbedder) -> None:
    """Whatever the index says, a memory whose payload names another guild is left out."""
    point = (await talk.points())["lunch is on me today"]
    moved = {**point.payload, "agent_id": str(OTHER_GUILD)}
    await talk.index.upsert(GUILD, [IndexPoint(point.id, moved, point.dense, point.sparse)])
    assert texts(await talk.recall(embedder).recall("lunch today", everywhere(), 9)) == []


async def test_no_embedder_is_told(talk: House) -> None:
    """Without a key recall searches by keywords and says so."""
    recalled = await talk.recall().recall("kiln", everywhere(), 5)
    assert (texts(recalled), recalled.degraded) == (["the kiln arrives on monday"], Degraded.NO_EMBEDDER)


async def test_an_embedder_that_is_down_is_told_and_asked_again_later(
    talk: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """An outage costs one failure, then recall goes straight to keywords, and tries again after a while."""
    openai.fault = Fault.ERROR
    recall = talk.recall(embedder)
    for _ in range(3):
        recalled = await recall.recall("kiln", everywhere(), 5)
        assert (texts(recalled), recalled.degraded) == (["the kiln arrives on monday"], Degraded.EMBEDDER_DOWN)
    failed = openai.refused
    await recall.recall("kiln", everywhere(), 5)
    assert openai.refused == failed

    openai.fault = None
    talk.clock.forward(timedelta(seconds=30))
    assert (await recall.recall("kiln", everywhere(), 5)).degraded is None


async def test_an_embedder_that_hangs_does_not_hold_up_the_answer(
    talk: House, openai: OpenAIServer, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the embedder's time is up recall answers by keywords."""
    monkeypatch.setattr("bot.memory.recall._EMBEDDER_SECONDS", 0.2)
    openai.fault = Fault.HANG
    recalled = await talk.recall(embedder).recall("kiln", everywhere(), 5)
    assert (texts(recalled), recalled.degraded) == (["the kiln arrives on monday"], Degraded.EMBEDDER_DOWN)


async def test_the_index_down_is_told(talk: House, embedder: OpenAIEmbedder) -> None:
    """While the index is down, keyword search in SQL answers and says so."""
    talk.index.break_down()
    recalled = await talk.recall(embedder).recall("kiln", everywhere(), 5)
    assert (texts(recalled), recalled.degraded) == (["the kiln arrives on monday"], Degraded.INDEX_DOWN)


async def test_an_index_that_hangs_does_not_hold_up_the_answer(
    talk: House, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the index's time is up keyword search answers."""
    monkeypatch.setattr("bot.memory.recall._INDEX_SECONDS", 0.05)
    talk.index.hangs = True
    recalled = await talk.recall(embedder).recall("kiln", everywhere(), 5)
    assert (texts(recalled), recalled.degraded) == (["the kiln arrives on monday"], Degraded.INDEX_DOWN)


async def test_who_gives_way_waits_for_the_answer(talk: House, embedder: OpenAIEmbedder) -> None:
    """`quiet` returns at once when nobody asks, and otherwise with the last answer, be it a failure."""
    recall = talk.recall(embedder)
    await recall.quiet()
    talk.index.hangs = True
    talk.index.tried.clear()
    asking = asyncio.create_task(recall.recall("kiln", everywhere(), 5))
    await talk.index.tried.wait()
    giving_way = asyncio.create_task(recall.quiet())
    await asyncio.sleep(0)
    assert not giving_way.done()
    asking.cancel()
    await giving_way
    assert asking.done()


async def test_nobody_gives_way_for_long(
    talk: House, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one question follows the other, a backlog goes on all the same."""
    monkeypatch.setattr("bot.memory.recall._GIVE_WAY_SECONDS", 0.01)
    recall = talk.recall(embedder)
    talk.index.hangs = True
    talk.index.tried.clear()
    asking = asyncio.create_task(recall.recall("kiln", everywhere(), 5))
    await talk.index.tried.wait()
    await recall.quiet()
    assert not asking.done()
    asking.cancel()
    await asyncio.wait([asking])


async def test_an_index_known_to_be_down_is_not_asked(talk: House, embedder: OpenAIEmbedder) -> None:
    """Nobody waits for what the indexer has found out already, and nothing is logged about it again."""
    talk.breakers.of("Qdrant").failed("refused")
    talk.index.hangs = True
    talk.index.tried.clear()
    with capture_logs() as logs:
        recalled = await talk.recall(embedder).recall("kiln", everywhere(), 5)
    assert (texts(recalled), recalled.degraded) == (["the kiln arrives on monday"], Degraded.INDEX_DOWN)
    assert (talk.index.tried.is_set(), logs) == (False, [])


async def test_a_failed_search_is_told_once_and_looked_into(talk: House, embedder: OpenAIEmbedder) -> None:
    """Each failed search asks the indexer to find out more; the log has one line until a search succeeds."""
    doubts: list[None] = []
    recall = talk.recall(embedder, lambda: doubts.append(None))
    with capture_logs() as logs:
        for down in (True, True, False, True):
            talk.index.down = IndexUnavailable() if down else None
            await recall.recall("kiln", everywhere(), 5)
    assert [log["event"] for log in logs] == ["recalled_by_keyword_search"] * 2
    assert len(doubts) == 3


async def test_a_question_the_embedder_refuses_is_no_outage(
    talk: House, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members can ask what no embedder takes: that turns nothing off for the others."""
    monkeypatch.setattr("bot.sandbox.openai.MOST_TOKENS", 0)
    recalled = await talk.recall(embedder).recall("kiln", everywhere(), 5)
    assert (recalled.degraded, talk.breakers.of("OpenAI").open) == (Degraded.EMBEDDER_DOWN, False)


async def test_a_slow_embedder_is_told_once(
    talk: House, openai: OpenAIServer, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may still do for indexing, so the breaker stays closed; askers do not wait for it again for a while."""
    monkeypatch.setattr("bot.memory.recall._EMBEDDER_SECONDS", 0.1)
    openai.fault = Fault.HANG
    recall = talk.recall(embedder)
    with capture_logs() as logs:
        for _ in range(3):
            await recall.recall("kiln", everywhere(), 5)
            talk.clock.forward(timedelta(seconds=31))
    assert [log["event"] for log in logs] == ["embedder_slow"]
    assert not talk.breakers.of("OpenAI").open


async def test_a_question_asked_before_needs_no_embedder(
    talk: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """Its vector is remembered, which neither ends the outage nor is touched by it."""
    recall = talk.recall(embedder)
    await recall.recall("kiln", everywhere(), 5)
    await openai.stop()
    talk.breakers.of("OpenAI").failed("refused")
    assert (await recall.recall("kiln", everywhere(), 5)).degraded is None
    assert talk.breakers.of("OpenAI").open


async def test_nothing_but_stop_words_finds_nothing_by_keywords(talk: House) -> None:
    """A query of words that every message has is answered, with nothing."""
    assert (await talk.recall().recall("is it that the", everywhere(), 5)).hits == ()


@pytest.mark.parametrize("down", [False, True], ids=["index up", "index down"])
async def test_a_retracted_memory_is_hidden_at_once(down: bool, talk: House, embedder: OpenAIEmbedder) -> None:
    """From the commit of a deletion on nobody recalls the message, though its point is still there."""
    await talk.retraction.messages_deleted(GUILD, [1])
    assert "the kiln arrives on monday" in await talk.points()
    if down:
        talk.index.break_down()
    assert texts(await talk.recall(embedder).recall("kiln monday", everywhere(), 20)) == []


async def test_a_deletion_during_a_recall_is_not_outrun(talk: House, embedder: OpenAIEmbedder) -> None:
    """A message deleted and gone from the index after the index was read is still left out of the answer."""
    indexer = talk.indexer(embedder)

    async def delete() -> None:
        await talk.retraction.messages_deleted(GUILD, [1])
        assert await indexer.remove_pending() == 1

    talk.index.after_search = delete
    assert "the kiln arrives on monday" not in texts(await talk.recall(embedder).recall("kiln", everywhere(), 20))


async def test_an_edited_message_is_shown_with_its_new_words(talk: House, embedder: OpenAIEmbedder) -> None:
    """Old words that the index still holds are shown to nobody."""
    assert await talk.edit(1, "the kiln is [withdrawn]", START + timedelta(hours=1))
    assert texts(await talk.recall(embedder).recall("kiln monday", everywhere(), 1)) == ["the kiln is [withdrawn]"]


async def test_a_point_cannot_borrow_another_messages_words(talk: House, embedder: OpenAIEmbedder) -> None:
    """A foreign point that names a changed message of another channel as its source shows its own words."""
    point = (await talk.points())["lunch is on me today"]
    forged = {**point.payload, "sources": [4]}
    await talk.index.upsert(GUILD, [IndexPoint(point.id, forged, point.dense, point.sparse)])
    await talk.edit(4, "salaries fall", START + timedelta(hours=1))
    public = Scope(GUILD, frozenset({GENERAL}))
    assert texts(await talk.recall(embedder).recall("lunch today", public, 1)) == ["lunch is on me today"]


async def test_secrets_in_a_question_stay_in_the_house(
    talk: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """The embedder gets the question without the password in it."""
    await talk.recall(embedder).recall("kiln password: hunter2hunter2", everywhere(), 5)
    assert openai.texts[-1] == "kiln password: [redacted]"


async def test_vectors_of_another_size_are_an_index_that_is_down(talk: House, embedder: OpenAIEmbedder) -> None:
    """Whoever asks gets an answer by keyword search; the operator is told elsewhere."""
    talk.index.break_down(IndexMismatch("The index holds vectors of size 8."))
    recalled = await talk.recall(embedder).recall("kiln", everywhere(), 5)
    assert (texts(recalled), recalled.degraded) == (["the kiln arrives on monday"], Degraded.INDEX_DOWN)


async def test_a_query_without_words_gets_a_clear_answer(house: House) -> None:
    """Fewer than two letters or digits are no question."""
    for query in ("", " ", "?", "a", "🎉🎉🎉", "_-_", "a\u0301"):
        with pytest.raises(QueryTooShort, match="two letters or digits"):
            await house.recall().recall(query, everywhere(), 5)


async def test_any_other_query_is_answered(talk: House, embedder: OpenAIEmbedder) -> None:
    """Two characters, stop words alone, operators, right-to-left text, zalgo and thousands of characters all work."""
    queries = [
        "ok",
        "京都",
        "the of and",
        "*" * 50 + "hi",
        'a" OR b*) NEAR',
        "שלום",
        "z̷a̷l̷g̷o̷",
        "kil\ud83dn",
        "x" * 6000,
        "kiln " * 3000,
    ]
    for recall in (talk.recall(embedder), talk.recall()):
        for query in queries:
            assert len((await recall.recall(query, everywhere(), 5)).hits) <= 4
    talk.index.break_down()
    for query in queries:
        assert (await talk.recall(embedder).recall(query, everywhere(), 5)).degraded is Degraded.INDEX_DOWN


async def test_many_at_once_all_get_their_answer(talk: House, embedder: OpenAIEmbedder) -> None:
    """Askers take turns at the index and each gets the answer to their own question."""
    recall = talk.recall(embedder)
    async with asyncio.TaskGroup() as tasks:
        asked = [(text, tasks.create_task(recall.recall(text, everywhere(), 1))) for text in ("kiln", "lunch") * 10]
    assert {(text, texts(task.result())[0]) for text, task in asked} == {
        ("kiln", "the kiln arrives on monday"),
        ("lunch", "lunch is on me today"),
    }


async def test_an_empty_guild_has_no_answer(house: House, embedder: OpenAIEmbedder) -> None:
    """A guild nothing was said in recalls nothing, without complaint."""
    recalled = await house.recall(embedder).recall("anything at all", everywhere(about_id=ANN), 5)
    assert (recalled.hits, recalled.degraded) == ((), None)
