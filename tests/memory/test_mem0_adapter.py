"""Our memories as mem0 reads them, and mem0's as we read them, through a genuine `mem0.Memory`."""

import asyncio
import hashlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from qdrant_server import QdrantServer

from bot.errors import SettingsError
from bot.memory.bm25 import Bm25
from bot.memory.edge import EdgeIndex
from bot.memory.index import IndexPoint, Key, Search, VectorIndex
from bot.memory.mem0_adapter import from_payload, open_mem0, to_payload
from bot.memory.server import ServerIndex
from bot.model import FactKind, Memory, MemoryKind, Scope
from bot.sandbox.openai import OpenAIServer, embed
from bot.settings import Settings
from bot.settings_services import OpenAISettings, QdrantSettings

T = TypeVar("T")

GUILD, OTHER_GUILD = 1001, 1002
SIZE = 64
BM25 = Bm25("english")
FACT = Memory(
    id="6f1d6f3c-0000-4000-8000-000000000001",
    kind=MemoryKind.FACT,
    guild_id=GUILD,
    channel_id=70,
    access_id=71,
    channel_name="general",
    subject_id=7,
    text="Ann prefers the walrus operator",
    speaker_ids=(7, 8),
    speaker_name="Ann",
    sources=(900, 901),
    said_at=datetime(2024, 5, 3, 12, 30, 15, 123_000, tzinfo=UTC),
    created_at=datetime(2024, 5, 3, 13, 0, 0, 456_789, tzinfo=UTC),
    importance=0.5,
    fact_kind=FactKind.PREFERENCE,
    entities=("Python",),
    valid_from=date(2024, 5, 1),
    valid_until=date(2024, 6, 1),
)
DECISION = replace(
    FACT, id="6f1d6f3c-0000-4000-8000-000000000002", subject_id=None, text="The release party is on Friday"
)
ELSEWHERE = replace(
    FACT, id="6f1d6f3c-0000-4000-8000-000000000003", guild_id=OTHER_GUILD, text="Zoe sails to the walrus island"
)


# --- payloads ---


def test_every_field_survives() -> None:
    """A memory read back from its payload is the same memory."""
    bare = replace(
        FACT,
        kind=MemoryKind.MESSAGE,
        subject_id=None,
        fact_kind=None,
        valid_from=None,
        valid_until=None,
        entities=(),
        speaker_ids=(),
        sources=(),
    )
    for memory in (FACT, bare):
        assert from_payload(memory.id, to_payload(memory)) == memory


def test_the_payload_is_mem0s() -> None:
    """Subject, guild and channel are mem0's user, agent and run, and its own keys are all there."""
    payload = to_payload(FACT)
    assert payload["data"] == FACT.text
    assert payload["hash"] == hashlib.md5(FACT.text.encode(), usedforsecurity=False).hexdigest()
    assert (payload["user_id"], payload["agent_id"], payload["run_id"]) == ("7", str(GUILD), "70")
    assert payload["created_at"] == payload["updated_at"] == "2024-05-03T13:00:00.456789+00:00"
    assert to_payload(DECISION)["user_id"] == "SERVER"


def test_a_message_is_searched_with_its_speaker() -> None:
    """mem0 makes BM25 of `text_lemmatized`, so that is the text key."""
    message = replace(FACT, kind=MemoryKind.MESSAGE, text="see you there")
    assert to_payload(message)["text_lemmatized"] == "Ann: see you there"


def test_a_payload_by_mem0_alone_is_a_fact_of_its_channel() -> None:
    """Without our keys a memory belongs to guild and channel by mem0's, and to whoever may see that channel."""
    payload = {
        "data": "likes tea",
        "created_at": "2024-05-03T10:00:00-05:00",
        "user_id": "alice",
        "agent_id": "1001",
        "run_id": "70",
        "actor_id": "Alice",
        "role": "user",
    }
    memory = from_payload("x", payload)
    assert memory is not None
    assert (memory.kind, memory.guild_id, memory.channel_id, memory.access_id) == (MemoryKind.FACT, 1001, 70, 70)
    assert (memory.subject_id, memory.speaker_name, memory.sources) == (None, "Alice", ())
    assert memory.said_at == memory.created_at == datetime(2024, 5, 3, 15, tzinfo=UTC)
    naive = from_payload("x", {**payload, "created_at": "2024-05-03T10:00:00"})
    assert naive is not None
    assert naive.created_at == datetime(2024, 5, 3, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "changes",
    [
        {"agent_id": None},
        {"run_id": None},
        {"agent_id": "my-agent"},
        {"run_id": "-5"},
        {"agent_id": "१२३"},
        {"data": None},
        {"created_at": None},
        {"created_at": "yesterday"},
        {"created_at": 5},
        {"kind": "poem"},
        {"fact_kind": "poem"},
        {"sources": 5},
        {"sources": ["x"]},
        {"said_at": "noon"},
        {"said_at": 10**30},
        {"valid_from": "2024-13-01"},
        {"access_id": "everyone"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_no_memory(changes: dict[str, Any]) -> None:
    """A payload without guild and channel, or written badly, is shown to nobody."""
    payload = {key: value for key, value in {**to_payload(FACT), **changes}.items() if value is not None}
    assert from_payload(FACT.id, payload) is None


def test_mem0_is_imported_late() -> None:
    """The bot itself never pays for mem0."""
    code = "import sys, bot.memory.mem0_adapter, bot.memory.edge; sys.exit('mem0' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- a mem0 client on our index ---


class Rooms:
    """An index with our memories in it, and a mem0 client on it."""

    def __init__(self, index: VectorIndex, memory: Any) -> None:
        self.index = index
        self._memory = memory

    async def mem0(self, call: Callable[[Any], T]) -> T:
        """mem0 is synchronous, and the servers it talks to run in this loop."""
        return await asyncio.to_thread(call, self._memory)

    async def point(self, id: str, guild: int | None = GUILD) -> IndexPoint:
        [point] = [p for p in (await self.index.scroll(guild, keys=True))[0] if p.id == id]
        return point


@pytest.fixture
async def openai() -> AsyncIterator[Settings]:
    async with OpenAIServer() as server:
        yield Settings(openai=OpenAISettings(base_url=server.url, dimensions=SIZE))


@pytest.fixture(params=["edge", "server"])
async def rooms(request: pytest.FixtureRequest, openai: Settings, tmp_path: Path) -> AsyncIterator[Rooms]:
    async with QdrantServer() as server:
        settings = QdrantSettings(url=server.url)
        edge = EdgeIndex(tmp_path / "index", SIZE)
        index: VectorIndex = edge if request.param == "edge" else ServerIndex(settings, SIZE)
        await index.open()
        await index.upsert(GUILD, [point(FACT), point(DECISION)])
        await index.upsert(OTHER_GUILD, [point(ELSEWHERE)])
        with ExitStack() as stack:
            opened = open_mem0(edge.shards if index is edge else settings, openai, BM25, tmp_path / "mem0")
            yield Rooms(index, await asyncio.to_thread(stack.enter_context, opened))
        await index.close()
        if index is not edge:
            await edge.close()


def point(memory: Memory) -> IndexPoint:
    vector = embed(memory.text, SIZE)
    words = BM25.document(memory.line)
    return IndexPoint(
        memory.id,
        to_payload(memory),
        {Key.DENSE: vector, Key.WINDOW: vector},
        {Key.BM25: words, Key.BM25_WINDOW: words},
    )


def texts(answer: dict[str, Any]) -> set[str]:
    return {result["memory"] for result in answer["results"]}


async def test_mem0_finds_our_memories(rooms: Rooms) -> None:
    """A search by a mem0 client returns what we wrote, with who, where and our own keys as metadata."""
    answer = await rooms.mem0(lambda m: m.search("who prefers the walrus?", filters={"agent_id": str(GUILD)}))
    [best, *_] = answer["results"]
    assert (best["id"], best["memory"]) == (FACT.id, FACT.text)
    assert (best["user_id"], best["agent_id"], best["run_id"]) == ("7", str(GUILD), "70")
    assert best["metadata"]["sources"] == [900, 901]
    assert ELSEWHERE.text not in texts(answer)


async def test_mem0s_filters_apply(rooms: Rooms) -> None:
    """Its filters by user, guild and channel, its operators and its logic select among our memories."""
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"user_id": "7", "agent_id": str(GUILD)}, {FACT.text}),
        ({"user_id": "SERVER"}, {DECISION.text}),
        ({"user_id": "7"}, {FACT.text, ELSEWHERE.text}),
        ({"run_id": "70", "guild_id": {"in": [str(GUILD), "5"]}}, {FACT.text, DECISION.text}),
        ({"agent_id": str(GUILD), "importance": {"gte": 0.5, "lt": 1}}, {FACT.text, DECISION.text}),
        ({"agent_id": str(GUILD), "importance": {"gt": 0.5}}, set()),
        ({"agent_id": str(GUILD), "created_at": {"lt": "2024-01-01"}}, set()),
        ({"agent_id": str(GUILD), "data": {"ne": FACT.text}}, {DECISION.text}),
        ({"agent_id": str(GUILD), "access_id": {"nin": [71, 72]}}, set()),
        ({"agent_id": str(GUILD), "data": {"contains": "party"}}, {DECISION.text}),
        ({"agent_id": str(GUILD), "NOT": [{"user_id": "7"}]}, {DECISION.text}),
        ({"agent_id": str(GUILD), "OR": [{"user_id": "7"}, {"user_id": "9"}]}, {FACT.text}),
        ({"agent_id": str(GUILD), "AND": [{"data": [FACT.text, "x"]}, {"kind": "*"}]}, {FACT.text}),
        ({"agent_id": "my-agent"}, set()),
    ]
    for filters, expected in cases:
        found = await rooms.mem0(lambda m, f=filters: m.search("walrus release", filters=f, threshold=0.0))  # type: ignore[misc]
        assert texts(found) == expected, filters


async def test_an_unknown_operator_is_refused(rooms: Rooms) -> None:
    """A filter that cannot be understood is an error, never ignored."""
    with pytest.raises(ValueError, match="operator"):
        await rooms.mem0(lambda m: m.search("x y", filters={"agent_id": str(GUILD), "importance": {"near": 1}}))


async def test_mem0_gets_and_lists_our_memories(rooms: Rooms) -> None:
    """By id, and all of a guild."""
    assert (await rooms.mem0(lambda m: m.get(FACT.id)))["memory"] == FACT.text
    assert await rooms.mem0(lambda m: m.get("6f1d6f3c-0000-4000-8000-00000000ffff")) is None
    assert texts(await rooms.mem0(lambda m: m.get_all(filters={"agent_id": str(GUILD)}))) == {
        FACT.text,
        DECISION.text,
    }
    assert len((await rooms.mem0(lambda m: m.get_all(filters={"run_id": "70"}, top_k=2)))["results"]) == 2


async def test_mem0_updates_our_memories(rooms: Rooms) -> None:
    """A new text keeps who and where and mem0's keys, and loses ours, which a reconciler rebuilds."""
    await rooms.mem0(lambda m: m.update(FACT.id, text="Ann prefers the penguin"))
    updated = await rooms.point(FACT.id)
    memory = from_payload(updated.id, updated.payload)
    assert memory is not None
    assert memory == replace(FACT, text="Ann prefers the penguin")
    assert updated.payload["updated_at"] > updated.payload["created_at"]
    assert list(updated.dense) == [Key.DENSE]
    assert Key.BM25_WINDOW not in updated.sparse
    [[hit], []] = await rooms.index.search(
        Scope(GUILD, frozenset({FACT.access_id}), about_id=7),
        [Search(Key.DENSE, embed("penguin", SIZE), 9), Search(Key.BM25, BM25.query("walrus"), 9)],
    )
    assert hit.id == FACT.id


async def test_mem0_deletes_our_memories(rooms: Rooms) -> None:
    """One by id, or all of a scope, and no other guild's."""
    await rooms.mem0(lambda m: m.delete(FACT.id))
    assert await rooms.index.retrieve(GUILD, [FACT.id]) == []
    with pytest.raises(ValueError, match="not found"):
        await rooms.mem0(lambda m: m.delete(FACT.id))
    await rooms.mem0(lambda m: m.delete_all(agent_id=str(GUILD)))
    assert (await rooms.index.count(GUILD), await rooms.index.count(OTHER_GUILD)) == (0, 1)


async def test_we_read_what_mem0_adds(rooms: Rooms) -> None:
    """A memory added under a guild and a channel is ours to read, and under that guild."""
    added = await rooms.mem0(
        lambda m: m.add("Ben plays the tuba", user_id="8", agent_id=str(GUILD), run_id="70", infer=False)
    )
    [result] = added["results"]
    stored = await rooms.point(result["id"])
    memory = from_payload(stored.id, stored.payload)
    assert memory is not None
    assert (memory.text, memory.subject_id, memory.guild_id, memory.channel_id) == ("Ben plays the tuba", 8, GUILD, 70)
    assert Key.DENSE in stored.dense
    visible = Scope(GUILD, frozenset({70}))
    assert await rooms.index.search(visible, [Search(Key.DENSE, embed("tuba", SIZE), 9)]) == [[]]


async def test_what_mem0_adds_without_guild_and_channel_is_shown_to_nobody(rooms: Rooms) -> None:
    """It is kept apart until an admin maps it, and is no memory before."""
    await rooms.mem0(lambda m: m.add("nobody knows this", user_id="alice", infer=False))
    await rooms.mem0(lambda m: m.add("nor this", user_id="alice", agent_id=str(GUILD), infer=False))
    unmapped, _ = await rooms.index.scroll(None)
    assert [p.payload["data"] for p in unmapped] == ["nobody knows this"]
    half = [p for p in (await rooms.index.scroll(GUILD))[0] if p.payload["data"] == "nor this"]
    assert [from_payload(p.id, p.payload) for p in [*unmapped, *half]] == [None, None]


async def test_a_memory_added_by_mem0_keeps_its_words_in_edge(openai: Settings, tmp_path: Path) -> None:
    """Embedded, mem0's points get their BM25 key without fastembed, and are updated with or without a new text."""
    index = EdgeIndex(tmp_path / "index", SIZE)
    with open_mem0(index.shards, openai, BM25, tmp_path / "mem0") as memory:
        rooms = Rooms(index, memory)
        added = await rooms.mem0(lambda m: m.add("Ben plays the tuba", agent_id=str(GUILD), infer=False))
        id = added["results"][0]["id"]
        await rooms.mem0(lambda m: m.update(id, metadata={"mood": "loud"}))
        await rooms.mem0(lambda m: m.vector_store.update(id, payload={"data": "a drum", "agent_id": str(GUILD)}))
        stored = await rooms.point(id)
        assert set(stored.sparse) == {Key.BM25}
        assert sorted(stored.sparse[Key.BM25].indices) == sorted(BM25.document("a drum").indices)
        assert list(stored.dense[Key.DENSE]) == pytest.approx(embed("Ben plays the tuba", SIZE), abs=1e-6)
        assert await rooms.mem0(lambda m: m.vector_store.col_info()) == {"name": "recollect", "points_count": 1}
        assert await rooms.mem0(lambda m: m.vector_store.list_cols()) == ["recollect"]
    await index.close()


async def test_nothing_forgotten_stays_in_a_history(rooms: Rooms, tmp_path: Path) -> None:
    """mem0 keeps no history and no entities, on disk or in memory, and its files hold no text."""
    await rooms.mem0(lambda m: m.update(FACT.id, text="Ann loves 'Moby Dick' by Herman Melville"))
    await rooms.mem0(lambda m: m.delete(FACT.id))
    assert await rooms.mem0(lambda m: m.history(FACT.id)) == []
    assert await rooms.mem0(lambda m: m.entity_store.list()) == []
    written = [file for file in (tmp_path / "mem0").rglob("*") if file.is_file()]
    assert not any(b"Moby" in file.read_bytes() for file in written)


async def test_mem0_may_not_reset_the_embedded_index(openai: Settings, tmp_path: Path) -> None:
    """One call of a client must not empty every guild."""
    index = EdgeIndex(tmp_path / "index", SIZE)
    await index.upsert(GUILD, [point(FACT)])
    with open_mem0(index.shards, openai, BM25, tmp_path / "mem0") as memory:
        with pytest.raises(NotImplementedError, match="every guild"):
            await asyncio.to_thread(memory.reset)
        assert await index.count(GUILD) == 1
    await index.close()


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The hosts anyone connects to or looks up."""
    hosts: set[str] = set()
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def connecting(self: socket.socket, address: Any) -> None:
        hosts.add(address[0] if isinstance(address, tuple) else str(address))
        connect(self, address)

    def looking_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        hosts.add(str(host))
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", connecting)
    monkeypatch.setattr(socket, "getaddrinfo", looking_up)
    yield hosts


async def test_mem0_calls_nobody_but_the_embedder(connections: set[str], rooms: Rooms) -> None:
    """No telemetry, no notices: whatever is done, only our own services are asked."""
    from mem0.memory import telemetry

    assert not telemetry.MEM0_TELEMETRY
    assert telemetry.client_telemetry.posthog is None
    await rooms.mem0(lambda m: m.search("since last week, what changed?", filters={"agent_id": str(GUILD)}))
    await rooms.mem0(lambda m: m.add("hello there", agent_id=str(GUILD), infer=False))
    await rooms.mem0(lambda m: m.delete_all(agent_id=str(GUILD)))
    assert connections <= {"127.0.0.1"}


def test_mem0_is_kept_from_vectors_it_would_make_otherwise(tmp_path: Path) -> None:
    """It does not tell a local model what a text is for, so its vectors would not be near ours."""
    settings = Settings.model_validate({"embedding": {"provider": "ollama"}})
    with pytest.raises(SettingsError, match=r"with embedding\.provider = ollama it cannot be used"):
        with open_mem0(settings.qdrant, settings, BM25, tmp_path):
            pass


async def test_a_collection_made_by_mem0_gets_our_keys(openai: Settings, tmp_path: Path) -> None:
    """Pointed at a collection that plain mem0 made, we add what it lacks and keep what it holds."""
    async with QdrantServer() as server:
        settings = QdrantSettings(url=server.url)

        def first(size: int) -> str:
            with open_mem0(settings, openai, BM25, tmp_path / "mem0") as memory:
                added = memory.add("old news", user_id="7", agent_id=str(GUILD), run_id="70", infer=False)
                return str(added["results"][0]["id"])

        id = await asyncio.to_thread(first, SIZE)
        index = ServerIndex(settings, SIZE)
        await index.upsert(GUILD, [point(FACT)])
        assert {p.id for p in (await index.scroll(GUILD))[0]} == {id, FACT.id}
        recent = Scope(GUILD, frozenset({FACT.access_id}), since=FACT.said_at - timedelta(seconds=1))
        for key in (Key.DENSE, Key.WINDOW):
            [[hit]] = await index.search(recent, [Search(key, embed("walrus", SIZE), 9)])
            assert hit.id == FACT.id
        await index.close()
