"""Reconciling: what a genuine mem0 client adds and changes is completed, placed, and never brought back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from house import BEN, DIMENSIONS, GENERAL, GUILD, OTHER_GUILD, STAFF, House, fact_of, said, texts
from pydantic import SecretStr
from qdrant_server import QdrantServer

from bot.errors import IndexUnavailable
from bot.memory.embeddings import OpenAIEmbedder
from bot.memory.index import IndexPoint, Key
from bot.memory.indexer import Indexer
from bot.memory.mem0_adapter import open_mem0, to_payload
from bot.memory.reconcile import PAGE, Reconciler
from bot.memory.server import ServerIndex
from bot.model import Message, Scope, message_memory, message_memory_id
from bot.sandbox.openai import Fault, OpenAIServer, embed
from bot.settings import Settings
from bot.settings_services import OpenAISettings, QdrantSettings

if TYPE_CHECKING:
    import mem0

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")

T = TypeVar("T")

HERE = Scope(GUILD, frozenset({GENERAL, STAFF}))
KILN, GLOVES = said(1, "the kiln arrives on monday"), said(2, "bring gloves", BEN)
ELSEWHERE: dict[str, Any] = {"user_id": "ann", "agent_id": "support-bot"}


@dataclass
class Shared:
    """A house whose index a mem0 client shares."""

    house: House
    embedder: OpenAIEmbedder
    indexer: Indexer
    reconciler: Reconciler
    client: "mem0.Memory"

    async def mem0(self, call: Callable[..., T], *args: object, **kwargs: object) -> T:
        return await asyncio.to_thread(call, *args, **kwargs)

    async def add(self, text: str, **ids: object) -> str:
        """Let the client add a memory as it is; its id."""
        added: Any = await self.mem0(self.client.add, text, infer=False, **ids)
        return str(added["results"][0]["id"])

    async def update(self, message: Message, text: str) -> None:
        """Let the client change the memory of a message."""
        await self.mem0(self.client.update, message_memory_id(message), text=text)

    async def recalled(self, query: str, scope: Scope = HERE) -> list[str]:
        return texts(await self.house.recall(self.embedder).recall(query, scope, 9))


@pytest.fixture(params=["edge", "server"])
async def shared(
    request: pytest.FixtureRequest, house: House, openai: OpenAIServer, embedder: OpenAIEmbedder, tmp_path: Path
) -> AsyncIterator[Shared]:
    """Two messages, indexed with all their keys, in the embedded index or on a server."""
    settings = OpenAISettings(api_key=SecretStr("sk-test"), base_url=openai.url, dimensions=DIMENSIONS)
    async with QdrantServer() as server:
        qdrant = QdrantSettings(url=server.url)
        if request.param == "server":
            house = replace(house, index=ServerIndex(qdrant, DIMENSIONS))
        await house.index.open()
        indexer = house.indexer(embedder)
        await house.messages.capture_many([KILN, GLOVES])
        await indexer.drain()
        with ExitStack() as stack:
            where = qdrant if request.param == "server" else house.index.shards
            opened = open_mem0(where, Settings(openai=settings), house.bm25, tmp_path / "mem0")
            client = await asyncio.to_thread(stack.enter_context, opened)
            yield Shared(house, embedder, indexer, house.reconciler(indexer, embedder), client)
        if request.param == "server":
            await house.index.close()


async def test_our_own_points_need_nothing(shared: Shared) -> None:
    """What the indexer wrote is complete: there is nothing to rebuild, and nothing is sent to the embedder."""
    assert await shared.reconciler.run_once([GUILD, OTHER_GUILD]) == 0


async def test_an_update_keeps_its_words_and_gets_its_keys_back(shared: Shared) -> None:
    """After a client's update the memory is found by its new words, with all four keys, once."""
    before = (await shared.house.points())[KILN.content]
    await shared.update(KILN, "the oven arrives on friday")
    assert await shared.reconciler.run_once([GUILD]) == 1

    point = (await shared.house.points())["the oven arrives on friday"]
    assert {*point.dense, *point.sparse} == set(Key)
    assert point.sparse[Key.BM25] == shared.house.bm25.document("Ann: the oven arrives on friday")
    assert point.sparse[Key.BM25_WINDOW] == before.sparse[Key.BM25_WINDOW]
    assert point.dense[Key.DENSE] == pytest.approx(embed("Ann: the oven arrives on friday", DIMENSIONS), abs=1e-6)
    assert point.dense[Key.WINDOW] == pytest.approx(before.dense[Key.WINDOW], abs=1e-6)
    assert await shared.recalled("oven on friday", replace(HERE, channel_id=GENERAL)) != []
    assert await shared.reconciler.run_once([GUILD]) == 0


async def test_a_clients_edit_stands_until_the_record_changes(shared: Shared) -> None:
    """The index is what clients edit; the record in SQL keeps its own words and wins when it is edited itself."""
    await shared.update(KILN, "the oven arrives on friday")
    await shared.reconciler.run_once([GUILD])
    assert (await shared.house.messages.get([KILN.id]))[KILN.id].content == KILN.content
    await shared.indexer.drain()
    assert "the oven arrives on friday" in await shared.house.points()

    await shared.house.edit(KILN.id, "the kiln is late", GLOVES.created_at)
    await shared.indexer.drain()
    assert set(await shared.house.points()) == {"the kiln is late", GLOVES.content}


async def test_a_memory_added_to_a_channel_is_seen_by_those_who_see_the_channel(shared: Shared) -> None:
    """A memory that names guild and channel is nobody's until reconciled, then follows its channel."""
    await shared.add("Ben is allergic to glaze", user_id=str(BEN), agent_id=str(GUILD), run_id=str(STAFF))
    assert await shared.recalled("who is allergic to glaze") == []
    assert await shared.reconciler.run_once([GUILD]) == 1

    assert "Ben is allergic to glaze" in await shared.recalled("who is allergic to glaze")
    assert "Ben is allergic to glaze" in await shared.recalled("glaze allergic", replace(HERE, about_id=BEN))
    assert "Ben is allergic to glaze" not in await shared.recalled("glaze", Scope(GUILD, frozenset({GENERAL})))
    assert "Ben is allergic to glaze" not in await shared.recalled("glaze", Scope(OTHER_GUILD, HERE.access_ids))
    point = (await shared.house.points())["Ben is allergic to glaze"]
    assert {*point.dense, *point.sparse} == set(Key)
    found: Any = await shared.mem0(shared.client.get_all, filters={"agent_id": str(GUILD), "user_id": str(BEN)})
    assert "Ben is allergic to glaze" in [one["memory"] for one in found["results"]]


async def test_a_known_thread_lends_its_permissions(shared: Shared) -> None:
    """In a thread we have memories of, who may see it is known from them; in an unknown one nobody is guessed."""
    await shared.house.messages.capture(replace(said(3, "glaze talk", channel=75), access_id=GENERAL))
    await shared.indexer.drain()
    await shared.add("Cobalt makes blue glaze", user_id="SERVER", agent_id=str(GUILD), run_id="75")
    await shared.add("Copper makes green glaze", user_id="SERVER", agent_id=str(GUILD), run_id="76")
    assert await shared.reconciler.run_once([GUILD]) == 2

    public = Scope(GUILD, frozenset({GENERAL}))
    assert "Cobalt makes blue glaze" in await shared.recalled("glaze makes", public)
    assert "Copper makes green glaze" not in await shared.recalled("glaze makes", public)
    assert "Copper makes green glaze" in await shared.recalled("glaze makes", Scope(GUILD, frozenset({76})))


async def test_a_memory_without_a_place_is_nobodys_until_an_admin_gives_it_one(shared: Shared) -> None:
    """Unmapped memories are counted, shown to nobody, and adopted with all their keys into one guild's channel."""
    await shared.add("Glaze is in the cellar", **ELSEWHERE)
    await shared.add("The cellar key hangs by the door", user_id="ann", agent_id=str(GUILD))
    await shared.add("The other guild's cellar", user_id="ann", agent_id=str(OTHER_GUILD))
    assert await shared.reconciler.run_once([GUILD, OTHER_GUILD]) == 0
    assert await shared.recalled("glaze cellar") == []
    assert await shared.recalled("cellar", Scope(OTHER_GUILD, HERE.access_ids)) == []

    assert await shared.reconciler.adopt(GUILD, STAFF, STAFF) == 2

    assert set(await shared.recalled("cellar")) >= {"Glaze is in the cellar", "The cellar key hangs by the door"}
    assert await shared.recalled("cellar", Scope(GUILD, frozenset({GENERAL}))) == []
    point = (await shared.house.points())["Glaze is in the cellar"]
    assert {*point.dense, *point.sparse} == set(Key)
    assert await shared.house.points(None) == {}
    assert await shared.reconciler.adopt(GUILD, STAFF, STAFF) == 0
    assert await shared.reconciler.adopt(OTHER_GUILD, 80, 80) == 1


async def test_other_peoples_metadata_is_kept(shared: Shared) -> None:
    """What a client put beside its memory stays there when our keys join it."""
    await shared.add("Ben fires at cone 6", agent_id=str(GUILD), run_id=str(GENERAL), metadata={"source": "wiki"})
    await shared.reconciler.run_once([GUILD])
    payload = (await shared.house.points())["Ben fires at cone 6"].payload
    assert (payload["source"], payload["access_id"], payload["kind"]) == ("wiki", GENERAL, "fact")


async def test_an_embedder_outage_delays_only_the_vectors(shared: Shared, openai: OpenAIServer) -> None:
    """Without the embedder a changed memory is found by its words at once, and gets its vectors later."""
    await shared.update(KILN, "the oven arrives on friday")
    openai.fault = Fault.ERROR
    assert await shared.reconciler.run_once([GUILD]) == 1
    point = (await shared.house.points())["the oven arrives on friday"]
    assert {*point.dense, *point.sparse} == {Key.DENSE, Key.BM25, Key.BM25_WINDOW}

    openai.fault = None
    assert await shared.reconciler.run_once([GUILD]) == 1
    point = (await shared.house.points())["the oven arrives on friday"]
    assert {*point.dense, *point.sparse} == set(Key)


async def test_messages_that_stay_in_the_house_stay(shared: Shared, openai: OpenAIServer) -> None:
    """With embed_messages off a client's change of a message sends none of its neighbours to the embedder."""
    await shared.update(KILN, "the oven arrives on friday")
    sent = len(openai.texts)
    reconciler = shared.house.reconciler(shared.indexer, shared.embedder, embed_messages=False)
    assert await reconciler.run_once([GUILD]) == 1
    assert len(openai.texts) == sent
    assert await reconciler.run_once([GUILD]) == 0


async def test_without_an_embedder_keywords_are_all(shared: Shared) -> None:
    """No key, no vectors: a change is completed with keywords and is done with."""
    await shared.update(KILN, "the oven arrives on friday")
    reconciler = shared.house.reconciler(shared.indexer)
    assert (await reconciler.run_once([GUILD]), await reconciler.run_once([GUILD])) == (1, 0)


async def test_a_client_cannot_bring_back_what_was_forgotten(shared: Shared) -> None:
    """A point put back by a client that had read it before its memory was forgotten goes for good."""
    fact = fact_of("The kiln arrives on Monday.", [KILN])
    await shared.house.learn(fact)
    await shared.indexer.drain()
    before = await shared.house.points()
    await shared.house.forget(shared.indexer).memories(GUILD, [message_memory(KILN)])
    late = {"updated_at": "2030-01-01T00:00:00+00:00"}
    for text in (KILN.content, fact.text):
        point = before[text]
        await shared.house.index.upsert(GUILD, [IndexPoint(point.id, {**point.payload, **late}, point.dense)])
    assert await shared.recalled("kiln monday") == []

    assert await shared.reconciler.run_once([GUILD]) == 0
    assert set(await shared.house.points()) == {GLOVES.content}


async def test_a_change_during_the_rebuilding_is_not_overwritten(shared: Shared, openai: OpenAIServer) -> None:
    """A memory changed again while its keys were made keeps its newest words, and is completed by the next run."""
    await shared.update(KILN, "the oven arrives on friday")
    openai.fault = Fault.HANG
    running = asyncio.create_task(shared.reconciler.run_once([GUILD]))
    await openai.hanging.wait()
    openai.fault = None
    point = (await shared.house.points())["the oven arrives on friday"]
    changed = {**point.payload, "data": "no oven at all", "updated_at": "2030-01-01T00:00:00+00:00"}
    await shared.house.index.upsert(GUILD, [IndexPoint(point.id, changed, point.dense)])
    await openai.stop()
    await openai.start()

    assert await running == 0
    assert set(await shared.house.points()) == {"no oven at all", GLOVES.content}
    assert await shared.reconciler.run_once([GUILD]) == 1


async def test_a_client_cannot_borrow_another_channels_words(shared: Shared) -> None:
    """A memory that names a message of another channel as its source is found by its own words only."""
    await shared.house.messages.capture(said(3, "salaries rise in march", BEN, STAFF))
    await shared.add("Ben knows", agent_id=str(GUILD), run_id=str(GENERAL), metadata={"sources": [3]})
    assert await shared.reconciler.run_once([GUILD]) == 1
    point = (await shared.house.points())["Ben knows"]
    assert point.sparse[Key.BM25_WINDOW] == point.sparse[Key.BM25]


async def test_a_payload_may_hold_anything(shared: Shared) -> None:
    """A channel id that is a list, which another client may write, stops no run and is put right."""
    payload = {**to_payload(message_memory(GLOVES)), "channel_id": [1]}
    await shared.house.index.upsert(GUILD, [IndexPoint("00000000-0000-4000-8000-000000000001", payload)])
    await shared.update(KILN, "the oven arrives on friday")
    assert await shared.reconciler.run_once([GUILD]) == 2


async def test_nonsense_is_passed_over(shared: Shared) -> None:
    """Points of other tools that are no memories, or name impossible places, stop nothing and stay where they are."""
    numbers = iter(range(10))

    def foreign(**payload: object) -> IndexPoint:
        return IndexPoint(
            f"00000000-0000-4000-8000-00000000000{next(numbers)}", payload, {Key.DENSE: [1.0] * DIMENSIONS}
        )

    here = {"agent_id": str(GUILD), "run_id": str(GENERAL)}
    await shared.house.index.upsert(GUILD, [foreign(**here), foreign(**here, data="x", created_at="yesterday")])
    await shared.house.index.upsert(
        GUILD, [foreign(agent_id=str(GUILD), run_id="9" * 30, data="x", created_at="2024-05-03T12:00:00")]
    )
    whole = {**here, "data": "x", "created_at": "2024-05-03T12:00:00"}
    odd: tuple[dict[str, object], ...] = (
        {"access_id": 1e300},
        {"access_id": "7" * 30},
        {"sources": [[]]},
        {"kind": [1]},
        {"importance": "nan"},
    )
    await shared.house.index.upsert(GUILD, [foreign(**whole, **one) for one in odd])
    await shared.house.index.upsert(None, [foreign(color="red")])
    await shared.update(KILN, "the oven arrives on friday")
    assert await shared.reconciler.run_once([GUILD]) == 1
    assert await shared.reconciler.adopt(GUILD, GENERAL, GENERAL) == 1  # the one whose channel is impossible


async def test_a_broken_guild_is_passed_over(house: House) -> None:
    """The other guilds' points are completed; when no guild can be read, whoever asked is told."""
    theirs = said(2, "theirs", guild=OTHER_GUILD, channel=80)
    payload = to_payload(message_memory(theirs))
    await house.index.upsert(OTHER_GUILD, [IndexPoint(message_memory_id(theirs), payload)])
    house.index.broken_guild = GUILD
    reconciler = house.reconciler(house.indexer())
    assert await reconciler.run_once([GUILD, OTHER_GUILD]) == 1
    house.index.break_down()
    with pytest.raises(IndexUnavailable):
        await reconciler.run_once([GUILD, OTHER_GUILD])


async def test_every_page_is_looked_at(shared: Shared) -> None:
    """Changed memories are found on whatever page of a large guild they stand."""
    many = [said(id, f"message number {id}") for id in range(3, PAGE * 2 + 50)]
    await shared.house.messages.capture_many(many)
    await shared.indexer.drain()
    changed = [KILN, *many[::100]]
    for message in changed:
        await shared.update(message, f"changed {message.id}")
    assert await shared.reconciler.run_once([GUILD]) == len(changed)
    assert await shared.reconciler.run_once([GUILD]) == 0
