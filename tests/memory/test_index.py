"""The conformance suite of the index: every implementation of the port does the same."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from qdrant_client import AsyncQdrantClient
from qdrant_server import QdrantServer

from bot.memory.bm25 import Bm25
from bot.memory.edge import EdgeIndex
from bot.memory.index import IndexPoint, Key, Search, SparseVector, VectorIndex
from bot.memory.mem0_adapter import from_payload, to_payload
from bot.memory.server import ServerIndex
from bot.model import Memory, MemoryKind, Scope, memory_id
from bot.settings_services import QdrantSettings

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")

GUILD, OTHER_GUILD = 1001, 1002
NOON = datetime(2024, 5, 3, 12, tzinfo=UTC)
BM25 = Bm25("english")
SIZE = 4


@pytest.fixture(params=["edge", "in memory", "server"])
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VectorIndex]:
    index: VectorIndex
    if request.param == "edge":
        index = EdgeIndex(tmp_path / "index", SIZE)
    elif request.param == "in memory":
        index = ServerIndex(QdrantSettings(), SIZE, AsyncQdrantClient(":memory:"))
    else:
        async with QdrantServer() as server:
            index = ServerIndex(QdrantSettings(url=server.url), SIZE)
            yield index
            await index.close()
        return
    await index.open()
    yield index
    await index.close()


def memory(
    number: int, text: str = "hello", guild: int = GUILD, access: int = 50, subject: int = 7, minutes: int = 0
) -> Memory:
    at = NOON + timedelta(minutes=minutes)
    return Memory(
        id=memory_id(guild, access, subject, [number]),
        kind=MemoryKind.MESSAGE,
        guild_id=guild,
        channel_id=access + 1,
        access_id=access,
        channel_name="general",
        subject_id=subject,
        text=text,
        speaker_ids=(subject,),
        speaker_name="Ann",
        sources=(number,),
        said_at=at,
        created_at=at,
    )


def point(memory: Memory, dense: list[float] | None = None, window: list[float] | None = None) -> IndexPoint:
    vectors = {Key.DENSE: dense, Key.WINDOW: window}
    return IndexPoint(
        memory.id,
        to_payload(memory),
        {key: vector for key, vector in vectors.items() if vector},
        {Key.BM25: BM25.document(memory.line), Key.BM25_WINDOW: BM25.document(f"{memory.text} around")},
    )


def foreign(id: str, **payload: object) -> IndexPoint:
    """A point as some mem0 client writes it."""
    return IndexPoint(id, {"data": "x", "created_at": NOON.isoformat(), **payload}, {Key.DENSE: [1, 0, 0, 0]})


def seen(*access: int, guild: int = GUILD, **narrower: object) -> Scope:
    return Scope(guild, frozenset(access), **narrower)  # type: ignore[arg-type]


def near(*vector: float, key: Key = Key.DENSE, limit: int = 10) -> Search:
    return Search(key, vector, limit)


def about(words: str, key: Key = Key.BM25, limit: int = 10) -> Search:
    return Search(key, BM25.query(words), limit)


async def found(index: VectorIndex, scope: Scope, search: Search) -> list[str]:
    [points] = await index.search(scope, [search])
    return [point.id for point in points]


async def test_each_key_finds_by_its_own_vector(index: VectorIndex) -> None:
    """Four keys are four separate lists, best first, in one hop."""
    cat, dog = memory(1, "the cat sleeps"), memory(2, "the dog barks at the cat")
    await index.upsert(GUILD, [point(cat, [1, 0, 0, 0], [0, 0, 1, 0]), point(dog, [0, 1, 0, 0], [0, 0, 0.9, 0.1])])
    searches = [near(0.9, 0.1, 0, 0), near(0, 0, 0, 1, key=Key.WINDOW), about("dog"), about("around", Key.BM25_WINDOW)]
    dense, window, words, window_words = await index.search(seen(50), searches)
    assert [p.id for p in dense] == [cat.id, dog.id]
    assert [p.id for p in window] == [dog.id, cat.id]
    assert [p.id for p in words] == [dog.id]
    assert {p.id for p in window_words} == {cat.id, dog.id}


async def test_dense_scores_are_cosine_similarities(index: VectorIndex) -> None:
    """A score does not depend on the length of the vectors."""
    await index.upsert(GUILD, [point(memory(1), [3, 0, 0, 0])])
    [[hit]] = await index.search(seen(50), [near(5, 5, 0, 0)])
    assert hit.score == pytest.approx(0.7071, abs=0.06)  # by the embedded index's codes, coarse in so few dimensions


async def test_rare_words_count_more(index: VectorIndex) -> None:
    """BM25 weighs a word by how few of the guild's memories hold it."""
    common = [memory(n, "the release is planned") for n in range(8)]
    rare = memory(9, "the walrus is planned")
    await index.upsert(GUILD, [point(m) for m in [*common, rare]])
    [hits] = await index.search(seen(50), [about("release walrus")])
    assert hits[0].id == rare.id
    assert hits[0].score > 2 * hits[1].score


async def test_what_is_hidden_makes_no_word_common(index: VectorIndex) -> None:
    """BM25 weighs a word by what the asker may see: otherwise a score would tell what is said elsewhere."""
    await index.upsert(GUILD, [point(memory(1, "walrus")), point(memory(2, "penguin")), point(memory(3, "otter"))])
    [before] = await index.search(seen(50), [about("walrus penguin")])
    await index.upsert(GUILD, [point(memory(n, "walrus", access=51)) for n in range(10, 40)])
    [after] = await index.search(seen(50), [about("walrus penguin")])
    assert {hit.id: hit.score for hit in after} == pytest.approx({hit.id: hit.score for hit in before})


async def test_a_hit_carries_the_payload(index: VectorIndex) -> None:
    """What was stored comes back, as the memory it was."""
    stored = memory(1, "Grüße 👍")
    await index.upsert(GUILD, [point(stored, [1, 0, 0, 0])])
    [[hit]] = await index.search(seen(50), [near(1, 0, 0, 0)])
    assert from_payload(hit.id, hit.payload) == stored


async def test_what_a_member_said_is_erased_by_its_time(index: VectorIndex) -> None:
    """Their messages from before a time go; no fact, nothing of others, nothing of another guild."""
    theirs = [memory(number, minutes=number) for number in range(5)]
    fact = replace(memory(7), id=memory_id(GUILD, 50, 7, [7], "a fact"), kind=MemoryKind.FACT)
    await index.upsert(GUILD, [point(one, [1, 0, 0, 0]) for one in (*theirs, fact, memory(8, subject=8))])
    await index.upsert(OTHER_GUILD, [point(memory(9, guild=OTHER_GUILD), [1, 0, 0, 0])])
    noon = NOON + timedelta(minutes=3)
    await index.erase(GUILD, 7, noon)
    left = await index.retrieve(GUILD, [one.id for one in (*theirs, fact)])
    assert {one.id for one in left} == {one.id for one in (*theirs[3:], fact)}
    assert (await index.count(GUILD), await index.count(OTHER_GUILD)) == (4, 1)
    await index.erase(GUILD, 7, noon)
    await index.erase(777, 7, noon)
    assert await index.count(GUILD) == 4


async def test_much_that_a_member_said_at_one_time_is_erased(index: VectorIndex) -> None:
    """However many messages there are within a millisecond or a year, none stays, and nothing of others goes."""
    burst = [memory(number, minutes=0) for number in range(300)]
    spread = [memory(number, minutes=number * 977) for number in range(300, 600)]
    others = [memory(number, minutes=number, subject=8) for number in range(600, 650)]
    await index.upsert(GUILD, [point(one, [1, 0, 0, 0]) for one in (*burst, *spread, *others)])
    await index.erase(GUILD, 7, NOON + timedelta(days=999))
    assert await index.count(GUILD) == 50


async def test_the_limit_holds(index: VectorIndex) -> None:
    """A list is no longer than asked for."""
    await index.upsert(GUILD, [point(memory(n), [1, n, 0, 0]) for n in range(20)])
    for limit in (3, 12):
        [dense] = await index.search(seen(50), [near(1, 0, 0, 0, limit=limit)])
        [words] = await index.search(seen(50), [about("hello", limit=limit)])
        assert (len(dense), len(words)) == (limit, limit)


async def test_what_one_search_finds_is_scored_by_each(index: VectorIndex) -> None:
    """A list has a score for what only another list found, as if it had looked further; but none for hidden points."""
    points = [point(memory(n, f"word{n}"), [1, n, 0, 0], [1, 20 - n, 0, 0]) for n in range(20)]
    hidden = point(memory(50, "word19 word19", access=51), [1, 0, 0, 0], [1, 0, 0, 0])
    await index.upsert(GUILD, [*points, hidden])
    searches = [near(1, 0, 0, 0, limit=2), near(1, 0, 0, 0, key=Key.WINDOW, limit=1), about("word10 word18", limit=2)]
    dense, window, words = await index.search(seen(50), searches)
    assert {p.id for p in dense} == {p.id for p in window} == {memory(n).id for n in (0, 1, 19, 10, 18)}
    assert {p.id for p in words} == {memory(n).id for n in (10, 18)}
    [alone] = await index.search(seen(50), [near(1, 0, 0, 0, limit=20)])
    scores = {p.id: p.score for p in alone}
    assert {p.id: p.score for p in dense} == pytest.approx({p.id: scores[p.id] for p in dense}, abs=1e-4)


async def test_a_point_without_vectors_is_found_by_words(index: VectorIndex) -> None:
    """With the embedder down, a memory has its words alone."""
    bare = memory(1, "the walrus")
    await index.upsert(GUILD, [point(bare)])
    assert await found(index, seen(50), about("walrus")) == [bare.id]
    assert await found(index, seen(50), near(1, 0, 0, 0)) == []


async def test_nobody_sees_what_they_may_not(index: VectorIndex) -> None:
    """Only the given channels of the given guild are searched; what names neither is found by nobody."""
    public, private, elsewhere = memory(1), memory(2, access=51), memory(3, guild=OTHER_GUILD)
    half_known = [
        foreign(memory(4).id, agent_id=str(GUILD)),
        foreign(memory(5).id, agent_id=str(GUILD), access_id=50),
        foreign(memory(6).id, agent_id=str(GUILD), guild_id=str(GUILD)),
    ]
    await index.upsert(GUILD, [point(public, [1, 0, 0, 0]), point(private, [1, 0, 0, 0]), *half_known])
    await index.upsert(OTHER_GUILD, [point(elsewhere, [1, 0, 0, 0])])
    for search in (near(1, 0, 0, 0), about("hello")):
        assert await found(index, seen(50), search) == [public.id]
        assert set(await found(index, seen(50, 51, 52), search)) == {public.id, private.id}
        assert await found(index, seen(50, 51, guild=OTHER_GUILD), search) == [elsewhere.id]
        assert await found(index, seen(), search) == []
        assert await found(index, seen(99), search) == []


async def test_a_scope_narrows_by_channel_member_and_time(index: VectorIndex) -> None:
    """Channel, subject and an interval of time, closed at its start and open at its end."""
    early = memory(1, access=50, subject=7, minutes=0)
    late = memory(2, access=60, subject=8, minutes=30)
    await index.upsert(GUILD, [point(early, [1, 0, 0, 0]), point(late, [1, 0, 0, 0])])
    for narrower, expected in [
        ({"channel_id": 61}, late),
        ({"about_id": 7}, early),
        ({"since": NOON + timedelta(minutes=30)}, late),
        ({"until": NOON + timedelta(minutes=30)}, early),
        ({"since": NOON, "until": NOON + timedelta(minutes=1)}, early),
    ]:
        assert await found(index, seen(50, 60, **narrower), near(1, 0, 0, 0)) == [expected.id], narrower


async def test_an_upsert_replaces_a_point_with_its_keys(index: VectorIndex) -> None:
    """Writing again leaves no old word, no old vector and no second point."""
    old, new = memory(1, "walrus"), memory(1, "penguin")
    await index.upsert(GUILD, [point(old, [1, 0, 0, 0], [1, 0, 0, 0])])
    await index.upsert(GUILD, [point(new, [0, 1, 0, 0])])
    assert await index.count(GUILD) == 1
    assert await found(index, seen(50), about("walrus")) == []
    assert await found(index, seen(50), about("penguin")) == [new.id]
    assert await found(index, seen(50), near(1, 0, 0, 0, key=Key.WINDOW)) == []


async def test_deleting_removes_points_of_that_guild_only(index: VectorIndex) -> None:
    """Deleting is exact and can be repeated; another guild's point of the same id stays."""
    ours, other = memory(1), memory(2)
    await index.upsert(GUILD, [point(ours, [1, 0, 0, 0]), point(other, [1, 0, 0, 0])])
    await index.delete(OTHER_GUILD, [ours.id])
    await index.delete(None, [ours.id])
    assert await index.count(GUILD) == 2
    for _ in range(2):
        await index.delete(GUILD, [ours.id])
        assert await found(index, seen(50), about("hello")) == [other.id]
    await index.delete(GUILD, [])
    assert await index.count(GUILD) == 1


async def test_retrieving_gives_the_points_that_exist(index: VectorIndex) -> None:
    """Payloads by id, of that guild alone; unknown ids are left out."""
    stored = memory(1)
    await index.upsert(GUILD, [point(stored, [1, 0, 0, 0])])
    unknown = memory(2).id
    [retrieved] = await index.retrieve(GUILD, [unknown, stored.id])
    assert retrieved.id == stored.id
    assert from_payload(retrieved.id, retrieved.payload) == stored
    assert not retrieved.dense
    [whole] = await index.retrieve(GUILD, [stored.id], keys=True)
    assert (list(whole.dense[Key.DENSE]), set(whole.sparse)) == ([1, 0, 0, 0], {Key.BM25, Key.BM25_WINDOW})
    assert await index.retrieve(OTHER_GUILD, [stored.id]) == []
    assert await index.retrieve(GUILD, []) == []


async def test_scrolling_walks_all_points_in_id_order(index: VectorIndex) -> None:
    """Page after page, every point of the guild once."""
    memories = [memory(n) for n in range(25)]
    await index.upsert(GUILD, [point(m, [1, 0, 0, 0]) for m in memories])
    await index.upsert(OTHER_GUILD, [point(memory(1, guild=OTHER_GUILD))])
    walked: list[str] = []
    after: str | None = None
    for expected in (10, 10, 5):
        page, after = await index.scroll(GUILD, after, limit=10)
        assert len(page) == expected
        walked += [p.id for p in page]
    assert after is None
    assert walked == sorted(m.id for m in memories)


async def test_scrolling_shows_keys_when_asked(index: VectorIndex) -> None:
    """A reconciler sees which keys a point has, and their vectors."""
    full, bare = point(memory(1), [1, 0, 0, 0], [0, 1, 0, 0]), foreign(memory(2).id, agent_id=str(GUILD))
    await index.upsert(GUILD, [full, bare])
    points = {p.id: p for p in (await index.scroll(GUILD, keys=True))[0]}
    assert set(points[full.id].dense) == {Key.DENSE, Key.WINDOW}
    assert list(points[full.id].dense[Key.WINDOW]) == pytest.approx([0, 1, 0, 0])
    words = points[full.id].sparse[Key.BM25]
    assert sorted(words.indices) == sorted(full.sparse[Key.BM25].indices)
    assert set(points[full.id].sparse) == {Key.BM25, Key.BM25_WINDOW}
    assert (set(points[bare.id].dense), set(points[bare.id].sparse)) == ({Key.DENSE}, set())
    [[without], _] = await index.scroll(GUILD, limit=1)
    assert not without.dense
    assert not without.sparse


async def test_scrolling_through_what_concerns_a_member(index: VectorIndex) -> None:
    """It lists what is about the member and what rests on their words, also as mem0 clients name them, and no more."""
    about, others = memory(1, subject=7), memory(2, subject=8)
    on_their_words = replace(memory(3, subject=9), speaker_ids=(7, 9))
    named = foreign(memory(4).id, agent_id=str(GUILD), user_id="7")
    somebody = foreign(memory(5).id, agent_id=str(GUILD), user_id="77")
    await index.upsert(GUILD, [point(one, [1, 0, 0, 0]) for one in (about, others, on_their_words)] + [named, somebody])
    points: set[str] = set()
    after: str | None = None
    while points == set() or after is not None:
        page, after = await index.scroll(GUILD, after, limit=1, member_id=7)
        points |= {one.id for one in page}
    assert points == {about.id, on_their_words.id, named.id}


async def test_unmapped_points_are_apart(index: VectorIndex) -> None:
    """What names no guild is no guild's: it is searched by nobody and can be listed and removed."""
    nameless, agent = foreign(memory(1).id, user_id="alice"), foreign(memory(2).id, agent_id="my-agent", access_id=50)
    await index.upsert(None, [nameless, agent])
    await index.upsert(GUILD, [point(memory(3), [1, 0, 0, 0])])
    assert await index.count(None) == 2
    assert await index.counts() == {None: 2, GUILD: 1}
    points, after = await index.scroll(None)
    assert ({p.id for p in points}, after) == ({nameless.id, agent.id}, None)
    assert [p.id for p in await index.retrieve(None, [nameless.id, memory(3).id])] == [nameless.id]
    assert nameless.id not in await found(index, seen(50), near(1, 0, 0, 0))
    await index.delete(None, [nameless.id, memory(3).id])
    assert (await index.count(None), await index.count(GUILD)) == (1, 1)


async def test_an_unmapped_point_can_be_adopted(index: VectorIndex) -> None:
    """Written under its guild and deleted from the unmapped, in this order, it is there once."""
    lost = memory(1)
    await index.upsert(None, [foreign(lost.id, user_id="alice")])
    await index.upsert(GUILD, [point(lost, [1, 0, 0, 0])])
    await index.delete(None, [lost.id])
    assert (await index.count(None), await index.count(GUILD)) == (0, 1)
    assert await found(index, seen(50), near(1, 0, 0, 0)) == [lost.id]


async def test_dropping_a_guild_leaves_the_others(index: VectorIndex) -> None:
    """All of a guild's points go at once; it can start again."""
    await index.upsert(GUILD, [point(memory(n), [1, 0, 0, 0]) for n in range(3)])
    await index.upsert(OTHER_GUILD, [point(memory(1, guild=OTHER_GUILD), [1, 0, 0, 0])])
    await index.drop_guild(GUILD)
    await index.drop_guild(GUILD)
    assert (await index.count(GUILD), await index.count(OTHER_GUILD)) == (0, 1)
    await index.upsert(GUILD, [point(memory(1), [1, 0, 0, 0])])
    assert await found(index, seen(50), near(1, 0, 0, 0)) == [memory(1).id]


async def test_purging_keeps_what_is_held(index: VectorIndex) -> None:
    """Points, keys and searches are as before, of every guild and of none; a guild without points is fine."""
    kept, gone = point(memory(1, "walrus"), [1, 0, 0, 0], [0, 1, 0, 0]), point(memory(2), [1, 0, 0, 0])
    await index.upsert(GUILD, [kept, gone])
    await index.delete(GUILD, [gone.id])
    await index.upsert(None, [foreign(memory(3).id, user_id="alice")])
    before = await index.scroll(GUILD, keys=True)
    for guild in (GUILD, OTHER_GUILD, None):
        await index.purge(guild)
    after = await index.scroll(GUILD, keys=True)
    assert [(one.id, one.payload, dict(one.dense)) for one in after[0]] == [
        (one.id, one.payload, dict(one.dense)) for one in before[0]
    ]
    assert await found(index, seen(50), about("walrus")) == [kept.id]
    assert (await index.count(GUILD), await index.count(None)) == (1, 1)
    await index.upsert(GUILD, [gone])
    assert await index.count(GUILD) == 2


async def test_a_guild_without_points_is_empty(index: VectorIndex) -> None:
    """Asking about a guild nobody wrote to finds nothing and fails at nothing."""
    assert await index.search(seen(50), [near(1, 0, 0, 0), about("hello")]) == [[], []]
    assert await index.scroll(GUILD) == ([], None)
    assert await index.retrieve(GUILD, [memory(1).id]) == []
    assert (await index.count(GUILD), await index.count(None)) == (0, 0)
    await index.delete(GUILD, [memory(1).id])
    await index.upsert(GUILD, [])
    await index.ping()


async def test_words_that_nothing_holds_find_nothing(index: VectorIndex) -> None:
    """A query of unknown words, or of none, is an empty list."""
    await index.upsert(GUILD, [point(memory(1), [1, 0, 0, 0])])
    assert await found(index, seen(50), about("walrus")) == []
    assert await found(index, seen(50), Search(Key.BM25, SparseVector([], []), 10)) == []


async def test_a_blank_texts_zero_vector_is_harmless(index: VectorIndex) -> None:
    """The vector a blank text gets is similar to nothing."""
    blank, real = memory(1, "?"), memory(2)
    await index.upsert(GUILD, [point(blank, [0.0] * SIZE), point(real, [1, 0, 0, 0])])
    [hits] = await index.search(seen(50), [near(1, 0, 0, 0)])
    assert {hit.id: hit.score for hit in hits} == pytest.approx({real.id: 1, blank.id: 0}, abs=0.1)


async def test_large_writes_arrive_whole(index: VectorIndex) -> None:
    """More points than one request or step holds."""
    await index.upsert(GUILD, [point(memory(n), [1, n, 0, 0]) for n in range(300)])
    assert await index.count(GUILD) == 300


async def test_concurrent_calls_do_not_disturb_each_other(index: VectorIndex) -> None:
    """Writers and readers of several guilds at once lose nothing."""

    async def write(guild: int) -> None:
        for n in range(10):
            await index.upsert(guild, [point(memory(n, guild=guild), [1, n, 0, 0])])
            await index.search(seen(50, guild=guild), [near(1, 0, 0, 0), about("hello")])

    async with asyncio.TaskGroup() as group:
        for guild in (1, 2, 3):
            group.create_task(write(guild))
            group.create_task(write(guild))
    assert [await index.count(guild) for guild in (1, 2, 3)] == [10] * 3


async def test_cleared_it_is_empty(index: VectorIndex) -> None:
    """Nothing of any guild is left, nor of none; then it is as good as new."""
    assert await index.empty()
    for guild in (GUILD, OTHER_GUILD):
        await index.upsert(guild, [point(memory(1, guild=guild), [1, 0, 0, 0])])
    await index.upsert(None, [IndexPoint(str(uuid.uuid4()), {"data": "nobody's"}, {Key.DENSE: [1, 0, 0, 0]})])
    assert not await index.empty()
    await index.clear()
    assert await index.empty()
    assert [await index.count(guild) for guild in (GUILD, OTHER_GUILD, None)] == [0, 0, 0]
    await index.upsert(GUILD, [point(memory(1), [1, 0, 0, 0])])
    assert not await index.empty()
