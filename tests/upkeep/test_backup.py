"""Backups, of a bot at rest and of one at work."""

import asyncio
import hashlib
import json
import sqlite3
import stat
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from house import ANN, GUILD, said
from saved import back_up, files, fill, ignore, opened, settings_of

from bot.errors import IndexUnavailable, RecollectError
from bot.memory.fingerprint import Fingerprint
from bot.model import EmbeddingModel
from bot.sandbox.openai import OpenAIServer


@pytest.fixture
async def openai() -> AsyncIterator[OpenAIServer]:
    """A stand-in for the embedder."""
    async with OpenAIServer() as server:
        yield server


async def test_an_archive_says_what_it_holds(tmp_path: Path, openai: OpenAIServer) -> None:
    """The manifest has counts, sizes and checksums that are right, and the file is its owner's alone."""
    settings = settings_of(tmp_path, openai)
    async with opened(settings) as app:
        await fill(app)
        made = await app.backup.write(tmp_path / "b.zip", False, ignore)
    assert (made.messages, made.facts, made.points) == (63, 3, 67)
    assert made.size == (tmp_path / "b.zip").stat().st_size
    assert stat.S_IMODE((tmp_path / "b.zip").stat().st_mode) == 0o600
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert manifest["journal"] == json.loads((tmp_path / "data-journal").read_text())["journal"]
        assert set(manifest["files"]) | {"manifest.json"} == set(archive.namelist())
        for name, part in manifest["files"].items():
            content = archive.read(name)
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (part["sha256"], part["size"])
    assert files(tmp_path) == ["b.zip", "data", "data-journal"]


async def test_a_backup_at_work_is_of_one_moment(tmp_path: Path, openai: OpenAIServer) -> None:
    """Messages captured and deleted meanwhile leave a database that is sound and holds all there was before."""
    settings = settings_of(tmp_path, openai)
    async with opened(settings) as app:
        await fill(app)

        async def go_on() -> None:
            for n in range(5000, 5400):
                await app.messages.capture(said(n, f"meanwhile {n}"))
                await app.retraction.messages_deleted(GUILD, [n - 3])

        async with asyncio.TaskGroup() as tasks:
            busy = tasks.create_task(go_on())
            await app.backup.write(tmp_path / "b.zip", False, ignore)
            busy.cancel()
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        archive.extract("recollect.db", tmp_path)
    database = sqlite3.connect(tmp_path / "recollect.db")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert database.execute("SELECT count(*) FROM message WHERE id <= 60").fetchone() == (60,)
    database.close()


async def test_a_backup_has_the_vectors_of_one_model(tmp_path: Path, openai: OpenAIServer) -> None:
    """The manifest names the model of the index in use; a switch to another while it is read spoils the backup."""
    async with opened(settings_of(tmp_path, openai)) as app:
        app.index.fingerprint = Fingerprint(EmbeddingModel("voyage", "voyage-4-lite", 64))
        await app.backup.write(tmp_path / "b.zip", False, ignore)
        with zipfile.ZipFile(tmp_path / "b.zip") as archive:
            manifest = json.loads(archive.read("manifest.json"))
        assert [manifest[key] for key in ("provider", "embedding_model", "dimensions")] == [
            "voyage",
            "voyage-4-lite",
            64,
        ]

        def switch(*_: object) -> None:
            app.index.fingerprint = Fingerprint(EmbeddingModel("ollama", "nomic-embed-text", 64))

        with pytest.raises(RecollectError, match="changed while the index was read"):
            await app.backup.write(tmp_path / "c.zip", False, switch)
    assert "c.zip" not in files(tmp_path)


async def test_an_existing_file_is_kept_unless_told(tmp_path: Path, openai: OpenAIServer) -> None:
    """The sentence names the way out; with it the file is replaced."""
    settings = settings_of(tmp_path, openai)
    (tmp_path / "b.zip").write_text("precious")
    with pytest.raises(RecollectError, match="--force"):
        await back_up(settings, tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_text() == "precious"
    async with opened(settings) as app:
        await app.backup.write(tmp_path / "b.zip", True, ignore)
    assert zipfile.is_zipfile(tmp_path / "b.zip")


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("data/b.zip", "outside the data folder"),
        ("no/b.zip", "No such"),
        ("x" * 300, "name a place the bot's user may"),
    ],
    ids=["inside", "no folder", "impossible"],
)
async def test_a_place_that_will_not_do_is_one_sentence(
    tmp_path: Path, openai: OpenAIServer, where: str, sentence: str
) -> None:
    """Inside the data folder nothing would ever purge it; a missing folder is not made up."""
    with pytest.raises(RecollectError, match=sentence):
        await back_up(settings_of(tmp_path, openai), tmp_path / where)


async def test_a_folder_instead_of_a_file_is_refused_at_once(tmp_path: Path, openai: OpenAIServer) -> None:
    """Not only after everything was read, and not with the advice to replace it."""
    with pytest.raises(RecollectError, match="is a folder: name a file in it"):
        await back_up(settings_of(tmp_path, openai), tmp_path)


async def test_a_folder_in_the_way_is_one_sentence(tmp_path: Path, openai: OpenAIServer) -> None:
    """Whatever keeps the file from being written is said, and not hidden by the clearing away."""
    (tmp_path / "b.zip.partial-db").mkdir()
    with pytest.raises(RecollectError, match="cannot be written"):
        await back_up(settings_of(tmp_path, openai), tmp_path / "b.zip")


async def test_a_cancelled_backup_leaves_nothing(tmp_path: Path, openai: OpenAIServer) -> None:
    """Wherever Ctrl-C comes, there is no part of an archive and no copy of the database afterwards."""
    async with opened(settings_of(tmp_path, openai)) as app:
        await fill(app)
        for stage in ("Copying the database", "Packing the database", "Reading the index"):
            reached = asyncio.Event()

            def report(
                what: str, done: int, total: int | None, stage: str = stage, at: asyncio.Event = reached
            ) -> None:
                if what == stage:
                    at.set()

            writing = asyncio.create_task(app.backup.write(tmp_path / "b.zip", False, report))
            await reached.wait()
            writing.cancel()
            await asyncio.wait({writing})
            assert writing.cancelled()
            assert files(tmp_path) == ["data", "data-journal"]


def _tell(reached: asyncio.Event, stage: str, what: str, done: int, total: int | None) -> None:
    if what == stage:
        reached.set()


async def test_what_a_crash_left_is_replaced(tmp_path: Path, openai: OpenAIServer) -> None:
    """The unfinished files of a killed backup are in nobody's way, and gone afterwards."""
    for leftover in ("b.zip.partial", "b.zip.partial-db"):
        (tmp_path / leftover).write_text("half")
    await back_up(settings_of(tmp_path, openai), tmp_path / "b.zip")
    assert zipfile.is_zipfile(tmp_path / "b.zip")
    assert files(tmp_path) == ["b.zip", "data", "data-journal"]


async def test_an_index_that_does_not_answer_is_one_sentence(tmp_path: Path, openai: OpenAIServer) -> None:
    """A backup without its vectors would be bought again by embedding everything: it is refused instead."""
    settings = settings_of(tmp_path, openai, qdrant={"url": "http://127.0.0.1:9"})
    async with opened(settings) as app:
        await app.messages.capture(said(1, "hello", ANN))
        with pytest.raises(IndexUnavailable):
            await app.backup.write(tmp_path / "b.zip", False, ignore)
    assert files(tmp_path) == ["data", "data-journal"]
