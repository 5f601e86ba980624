"""Moving an index from port to port: cut off anywhere, resumed, verified, and never at the cost of others' points."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from qdrant_client import models
from qdrant_server import QdrantServer

from bot.errors import IndexUnavailable, RecollectError
from bot.memory.bm25 import Bm25
from bot.memory.checkpoint import Checkpoint
from bot.memory.edge import EdgeIndex
from bot.memory.fingerprint import Fingerprint
from bot.memory.index import IndexPoint, Key, VectorIndex
from bot.memory.likeness import Likeness, digest, likeness
from bot.memory.migrate import PAGE, Migrated, Migration
from bot.memory.places import Kind, Made, open_source, open_target, parse
from bot.memory.server import ServerIndex
from bot.model import EmbeddingModel
from bot.settings_services import QdrantSettings

GUILDS = (1001, 1002, None)
EACH = 10
BM25 = Bm25("english")
NO_KEY = SecretStr("")
COLLECTION = "discord_memories"


def point(number: int, guild: int | None, text: str = "walrus") -> IndexPoint:
    belongs = {"guild_id": str(guild), "agent_id": str(guild)} if guild else {"user_id": "alice"}
    return IndexPoint(
        f"6f1d6f3c-0000-4000-8000-{number:012}",
        {"data": f"{text} {number} 👍", "access_id": 2**60 + number, "importance": 0.1, **belongs},
        {Key.DENSE: [1.0, number, 0.3, 0.7], Key.WINDOW: [number, 1.0, 0.1, 0.0]},
        {Key.BM25: BM25.document(f"{text} {number}"), Key.BM25_WINDOW: BM25.document(f"{text} around {number}")},
    )


class Cut(EdgeIndex):
    """A target whose power goes off: of its last write, only the first points are on the disk."""

    writes = 100

    async def upsert(self, guild_id: int | None, points: Sequence[IndexPoint]) -> None:
        self.writes -= 1
        await super().upsert(guild_id, points if self.writes > 0 else points[:2])
        if self.writes <= 0:
            raise IndexUnavailable("Cut.")


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[EdgeIndex]:
    index = EdgeIndex(tmp_path / "source", 4)
    for place, guild in enumerate(GUILDS):
        await index.upsert(guild, [point(100 * place + number, guild) for number in range(EACH)])
    yield index
    await index.close()


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[Cut]:
    index = Cut(tmp_path / "target", 4)
    yield index
    await index.close()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "checkpoint" / "migration.json")


async def move(source: VectorIndex, target: VectorIndex, checkpoint: Checkpoint, into: bool = False) -> Migrated:
    return await Migration(source, target, checkpoint, into, page=4).run(lambda *_: None)


async def hashes(index: VectorIndex) -> dict[tuple[int | None, str], bytes]:
    found = {}
    for guild in await index.counts():
        points, _ = await index.scroll(guild, keys=True)
        found |= {(guild, one.id): digest(one) for one in points}
    return found


async def test_a_move_cut_off_anywhere_goes_on(source: EdgeIndex, target: Cut, checkpoint: Checkpoint) -> None:
    """Whichever write is the last, the next run copies no page twice but that one, and every hash is equal."""
    for writes in (1, 4, 9):  # in the first page, at the second guild, in the last page
        await target.clear()
        target.writes = writes
        with pytest.raises(RecollectError, match=r"^Cut\. Repeat the command later"):
            await move(source, target, checkpoint)
        target.writes = 100
        before = sum((await target.counts()).values())
        done = await move(source, target, checkpoint)
        assert (done.guilds, done.memories, done.copied, done.removed) == (2, 30, 30 - before + 2, 0)
        assert await hashes(target) == await hashes(source)
        assert not checkpoint.path.exists()


async def test_what_changed_before_it_went_on_is_followed(
    source: EdgeIndex, target: Cut, checkpoint: Checkpoint
) -> None:
    """What was taken back, written or worded anew in the source meanwhile is so in the target at the end."""
    target.writes = 9
    with pytest.raises(RecollectError):
        await move(source, target, checkpoint)
    target.writes = 100
    await source.delete(1001, [point(3, 1001).id])
    await source.upsert(1001, [point(4, 1001, "penguin"), point(50, 1001)])
    await source.drop_guild(1002)
    done = await move(source, target, checkpoint)
    assert (done.memories, done.removed) == (20, 11)
    assert await hashes(target) == await hashes(source)


async def test_others_points_are_safe(source: EdgeIndex, target: Cut, checkpoint: Checkpoint) -> None:
    """A target with other points is refused, be there a checkpoint or not; with `into` they stay beside ours."""
    other = point(999, 1001, "theirs")
    await target.upsert(1001, [other])
    with pytest.raises(RecollectError, match="holds 1 memories that no unfinished migration brought there"):
        await move(source, target, checkpoint)
    assert (await move(source, target, checkpoint, into=True)).copied == 30
    assert (await move(source, target, checkpoint, into=True)).copied == 0
    assert set(await hashes(target)) == {*await hashes(source), (1001, other.id)}


async def test_the_target_wins_over_a_stale_checkpoint(source: EdgeIndex, target: Cut, checkpoint: Checkpoint) -> None:
    """A target emptied since is filled from the start; one that was changed by others is refused."""
    target.writes = 9
    with pytest.raises(RecollectError):
        await move(source, target, checkpoint)
    target.writes = 100
    kept = await hashes(target)
    await target.upsert(None, [point(500 + number, None) for number in range(PAGE + 1)])
    with pytest.raises(RecollectError, match="no unfinished migration brought there"):
        await move(source, target, checkpoint)
    assert await hashes(target) | kept == await hashes(target)
    await target.clear()
    assert (await move(source, target, checkpoint)).copied == 30
    assert await hashes(target) == await hashes(source)


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")
async def test_to_a_server_and_back(source: EdgeIndex, target: Cut, checkpoint: Checkpoint) -> None:
    """The collection is laid out as the bot makes it, the source's is left as it is, and all come back."""
    async with QdrantServer("secret") as server:
        settings, made = QdrantSettings(), Made(4, Fingerprint(EmbeddingModel("ollama", "x", 4)))
        place = parse(server.url, COLLECTION, SecretStr("secret"))
        async with open_target(place, settings, made) as there:
            done = await move(source, there, checkpoint)
            assert (done.memories, done.copied) == (30, 30)
        indexed = {body["field_name"] for method, path, body in server.requests if path.endswith("/index")}
        assert indexed >= {"guild_id", "access_id", "said_at", "agent_id"}
        server.requests.clear()
        async with open_source(place, settings, Path("unused")) as (there, of):
            assert of == made
            await Migration(there, target, checkpoint).run(lambda *_: None)
        assert {method for method, _, _ in server.requests} == {"GET", "POST"}
        other = Made(8, None)
        with pytest.raises(RecollectError, match=r"with vectors of size 8, those in .* with ollama:x \(4 dimensions\)"):
            async with open_target(place, settings, other):
                pass
    ours, theirs = await hashes(source), await hashes(target)
    assert ours.keys() == theirs.keys()
    for guild in GUILDS:
        points, _ = await target.scroll(guild, keys=True)
        originals = {one.id: one for one in (await source.scroll(guild, keys=True))[0]}
        assert {likeness(originals[one.id], one) for one in points} <= {Likeness.SAME, Likeness.ROUNDED}


async def test_a_target_that_loses_keys_is_told(source: EdgeIndex, checkpoint: Checkpoint) -> None:
    """A collection that cannot hold all four keys holds none of the memories as it should."""
    async with QdrantServer() as server:
        server.refuses.add("vector names")
        vector = models.VectorParams(size=4, distance=models.Distance.COSINE)
        await server.local.create_collection(COLLECTION, vector)
        index = ServerIndex(QdrantSettings(url=server.url), 4)
        try:
            with pytest.raises(RecollectError, match="does not keep 4 memories of server 1001 as they are"):
                await move(source, index, checkpoint)
        finally:
            await index.close()


def test_likeness_is_exact_but_for_the_last_bits() -> None:
    """One bit of a vector is a rounding; a little more, a payload, a word or a missing key is another point."""
    one = IndexPoint("a", {"data": "x"}, {Key.DENSE: [0.6, 0.8]}, {Key.BM25: BM25.document("walrus")})
    assert likeness(one, replace(one, dense={Key.DENSE: [0.6 + 1e-9, 0.8]})) is Likeness.SAME  # in 32 bits
    assert likeness(one, replace(one, dense={Key.DENSE: [0.6000001, 0.8]})) is Likeness.ROUNDED
    for other in (
        replace(one, dense={Key.DENSE: [0.60001, 0.8]}),
        replace(one, dense={}),
        replace(one, dense={Key.WINDOW: [0.6, 0.8]}),
        replace(one, payload={"data": "y"}),
        replace(one, sparse={Key.BM25: BM25.document("penguin")}),
        None,
    ):
        assert likeness(one, other) is Likeness.OTHER


def test_places_are_named_as_people_do() -> None:
    """A folder's index, a server's collection, local mode; anything else is one sentence, without a password."""
    edge, url = parse("edge:/x/data", COLLECTION, NO_KEY), parse("http://u:p@qdrant:6333/", COLLECTION, NO_KEY)
    assert (edge.kind, edge.where, str(edge)) == (Kind.EDGE, "/x/data", "edge:/x/data")
    assert str(url) == f"http://qdrant:6333 (collection {COLLECTION})"
    assert parse("local:x", COLLECTION, NO_KEY).where == str(Path("x").absolute())
    for wrong in ("data", "edge:", "ftp://x", ""):
        with pytest.raises(RecollectError, match="is no place: name edge:FOLDER"):
            parse(wrong, COLLECTION, NO_KEY)
