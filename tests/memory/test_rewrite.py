"""Rewriting a shard: what was removed leaves the files, what is held stays as it is, whatever happens meanwhile."""

import asyncio
import random
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from house import holding

from bot.errors import IndexUnavailable
from bot.memory import open_shard, shards
from bot.memory.bm25 import Bm25
from bot.memory.edge import EdgeIndex
from bot.memory.index import IndexPoint, Key, Search
from bot.memory.shard_folders import ShardFolders
from bot.model import Scope

SIZE = 8
BM25 = Bm25("english")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
async def index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EdgeIndex]:
    """An index that copies two points at a time."""
    monkeypatch.setattr(shards, "STEP", 2)
    index = EdgeIndex(folder, SIZE, open_shards=2)
    await index.open()
    yield index
    await index.close()


def id_of(number: int) -> str:
    return f"6f1d6f3c-0000-4000-8000-{number:012}"


def point(number: int, text: str = "hello") -> IndexPoint:
    """A point with all keys; its vectors are its number's."""
    rng = random.Random(number)
    dense = {key: [rng.gauss(0, 1) for _ in range(SIZE)] for key in (Key.DENSE, Key.WINDOW)}
    sparse = {Key.BM25: BM25.document(text), Key.BM25_WINDOW: BM25.document(f"{text} around")}
    payload = {
        "data": text,
        "guild_id": "1",
        "access_id": 5,
        "sources": [2**53 + number],
        "importance": 0.1,
        "no": None,
    }
    return IndexPoint(id_of(number), payload, dense, sparse)


async def held(index: EdgeIndex, guild: int = 1) -> dict[str, tuple[object, ...]]:
    """Everything about a guild's points, exactly."""
    points, following = await index.scroll(guild, limit=1000, keys=True)
    assert following is None
    return {
        one.id: (
            one.payload,
            {key: tuple(vector) for key, vector in one.dense.items()},
            {key: (tuple(vector.indices), tuple(vector.values)) for key, vector in one.sparse.items()},
        )
        for one in points
    }


def entries(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


async def test_no_byte_of_removed_text_stays(index: EdgeIndex, folder: Path) -> None:
    """Deleted and replaced text is in the files until they are rewritten, and what is held stays."""
    await index.upsert(1, [point(n, f"filler {n}") for n in range(9)] + [point(10, "Zebra"), point(11, "Quokka")])
    await index.upsert(1, [point(12, "Walrus")])
    await index.delete(1, [id_of(10)])
    await index.upsert(1, [point(11, "Penguin")])
    words = ("zebra", "quokka", "walrus", "penguin")
    assert holding(folder, *words) == set(words)
    await index.purge(1)
    assert holding(folder, *words) == {"walrus", "penguin"}
    index.shards.close()
    assert holding(folder, *words) == {"walrus", "penguin"}


async def test_what_is_held_stays_exactly_as_it_is(index: EdgeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Payloads and all four keys are the same to the last bit, however often they are rewritten."""
    monkeypatch.setattr(open_shard, "_FLUSH_COPY_AFTER", 50)
    full = point(1)
    some = [
        full,
        IndexPoint(id_of(2), full.payload, {Key.DENSE: full.dense[Key.DENSE]}),
        IndexPoint(id_of(3), full.payload, {Key.WINDOW: full.dense[Key.WINDOW]}, full.sparse),
        IndexPoint(id_of(4), full.payload, {}, full.sparse),
        IndexPoint(id_of(5), {"data": "bare"}),
        IndexPoint(id_of(6), full.payload, {Key.DENSE: [0.0] * SIZE, Key.WINDOW: [1e-20] * SIZE}),
    ]
    await index.upsert(1, [*some, *(point(n) for n in range(7, 100))])
    before = await held(index)
    for _ in range(4):
        await index.purge(1)
        assert await held(index) == before


async def test_rewritten_points_are_found_as_before(index: EdgeIndex) -> None:
    """Each key finds the same points with the same scores."""
    await index.upsert(1, [point(n, f"the walrus {n}") for n in range(20)])
    vector = list(point(3).dense[Key.DENSE])
    searches = [Search(key, vector, 20) for key in (Key.DENSE, Key.WINDOW)]
    searches += [Search(key, BM25.query("walrus 3"), 20) for key in (Key.BM25, Key.BM25_WINDOW)]

    async def scores() -> list[dict[str, float]]:
        lists = await index.search(Scope(1, frozenset({5})), searches)
        return [{hit.id: pytest.approx(hit.score, abs=1e-3) for hit in hits} for hits in lists]

    before = await scores()
    await index.purge(1)
    assert await scores() == before


async def test_changes_between_any_two_steps_are_kept(index: EdgeIndex, folder: Path) -> None:
    """Points written, replaced and deleted while they are copied end up as they were left, wherever the copy stood."""
    rng = random.Random(1)
    expected = {id_of(n): f"text {n}" for n in range(12)}
    await index.upsert(1, [point(n, f"text {n}") for n in range(12)])
    steps = index.shards.rewrite(1)
    for step, _ in enumerate(steps):
        for _ in range(3 if step < 6 else 0):
            number = rng.randrange(20)
            await index.upsert(1, [point(number, f"new {number} {step}")])
            expected[id_of(number)] = f"new {number} {step}"
            gone = id_of(rng.randrange(20))
            await index.delete(1, [gone])
            expected.pop(gone, None)
    assert {id: payload["data"] for id, (payload, *_) in (await held(index)).items()} == expected
    assert entries(folder) == {"1.2"}


async def test_writers_and_searches_go_on_meanwhile(index: EdgeIndex) -> None:
    """With many writing and reading threads at once, nothing is lost and nothing comes back."""
    await index.upsert(1, [point(n) for n in range(60)])

    async def write(start: int) -> None:
        for number in range(start, start + 15):
            await index.upsert(1, [point(number, f"by writer {number}")])
            await index.delete(1, [id_of(number - start + start // 10)])
            [hits] = await index.search(Scope(1, frozenset({5})), [Search(Key.BM25, BM25.query("hello"), 100)])
            assert hits

    async with asyncio.TaskGroup() as tasks:
        for start in (100, 200, 300):
            tasks.create_task(write(start))
        for _ in range(2):
            tasks.create_task(index.purge(1))
    now = {id: payload["data"] for id, (payload, *_) in (await held(index)).items()}
    written = {id_of(n): f"by writer {n}" for start in (100, 200, 300) for n in range(start, start + 15)}
    deleted = {id_of(n + start // 10) for start in (100, 200, 300) for n in range(15)}
    assert now == {id_of(n): "hello" for n in range(60) if id_of(n) not in deleted} | written


async def test_a_rewrite_that_is_cancelled_leaves_all_as_it_was(index: EdgeIndex, folder: Path) -> None:
    """At whatever step it stops, the copy is gone and the shard works."""
    await index.upsert(1, [point(n) for n in range(5)])
    before = await held(index)
    for stop_after in range(1, 4):
        steps = index.shards.rewrite(1)
        for _ in range(stop_after):
            next(steps)
        assert entries(folder) == {"1", "1.2"}
        steps.close()
        assert entries(folder) == {"1"}
        assert await held(index) == before
    await index.purge(1)
    assert (entries(folder), await held(index)) == ({"1.2"}, before)


async def test_a_copy_never_goes_on_in_another_folder(index: EdgeIndex, folder: Path) -> None:
    """Where another folder takes the place of the index, at whatever step, the shard stays where it is, and whole."""
    away = folder.with_name("away")
    await index.upsert(1, [point(n) for n in range(5)])
    before = await held(index)
    for stop_after in range(1, 4):
        steps = index.shards.rewrite(1)
        for _ in range(stop_after):
            next(steps)
        shutil.move(folder, away)
        shutil.copytree(away, folder)
        with pytest.raises(IndexUnavailable, match="put it back"):
            for _ in steps:
                pass
        shutil.rmtree(folder)
        shutil.move(away, folder)
        assert await held(index) == before
    await index.purge(1)
    assert (entries(folder), await held(index)) == ({"1.2"}, before)


async def test_a_purge_can_be_cancelled(index: EdgeIndex, folder: Path) -> None:
    """Whoever stops the bot during a purge waits for a page, not for the end."""
    await index.upsert(1, [point(n) for n in range(40)])
    begun = threading.Event()
    copied = index.shards._copy_points

    def copy(*args: object) -> object:
        begun.set()
        return copied(*args)  # type: ignore[arg-type]

    index.shards._copy_points = copy  # type: ignore[method-assign, assignment]
    purge = asyncio.create_task(index.purge(1))
    assert await asyncio.to_thread(begun.wait, 5)
    purge.cancel()
    with pytest.raises(asyncio.CancelledError):
        await purge
    assert entries(folder) == {"1"}
    assert await index.count(1) == 40


def crash(folder: Path, place: Path) -> EdgeIndex:
    """The index as a crash at this instant leaves it, opened by the next process."""
    subprocess.run(["cp", "-r", "--sparse=always", folder, place], check=True)  # noqa: S607
    return EdgeIndex(place, SIZE)


async def test_a_crash_at_any_step_loses_nothing(
    index: EdgeIndex, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start finds the old shard or the new one, whole, with all that was acknowledged, and clears the rest."""
    crashed: list[tuple[EdgeIndex, set[str], set[str]]] = []
    expected: set[str] = set()

    def snap() -> None:
        place = tmp_path / f"crash {len(crashed)}"
        crashed.append((crash(folder, place), entries(place), set(expected)))

    def around(method: Callable[[ShardFolders, Path], Path]) -> Callable[[ShardFolders, Path], Path]:
        def snapping(folders: ShardFolders, path: Path) -> Path:
            snap()
            doomed = method(folders, path)
            snap()
            return doomed

        return snapping

    await index.upsert(1, [point(n) for n in range(4)])
    expected |= {id_of(n) for n in range(4)}
    with monkeypatch.context() as patched:
        patched.setattr(ShardFolders, "retire", around(ShardFolders.retire))
        for number, _ in enumerate(index.shards.rewrite(1), start=10):
            await index.upsert(1, [point(number)])
            expected.add(id_of(number))
            snap()
    assert [left for _, left, _ in crashed] == [{"1", "1.2"}] * 5 + [{"1.removed", "1.2"}]
    for again, _, there in crashed:
        await again.open()
        assert again.shards.guilds() == [1]
        assert set(await held(again)) == there
        await again.purge(1)
        assert set(await held(again)) == there
        await again.close()
    assert [entries(again.shards._folders.root) for again, *_ in crashed] == [{"1.2"}] * 5 + [{"1.3"}]


@pytest.mark.parametrize("cleared", ["before", "after"])
async def test_a_failing_file_system_loses_nothing(
    cleared: str, index: EdgeIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the swap or the clearing up fails, the index says so and works; the next purge clears up."""
    await index.upsert(1, [point(n) for n in range(5)] + [point(9, "walrus")])
    await index.delete(1, [id_of(9)])
    before = await held(index)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(ShardFolders, "retire", refuse) if cleared == "before" else patched.setattr(
            shards, "discard", refuse
        )
        with pytest.raises(IndexUnavailable, match=r"index/1 failed: .*Operation not permitted"):
            await index.purge(1)
    assert entries(folder) == ({"1"} if cleared == "before" else {"1.2", "1.removed"})
    assert await held(index) == before
    await index.upsert(1, [point(6)])
    await index.purge(1)
    assert len(entries(folder)) == 1
    assert set(await held(index)) == before.keys() | {id_of(6)}
    assert holding(folder, "walrus") == set()


async def test_a_guild_dropped_meanwhile_stays_dropped(index: EdgeIndex, folder: Path) -> None:
    """Neither the old folder nor its copy is left."""
    await index.upsert(1, [point(n) for n in range(5)])
    steps = index.shards.rewrite(1)
    next(steps)
    await index.drop_guild(1)
    with pytest.raises(IndexUnavailable, match="was closed while it was rewritten"):
        next(steps)
    assert entries(folder) == set()
    await index.upsert(1, [point(7)])
    assert await index.count(1) == 1


async def test_a_shard_being_copied_is_not_closed_for_others(index: EdgeIndex) -> None:
    """The guilds used meanwhile take their turns with the other places."""
    await index.upsert(1, [point(n) for n in range(5)])
    steps = index.shards.rewrite(1)
    for guild, _ in enumerate(steps, start=2):
        await index.upsert(guild, [point(1)])
    assert await index.count(1) == 5


async def test_one_rewrite_at_a_time(index: EdgeIndex) -> None:
    """A second one of the same shard is refused, and so is undoing the first as if a crash had left it."""
    await index.upsert(1, [point(n) for n in range(5)])
    steps = index.shards.rewrite(1)
    next(steps)
    with pytest.raises(IndexUnavailable, match="being rewritten already"):
        next(index.shards.rewrite(1))
    await index.open()
    assert list(steps)
    assert await index.count(1) == 5


async def test_without_room_for_a_copy_nothing_is_begun(
    index: EdgeIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence says how much is free and how much it takes."""
    await index.upsert(1, [point(1)])
    room = shutil.disk_usage(folder)._replace(free=64 * 2**20)
    with (
        monkeypatch.context() as patched,
        pytest.raises(IndexUnavailable, match=r"Only 64 MB are free .* needs \d+ to"),
    ):
        patched.setattr(shutil, "disk_usage", lambda _: room)
        await index.purge(1)
    assert entries(folder) == {"1"}


async def test_what_a_crash_left_of_a_dropped_guild_goes_too(index: EdgeIndex, folder: Path) -> None:
    """A guild without a shard may still have files."""
    (folder / "1.removed").mkdir()
    await index.purge(1)
    assert entries(folder) == set()
