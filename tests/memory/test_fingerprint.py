"""An index says what it was made with, and takes no vectors of anything else."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from qdrant_client import models
from qdrant_server import QdrantServer

from bot.errors import IndexMismatch, IndexUnavailable
from bot.memory.edge import EdgeIndex
from bot.memory.fingerprint import FILE, LAYOUT, Fingerprint, in_settings, read, spec_of
from bot.memory.index import IndexPoint, Key, VectorIndex
from bot.memory.server import ServerIndex
from bot.model import EmbeddingModel
from bot.settings_services import QdrantSettings

SIZE, GUILD = 4, 1001
MINE = Fingerprint(EmbeddingModel("openai", "text-embedding-3-small", SIZE))
OTHER = Fingerprint(EmbeddingModel("ollama", "nomic-embed-text", SIZE))
LARGER = Fingerprint(EmbeddingModel("voyage", "voyage-4-lite", 8))
POINT = IndexPoint("00000000-0000-0000-0000-000000000001", {"agent_id": str(GUILD)}, {Key.DENSE: [1.0, 0, 0, 0]})

Opened = Callable[[Fingerprint | None], VectorIndex]


@pytest.fixture(params=["edge", "server"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    """Makes indexes of one place, one after the other."""
    if request.param == "edge":
        yield lambda one: EdgeIndex(tmp_path, one.embedding.dimensions if one else SIZE, fingerprint=one)
        return
    async with QdrantServer() as server:
        settings = QdrantSettings(url=server.url)
        yield lambda one: ServerIndex(settings, one.embedding.dimensions if one else SIZE, fingerprint=one)


@asynccontextmanager
async def at_work(index: VectorIndex) -> AsyncIterator[VectorIndex]:
    try:
        yield index
    finally:
        await index.close()


@pytest.mark.parametrize("before", [None, MINE])
async def test_an_index_keeps_the_fingerprint_it_was_given(opened: Opened, before: Fingerprint | None) -> None:
    """One that was made before there were any is taken for one of the settings' model, and keeps to that."""
    async with at_work(opened(before)) as index:
        await index.upsert(GUILD, [POINT])
    async with at_work(opened(MINE)) as index:
        await index.open()
        assert await index.count(GUILD) == 1
    async with at_work(opened(OTHER)) as index:
        for call in (index.open(), index.count(GUILD), index.upsert(GUILD, [POINT])):
            with pytest.raises(IndexMismatch) as refused:
                await call
            assert str(refused.value).endswith(
                "was made with openai:text-embedding-3-small (4 dimensions), but the settings ask for "
                "ollama:nomic-embed-text (4 dimensions): run `recollect reindex --embedder ollama:nomic-embed-text:4`, "
                'or set embedding.provider = "openai", openai.embedding_model = "text-embedding-3-small" and '
                "openai.dimensions = 4 again."
            )


async def test_another_size_names_both_models_too(opened: Opened) -> None:
    """The model says more than the size of its vectors."""
    async with at_work(opened(MINE)) as index:
        await index.upsert(GUILD, [POINT])
    async with at_work(opened(LARGER)) as index:
        with pytest.raises(IndexMismatch, match=r"text-embedding-3-small \(4 dim.*voyage-4-lite \(8 dim"):
            await index.open()


async def test_vectors_of_another_size_are_given_no_fingerprint(opened: Opened) -> None:
    """Where nothing tells whose they are, the sizes do."""
    async with at_work(opened(None)) as index:
        await index.upsert(GUILD, [POINT])
    for _ in range(2):
        async with at_work(opened(LARGER)) as index:
            with pytest.raises(
                IndexMismatch, match=r"vectors of size 4, but the settings ask for voyage:voyage-4-lite"
            ):
                await index.open()


async def test_an_empty_index_takes_any_model_of_its_size(opened: Opened) -> None:
    """Whoever thinks again before anything was said has nothing to embed anew."""
    async with at_work(opened(MINE)) as index:
        await index.open()
    async with at_work(opened(OTHER)) as index:
        await index.open()
        await index.upsert(GUILD, [POINT])
    async with at_work(opened(MINE)) as index:
        with pytest.raises(IndexMismatch, match=r"made with ollama.*ask for openai"):
            await index.open()


@pytest.mark.parametrize(("layout", "advice"), [(LAYOUT + 1, "update Recollect"), (LAYOUT - 1, "run `recollect re")])
async def test_another_layout_is_refused(opened: Opened, layout: int, advice: str) -> None:
    """An index of a newer version wants that version, one of an older version is filled anew."""
    async with at_work(opened(Fingerprint(MINE.embedding, layout))) as index:
        await index.upsert(GUILD, [POINT])
    async with at_work(opened(MINE)) as index:
        with pytest.raises(IndexMismatch, match=rf"layout {layout}.*{advice}"):
            await index.open()


async def test_a_server_that_keeps_no_metadata_compares_sizes() -> None:
    """A Qdrant before 1.16 ignores what it does not know: the index works, and tells models of one size not apart."""
    async with QdrantServer() as server:
        server.refuses = {"metadata"}
        settings = QdrantSettings(url=server.url)
        async with at_work(ServerIndex(settings, SIZE, fingerprint=MINE)) as index:
            await index.upsert(GUILD, [POINT])
        async with at_work(ServerIndex(settings, 8, fingerprint=LARGER)) as index:
            with pytest.raises(IndexMismatch, match="vectors of size 4"):
                await index.open()


async def test_metadata_of_others_is_left_alone() -> None:
    """Whoever made the collection may have notes of their own there."""
    async with QdrantServer() as server:
        vectors = {"": models.VectorParams(size=SIZE, distance=models.Distance.COSINE)}
        await server.local.create_collection("discord_memories", vectors, metadata={"team": "blue"})
        async with at_work(ServerIndex(QdrantSettings(url=server.url), SIZE, fingerprint=MINE)) as index:
            await index.open()
        kept = (await server.local.get_collection("discord_memories")).config.metadata
        assert kept == {"team": "blue", "recollect": MINE.to_dict()}


@pytest.mark.parametrize("damage", ["", "{}", '{"embedding": 1, "layout": 1}', '{"embedding": {}, "layout": "x"}'])
async def test_a_damaged_fingerprint_is_one_sentence(tmp_path: Path, damage: str) -> None:
    """It says which file to delete, and when."""
    async with at_work(EdgeIndex(tmp_path, SIZE, fingerprint=MINE)) as index:
        await index.upsert(GUILD, [POINT])
    (tmp_path / FILE).write_text(damage)
    async with at_work(EdgeIndex(tmp_path, SIZE, fingerprint=MINE)) as index:
        with pytest.raises(IndexUnavailable, match=r"fingerprint\.json is damaged: delete it if the settings name"):
            await index.open()
    (tmp_path / FILE).unlink()
    async with at_work(EdgeIndex(tmp_path, SIZE, fingerprint=MINE)) as index:
        await index.open()
    assert read(tmp_path) == MINE
    assert json.loads((tmp_path / FILE).read_text())["embedding"]["name"] == "text-embedding-3-small"


def test_every_provider_has_its_settings_named() -> None:
    """What a sentence tells to set is what the settings call it."""
    from bot.settings import Settings

    sections = Settings.model_fields
    for provider in ("openai", "ollama", "voyage", "fastembed"):
        model = Settings.model_validate({"embedding": {"provider": provider}}).embedding_model
        assert spec_of(model) == f"{provider}:{model.name}:{model.dimensions}"
        for assignment in in_settings(model).replace(" and ", ", ").split(", "):
            section, key = assignment.split(" = ")[0].split(".")
            settings = sections[section].annotation
            assert settings is not None
            assert key in settings.model_fields
