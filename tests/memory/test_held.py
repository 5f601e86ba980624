"""Reading memories again: the words of now, and nothing that is gone."""

from dataclasses import replace

import pytest
from house import ANN, GENERAL, GUILD, House, fact_of, said

from bot.errors import IndexUnavailable
from bot.memory.held import Held
from bot.memory.index import IndexPoint
from bot.memory.mem0_adapter import from_payload
from bot.model import Memory, fact_memory, message_memory

KILN, GLOVES = said(1, "the kiln arrives on monday"), said(2, "bring gloves")
ABOUT_ANN = fact_of("Ann ordered a kiln.", [KILN], ANN)


def foreign(text: str) -> IndexPoint:
    """A memory as a plain mem0 client writes it."""
    ids = {"agent_id": str(GUILD), "run_id": str(GENERAL), "user_id": str(ANN)}
    times = dict.fromkeys(("created_at", "updated_at"), "2024-05-03T12:00:00+00:00")
    return IndexPoint("11111111-1111-4111-8111-111111111111", {"data": text, "hash": "…", **times, **ids})


def seen(point: IndexPoint) -> Memory:
    memory = from_payload(point.id, point.payload)
    assert memory
    return memory


@pytest.fixture
async def held(house: House) -> Held:
    """Two messages and a fact, indexed, and a memory of another mem0 client."""
    await house.messages.capture_many([KILN, GLOVES])
    await house.learn(ABOUT_ANN)
    await house.indexer().drain()
    await house.index.upsert(GUILD, [foreign("Ann is allergic to nuts.")])
    return Held(house.messages, house.facts, house.retraction, house.index)


async def test_the_words_are_those_of_now(held: Held) -> None:
    """In the order asked for: records from SQL, and what is in the index alone from there."""
    stale = [replace(seen(foreign("old")), text="old"), fact_memory(ABOUT_ANN), replace(message_memory(KILN), text="?")]
    texts = [memory.text for memory in await held.again(GUILD, stale)]
    assert texts == ["Ann is allergic to nuts.", "Ann ordered a kiln.", "the kiln arrives on monday"]


async def test_what_is_gone_is_left_out(house: House, held: Held) -> None:
    """A deleted message and its fact are gone at once, a forgotten memory though the index still holds it."""
    await house.retraction.messages_deleted(GUILD, [KILN.id])
    await house.retraction.points_forgotten(GUILD, [foreign("").id])
    memories = [message_memory(KILN), fact_memory(ABOUT_ANN), seen(foreign("…")), message_memory(GLOVES)]
    assert await held.again(GUILD, memories) == [message_memory(GLOVES)]


async def test_only_the_index_is_asked_for_what_has_no_record(house: House, held: Held) -> None:
    """With the index down records are still read, and of the rest nothing is claimed."""
    house.index.break_down()
    assert await held.again(GUILD, [message_memory(KILN)]) == [message_memory(KILN)]
    with pytest.raises(IndexUnavailable):
        await held.again(GUILD, [seen(foreign("…"))])
