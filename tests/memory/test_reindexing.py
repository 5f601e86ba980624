"""Another embedding model: filled beside the index in use, switched to, and gone back from, while all goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from zlib import crc32

import pytest
from house import GUILD, House, everywhere, fact_of, holding, said, texts
from qdrant_server import QdrantServer

from bot.errors import EmbedderUnavailable, IndexMismatch, RecollectError
from bot.memory import filling
from bot.memory.current_embedder import CurrentEmbedder
from bot.memory.embedders.base import Usage
from bot.memory.filling import Texts
from bot.memory.fingerprint import Fingerprint, write
from bot.memory.index import IndexPoint, Key
from bot.memory.indexer import Indexer
from bot.memory.recall import Recall
from bot.memory.reindexer import Reindexer
from bot.memory.shadow import Mirrored
from bot.memory.sites import EdgeSites, Sites, open_sites
from bot.model import EmbeddingModel, Scope, ServiceHealth
from bot.settings import Settings

OLD = EmbeddingModel("openai", "old", 128)
NEW = EmbeddingModel("ollama", "new", 64)
THIRD = EmbeddingModel("voyage", "third", 128)


def ignore(*_: object) -> None:
    """Nobody looks at the progress."""


class WordEmbedder:
    """Vectors of words: texts are the closer the more words they share. Each model has dimensions of its own."""

    def __init__(self, model: EmbeddingModel, before: Callable[[], object] | None = None) -> None:
        self.name = {"openai": "OpenAI", "ollama": "Ollama embeddings", "voyage": "Voyage"}[model.provider]
        self.model, self.dimensions, self.usage = model.name, model.dimensions, Usage()
        self.sent: list[str] = []
        self.fails_after: int | None = None
        self.hook: Callable[[], object] | None = before
        self.closed = False

    async def prepare(self) -> None:
        """It is prepared."""

    async def documents(self, texts: Sequence[str], within: float | None = None) -> list[Sequence[float] | None]:
        if self.fails_after is not None and len(self.sent) >= self.fails_after:
            raise EmbedderUnavailable("The embedder is out for a walk.")
        self.sent += texts
        if self.hook is not None and list(texts) != ["hello"]:
            hook, self.hook = self.hook, None
            if asyncio.iscoroutine(waiting := hook()):
                await waiting
        return [self._vector(text) for text in texts]

    async def queries(self, texts: Sequence[str]) -> list[Sequence[float]]:
        return [self._vector(text) for text in texts]

    def known(self, text: str) -> Sequence[float] | None:
        return None

    async def health(self) -> ServiceHealth:
        return ServiceHealth(self.name, True, "It answers.")

    async def close(self) -> None:
        self.closed = True

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dimensions
        for word in text.lower().replace(":", " ").split():
            vector[crc32(f"{self.model} {word}".encode()) % self.dimensions] += 1.0
        return vector


@dataclass
class Work:
    """A bot's memory at work on an index that can be replaced."""

    house: House
    sites: Sites
    index: Mirrored
    indexer: Indexer
    recall: Recall
    embedder: CurrentEmbedder
    reindexer: Reindexer
    made: list[WordEmbedder] = field(default_factory=list)
    to_come: list[WordEmbedder] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    async def say(self, *words: str, first: int = 1) -> None:
        """Have messages captured and indexed."""
        for id, text in enumerate(words, first):
            await self.house.messages.capture(said(id, text))
        await self.indexer.drain()

    async def first(self, question: str) -> str:
        """What is recalled first, with nothing out of order."""
        recalled = await self.recall.recall(question, everywhere(), 5)
        assert recalled.degraded is None
        return texts(recalled)[0]

    async def points(self, guild: int | None = GUILD) -> dict[str, IndexPoint]:
        return await replace(self.house, index=self.index).points(guild)

    async def sizes(self) -> set[int]:
        """Of the vectors in the index."""
        return {len(vector) for point in (await self.points()).values() for vector in point.dense.values()}


@asynccontextmanager
async def at_work(house: House, sites: Sites, model: EmbeddingModel = OLD) -> AsyncIterator[Work]:
    """The rooms of a bot whose settings name this model."""
    index = Mirrored(sites, Fingerprint(model))
    house = replace(house, index=index)
    embedder = CurrentEmbedder(WordEmbedder(model))
    indexer = house.indexer(embedder)
    made: list[WordEmbedder] = []
    unknown: set[str] = set()
    to_come: list[WordEmbedder] = []

    def make(model: EmbeddingModel) -> WordEmbedder:
        made.append(to_come.pop(0) if to_come else WordEmbedder(model))
        return made[-1]

    async def members_know(provider: str) -> bool:
        return provider not in unknown

    async def at_once() -> None:
        """Nobody waits for an answer."""

    recall = house.recall(embedder)
    reindexer = Reindexer(
        index,
        indexer,
        house.reconciler(indexer, embedder),
        Texts(house.messages, house.retraction, True),
        embedder,
        house.breakers,
        make,
        at_once,
        members_know,
    )
    try:
        yield Work(house, sites, index, indexer, recall, embedder, reindexer, made, to_come, unknown)
    finally:
        await index.close()


@pytest.fixture(params=["edge", "server"])
async def sites(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[], Sites]]:
    """Where the index is, as every start of the bot finds it."""
    if request.param == "edge":
        yield lambda: EdgeSites(tmp_path / "memory")
        return
    async with QdrantServer() as server:
        settings = Settings.model_validate({"qdrant": {"url": server.url}})
        yield lambda: open_sites(settings, tmp_path)


@pytest.fixture
async def embedded(house: House, tmp_path: Path) -> AsyncIterator[Work]:
    """At work on the embedded index, where which index it is makes no difference."""
    async with at_work(house, EdgeSites(tmp_path / "memory")) as work:
        await work.say("the cat sleeps on the sofa", "we meet on Friday", "bring cake to the party")
        yield work


@pytest.fixture
async def work(house: House, sites: Callable[[], Sites]) -> AsyncIterator[Work]:
    async with at_work(house, sites()) as work:
        await work.say("the cat sleeps on the sofa", "we meet on Friday", "bring cake to the party")
        yield work


async def test_every_memory_is_embedded_again_and_used_at_once(work: Work) -> None:
    """Messages, facts and the memories of other clients: payloads and words' keys stay, vectors are of the new size."""
    fact = fact_of("Friday is the day of the meeting", [said(2, "we meet on Friday")])
    await work.house.learn(fact)
    await work.indexer.drain()
    foreign = IndexPoint("00000000-0000-0000-0000-0000000000aa", {"data": "tea"}, {Key.DENSE: [1.0] * 128})
    await work.index.upsert(None, [foreign])
    before, alien = await work.points(), await work.points(None)
    told: list[tuple[str, int, int | None]] = []
    done = await work.reindexer.run(NEW, lambda *one: told.append(one))
    assert (done.former, done.model, done.points, done.embedded) == (OLD, NEW, 5, 5)
    assert {("Embedding", 5, 5), ("Comparing", 5, 5)} <= set(told)
    after = await work.points()
    assert await work.sizes() == {64}
    assert {text: (one.payload, dict(one.sparse)) for text, one in after.items()} == {
        text: (one.payload, dict(one.sparse)) for text, one in before.items()
    }
    assert [set(one.dense) for one in after.values()] == [set(one.dense) for one in before.values()]
    assert {one.id: one.payload for one in (await work.points(None)).values()} == {
        one.id: one.payload for one in alien.values()
    }
    assert len((await work.points(None))["tea"].dense[Key.DENSE]) == 64
    assert await work.first("where does the cat sleep") == "the cat sleeps on the sofa"
    await work.say("the dog barks", first=10)
    assert await work.first("who barks") == "the dog barks"
    assert work.made[-1].sent[-1]
    assert await work.sizes() == {64}


async def test_what_happens_meanwhile_reaches_the_new_index(embedded: Work) -> None:
    """Captured, edited and forgotten while the texts are at the embedder: the answer afterwards is as it should be."""

    async def meanwhile() -> None:
        await embedded.say("a new plan about the harbour", first=10)
        await embedded.house.edit(2, "we meet on Sunday", said(30, "").created_at)
        await embedded.indexer.drain()
        memories = [one.memory for one in (await embedded.recall.recall("bring cake", everywhere(), 1)).hits]
        await embedded.house.forget(embedded.indexer).memories(GUILD, memories)

    embedded.to_come.append(WordEmbedder(NEW, meanwhile))
    await embedded.reindexer.run(NEW, ignore)
    assert set(await embedded.points()) == {
        "the cat sleeps on the sofa",
        "we meet on Sunday",
        "a new plan about the harbour",
    }
    assert await embedded.sizes() == {64}
    assert await embedded.index.count(GUILD) == 3


async def test_an_interrupted_reindex_goes_on_where_it_was(
    embedded: Work, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old index answers in between, after a restart too, and what is done is not paid for again."""
    monkeypatch.setattr(filling, "_PAGE", 4)
    await embedded.say(*(f"number {n} of a long list" for n in range(20)), first=100)
    failing = WordEmbedder(NEW)
    failing.fails_after = 20
    embedded.to_come.append(failing)
    with pytest.raises(EmbedderUnavailable):
        await embedded.reindexer.run(NEW, ignore)
    assert failing.closed
    assert await embedded.first("number 17") == "number 17 of a long list"
    await embedded.index.close()
    async with at_work(house, EdgeSites(tmp_path / "memory")) as again:
        await again.say("while nobody was embedding", first=300)
        await house.retraction.messages_deleted(GUILD, [100], "deleted")
        await again.indexer.drain()
        assert (other := await again.index.other())
        assert not other.former
        done = await again.reindexer.run(NEW, ignore)
        assert done.points == 23
        assert 0 < done.embedded < 20
        assert "number 0 of a long list" not in await again.points()
        assert await again.first("who was embedding") == "while nobody was embedding"


async def test_the_former_index_is_kept_and_gone_back_to(work: Work, house: House, sites: Callable[[], Sites]) -> None:
    """With what came since, and without what was taken back since; only what it lacks is embedded."""
    await work.reindexer.run(NEW, ignore)
    with pytest.raises(RecollectError, match=r"made with ollama:new \(64 dimensions\) already"):
        await work.reindexer.run(NEW, ignore)
    await work.index.close()
    async with at_work(house, sites()) as unchanged:
        with pytest.raises(
            IndexMismatch, match=r"made with ollama:new .* ask for openai:old .*ollama\.embedding_model"
        ):
            await unchanged.index.open()
    async with at_work(house, sites(), NEW) as after:
        await after.say("a word said since", first=20)
        await house.retraction.messages_deleted(GUILD, [3], "deleted")
        await after.indexer.drain()
        assert (other := await after.index.other())
        assert other.former
        assert await other.index.count(GUILD) == 1  # what was said beside the deleted one has another window now
        done = await after.reindexer.undo(ignore)
        assert (done.model, done.embedded) == (OLD, 2)
        assert await after.sizes() == {128}
        assert set(await after.points()) == {"the cat sleeps on the sofa", "we meet on Friday", "a word said since"}
        with pytest.raises(RecollectError, match="no former index"):
            await after.reindexer.undo(ignore)
        done = await after.reindexer.run(NEW, ignore)  # forward again, with nothing to embed
        assert done.embedded == 0
        assert await after.sizes() == {64}


async def test_another_reindex_and_a_discard_drop_the_former(embedded: Work) -> None:
    """At most one index is kept beside the one in use."""
    await embedded.reindexer.run(NEW, ignore)
    await embedded.reindexer.run(THIRD, ignore)
    assert (other := await embedded.index.other())
    assert other.fingerprint.embedding == NEW
    assert await embedded.first("where does the cat sleep") == "the cat sleeps on the sofa"
    assert await embedded.reindexer.discard()
    assert await embedded.index.other() is None
    assert not await embedded.reindexer.discard()
    assert await embedded.first("where does the cat sleep") == "the cat sleeps on the sofa"
    with pytest.raises(RecollectError, match="no former index"):
        await embedded.reindexer.undo(ignore)


async def test_settings_changed_first_are_followed(embedded: Work, house: House, tmp_path: Path) -> None:
    """With the bot stopped and the new model in the settings, the same command fills the index for them."""
    await house.messages.capture(said(40, "waits to be indexed"))
    await embedded.index.close()
    async with at_work(house, EdgeSites(tmp_path / "memory"), NEW) as changed:
        with pytest.raises(IndexMismatch, match="run `recollect reindex --embedder ollama:new:64`"):
            await changed.index.open()
        done = await changed.reindexer.run(NEW, ignore)
        assert (done.former, done.points) == (OLD, 3)
        await changed.indexer.drain()
        assert await changed.sizes() == {64}
        assert await changed.first("waits to be indexed") == "waits to be indexed"


async def test_what_was_taken_back_is_not_sent_anywhere(embedded: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is deleted before its page comes up goes to no embedder, though the index holds it still."""
    monkeypatch.setattr(filling, "_PAGE", 1)
    embedder = WordEmbedder(NEW)
    said_lines = ["Ann: the cat sleeps on the sofa", "Ann: we meet on Friday", "Ann: bring cake to the party"]

    async def meanwhile() -> None:
        lines = [text for text in embedder.sent if text in said_lines]
        await embedded.house.retraction.messages_deleted(
            GUILD, [id for id, line in enumerate(said_lines, 1) if line not in lines], "deleted"
        )

    embedder.hook = meanwhile
    embedded.to_come.append(embedder)
    await embedded.reindexer.run(NEW, ignore)
    assert embedder.hook is None
    assert len({text for text in embedder.sent if text in said_lines}) == 1
    await embedded.indexer.drain()
    assert len(await embedded.points()) == 1


async def test_a_model_that_does_not_answer_changes_nothing(embedded: Work) -> None:
    """No index is made for a model that cannot be used, or whose vectors are of another size."""
    failing = WordEmbedder(NEW)
    failing.fails_after = 0
    other_size = WordEmbedder(THIRD)
    for embedder, sentence in ((failing, "out for a walk"), (other_size, "no vectors of this size")):
        embedded.to_come.append(embedder)
        with pytest.raises(RecollectError, match=sentence):
            await embedded.reindexer.run(NEW, ignore)
        assert embedder.closed
    assert await embedded.index.other() is None
    assert await embedded.sizes() == {128}


async def test_the_breaker_goes_over_to_the_service_in_use(embedded: Work) -> None:
    """An outage of the former one is no matter any more, and one of the new one is told by its own name."""
    breakers = embedded.house.breakers
    breakers.of("OpenAI").failed("It is out for lunch.")
    await embedded.reindexer.run(NEW, ignore)
    assert breakers.open() == {"Ollama embeddings": False, "Qdrant": False}
    assert await embedded.first("where does the cat sleep") == "the cat sleeps on the sofa"
    embedded.made[-1].fails_after = 0
    await embedded.say("the dog sleeps in the garden", first=10)
    health = await embedded.indexer.embedder_health()
    assert (health.name, health.ok) == ("Ollama embeddings", False)
    assert health.detail.startswith("The embedder is out for a walk; the next try")
    assert breakers.open() == {"Ollama embeddings": True, "Qdrant": False}


async def test_what_members_do_not_know_of_is_sent_nothing(house: House, tmp_path: Path) -> None:
    """The refusal says what to set; also where the settings name the new model already, with which no bot starts."""
    sentences = []
    for model in (OLD, THIRD):
        async with at_work(house, EdgeSites(tmp_path / "memory"), model) as work:
            if model == OLD:
                await work.say("the cat sleeps on the sofa")
            work.unknown.add(THIRD.provider)
            with pytest.raises(RecollectError, match="Members were not told") as refused:
                await work.reindexer.run(THIRD, ignore)
            sentences.append(str(refused.value))
            assert [(one.sent, one.closed) for one in work.made] == [([], True)]
            assert await work.index.other() is None
    assert 'set embedding.next = "voyage" and start the bot' in sentences[0]
    assert 'set embedding.provider = "openai", openai.embedding_model = "old"' in sentences[1]
    assert 'again, with embedding.next = "voyage", and start the bot' in sentences[1]


async def test_a_question_during_the_switch_is_asked_again(embedded: Work) -> None:
    """A vector of the old model says nothing about the new index: the question is embedded once more."""
    answering, search = asyncio.Event(), embedded.index.search

    async def switch_first(scope: Scope, searches: object) -> object:
        if not answering.is_set():
            answering.set()
            await embedded.reindexer.run(NEW, ignore)
        return await search(scope, searches)  # type: ignore[arg-type]

    embedded.index.search = switch_first  # type: ignore[method-assign,assignment]
    recalled = await embedded.recall.recall("where does the cat sleep", everywhere(), 5)
    assert texts(recalled)[0] == "the cat sleeps on the sofa"
    assert recalled.degraded is None


async def test_a_kept_index_holds_no_byte_that_was_taken_back(house: House, tmp_path: Path) -> None:
    """A purge reaches the files of the former index, and an edit takes the old words out of it."""
    async with at_work(house, EdgeSites(tmp_path / "memory")) as work:
        await work.say("the password is tulip", "my car is purple", "what a day", "so it is", "nothing special")
        await work.reindexer.run(NEW, ignore)
        former = tmp_path / "memory.previous"
        assert holding(former, "tulip", "purple") == {"tulip", "purple"}
        await house.retraction.messages_deleted(GUILD, [1], "deleted")
        await house.edit(2, "my car is green", said(30, "").created_at)
        await work.indexer.drain()
        await work.index.purge(GUILD)
        assert holding(former, "tulip", "purple", "special") == {"special"}
        assert holding(tmp_path / "memory", "tulip", "purple") == set()
        assert await work.reindexer.discard()
        assert not former.exists()


async def test_a_switch_cut_short_between_its_renames_is_settled(house: House, tmp_path: Path) -> None:
    """The next start has one index in use and the other beside it."""
    folder, coming, former = (tmp_path / name for name in ("memory", "memory.next", "memory.previous"))
    async with at_work(house, EdgeSites(folder)) as work:
        await work.say("the cat sleeps on the sofa")
        await work.reindexer.run(NEW, ignore)
    folder.rename(coming)  # as after the first rename of either way: what was in use is moved away
    settled = EdgeSites(folder)
    async with at_work(house, settled, NEW) as again:
        assert await settled.stored() == Fingerprint(NEW)
        assert await again.first("where does the cat sleep") == "the cat sleeps on the sofa"
        assert former.exists()
        assert not coming.exists()


async def test_what_a_crash_left_half_made_or_half_removed_is_swept(tmp_path: Path) -> None:
    """Neither is taken for an index."""
    folder, coming, former, removed = (
        tmp_path / f"memory{suffix}" for suffix in ("", ".next", ".previous", ".removed")
    )
    for each in (folder, coming, former, removed):
        (each / "7").mkdir(parents=True)
    write(former, Fingerprint(OLD))
    other = await EdgeSites(folder).other()
    assert other is not None
    assert other.former
    assert [each.exists() for each in (folder, coming, former, removed)] == [True, False, True, False]


async def test_collections_of_others_are_left_alone(house: House, tmp_path: Path) -> None:
    """One that is only named like ours is neither taken for the former index nor removed."""
    async with QdrantServer() as server:
        settings = Settings.model_validate({"qdrant": {"url": server.url}})
        neighbour = Settings.model_validate({"qdrant": {"url": server.url, "collection": "discord_memories-2"}})
        async with at_work(house, open_sites(neighbour, tmp_path)) as theirs:
            await theirs.say("this is a neighbour")
        async with at_work(house, open_sites(settings, tmp_path)) as work:
            await work.house.messages.capture(said(50, "this is ours"))
            await work.indexer.drain()
            assert await work.index.other() is None
            await work.reindexer.run(NEW, ignore)
            await work.reindexer.run(THIRD, ignore)
            await work.reindexer.discard()
        names = {one.name for one in (await server.local.get_collections()).collections}
        assert names == {"discord_memories-2", "discord_memories-4"}
        [alias] = (await server.local.get_aliases()).aliases
        assert (alias.alias_name, alias.collection_name) == ("discord_memories-current", "discord_memories-4")


async def test_a_server_without_metadata_is_told_to_be_updated(house: House, tmp_path: Path) -> None:
    """Where a collection cannot say what it was made with, nothing is begun."""
    async with QdrantServer() as server:
        server.refuses = {"metadata"}
        settings = Settings.model_validate({"qdrant": {"url": server.url}})
        async with at_work(house, open_sites(settings, tmp_path)) as work:
            await work.say("one")
            with pytest.raises(RecollectError, match=r"update it to 1\.16"):
                await work.reindexer.run(NEW, ignore)
        assert [one.name for one in (await server.local.get_collections()).collections] == ["discord_memories"]
