"""Restores: what comes back, what does not, and what is left when one fails."""

import asyncio
import json
import random
import shutil
import uuid
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from house import ANN, BEN, CLEO, GENERAL, GUILD, START, said
from qdrant_server import QdrantServer
from saved import FOREIGN, Answers, answers, back_up, bring_back, files, fill, ignore, opened, settings_of

from bot.core import open_index
from bot.errors import BackupDamaged, DataFolderError, IndexUnavailable, RecallPaused, RecollectError
from bot.memory.index import IndexPoint
from bot.memory.server import ServerIndex
from bot.model import Scope, kept_fact_id, message_memory_id
from bot.sandbox.openai import OpenAIServer
from bot.settings import Settings
from bot.settings_services import QdrantSettings
from bot.storage.archive import Archive
from bot.storage.keepsakes import Keepsakes
from bot.upkeep.recheck import Recheck
from bot.upkeep.restore import restore

# qdrant-client's in-memory implementation needs no payload indexes, and says so on every start.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


@pytest.fixture
async def openai() -> AsyncIterator[OpenAIServer]:
    """A stand-in for the embedder."""
    async with OpenAIServer() as server:
        yield server


@pytest.fixture
async def settings(tmp_path: Path, openai: OpenAIServer) -> Settings:
    """A bot's settings; its data folder does not exist yet."""
    return settings_of(tmp_path, openai)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answers]:
    """A folder with a backup and its journal, and what the bot answered when it was made."""
    folder = tmp_path_factory.mktemp("once")

    async def make() -> Answers:
        async with OpenAIServer() as openai, opened(settings_of(folder, openai)) as app:
            await fill(app)
            await app.backup.write(folder / "b.zip", False, ignore)
            return await answers(app)

    return folder, asyncio.run(make())


@pytest.fixture
def backup(tmp_path: Path, once: tuple[Path, Answers]) -> Path:
    """A backup whose journal is there and whose data is lost."""
    folder, _ = once
    shutil.copy(folder / "data-journal", tmp_path)
    return Path(shutil.copy(folder / "b.zip", tmp_path))


def lose(settings: Settings) -> None:
    """The disk with the data is gone."""
    shutil.rmtree(settings.storage.path)


async def test_the_answers_are_the_same(settings: Settings, backup: Path, once: tuple[Path, Answers]) -> None:
    """Every question gets the same cards with the same evidence in the same order, their scores equal to a millionth;
    nothing is embedded again."""
    restored = await bring_back(settings, backup)
    assert (restored.messages, restored.facts, restored.points) == (63, 3, 67)
    assert (restored.taken_back, restored.recheck) == (0, False)
    async with opened(settings) as app:
        assert await app.indexer.drain() == 0
        _assert_same(await answers(app), once[1])
        assert any(card.evidence for one in once[1] for card in one)


async def test_what_was_taken_back_since_stays_away(settings: Settings, backup: Path) -> None:
    """A deletion, a forgotten fact, a forgotten member and an opt-out after the backup all hold after the restore, and
    no capture brings anything back."""
    await bring_back(settings, backup)
    async with opened(settings) as app:
        await app.retraction.messages_deleted(GUILD, [12])
        [tea] = await app.facts.about(GUILD, ANN)
        await app.retraction.facts_forgotten(GUILD, [tea.id])
        await app.retraction.member_forgotten(GUILD, BEN)
        await app.retraction.points_forgotten(GUILD, [FOREIGN])
        await app.consent.opt_out(GUILD, CLEO, START)
        await app.indexer.drain()
        before = await answers(app)
    lose(settings)
    restored = await bring_back(settings, backup)
    assert restored.taken_back == 5  # a member is one, however much they said
    assert not restored.recheck
    async with opened(settings) as app:
        assert await app.index.retrieve(GUILD, [FOREIGN, tea.id, message_memory_id(said(12, "", ANN))]) == []
        await app.indexer.drain()
        _assert_same(await answers(app), before)
        held = await app.messages.get(range(1, 61))
        assert 12 not in held
        assert BEN not in {message.author_id for message in held.values()}
        assert app.consent.opted_out_since(GUILD, CLEO) == START
        assert not await app.messages.capture(said(12, "the meeting", ANN))
        assert await app.messages.capture_many([said(n, "again", BEN) for n in range(1, 60)]) == 0


async def test_a_correction_comes_back_and_the_words_before_it_do_not(
    settings: Settings, backup: Path, tmp_path: Path
) -> None:
    """It is restored with its point, though its messages are gone; a point that no record stands behind is not."""
    later = tmp_path / "later.zip"
    await bring_back(settings, backup)
    async with opened(settings) as app:
        [tea] = await app.facts.about(GUILD, ANN)
        new = await app.corrections.correct(GUILD, ANN, "Ann", tea.id, "Ann drinks coffee")
        assert new is not None
        await app.retraction.messages_deleted(GUILD, tea.sources)
        await app.indexer.drain()
        [point] = await app.index.retrieve(GUILD, [new.id])
        orphan = IndexPoint(str(uuid.uuid4()), point.payload)  # of a correction made after the database was copied
        await app.index.upsert(GUILD, [orphan])
        await app.backup.write(later, False, ignore)
    lose(settings)
    await bring_back(settings, later)
    async with opened(settings) as app:
        assert await app.facts.about(GUILD, ANN) == [replace(new, sources=())]
        assert [one.id for one in await app.index.retrieve(GUILD, [new.id, tea.id, orphan.id])] == [new.id]


async def test_without_the_journal_recall_is_off(settings: Settings, backup: Path) -> None:
    """Nobody knows what was deleted since: recall says so instead of answering, also after a restart."""
    settings.journal_path.unlink()
    assert (await bring_back(settings, backup)).recheck
    for _ in range(2):
        async with opened(settings) as app:
            assert app.recheck.required
            with pytest.raises(RecallPaused, match="recall is off"):
                await app.recall.recall("tea", Scope(GUILD, frozenset({GENERAL})), 5)


async def test_another_journal_is_no_journal(settings: Settings, backup: Path) -> None:
    """A bot that was started on an empty folder in between has begun a journal of its own: it knows nothing of ours."""
    async with opened(settings):
        pass
    lose(settings)
    assert (await bring_back(settings, backup)).recheck


async def test_a_second_restore_without_the_first_journal_is_rechecked_too(settings: Settings, backup: Path) -> None:
    """The journal that the first restore began does not know what was deleted between the backup and that restore."""
    settings.journal_path.unlink()
    await bring_back(settings, backup)
    async with opened(settings):
        pass
    lose(settings)
    assert (await bring_back(settings, backup)).recheck


async def test_a_damaged_journal_is_no_journal(settings: Settings, backup: Path) -> None:
    """What cannot be read may have said anything."""
    with settings.journal_path.open("a") as file:
        file.write("garbage\n")
    assert (await bring_back(settings, backup)).recheck


async def test_recall_is_on_again_once_everything_was_compared(settings: Settings, backup: Path) -> None:
    """Every guild of which something is held is compared; a failure is tried again and leaves recall off."""
    settings.journal_path.unlink()
    await bring_back(settings, backup)
    async with opened(settings) as app:
        compared: list[int] = []

        async def compare(guild_id: int) -> None:
            compared.append(guild_id)
            if len(compared) == 2:
                raise RecollectError("Discord is down.")

        recheck = Recheck(app.state, Archive(app.database).guilds, compare, retry_after=0)
        await recheck.load()
        await recheck.run(_at_once)
        assert compared == [7, 8, 7, 8]
        assert not recheck.required
        await app.recheck.load()
        assert (await app.recall.recall("tea", Scope(GUILD, frozenset({GENERAL})), 5)).hits
    async with opened(settings) as app:
        assert not app.recheck.required


async def _at_once() -> None:
    """Discord is there."""


async def test_points_and_records_are_put_right(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A point without a record is dropped, a record without a point is indexed again: the two were not read at once."""
    async with opened(settings) as app:
        await fill(app)
        late = said(70, "said after the copy of the database", ANN)
        keepsakes, kept = Keepsakes(app.database), kept_fact_id(message_memory_id(late))

        counted = app.index.count

        async def count(guild_id: int | None) -> int:
            await app.messages.capture(late)
            await keepsakes.keep(late)
            await app.indexer.drain()
            assert len(await app.index.retrieve(GUILD, [kept])) == 1
            await app.index.delete(GUILD, [message_memory_id(said(1, "", BEN))])
            return await counted(guild_id)

        monkeypatch.setattr(app.index, "count", count)  # asked between the database and the index
        await app.backup.write(tmp_path / "b.zip", False, ignore)
    lose(settings)
    await bring_back(settings, tmp_path / "b.zip")
    async with opened(settings) as app:
        assert await app.index.retrieve(GUILD, [message_memory_id(late), kept]) == []
        assert await app.indexer.drain() == 1
        assert len(await app.index.retrieve(GUILD, [message_memory_id(said(1, "", BEN))])) == 1


async def test_the_window_of_a_deleted_neighbour_is_made_anew(settings: Settings, backup: Path) -> None:
    """Neighbours of what was deleted since come back at once, without the keys in which it still stood."""
    await bring_back(settings, backup)
    async with opened(settings) as app:
        await app.retraction.messages_deleted(GUILD, [12])
    lose(settings)
    await bring_back(settings, backup)
    async with opened(settings) as app:
        neighbour = message_memory_id(said(13, "", (ANN, BEN, CLEO)[13 % 3]))
        points, _ = await app.index.scroll(GUILD, None, 100, keys=True)
        [point] = [one for one in points if one.id == neighbour]
        assert {*point.dense, *point.sparse} == {"", "bm25"}
        assert await app.indexer.drain() >= 2


async def test_a_server_is_filled_only_if_it_is_empty(settings: Settings, backup: Path) -> None:
    """A collection that holds memories is refused and left alone; an empty one gets what the backup has."""
    async with QdrantServer() as server:
        on_server = settings.model_copy(update={"qdrant": QdrantSettings(url=server.url)})
        assert (await bring_back(on_server, backup)).points == 67
        async with opened(on_server) as app:
            assert await app.indexer.drain() == 0
            assert await app.index.count(GUILD) == 64
        lose(settings)
        with pytest.raises(DataFolderError, match="holds memories"):
            await bring_back(on_server, backup)
        async with opened(on_server) as app:
            assert await app.index.count(GUILD) == 64


async def test_a_restore_to_a_server_that_is_cut_short_is_cleared(settings: Settings, backup: Path) -> None:
    """What half a restore left in the collection goes: at once if the server answers, otherwise by the next try,
    unless a bot has begun to use it."""
    async with QdrantServer() as server:
        on_server = settings.model_copy(update={"qdrant": QdrantSettings(url=server.url)})
        index = open_index(on_server, Path())

        def fail(what: str, done: int, total: int | None) -> None:
            if what == "Loading the index":
                raise RecollectError("The power went.")

        with pytest.raises(RecollectError, match="power"):
            await restore(on_server, backup, partial(open_index, on_server), fail)
        assert await index.empty()
        assert files(backup.parent) == ["b.zip", "data-journal"]

        half = str(uuid.uuid4())
        await index.upsert(GUILD, [IndexPoint(half, {"data": "half of it", "agent_id": str(GUILD)})])
        aside = settings.storage.path.with_name("data.restoring")
        aside.mkdir()
        (aside / "loading").write_text(on_server.qdrant.collection)
        assert (await bring_back(on_server, backup)).points == 67
        assert await index.retrieve(GUILD, [half]) == []
        assert await index.count(GUILD) == 64

        lose(settings)
        aside.mkdir()
        (aside / "loading").write_text(on_server.qdrant.collection)
        async with opened(on_server):
            pass
        lose(settings)
        with pytest.raises(DataFolderError, match="holds memories"):
            await bring_back(on_server, backup)
        await index.close()


async def test_a_server_that_does_not_answer_is_never_cleared(
    settings: Settings, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the collection is in use is not known then: it is left as it is."""
    async with QdrantServer() as server:
        on_server = settings.model_copy(update={"qdrant": QdrantSettings(url=server.url)})
        index = open_index(on_server, Path())
        await index.upsert(GUILD, [IndexPoint(FOREIGN, {"data": "precious", "agent_id": str(GUILD)})])

        async def down(_: object) -> bool:
            raise IndexUnavailable

        with monkeypatch.context() as patched, pytest.raises(IndexUnavailable):
            patched.setattr(ServerIndex, "empty", down)
            await bring_back(on_server, backup)
        assert await index.count(GUILD) == 1
        await index.close()


async def test_a_folder_in_use_is_refused(settings: Settings, backup: Path) -> None:
    """A restore never touches data that is there."""
    await bring_back(settings, backup)
    with pytest.raises(DataFolderError, match="not empty"):
        await bring_back(settings, backup)
    async with opened(settings) as app:
        assert len(await app.messages.get(range(1, 61))) == 60


async def test_an_empty_folder_will_do(settings: Settings, backup: Path) -> None:
    """As an operator makes one before restoring into it."""
    settings.storage.path.mkdir()
    assert (await bring_back(settings, backup)).messages == 63


async def test_a_killed_restore_leaves_nothing_in_the_way(settings: Settings, backup: Path) -> None:
    """What was built aside when the power went is replaced by the next try."""
    aside = settings.storage.path.with_name("data.restoring")
    (aside / "index").mkdir(parents=True)
    (aside / "recollect.db").write_text("half a database")
    assert (await bring_back(settings, backup)).points == 67
    assert not aside.exists()


async def test_a_cancelled_restore_leaves_nothing(settings: Settings, backup: Path) -> None:
    """Ctrl-C at any stage: the folder is as absent as before, and the next try works."""
    before = files(backup.parent)
    for stage in ("Checking the backup", "Loading the index"):
        reached = asyncio.Event()
        report = partial(_tell, reached, stage)
        restoring = asyncio.create_task(restore(settings, backup, partial(open_index, settings), report))
        await reached.wait()
        restoring.cancel()
        await asyncio.wait({restoring})
        assert restoring.cancelled()
        assert files(backup.parent) == before
    assert (await bring_back(settings, backup)).points == 67


def _tell(reached: asyncio.Event, stage: str, what: str, done: int, total: int | None) -> None:
    if what == stage:
        reached.set()


async def test_a_volume_is_filled_from_inside(
    settings: Settings, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount point cannot be renamed: a restore cut short there keeps a bot from starting until it is repeated."""
    volume = settings.storage.path
    (volume / "lost+found").mkdir(parents=True)
    monkeypatch.setattr(Path, "is_mount", lambda self: self == volume)
    assert (await bring_back(settings, backup)).messages == 63
    assert files(volume) == ["index", "lost+found", "recollect.db", "recollect.lock"]
    (volume / ".restoring").mkdir()
    with pytest.raises(DataFolderError, match="cut short"):
        async with opened(settings):
            pass
    assert (await bring_back(settings, backup)).messages == 63
    async with opened(settings) as app:
        assert await app.indexer.drain() == 0


@pytest.mark.parametrize("seed", range(2))
async def test_damage_is_one_sentence_and_changes_nothing(
    settings: Settings, backup: Path, tmp_path: Path, seed: int
) -> None:
    """Any byte, any cut: either the sentence and no folder, or the damage was where nothing is."""
    chance, harmless = random.Random(seed), 0
    shutil.copy(backup, tmp_path / "whole")
    for _ in range(20):
        _damage(tmp_path / "whole", backup, chance)
        try:
            await bring_back(settings, backup)
        except RecollectError as error:
            assert str(error).count("\n") == 0
            assert not settings.storage.path.exists()
            assert files(tmp_path) == ["b.zip", "data-journal", "whole"]
        else:
            harmless += 1
            async with opened(settings) as app:
                assert await app.indexer.drain() == 0
            lose(settings)
    assert harmless < 10


def _damage(whole: Path, damaged: Path, chance: random.Random) -> None:
    """A copy with one byte changed, or cut somewhere."""
    content = bytearray(whole.read_bytes())
    if chance.random() < 0.3:
        del content[chance.randrange(len(content)) :]
    else:
        content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    damaged.write_bytes(content)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": "another"}, "is no backup"),
        ({"version": 2}, "newer version"),
        ({"revision": "9999"}, "newer version"),
        ({"dimensions": 1536}, "openai.dimensions = 1536"),
        ({"embedding_model": "other"}, 'openai.embedding_model = "other"'),
        ({"provider": "ollama"}, 'embedding.provider = "ollama"'),
        ({"files": {}}, "not complete"),
        ({"messages": "many"}, "damaged"),
    ],
)
async def test_a_backup_that_does_not_fit_is_one_sentence(
    settings: Settings, backup: Path, changes: dict[str, Any], sentence: str
) -> None:
    """A newer program's, another format's, another embedder's, or one with parts missing."""
    other = backup.with_name("other.zip")
    with zipfile.ZipFile(backup) as whole, zipfile.ZipFile(other, "w") as changed:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "manifest.json":
                content = json.dumps(json.loads(content) | changes).encode()
            changed.writestr(name, content)
    with pytest.raises(RecollectError, match=sentence):
        await bring_back(settings, other)
    assert not settings.storage.path.exists()


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 1000])
async def test_a_file_that_is_no_archive_is_one_sentence(settings: Settings, tmp_path: Path, content: bytes) -> None:
    """Whatever somebody names instead of a backup."""
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(BackupDamaged, match="no backup of Recollect"):
        await bring_back(settings, tmp_path / "b.zip")


async def test_a_foreign_zip_and_a_missing_file_are_one_sentence(settings: Settings, tmp_path: Path) -> None:
    """Another program's zip is told from a damaged one of ours."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("cat.jpg", b"meow")
    with pytest.raises(BackupDamaged, match="no backup of Recollect"):
        await bring_back(settings, tmp_path / "photos.zip")
    with pytest.raises(RecollectError, match="cannot be read"):
        await bring_back(settings, tmp_path / "nothing.zip")


async def test_a_backup_of_a_restored_bot_is_as_good(settings: Settings, backup: Path, tmp_path: Path) -> None:
    """Backup, restore, go on, backup, restore: the journal follows through both."""
    await bring_back(settings, backup)
    await back_up(settings, tmp_path / "second.zip")
    async with opened(settings) as app:
        await app.retraction.messages_deleted(GUILD, [3, 5])
    lose(settings)
    restored = await bring_back(settings, tmp_path / "second.zip")
    assert not restored.recheck
    async with opened(settings) as app:
        assert not await app.messages.get([3, 5])


def _assert_same(now: Answers, before: Answers) -> None:
    assert now == before
    for one, other in zip(now, before, strict=True):
        assert [card.score for card in one] == pytest.approx([card.score for card in other], abs=1e-6)
