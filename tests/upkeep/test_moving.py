"""A move as it is asked for: which places and keys are meant, and what a running bot refuses."""

import asyncio
from pathlib import Path

import pytest

from bot.errors import RecollectError
from bot.memory.fingerprint import Fingerprint
from bot.memory.index import IndexPoint, Key
from bot.memory.shadow import Mirrored
from bot.memory.sites import EdgeSites
from bot.memory.write_lock import WriteLock
from bot.settings import Settings
from bot.storage.database import FILE
from bot.upkeep.moving import Moving, Order, move_stopped, understood

URL, OTHER = "http://127.0.0.1:6333", "http://127.0.0.1:6334"


def settings_of(folder: Path, **qdrant: str) -> Settings:
    openai = {"dimensions": 8}
    return Settings.model_validate({"storage": {"path": folder / "data"}, "qdrant": qdrant, "openai": openai})


def ignore(what: str, done: int, total: int | None) -> None:
    """Nobody watches."""


def test_a_data_folder_stands_for_its_index(tmp_path: Path) -> None:
    """The folder of the settings, or one with a database in it; any other is an index itself."""
    (tmp_path / "another").mkdir()
    (tmp_path / "another" / FILE).touch()
    move = understood(Order(f"edge:{tmp_path / 'data'}", f"edge:{tmp_path / 'another'}"), settings_of(tmp_path))
    assert (move.source.folder, move.target.folder) == (tmp_path / "data/index", tmp_path / "another/index")
    assert move.folders == [tmp_path / "another"]
    plain = understood(Order(f"edge:{tmp_path / 'x'}", URL), settings_of(tmp_path))
    assert plain.source.folder == tmp_path / "x"
    assert plain.checkpoint.parent == tmp_path / "data"
    assert plain.checkpoint != move.checkpoint
    with pytest.raises(RecollectError, match=r"are in edge:.*index already"):
        understood(Order(f"edge:{tmp_path / 'data'}", f"edge:{tmp_path / 'data/index'}"), settings_of(tmp_path))


def test_a_key_is_shown_to_its_server_alone(tmp_path: Path) -> None:
    """The settings' key is for the settings' server, or for the first there will be; a file's for the one it is for."""
    (tmp_path / "key").write_text("theirs\n")
    both = Order(URL, OTHER)
    with_url, without = settings_of(tmp_path, url=URL, api_key="ours"), settings_of(tmp_path, api_key="ours")
    for order, settings, keys in (
        (both, with_url, ["ours", ""]),
        (both, without, ["ours", "ours"]),
        (Order(URL, OTHER, target_key_file=str(tmp_path / "key")), with_url, ["ours", "theirs"]),
    ):
        move = understood(order, settings)
        assert [place.api_key.get_secret_value() for place in (move.source, move.target)] == keys
    assert "ours" not in repr(understood(both, with_url))
    with pytest.raises(RecollectError, match=r"key file .* cannot be read"):
        understood(Order(URL, OTHER, target_key_file=str(tmp_path / "missing")), with_url)


@pytest.mark.parametrize("there_before", [False, True])
def test_a_move_from_nowhere_leaves_nothing_behind(tmp_path: Path, there_before: bool) -> None:
    """It is one sentence, and the data folder is as absent or as empty as a restore wants it."""
    settings, data = settings_of(tmp_path), tmp_path / "data"
    if there_before:
        data.mkdir()
    for source, said in (
        (f"edge:{data}", "There is no folder .*data"),
        (f"edge:{tmp_path}", "There are no memories in edge:"),
        (f"local:{tmp_path}", "There are no memories in local:"),
        ("http://127.0.0.1:9", "does not answer"),
    ):
        with pytest.raises(RecollectError, match=said):
            asyncio.run(move_stopped(Order(source, f"edge:{tmp_path / 'there'}"), settings, ignore))
        assert list(tmp_path.rglob("*")) == ([data] if there_before else [])


async def test_a_running_bot_moves_its_own_index_or_nothing(tmp_path: Path) -> None:
    """After a refusal or a failure it writes to its index again; after a move, not before it is restarted."""
    settings, lock = settings_of(tmp_path), WriteLock()
    index = Mirrored(EdgeSites(tmp_path / "data" / "index"), Fingerprint(settings.embedding_model))
    await index.open()
    await index.upsert(None, [IndexPoint("6f1d6f3c-0000-4000-8000-000000000001", {}, {Key.DENSE: [1.0] * 8})])
    moving, own, there = Moving(settings, index, lock), f"edge:{tmp_path / 'data'}", f"edge:{tmp_path / 'there'}"
    for order, said in (
        (Order(URL, there), "works with edge:.*index: name that with --from"),
        (Order(own, f"local:{tmp_path / 'x'}"), "stop the bot first"),
        (Order(own, "http://127.0.0.1:9"), "does not answer"),
    ):
        with pytest.raises(RecollectError, match=said):
            await moving.move(order, ignore)
        assert (lock.closed, moving.problem) == (None, None)
    done = await moving.move(Order(own, there), ignore)
    assert (done["memories"], done["guilds"], lock.closed) == (1, 0, moving.problem)
    with pytest.raises(RecollectError, match="until the bot is restarted"):
        await moving.move(Order(own, there), ignore)
    await index.close()
