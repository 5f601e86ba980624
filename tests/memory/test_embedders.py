"""What every embedder promises, whoever makes the vectors."""

import asyncio
import re
import subprocess
import sys
import tomllib
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import stamina
import structlog
from house import House, everywhere, said
from stands import NEVER_TAKEN, OVER_A_WIRE, STANDS, FastembedStand, OllamaStand, ServerStand, Stand, VoyageStand

from bot.errors import EmbedderUnavailable, QuotaExhausted, SettingsError
from bot.memory.edge import EdgeIndex
from bot.memory.embedders import base
from bot.memory.embedders.base import Purpose
from bot.memory.embedders.prefixes import prefix
from bot.memory.embeddings import embedder_name, embedder_of, open_embedder, parse_embedding_model
from bot.model import EmbeddingModel
from bot.sandbox.embedding import Fault
from bot.settings import Settings

DOCS = Path(__file__).parents[2] / "docs" / "providers.md"


@pytest.fixture(autouse=True)
def without_waits() -> Iterator[None]:
    """Attempts follow one another at once."""
    with stamina.set_testing(True, attempts=4, cap=True):
        yield


@pytest.fixture(params=STANDS)
async def stand(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stand]:
    """Each provider in turn."""
    async with STANDS[request.param](tmp_path, monkeypatch) as stand:
        yield stand


@pytest.fixture
async def ollama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OllamaStand]:
    async with OllamaStand(tmp_path, monkeypatch) as stand:
        yield stand


@pytest.fixture
async def voyage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VoyageStand]:
    async with VoyageStand(tmp_path, monkeypatch) as stand:
        yield stand


@pytest.fixture
async def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FastembedStand]:
    async with FastembedStand(tmp_path, monkeypatch) as stand:
        yield stand


def over_a_wire(test: object) -> object:
    """Only of those that talk to a server."""
    return pytest.mark.parametrize("stand", OVER_A_WIRE, indirect=True)(test)  # type: ignore[arg-type]


def similarity(one: Sequence[float] | None, other: Sequence[float]) -> float:
    assert one is not None
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_documents_come_back_in_order(stand: Stand) -> None:
    """One vector of the configured size a text, nearest to the question about it; the service is named."""
    cat, dog = await stand.embedder.documents(["the grey cat sleeps", "my dog barks loudly"])
    about_dog, about_cat = await stand.embedder.queries(["dog barks", "cat sleeps"])

    assert {len(vector or ()) for vector in (cat, dog, about_dog, about_cat)} == {stand.size}
    assert similarity(cat, about_cat) > similarity(cat, about_dog)
    assert similarity(dog, about_dog) > similarity(dog, about_cat)
    assert stand.embedder.name == stand.service == embedder_name(stand.settings())
    assert (stand.embedder.usage.requests, (await stand.embedder.health()).ok) == (stand.requests, True)


async def test_a_text_is_told_what_it_is_for(stand: Stand) -> None:
    """A model that wants to know whether a text is to be found or to find is told so."""
    await stand.embedder.documents(["cat"])
    await stand.embedder.queries(["cat"])

    assert list(stand.texts) == [f"{before}cat" for before in stand.prefixes]


async def test_blank_texts_are_not_sent(stand: Stand) -> None:
    """A blank text costs nothing and is similar to nothing, and no text at all asks nobody."""
    assert await stand.embedder.documents([]) == []
    assert (stand.requests, stand.embedder.usage.requests) == (0, 0)
    blank, real = await stand.embedder.documents(["  \n", "word"])
    [asked] = await stand.embedder.queries([" "])

    assert list(blank or ()) == list(asked) == [0.0] * stand.size
    assert any(real or ())
    assert len(stand.texts) == 1


async def test_many_texts_are_several_requests(stand: Stand) -> None:
    """No request holds more texts than the service takes, and every text gets its own vector."""
    texts = [f"word{n}" for n in range(stand.embedder._limits.inputs + 1)]
    vectors = await stand.embedder.documents(texts)

    assert (stand.requests, len(vectors)) == (2, len(texts))
    assert [list(vectors[-1] or ())] == list(map(list, await stand.embedder.documents(texts[-1:])))  # type: ignore[arg-type]


async def test_a_long_text_is_cut_between_characters(stand: Stand) -> None:
    """What is longer than any model reads is cut, and half a character is never sent."""
    await stand.embedder.documents(["👍" * 4000, "a\ud800b"])

    before = stand.prefixes[0]
    assert list(stand.texts) == [before + "👍" * 2047, before + "a?b"]


async def test_repeated_queries_are_answered_from_memory(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first of equal queries is made, until others push it out."""
    monkeypatch.setattr(base, "_CACHED_QUERIES", 2)
    assert stand.embedder.known("one") is None
    [one] = await stand.embedder.queries(["one"])
    assert (await stand.embedder.queries(["one", "one"]))[1] is one is stand.embedder.known("one")
    assert stand.requests == 1

    await stand.embedder.queries(["two", "three"])
    assert stand.embedder.known("one") is None


async def test_refused_texts_have_no_vector(stand: Stand) -> None:
    """One text that the service does not take costs the others nothing, and is no trouble worth telling."""
    stand.refuse()
    texts = [f"word{n}" for n in range(4)] + [NEVER_TAKEN, "last"]
    vectors = await stand.embedder.documents(texts)

    assert [vector is None for vector in vectors] == [False] * 4 + [True, False]
    assert list(vectors[5] or ()) == list((await stand.embedder.documents(["last"]))[0] or ())
    assert (await stand.embedder.health()).ok


async def test_a_wrong_size_names_the_setting(stand: Stand) -> None:
    """Vectors of another size than is configured would not fit the index: one sentence says which setting to change."""
    stand.show(Fault.WRONG_SIZE)
    with pytest.raises(EmbedderUnavailable) as caught:
        await stand.embedder.documents(["word"])

    told = f"{stand.embedder.model} makes vectors of size {stand.size + 1}, but {stand.size_setting} is {stand.size}."
    assert str(caught.value) == (await stand.embedder.health()).detail == told
    stand.show(None)
    await stand.embedder.documents(["word"])
    assert (await stand.embedder.health()).ok


async def test_nobody_waits_longer_than_they_said(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that hangs costs a caller the time they have, a question seconds, and can be given up at any moment."""
    stand.show(Fault.HANG)
    with pytest.raises(EmbedderUnavailable, match=r"did not answer within 0\.05 s"):
        await stand.embedder.documents(["word"], within=0.05)
    monkeypatch.setattr(base, "_QUERY_SECONDS", 0.05)
    with pytest.raises(EmbedderUnavailable, match=r"did not answer within 0\.05 s"):
        await stand.embedder.queries(["word"])
    assert not (await stand.embedder.health()).ok
    task = asyncio.create_task(stand.embedder.documents(["word"]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@over_a_wire
@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.ERROR])
async def test_passing_faults_are_tried_again(stand: ServerStand, fault: Fault) -> None:
    """A server's bad moment does not reach the caller; what lasts does, after a few attempts."""
    stand.desk.fault, stand.desk.fault_for = fault, 1
    assert None not in await stand.embedder.documents(["word"])
    assert (stand.desk.refused, (await stand.embedder.health()).ok) == (1, True)

    stand.show(fault)
    with pytest.raises(EmbedderUnavailable):
        await stand.embedder.documents(["word"])
    assert (stand.desk.refused, (await stand.embedder.health()).ok) == (5, False)


@over_a_wire
@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.NOT_OPENAI])
async def test_hopeless_faults_are_not_tried_again(stand: ServerStand, fault: Fault) -> None:
    """What asking again cannot mend is said at once."""
    stand.show(fault)
    with pytest.raises(EmbedderUnavailable, match=r"\((401)\)|does not answer (like|as)"):
        await stand.embedder.documents(["word"])
    assert stand.desk.refused == 1


@over_a_wire
async def test_a_server_that_is_down_is_named_until_it_is_back(stand: ServerStand) -> None:
    """One sentence says where nobody answers."""
    await stand.server.stop()
    with pytest.raises(EmbedderUnavailable, match=rf"at {stand.server.url} cannot be reached"):
        await stand.embedder.queries(["word"])
    await stand.server.start()
    assert len((await stand.embedder.queries(["word"]))[0]) == stand.size


async def test_neither_text_nor_key_is_told(stand: Stand) -> None:
    """What is logged, or raised with all its causes, holds no message and no secret."""
    stand.refuse()
    private = f"private {NEVER_TAKEN}"
    with structlog.testing.capture_logs() as logs:
        assert await stand.embedder.documents([private]) == [None]
        with pytest.raises(EmbedderUnavailable) as caught:
            await stand.embedder.queries([private])

    shown = "".join(traceback.format_exception(caught.value)) + str(logs)
    assert [log["event"] for log in logs if log["event"] != "model_loading"] == ["texts_without_vector"]
    assert "private " not in shown
    assert "sk-secret" not in shown


async def test_what_was_said_is_found_by_meaning(stand: Stand, house: House, tmp_path: Path) -> None:
    """A message that was indexed with a provider's vectors is found by the question's, and the size fits the index."""
    with_vectors = replace(house, index=EdgeIndex(tmp_path / "vectors", stand.size))
    await with_vectors.index.open()
    await with_vectors.messages.capture_many([said(1, "the kiln arrives on monday"), said(2, "lunch is on me")])
    await with_vectors.indexer(stand.embedder).drain()
    recalled = await with_vectors.recall(stand.embedder).recall("when does the kiln arrive?", everywhere(), 5)
    await with_vectors.index.close()

    assert (recalled.hits[0].memory.sources, recalled.degraded) == ((1,), None)
    assert recalled.hits[0].signals["dense"] > 0


async def test_ollama_says_what_to_pull(ollama: OllamaStand) -> None:
    """A model that is not there, and one that cannot embed, are one sentence each."""
    for model, sentence in (
        ("mxbai-embed-large", r"no model 'mxbai-embed-large': run `ollama pull mxbai-embed-large`\."),
        ("llama3.1:8b", r"'llama3\.1:8b' cannot embed: check ollama\.embedding_model\."),
    ):
        embedder = ollama.opened(embedding_model=model)
        with pytest.raises(EmbedderUnavailable, match=sentence):
            await embedder.documents(["word"])
        await embedder.close()


async def test_ollama_keeps_the_model_loaded_as_set(ollama: OllamaStand) -> None:
    """The embedding model stays in memory for as long as the other one."""
    await ollama.embedder.documents(["word"])
    assert ollama.desk.kept_alive == [420]


async def test_voyage_is_told_purpose_and_size(voyage: VoyageStand) -> None:
    """Its models make other vectors for a question than for what may answer it, of one of four sizes."""
    await voyage.embedder.documents(["cat"])
    await voyage.embedder.queries(["cat"])
    assert voyage.desk.purposes == ["document", "query"]  # type: ignore[attr-defined]

    embedder = voyage.opened(dimensions=300)
    with pytest.raises(EmbedderUnavailable, match=r"\(400\): check voyage.model and voyage.dimensions"):
        await embedder.documents(["word"])
    await embedder.close()


async def test_voyage_may_want_to_be_paid(voyage: VoyageStand) -> None:
    """Without credit embedding pauses instead of hammering."""
    voyage.show(Fault.QUOTA)
    with pytest.raises(QuotaExhausted):
        await voyage.embedder.documents(["word"])
    assert voyage.desk.refused == 1


async def test_fastembed_loads_its_model_once_beside_the_event_loop(local: FastembedStand, tmp_path: Path) -> None:
    """The model is loaded by the first text, into a cache in the data folder, and works in a thread of its own."""
    assert local.loaded == []
    await asyncio.gather(local.embedder.documents(["one"]), local.embedder.queries(["two"]))

    cache = str(tmp_path / "data" / "models")
    [options] = local.loaded
    assert (options["model_name"], options["cache_dir"]) == ("BAAI/bge-small-en-v1.5", cache)
    assert local.threads == {"embedder_0"}


async def test_fastembed_keeps_nobody_from_stopping(local: FastembedStand) -> None:
    """The first text may wait for a download of gigabytes; a bot that stops does not."""
    local.show(Fault.HANG)
    waiting = asyncio.create_task(local.embedder.documents(["one"]))
    await asyncio.to_thread(local.begun.wait)
    await local.embedder.close()
    assert not (local.released.is_set() or waiting.done())
    waiting.cancel()
    await asyncio.wait({waiting})


async def test_fastembed_takes_a_folder(local: FastembedStand, tmp_path: Path) -> None:
    """A model on disk is never looked for elsewhere, and a folder that is none is told at the start."""
    embedder = local.opened(folder=str(tmp_path), model="nomic-ai/nomic-embed-text-v1.5")
    await embedder.documents(["one"])
    await embedder.close()
    [options] = local.loaded
    assert (options["specific_model_path"], options["local_files_only"]) == (str(tmp_path), True)
    assert list(local.texts) == ["search_document: one"]

    with pytest.raises(SettingsError, match=r"no model in /nowhere: it is no folder"):
        local.opened(folder="/nowhere")


async def test_fastembed_says_what_is_missing(local: FastembedStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model nobody knows, one that cannot be loaded, and fastembed itself."""
    embedder = local.opened(model="someone/something")
    with pytest.raises(EmbedderUnavailable, match=r"knows no model named someone/something: check fastembed\.model"):
        await embedder.documents(["word"])
    await embedder.close()
    local.show(Fault.NOT_OPENAI)
    with pytest.raises(EmbedderUnavailable, match=r"cannot be loaded from .*models \(OSError\): put its files into"):
        await local.embedder.documents(["word"])
    local.show(None)
    assert None not in await local.embedder.documents(["word"])

    monkeypatch.setattr("bot.memory.embedders.fastembed.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"not installed: .* run `pip install '\.\[fastembed\]'`"):
        local.opened()


@pytest.mark.parametrize(
    ("model", "document", "query"),
    [
        ("nomic-embed-text:v1.5", "search_document: ", "search_query: "),
        ("nomic-ai/nomic-embed-text-v1.5-Q", "search_document: ", "search_query: "),
        ("intfloat/multilingual-e5-large", "passage: ", "query: "),
        ("mixedbread-ai/mxbai-embed-large-v1", "", "Represent this sentence for searching relevant passages: "),
        ("BAAI/bge-small-en-v1.5", "", ""),
    ],
)
def test_models_are_told_in_their_own_words(model: str, document: str, query: str) -> None:
    """The words a model was trained with, whoever packs it."""
    assert (prefix(model, Purpose.DOCUMENT), prefix(model, Purpose.QUERY)) == (document, query)


@pytest.mark.parametrize(
    ("spec", "model"),
    [
        ("openai", EmbeddingModel("openai", "text-embedding-3-small", 512)),
        ("openai:text-embedding-3-large", EmbeddingModel("openai", "text-embedding-3-large", 3072)),
        ("openai:text-embedding-3-large:256", EmbeddingModel("openai", "text-embedding-3-large", 256)),
        ("ollama", EmbeddingModel("ollama", "nomic-embed-text", 768)),
        ("ollama:nomic-embed-text:v1.5", EmbeddingModel("ollama", "nomic-embed-text:v1.5", 768)),
        ("ollama:someone/else:tag:99", EmbeddingModel("ollama", "someone/else:tag", 99)),
        ("voyage::512", EmbeddingModel("voyage", "voyage-4-lite", 512)),
        ("fastembed:BAAI/bge-base-en-v1.5", EmbeddingModel("fastembed", "BAAI/bge-base-en-v1.5", 768)),
    ],
)
def test_a_model_can_be_named_in_a_word(spec: str, model: EmbeddingModel) -> None:
    """What is left out is as in the settings, or as the model is known."""
    settings = Settings.model_validate({"openai": {"dimensions": 512}})
    assert parse_embedding_model(spec, settings) == model


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("sphinx:riddle", "There is no embedder 'sphinx'; there are: openai, ollama, voyage, fastembed."),
        ("ollama:riddle", "Say the size of the vectors of riddle, too, as in ollama:riddle:1024."),
    ],
)
def test_what_names_no_model_is_said_in_a_sentence(spec: str, sentence: str) -> None:
    """A provider there is none of, and a model of unknown size."""
    with pytest.raises(SettingsError) as caught:
        parse_embedding_model(spec, Settings())
    assert str(caught.value) == sentence


@pytest.mark.parametrize(("provider", "variable"), [("openai", "OPENAI_API_KEY"), ("voyage", "VOYAGE_API_KEY")])
def test_without_a_key_there_is_no_embedder(provider: str, variable: str) -> None:
    """The bot goes on with keywords; whoever asks for that embedder by name is told what it wants."""
    settings = Settings.model_validate({"embedding": {"provider": provider}})
    assert open_embedder(settings) is None
    with pytest.raises(SettingsError, match=f"wants a key: set {variable}"):
        embedder_of(settings, settings.embedding_model)


def test_clients_are_imported_late() -> None:
    """Whoever does not use a service does not pay for its client."""
    code = "import sys, bot.memory.embeddings; sys.exit(bool({'openai', 'fastembed', 'onnxruntime'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL))
def test_what_the_documentation_says_to_write_can_be_written(block: str) -> None:
    """Every example of the page on models is a file of settings."""
    Settings.model_validate(tomllib.loads(block))
