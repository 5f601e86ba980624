"""What is particular to the embedded index: folders, crashes, threads and memory."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge

from bot.errors import IndexMismatch, IndexUnavailable
from bot.memory import edge_points, open_shard
from bot.memory.bm25 import Bm25
from bot.memory.edge import EdgeIndex
from bot.memory.index import IndexPoint, Key, Search
from bot.model import Scope

SIZE = 8
GUILDS = range(1, 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
async def index(folder: Path) -> AsyncIterator[EdgeIndex]:
    index = EdgeIndex(folder, SIZE, open_shards=2)
    await index.open()
    yield index
    await index.close()


def id_of(number: int) -> str:
    return f"6f1d6f3c-0000-4000-8000-{number:012}"


def point(number: int, guild: int = 1, vector: list[float] | None = None) -> IndexPoint:
    payload = {"data": "hello", "guild_id": str(guild), "agent_id": str(guild), "access_id": 5}
    dense = {Key.DENSE: vector or [1.0, *[0.0] * (SIZE - 1)]}
    return IndexPoint(id_of(number), payload, dense, {Key.BM25: Bm25("english").document("hello")})


def entries(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


async def test_each_guild_has_a_folder_made_by_its_first_point(index: EdgeIndex, folder: Path) -> None:
    """Reading makes no folder; writing makes the guild's own, and one for what is unmapped."""
    await index.count(1)
    await index.delete(1, [id_of(1)])
    await index.search(Scope(1, frozenset({5})), [Search(Key.DENSE, [1.0] * SIZE, 5)])
    assert entries(folder) == set()
    await index.upsert(1, [point(1)])
    await index.upsert(None, [point(2)])
    assert entries(folder) == {"1", "unmapped"}
    assert index.shards.guilds() == [1, None]


async def test_points_outlive_the_process_that_closed_them(folder: Path) -> None:
    """What was written is there after a restart."""
    for count in (1, 2):
        index = EdgeIndex(folder, SIZE)
        await index.open()
        await index.upsert(1, [point(count)])
        assert await index.count(1) == count
        await index.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from test_edge import SIZE, point
from bot.memory.edge import EdgeIndex

async def main():
    index = EdgeIndex(Path(sys.argv[1]), SIZE)
    await index.open()
    for number in range(1_000):
        await index.upsert(1, [point(number)])
        print(number, flush=True)

asyncio.run(main())
"""


async def test_acknowledged_points_survive_a_kill(folder: Path) -> None:
    """Killed in the middle of writing, at most the one unacknowledged point may be missing."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(folder), stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    acknowledged = [await process.stdout.readline() for _ in range(40)]
    process.send_signal(signal.SIGKILL)
    acknowledged += (await process.stdout.read()).splitlines()
    await process.wait()
    index = EdgeIndex(folder, SIZE)
    await index.open()
    held = {p.id for p in (await index.scroll(1, limit=2_000))[0]}
    await index.close()
    assert len(acknowledged) < 1_000
    assert held >= {id_of(int(number)) for number in acknowledged}
    assert len(held) <= len(acknowledged) + 1


async def test_a_write_is_on_disk_before_it_returns(index: EdgeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write-ahead log is synced with every write, so that a power cut loses nothing acknowledged."""
    synced: list[str] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    await index.upsert(1, [point(1)])
    monkeypatch.setattr(os, "fsync", recording)
    for write in (index.upsert(1, [point(2)]), index.delete(1, [id_of(2)])):
        synced.clear()
        await write
        assert any("/1/wal/open-" in name for name in synced)


async def test_the_log_is_flushed_now_and_then(index: EdgeIndex, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start replays a bounded number of changes: Edge notes in `first-index` up to where the log is done with."""
    await index.upsert(1, [point(0)])
    mark = folder / "1" / "wal" / "first-index"
    mark.unlink(missing_ok=True)
    monkeypatch.setattr(open_shard, "_FLUSH_AFTER", 3)
    await index.upsert(1, [point(1)])
    assert not mark.exists()
    await index.upsert(1, [point(2)])
    assert mark.exists()


async def test_few_shards_stay_open(index: EdgeIndex) -> None:
    """More guilds than may be open at once all keep their points, the least recently used are closed."""
    for guild in GUILDS:
        await index.upsert(guild, [point(1, guild)])
    assert list(index.shards._open) == ["2", "3"]
    await index.count(2)
    assert [await index.count(guild) for guild in (1, 2)] == [1, 1]
    assert list(index.shards._open) == ["1", "2"]


async def test_a_shard_in_use_is_not_closed(folder: Path) -> None:
    """With room for one shard, many guilds at once still work: nobody's shard is closed under a call."""
    index = EdgeIndex(folder, SIZE, open_shards=1)

    async def use(guild: int) -> None:
        for number in range(3):
            await index.upsert(guild, [point(number, guild)])
            assert await index.count(guild) == number + 1

    async with asyncio.TaskGroup() as group:
        for guild in GUILDS:
            group.create_task(use(guild))
    await index.close()


@pytest.mark.parametrize("opened", [True, False])
async def test_another_vector_size_is_one_sentence(folder: Path, opened: bool) -> None:
    """A shard made for other vectors names both sizes and what to do, at start or when first used."""
    index = EdgeIndex(folder, SIZE)
    await index.upsert(1, [point(1)])
    await index.close()
    other = EdgeIndex(folder, 16)
    sentence = r"1 holds vectors of size 8, but 16 is asked for: set the embedding model"
    with pytest.raises(IndexMismatch, match=sentence):
        await (other.open() if opened else other.count(1))
    await other.close()


async def test_half_made_and_half_removed_shards_are_swept(folder: Path) -> None:
    """What a crash left of a shard that was being made or removed is gone after the next start."""
    index = EdgeIndex(folder, SIZE)
    await index.upsert(1, [point(1)])
    await index.close()
    shutil.copytree(folder / "1", folder / "2.new")
    shutil.copytree(folder / "1", folder / "3.removed")
    again = EdgeIndex(folder, SIZE)
    await again.open()
    assert entries(folder) == {"1"}
    assert again.shards.guilds() == [1]
    await again.close()


async def test_a_shard_can_be_made_after_a_crash_in_the_making(folder: Path) -> None:
    """A leftover of making does not stand in the way, even without a start in between."""
    (folder / "1.new" / "segments").mkdir(parents=True)
    index = EdgeIndex(folder, SIZE)
    await index.upsert(1, [point(1)])
    assert await index.count(1) == 1
    await index.close()


async def test_a_damaged_shard_harms_its_own_guild_only(folder: Path) -> None:
    """The others start and work; the damaged one says where it is."""
    index = EdgeIndex(folder, SIZE)
    for guild in (1, 2, 3):
        await index.upsert(guild, [point(1, guild)])
    await index.close()
    (folder / "1" / "edge_config.json").write_text("{")
    shutil.rmtree(folder / "2" / "wal")
    (folder / "2" / "wal").write_text("")
    again = EdgeIndex(folder, SIZE)
    await again.open()
    with pytest.raises(IndexUnavailable, match=r"index/1 is damaged: move it away and start again"):
        await again.count(1)
    with pytest.raises(IndexUnavailable, match=r"index/2 failed to open: .* move it away and start again"):
        await again.count(2)
    assert await again.count(3) == 1
    await again.close()


async def test_an_index_in_use_elsewhere_is_unavailable(index: EdgeIndex, folder: Path) -> None:
    """Two processes cannot hold one shard."""
    await index.upsert(1, [point(1)])
    other = EdgeIndex(folder, SIZE)
    with pytest.raises(IndexUnavailable, match=r"index/1 failed"):
        await other.count(1)
    await other.close()


async def test_a_log_that_cannot_be_put_on_disk_is_an_outage(index: EdgeIndex, folder: Path) -> None:
    """A disk that fails between a write and its end is told as every other failure of the index."""
    await index.upsert(1, [point(1), point(2)])
    log = folder / "1" / "wal"
    shutil.move(log, folder.with_name("log"))
    log.touch()
    with pytest.raises(IndexUnavailable, match=r"index/1 failed: .*Not a directory"):
        await index.delete(1, [id_of(1)])


@contextmanager
def taken_away(folder: Path, instead: str) -> Iterator[None]:
    """As when the disk with the folder is unmounted; nobody may write into what lies there instead."""
    away = folder.rename(folder.with_name("away"))
    if instead == "a folder":
        folder.mkdir()
    elif instead == "a file":
        folder.touch()
    yield
    if instead == "a folder":
        folder.rmdir()
    folder.unlink(missing_ok=True)
    away.rename(folder)


@pytest.mark.parametrize("known", ["opened", "used"])
@pytest.mark.parametrize("instead", ["nothing", "a folder", "a file"])
async def test_an_index_that_was_taken_away_is_an_outage(folder: Path, known: str, instead: str) -> None:
    """No write seems done that was not, and all goes on once the folder is back."""
    before = EdgeIndex(folder, SIZE)
    await before.upsert(1, [point(1), point(2)])
    await before.close()
    index = EdgeIndex(folder, SIZE)
    if known == "opened":
        await index.open()
    else:
        assert await index.count(1) == 2
    with taken_away(folder, instead):
        for call in (index.delete(1, [id_of(1)]), index.upsert(2, [point(3, 2)]), index.drop_guild(1), index.purge(1)):
            with pytest.raises(IndexUnavailable, match="index is gone, or another has taken its place: put it back"):
                await call
        with pytest.raises(IndexUnavailable, match="index is gone"):
            await index.ping()
    await index.ping()
    assert await index.count(1) == 2
    await index.delete(1, [id_of(1)])
    assert await index.count(1) == 1
    await index.close()


async def test_an_unusable_folder_is_one_sentence(tmp_path: Path) -> None:
    """A path that is no folder is named."""
    (tmp_path / "index").write_text("")
    index = EdgeIndex(tmp_path / "index", SIZE)
    with pytest.raises(IndexUnavailable, match=r"index cannot be used: File exists\."):
        await index.open()
    await index.close()


async def test_a_vector_of_another_size_is_refused(index: EdgeIndex) -> None:
    """A point that does not fit is an error and harms nothing."""
    await index.upsert(1, [point(1)])
    with pytest.raises(IndexUnavailable, match="expected dim: 8, got 9"):
        await index.upsert(1, [point(2, vector=[1.0] * 9)])
    assert await index.count(1) == 1


async def test_the_event_loop_goes_on_while_a_shard_is_busy(index: EdgeIndex) -> None:
    """A call waits in a thread; a reader who gives up is let go, a cancelled writer waits for its write."""
    await index.upsert(1, [point(1)])
    with index.shards._hold("1"):
        writer = asyncio.create_task(index.upsert(1, [point(2)]))
        reader = asyncio.create_task(index.count(1))
        await asyncio.sleep(0)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        writer.cancel()
        done, _ = await asyncio.wait([writer], timeout=0.05)
        assert not done
    with pytest.raises(asyncio.CancelledError):
        await writer
    assert await index.count(1) == 2


async def test_an_open_shard_costs_one_thread(index: EdgeIndex) -> None:
    """Guilds are many: a shard's own search pool has a single thread."""
    await index.upsert(1, [point(1)])
    await index.upsert(2, [point(1, 2)])

    def threads() -> int:
        return len(os.listdir("/proc/self/task")) - threading.active_count()

    before = threads()
    await index.drop_guild(2)
    assert before - threads() <= 2


async def test_quantised_search_finds_what_exact_search_finds(folder: Path) -> None:
    """Searching by four-bit codes alone costs little in what is found and in its scores."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((400, 384))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = EdgeIndex(folder, 384)
    await index.open()
    await index.upsert(1, [point(n, vector=vector) for n, vector in enumerate(vectors.tolist())])
    shared = 0
    for query in vectors[:10] + 0.05 * rng.standard_normal((10, 384)):
        exact = vectors @ query / np.linalg.norm(query)
        [hits] = await index.search(Scope(1, frozenset({5})), [Search(Key.DENSE, query.tolist(), 10)])
        places = [int(hit.id[-12:]) for hit in hits]
        assert [hit.score for hit in hits] == pytest.approx([exact[place] for place in places], abs=0.03)
        shared += len(set(places) & set(np.argsort(-exact)[:10].tolist()))
    await index.close()
    assert shared >= 85


def test_the_server_client_is_not_imported() -> None:
    """The embedded index does not pay for qdrant-client."""
    code = "import sys, bot.memory.edge; sys.exit('qdrant_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_nearly_full_disk_refuses_writes_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than being killed while it writes into a mapped file, the index is unavailable until there is room."""
    index = EdgeIndex(tmp_path / "index", 8)
    full = shutil.disk_usage(tmp_path)._replace(free=5 * 2**20)
    with monkeypatch.context() as patched, pytest.raises(IndexUnavailable, match="Only 5 MB are free"):
        patched.setattr(shutil, "disk_usage", lambda _: full)
        await index.upsert(1, [IndexPoint(str(uuid.uuid4()), {"data": "x"})])
    await index.upsert(1, [IndexPoint(str(uuid.uuid4()), {"data": "x"})])
    assert await index.count(1) == 1
    await index.close()


async def test_a_shard_of_an_earlier_version_gets_the_payload_indexes_it_lacks(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening it makes them, so that what is asked by them is found in milliseconds there too."""
    indexes = dict(edge_points._PAYLOAD_INDEXES)
    for present in ({"guild_id": indexes["guild_id"]}, indexes):
        monkeypatch.setattr(edge_points, "_PAYLOAD_INDEXES", present)
        index = EdgeIndex(folder, SIZE)
        await index.open()
        await index.upsert(1, [point(1)])
        await index.close()
    shard = qdrant_edge.EdgeShard.load(str(folder / "1"))
    assert shard.info().payload_schema.keys() == indexes.keys()
    shard.close()
