"""What is particular to the index on a server: outages, keys, other people's collections, the wire."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from qdrant_client import models
from qdrant_server import QdrantServer

from bot.errors import IndexMismatch, IndexUnavailable
from bot.memory.bm25 import Bm25
from bot.memory.index import IndexPoint, Key, Search
from bot.memory.server import ServerIndex
from bot.model import Scope
from bot.settings_services import QdrantSettings

GUILD, OTHER_GUILD = 1001, 1002
SIZE = 4
BM25 = Bm25("english")
NEAR = Search(Key.DENSE, [1.0, 0, 0, 0], 10)
ALL = [Search(key, [1.0, 0, 0, 0], 10) for key in (Key.DENSE, Key.WINDOW)] + [
    Search(key, BM25.query("walrus"), 10) for key in (Key.BM25, Key.BM25_WINDOW)
]


@pytest.fixture
async def server() -> AsyncIterator[QdrantServer]:
    async with QdrantServer() as server:
        yield server


@pytest.fixture
async def index(server: QdrantServer) -> AsyncIterator[ServerIndex]:
    index = ServerIndex(QdrantSettings(url=server.url), SIZE)
    yield index
    await index.close()


def id_of(number: int) -> str:
    return f"6f1d6f3c-0000-4000-8000-{number:012}"


def point(number: int, text: str = "walrus", guild: int = GUILD) -> IndexPoint:
    payload = {"data": text, "guild_id": str(guild), "agent_id": str(guild), "access_id": 5}
    vector, words = [1.0, 0, 0, 0], BM25.document(text)
    return IndexPoint(
        id_of(number),
        payload,
        {Key.DENSE: vector, Key.WINDOW: vector},
        {Key.BM25: words, Key.BM25_WINDOW: words},
    )


def seen(guild: int = GUILD) -> Scope:
    return Scope(guild, frozenset({5}))


async def made_by_mem0(server: QdrantServer, size: int = SIZE, bm25: bool = True) -> None:
    """The collection as mem0 2.2 lays it out, or as it did before it had BM25."""
    vector = models.VectorParams(size=size, distance=models.Distance.COSINE)
    sparse = {"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)}
    await server.local.create_collection("discord_memories", vector, sparse_vectors_config=sparse if bm25 else None)


async def test_the_collection_is_laid_out_as_mem0_does(server: QdrantServer, index: ServerIndex) -> None:
    """The unnamed vector and `bm25`, ours beside them, and the payload indexes with the guild as tenant."""
    await index.open()
    params = (await server.local.get_collection("discord_memories")).config.params
    assert isinstance(params.vectors, dict)
    assert {name: (v.size, v.distance) for name, v in params.vectors.items()} == {
        "": (SIZE, models.Distance.COSINE),
        "window": (SIZE, models.Distance.COSINE),
    }
    assert {name: v.modifier for name, v in (params.sparse_vectors or {}).items()} == {
        "bm25": models.Modifier.IDF,
        "bm25_window": models.Modifier.IDF,
    }
    created = {body["field_name"]: body["field_schema"] for _, path, body in server.requests if path.endswith("/index")}
    assert created == {
        "guild_id": {"type": "keyword", "is_tenant": True},
        **dict.fromkeys(["user_id", "agent_id", "run_id"], "keyword"),
        **dict.fromkeys(["access_id", "channel_id", "subject_id", "speaker_ids", "said_at"], "integer"),
    }


async def test_opening_again_changes_nothing(server: QdrantServer, index: ServerIndex) -> None:
    """An existing collection keeps its points."""
    await index.upsert(GUILD, [point(1)])
    await index.open()
    assert await index.count(GUILD) == 1


async def test_a_server_that_is_down_at_start_is_used_when_it_comes(server: QdrantServer, index: ServerIndex) -> None:
    """Every call says so while the server is away, and the first one after makes the collection."""
    await server.stop()
    calls: list[Any] = [
        lambda: index.open(),
        lambda: index.ping(),
        lambda: index.upsert(GUILD, [point(1)]),
        lambda: index.delete(GUILD, [id_of(1)]),
        lambda: index.search(seen(), [NEAR]),
        lambda: index.retrieve(GUILD, [id_of(1)]),
        lambda: index.scroll(GUILD),
        lambda: index.count(GUILD),
        lambda: index.drop_guild(GUILD),
    ]
    for call in calls:
        with pytest.raises(IndexUnavailable, match=r"^The Qdrant server does not answer\.$"):
            await call()
    await server.start()
    await index.upsert(GUILD, [point(1)])
    assert await index.count(GUILD) == 1


async def test_a_server_that_goes_away_is_used_again(server: QdrantServer, index: ServerIndex) -> None:
    """An outage in between costs the calls made during it."""
    await index.upsert(GUILD, [point(1)])
    await server.stop()
    with pytest.raises(IndexUnavailable):
        await index.search(seen(), [NEAR])
    await server.start()
    [[hit]] = await index.search(seen(), [NEAR])
    assert hit.id == id_of(1)


async def test_a_collection_deleted_by_someone_is_made_anew(server: QdrantServer, index: ServerIndex) -> None:
    """The call that finds it missing fails, the next one makes it."""
    await index.upsert(GUILD, [point(1)])
    await server.local.delete_collection("discord_memories")
    with pytest.raises(IndexUnavailable, match="404"):
        await index.count(GUILD)
    assert await index.count(GUILD) == 0


async def test_a_key_for_the_collection_alone_is_enough(server: QdrantServer, index: ServerIndex) -> None:
    """Who may not ask which collection is in use works with the one of the settings."""
    server.refuses = {"aliases"}
    await index.upsert(GUILD, [point(1)])
    assert await index.count(GUILD) == 1


async def test_another_vector_size_is_one_sentence(server: QdrantServer, index: ServerIndex) -> None:
    """A collection made for other vectors names both sizes and what to do, whoever made it."""
    await made_by_mem0(server, size=16)
    sentence = r"discord_memories holds vectors of size 16, but 4 is asked for: set the embedding model"
    for _ in range(2):
        with pytest.raises(IndexMismatch, match=sentence):
            await index.count(GUILD)


@pytest.mark.parametrize("bm25", [True, False])
async def test_a_collection_made_by_mem0_gets_the_missing_keys(
    server: QdrantServer, index: ServerIndex, bm25: bool
) -> None:
    """Where the server can add vectors to a collection, all four keys work."""
    await made_by_mem0(server, bm25=bm25)
    await index.upsert(GUILD, [point(1)])
    assert [[hit.id for hit in hits] for hits in await index.search(seen(), ALL)] == [[id_of(1)]] * 4


@pytest.mark.parametrize(("bm25", "lists"), [(True, [1, 0, 1, 0]), (False, [1, 0, 0, 0])])
async def test_an_older_server_goes_without_the_missing_keys(
    server: QdrantServer, index: ServerIndex, bm25: bool, lists: list[int]
) -> None:
    """Where it cannot, writing and searching go on with the keys there are."""
    server.refuses = {"vector names"}
    await made_by_mem0(server, bm25=bm25)
    await index.upsert(GUILD, [point(1)])
    assert [len(hits) for hits in await index.search(seen(), ALL)] == lists
    assert await index.search(seen(), ALL[1:2]) == [[]]
    [[stored], _] = await index.scroll(GUILD, keys=True)
    assert set(stored.dense) == {Key.DENSE}


async def test_idf_is_the_guilds_own(index: ServerIndex) -> None:
    """How rare a word is elsewhere does not change a guild's scores."""
    await index.upsert(GUILD, [point(1, "walrus"), point(2, "penguin"), point(3, "penguin")])
    words = Search(Key.BM25, BM25.query("walrus penguin"), 10)
    [before] = await index.search(seen(), [words])
    await index.upsert(OTHER_GUILD, [point(number, "walrus", OTHER_GUILD) for number in range(10, 40)])
    [after] = await index.search(seen(), [words])
    assert [(hit.id, hit.score) for hit in after] == [(hit.id, pytest.approx(hit.score)) for hit in before]
    assert after[0].id == id_of(1)


async def test_a_server_without_scoped_idf_still_answers(server: QdrantServer, index: ServerIndex) -> None:
    """A server that refuses the parameter is asked without it, and not again with it."""
    server.refuses = {"idf"}
    await index.upsert(GUILD, [point(1)])
    for _ in range(2):
        assert [len(hits) for hits in await index.search(seen(), ALL)] == [1, 1, 1, 1]
    batches = [body["searches"] for _, path, body in server.requests if path.endswith("/query/batch")]
    assert ["idf" in str(searches) for searches in batches] == [True, False, False]


async def test_every_search_is_filtered_by_guild_and_access(server: QdrantServer, index: ServerIndex) -> None:
    """On the wire, no list is asked for without both, and nothing is asked for nobody's channels."""
    await index.search(seen(), ALL)
    [body] = [body for _, path, body in server.requests if path.endswith("/query/batch")]
    for search in body["searches"]:
        assert search["filter"]["must"] == [
            {"key": "guild_id", "match": {"any": [str(GUILD)]}},
            {"key": "access_id", "match": {"any": [5]}},
        ]
    asked = len(server.requests)
    assert await index.search(Scope(GUILD, frozenset()), ALL) == [[], [], [], []]
    assert len(server.requests) == asked


async def test_a_wrong_api_key_is_one_sentence() -> None:
    """The sentence names the key of the settings and not its value."""
    async with QdrantServer(api_key="right") as server:
        wrong = ServerIndex(QdrantSettings(url=server.url, api_key="wrong"), SIZE)  # type: ignore[arg-type]
        with pytest.raises(IndexUnavailable, match=r"^Qdrant refused the API key \(403\): check qdrant\.api_key\.$"):
            await wrong.open()
        await wrong.close()


async def test_a_refused_write_is_not_quoted(index: ServerIndex) -> None:
    """An error says the status only: the server's words may hold ours."""
    misfit = IndexPoint(id_of(1), {"data": "a secret"}, {Key.DENSE: [1.0] * 9})
    with pytest.raises(IndexUnavailable, match=r"^Qdrant refused a request \(400\)\.$"):
        await index.upsert(GUILD, [misfit])


async def test_many_callers_open_the_collection_once(server: QdrantServer, index: ServerIndex) -> None:
    """The first calls may come together."""
    assert await asyncio.gather(*(index.count(guild) for guild in range(5))) == [0] * 5
    assert [method for method, path, _ in server.requests if path == "/collections/discord_memories"].count("PUT") == 1


async def test_unmapped_points_are_counted_over_pages(index: ServerIndex) -> None:
    """What other clients wrote under no guild is told from what they wrote under one."""
    await index.upsert(None, [IndexPoint(id_of(n), {"agent_id": "my-agent"}) for n in range(5)])
    await index.upsert(None, [IndexPoint(id_of(n), {"agent_id": "77"}) for n in range(5, 8)])
    page, after = await index.scroll(None, limit=6)
    assert (len(page), after) == (5, id_of(6))
    assert await index.scroll(None, after, limit=6) == ([], None)
    assert (await index.count(None), await index.count(77)) == (5, 3)
