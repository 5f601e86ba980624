"""Window keys: of a message's conversation, and without the words of a removed message, whenever it is removed."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from house import ANN, BEN, CLEO, DIMENSIONS, GUILD, START, House, said

from bot.errors import IndexUnavailable
from bot.memory.embeddings import OpenAIEmbedder
from bot.memory.index import IndexPoint, Key
from bot.model import Message, message_memory_id
from bot.sandbox.openai import OpenAIServer, embed

# Lunch, and after a lull the kiln at the same time.
LUNCH = [
    said(1, "lunch is in the yard", BEN),
    replace(said(21, "bring forks", CLEO), reply_to=1),
    replace(said(23, "soup once more", ANN), reply_to=21),
    replace(said(25, "see you there", BEN), reply_to=23),
]
KILN = [
    said(20, "is the kiln hot?", ANN),
    replace(said(22, "glaze the pelican bowl", BEN), reply_to=20),
    replace(said(24, "or the blue one", CLEO), reply_to=20),
    replace(said(26, "done with both", ANN), reply_to=24),
]
PELICAN = KILN[1]
LEFT = [one for one in KILN if one is not PELICAN]

Act = Callable[[], Awaitable[object]]


@pytest.fixture
async def talk(house: House) -> House:
    """Both conversations, captured."""
    await house.messages.capture_many([*LUNCH, *KILN])
    return house


def windows(*conversations: Sequence[Message]) -> dict[str, str]:
    """The lines of each message's window by the message's words."""
    return {
        one.content: "\n".join(near.line for near in conversation[max(0, at - 2) : at + 2])
        for conversation in conversations
        for at, one in enumerate(conversation)
    }


async def assert_keys(house: House, expected: dict[str, str], vectors: bool = True) -> None:
    """The index holds just these messages, with window keys of just these lines."""
    points = await house.points()
    assert points.keys() == expected.keys()
    for words, point in points.items():
        assert point.sparse[Key.BM25_WINDOW] == house.bm25.document(expected[words])
        if vectors:
            made_of = embed(expected[words], DIMENSIONS)
            assert sum(a * b for a, b in zip(point.dense[Key.WINDOW], made_of, strict=True)) > 0.999


async def test_a_window_key_is_of_the_messages_conversation(talk: House, embedder: OpenAIEmbedder) -> None:
    """Who talked about something else in between is in neither the words nor the vector of the window."""
    await talk.indexer(embedder).drain()
    await assert_keys(talk, windows(LUNCH, KILN))


async def test_a_late_arrival_enters_the_windows_it_belongs_to(house: House, embedder: OpenAIEmbedder) -> None:
    """What catch-up brings into the middle of a conversation is found by the messages before and after it."""
    indexer = house.indexer(embedder)
    for part in ([*LUNCH, *LEFT], [PELICAN]):
        await house.messages.capture_many(part)
        await indexer.drain()
    await assert_keys(house, windows(LUNCH, KILN))


@pytest.mark.parametrize("when", ["indexed", "embedding", "writing", "index down", "answer lost"])
async def test_a_deleted_message_is_left_in_no_window_key(
    when: str, talk: House, openai: OpenAIServer, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the deletion comes, all keys are of what is left, and nothing more of it is sent to be embedded."""
    indexer = talk.indexer(embedder)

    async def delete() -> None:
        await talk.retraction.messages_deleted(GUILD, [PELICAN.id])
        openai.texts.clear()

    match when:
        case "indexed":
            await indexer.drain()
            await assert_keys(talk, windows(LUNCH, KILN))
            await delete()
        case "embedding":
            monkeypatch.setattr(embedder, "documents", first(delete, embedder.documents))
        case "writing":
            talk.index.before_upsert = delete
        case "index down":
            await indexer.drain()
            talk.index.break_down()
            await delete()
            with pytest.raises(IndexUnavailable):
                await indexer.drain()
            talk.index.down = None
        case "answer lost":
            talk.index.lose_next_answer = True
            with suppress(IndexUnavailable):
                await indexer.drain()
            await delete()
            indexer = talk.indexer(embedder)  # of another process

    await indexer.drain()
    await assert_keys(talk, windows(LUNCH, LEFT))
    if when != "embedding":
        assert not any("pelican" in text for text in openai.texts)


def first(act: Act, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same call, which begins with an act the first time."""
    acts = [act]

    async def acting(*arguments: Any) -> Any:
        if acts:
            await acts.pop()()
        return await call(*arguments)

    return acting


async def test_an_edit_leaves_no_old_words_in_the_windows_around_it(talk: House, embedder: OpenAIEmbedder) -> None:
    """Every window in which the message stood is of its new words."""
    indexer = talk.indexer(embedder)
    await indexer.drain()
    assert await talk.edit(PELICAN.id, "glaze the heron bowl", START + timedelta(hours=1))
    await indexer.drain()
    edited = [replace(one, content="glaze the heron bowl") if one is PELICAN else one for one in KILN]
    await assert_keys(talk, windows(LUNCH, edited))


async def test_vectors_that_come_later_are_of_what_is_left_by_then(talk: House, embedder: OpenAIEmbedder) -> None:
    """A message deleted between its neighbours' keywords and their vectors is in neither."""
    await talk.indexer().drain()
    await assert_keys(talk, windows(LUNCH, KILN), vectors=False)
    await talk.retraction.messages_deleted(GUILD, [PELICAN.id])
    await talk.indexer(embedder).drain()
    await assert_keys(talk, windows(LUNCH, LEFT))


async def test_what_another_client_changed_gets_its_recorded_window_back(talk: House) -> None:
    """The reconciler rebuilds a window of the conversation, so that a deletion finds it."""
    indexer = talk.indexer()
    await indexer.drain()
    blue = (await talk.points())[KILN[2].content]
    changed = {**blue.payload, "updated_at": (START + timedelta(days=1)).isoformat()}
    await talk.index.upsert(GUILD, [IndexPoint(blue.id, changed)])
    assert await talk.reconciler(indexer).run_once([GUILD]) == 1
    await assert_keys(talk, windows(LUNCH, KILN), vectors=False)


async def test_a_message_another_client_made_up_has_no_window_of_others(talk: House) -> None:
    """A point that merely names a message as its source stands by itself: no deletion finds words in its window."""
    indexer = talk.indexer()
    await indexer.drain()
    blue = (await talk.points())[KILN[2].content]
    made_up = {**blue.payload, "data": "a made up one", "updated_at": START.isoformat()}
    await talk.index.upsert(GUILD, [IndexPoint("11111111-1111-4111-8111-111111111111", made_up)])
    assert await talk.reconciler(indexer).run_once([GUILD]) == 1
    point = (await talk.points())["a made up one"]
    assert point.sparse[Key.BM25_WINDOW] == point.sparse[Key.BM25]
    assert message_memory_id(KILN[2]) != point.id
