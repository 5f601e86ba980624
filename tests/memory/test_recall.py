"""Recall: the right memories first, only those the asker may see, and an answer whatever is down."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from operator import mul

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
from openai import AsyncOpenAI
from structlog.testing import capture_logs

from bot.errors import IndexMismatch, IndexUnavailable, QueryTooShort
from bot.memory.embedders import openai as openai_embedder
from bot.memory.embeddings import OpenAIEmbedder
from bot.memory.index import IndexPoint, Key, ScoredPoint, Search
from bot.model import Degraded, Scope
from bot.sandbox.openai import Fault, OpenAIServer
from bot.settings_services import OpenAISettings

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
    """The memory all lists favour is first, with its sources and the share each signal gave, together 1."""
    recalled = await talk.recall(embedder).recall("when does the kiln arrive?", everywhere(), 5)
    best = recalled.hits[0]
    assert (best.memory.text, best.memory.sources, recalled.degraded) == ("the kiln arrives on monday", (1,), None)
    lists = {name: best.signals[name] for name in ("dense", "dense_window", "bm25", "bm25_window")}
    assert lists == pytest.approx({"dense": 2 / 7, "dense_window": 2 / 7, "bm25": 1 / 7, "bm25_window": 2 / 7})
    assert best.signals.keys() - lists.keys() == {"substance", "recency"}
    assert best.score == pytest.approx(sum(best.signals.values()))


async def test_meaning_is_found_without_the_word(talk: House, embedder: OpenAIEmbedder) -> None:
    """A query that shares no word with any memory is answered by the dense lists alone."""
    hits = (await talk.recall(embedder).recall("kilns arriving", everywhere(), 5)).hits
    assert hits[0].memory.text == "the kiln arrives on monday"
    hits = (await talk.recall(embedder).recall("glovesss", everywhere(), 5)).hits
    assert hits[0].memory.text == "bring gloves then, it will be hot"
    assert hits[0].signals.keys().isdisjoint({"bm25", "bm25_window"})


async def test_what_resembles_nothing_recalls_nothing(talk: House, embedder: OpenAIEmbedder) -> None:
    """The nearest vectors are no answer when none of them is near."""
    assert texts(await talk.recall(embedder).recall("zzyzx", everywhere(), 20)) == []


async def test_a_fact_and_its_source_are_one_card(talk: House, embedder: OpenAIEmbedder) -> None:
    """Facts and messages compete in one list; a fact stands for the message it rests on, and keeps it as evidence."""
    await talk.learn(fact_of("The kiln arrives on Monday 6 May.", [TALK[0]]))
    await talk.indexer(embedder).drain()
    recalled = await talk.recall(embedder).recall("kiln monday", everywhere(), 9)
    assert texts(recalled)[0] == "The kiln arrives on Monday 6 May."
    assert "the kiln arrives on monday" not in texts(recalled)
    assert [memory.text for memory in recalled.hits[0].evidence] == ["the kiln arrives on monday"]


async def test_what_was_said_around_it_finds_a_message(talk: House, embedder: OpenAIEmbedder) -> None:
    """A message that shares no word with the question is found by the one before it, after that one."""
    found = texts(await talk.recall(embedder).recall("kiln", everywhere(), 9))
    assert found[0] == "the kiln arrives on monday"
    assert "bring gloves then, it will be hot" in found


async def test_a_reaction_steps_back(house: House, embedder: OpenAIEmbedder) -> None:
    """What follows a statement that matches is told what it lost by that, what follows a question lost nothing."""
    asks, answers = said(1, "when does the kiln arrive?"), said(2, "the kiln arrives on monday", BEN)
    praises = said(3, "a kiln, how great", CLEO)
    await house.messages.capture_many([asks, answers, praises])
    await house.indexer(embedder).drain()
    hits = (await house.recall(embedder).recall("the kiln arrives on monday", everywhere(), 9)).hits
    lost = {hit.memory.sources[0]: hit.signals.get("reaction", 0.0) for hit in hits}
    assert hits[0].memory.text == answers.content
    assert (lost[1], lost[2]) == (0.0, 0.0) and lost[3] < 0


async def test_who_is_named_goes_ahead(house: House, embedder: OpenAIEmbedder) -> None:
    """Of two who said the same, the one a question names is first, and it is told."""
    await house.messages.capture_many([said(1, "the kettle broke"), said(999, "the kettle broke", BEN)])
    await house.indexer(embedder).drain()
    for name, others in (("Ann", "Ben"), ("Ben", "Ann")):
        hits = (await house.recall(embedder).recall(f"what is {name}'s kettle", everywhere(), 9)).hits
        assert [hit.memory.speaker_name for hit in hits] == [name, others]
        assert [hit.signals.get("speaker") for hit in hits] == [0.2, None]


async def test_the_time_that_is_named_goes_ahead(house: House) -> None:
    """Of two equally good memories, the one of the month or week asked about is first."""
    february, april = START - timedelta(days=75), START - timedelta(days=10)
    await house.messages.capture_many(
        [
            replace(said(1, "the meetup is at the lake"), created_at=february),
            replace(said(2, "the meetup is at the mill"), created_at=april),
        ]
    )
    await house.indexer().drain()
    for when, place in (("in february", "lake"), ("in April 2024", "mill"), ("two weeks ago", "mill")):
        hits = (await house.recall().recall(f"where was the meetup {when}?", everywhere(), 9)).hits
        assert hits[0].memory.text == f"the meetup is at the {place}"
        assert hits[0].signals["date"] > hits[1].signals.get("date", 0.0)


async def test_a_question_is_asked_with_and_without_its_names(
    talk: House, openai: OpenAIServer, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its vector lies between both, so that what is asked counts more than whom it is about."""
    searched: list[Search] = []
    search = talk.index.search

    async def watched(scope: Scope, searches: Sequence[Search]) -> list[list[ScoredPoint]]:
        searched.extend(searches)
        return await search(scope, searches)

    monkeypatch.setattr(talk.index, "search", watched)
    await talk.recall(embedder).recall("what will Ben's gloves be?", everywhere(), 5)
    assert set(openai.texts[-2:]) == {"what will Ben's gloves be?", "what will gloves be?"}
    named, nameless = [(await embedder.queries([text]))[0] for text in openai.texts[-2:]]
    [middle] = [one.vector for one in searched if one.key is Key.WINDOW]
    assert _cosine(middle, named) == pytest.approx(_cosine(middle, nameless))
    assert _cosine(middle, named) > _cosine(named, nameless)


@pytest.mark.parametrize("question", ["when does the kiln arrive?", "what about Zoe's kiln", "Ben?"])
async def test_a_question_without_names_or_nothing_else_is_asked_once(
    question: str, talk: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """Nobody here is called Zoe, and without his name nothing is left of Ben."""
    asked = len(openai.texts)
    await talk.recall(embedder).recall(question, everywhere(), 5)
    assert openai.texts[asked:] == [question]


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


@pytest.mark.parametrize("question", ["did Cleo fire the kiln?", "what did Ben fire?", "the kiln last week"])
async def test_what_is_said_out_of_sight_changes_no_answer(
    question: str, house: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """Not its memories, order, scores or reasons, be it said by somebody named, in the same minute or much better."""
    public = Scope(GUILD, frozenset({GENERAL}))
    await house.messages.capture_many(TALK[:2])
    await house.indexer(embedder).drain()
    before = await house.recall(embedder).recall(question, public, 20)
    asked = openai.texts[-1]

    hidden = [
        said(5, "the kiln arrives", CLEO, STAFF),
        said(6, "did Cleo fire the kiln? did Ben?", BEN, STAFF),
        replace(said(7, "Cleo fired the kiln", CLEO, STAFF), author_name="Ben"),
        replace(said(8, "that kiln again", CLEO, STAFF), reply_to=2, created_at=START - timedelta(days=7)),
    ]
    await house.messages.capture_many(hidden)
    await house.learn(replace(fact_of("Cleo fired the kiln.", hidden[:1]), importance=1.0))
    await house.indexer(embedder).drain()
    after = await house.recall(embedder).recall(question, public, 20)
    assert texts(after) == texts(before) != []
    for now, then in zip(after.hits, before.hits, strict=True):
        assert now.memory == then.memory
        assert now.signals == pytest.approx(then.signals)
        assert (now.score, now.evidence) == (pytest.approx(then.score), then.evidence)
    assert openai.texts[-1] != "did fire the kiln?" or asked == "did fire the kiln?"


async def test_better_memories_out_of_sight_take_no_place(
    house: House, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may be seen is chosen before the best are: it is found however many hidden memories match better."""
    monkeypatch.setattr("bot.memory.recall.CANDIDATES", 2)
    await house.messages.capture_many([said(1, "about that kiln: it comes some day")])
    await house.messages.capture_many([said(id, "kiln kiln kiln", BEN, STAFF) for id in range(10, 20)])
    await house.indexer(embedder).drain()
    found = texts(await house.recall(embedder).recall("kiln kiln", Scope(GUILD, frozenset({GENERAL})), 5))
    assert found == ["about that kiln: it comes some day"]


async def test_of_what_is_out_of_sight_nothing_is_heard(house: House, embedder: OpenAIEmbedder) -> None:
    """Neither what is found nor any score changes with it: words are as rare as they are where the asker may read."""
    public = Scope(GUILD, frozenset({GENERAL}))
    await house.messages.capture_many([said(1, "the kiln arrives"), said(999, "lunch is late")])
    searches = [
        Search(key, (await embedder.queries(["the kiln or lunch"]))[0], 9) for key in (Key.DENSE, Key.WINDOW)
    ] + [Search(key, house.bm25.query("the kiln or lunch"), 9) for key in (Key.BM25, Key.BM25_WINDOW)]
    await house.indexer(embedder).drain()
    before = await house.index.search(public, searches)
    await house.messages.capture(said(5, "kiln kiln kiln", BEN, STAFF))
    await house.indexer(embedder).drain()
    after = await house.index.search(public, searches)
    for now, then in zip(after, before, strict=True):
        assert [point.id for point in now] == [point.id for point in then]
        assert [point.score for point in now] == pytest.approx([point.score for point in then])


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
    assert "lunch is on me today" not in texts(await talk.recall(embedder).recall("lunch today", everywhere(), 9))


async def test_no_embedder_is_told(talk: House) -> None:
    """Without a key recall searches by keywords and says so."""
    recalled = await talk.recall().recall("kiln", everywhere(), 5)
    assert (texts(recalled)[0], recalled.degraded) == ("the kiln arrives on monday", Degraded.NO_EMBEDDER)


async def test_an_embedder_that_is_down_is_told_and_asked_again_later(
    talk: House, openai: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    """An outage costs one failure, then recall goes straight to keywords, and tries again after a while."""
    openai.fault = Fault.ERROR
    recall = talk.recall(embedder)
    for _ in range(3):
        recalled = await recall.recall("kiln", everywhere(), 5)
        assert (texts(recalled)[0], recalled.degraded) == ("the kiln arrives on monday", Degraded.EMBEDDER_DOWN)
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
    assert (texts(recalled)[0], recalled.degraded) == ("the kiln arrives on monday", Degraded.EMBEDDER_DOWN)


async def test_loading_the_embedders_client_is_no_fault_of_the_service(
    talk: House, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first question after a start waits for what is loaded once, and is answered by everything."""
    patience = "bot.memory.recall._EMBEDDER_SECONDS"
    load = openai_embedder._client

    def slowly(settings: OpenAISettings) -> AsyncOpenAI:
        monkeypatch.setattr(patience, 5.0)  # it is over for whoever began to count before this
        return load(settings)

    monkeypatch.setattr(patience, 0.0)
    monkeypatch.setattr(openai_embedder, "_client", slowly)
    started = OpenAIEmbedder(embedder._settings)
    try:
        assert (await talk.recall(started).recall("kiln", everywhere(), 5)).degraded is None
    finally:
        await started.close()


async def test_the_index_down_is_told(talk: House, embedder: OpenAIEmbedder) -> None:
    """While the index is down, keyword search in SQL answers and says so."""
    talk.index.break_down()
    recalled = await talk.recall(embedder).recall("kiln", everywhere(), 5)
    assert (texts(recalled)[0], recalled.degraded) == ("the kiln arrives on monday", Degraded.INDEX_DOWN)


async def test_an_index_that_hangs_does_not_hold_up_the_answer(
    talk: House, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the index's time is up keyword search answers."""
    monkeypatch.setattr("bot.memory.recall._INDEX_SECONDS", 0.05)
    talk.index.hangs = True
    recalled = await talk.recall(embedder).recall("kiln", everywhere(), 5)
    assert (texts(recalled)[0], recalled.degraded) == ("the kiln arrives on monday", Degraded.INDEX_DOWN)


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
    assert (texts(recalled)[0], recalled.degraded) == ("the kiln arrives on monday", Degraded.INDEX_DOWN)
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
    assert "the kiln arrives on monday" not in texts(await talk.recall(embedder).recall("kiln", everywhere(), 20))


async def test_nothing_is_found_by_gone_words_said_around_it(talk: House, embedder: OpenAIEmbedder) -> None:
    """From the commit of a deletion or an edit on, though the windows of its neighbours still hold the words."""
    recall, other = talk.recall(embedder), "bring gloves then, it will be hot"
    assert other in texts(await recall.recall("kiln", everywhere(), 20))
    await talk.edit(1, "never mind", START + timedelta(hours=1))
    assert other not in texts(await recall.recall("kiln", everywhere(), 20))
    await talk.indexer(embedder).drain()
    assert other in texts(await recall.recall("never mind", everywhere(), 20))
    await talk.retraction.messages_deleted(GUILD, [1])
    assert texts(await recall.recall("never mind", everywhere(), 20)) == []


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
    assert (texts(recalled)[0], recalled.degraded) == ("the kiln arrives on monday", Degraded.INDEX_DOWN)


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


def _cosine(one: Sequence[float], two: Sequence[float]) -> float:
    return sum(map(mul, one, two)) / math.hypot(*one) / math.hypot(*two)
