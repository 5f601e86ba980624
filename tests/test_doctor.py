"""`recollect doctor`, as an operator types it, against stand-ins for everything a deployment needs."""

import asyncio
import socket
from collections.abc import AsyncIterator
from itertools import zip_longest
from pathlib import Path

import pytest
from breakages import BROKEN
from deployment import House, Row, deployed
from processes import recollect
from qdrant_client.models import Distance, VectorParams
from qdrant_server import QdrantServer

from bot.app import App
from bot.errors import IndexUnavailable


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A deployment that lacks nothing."""
    async with deployed(tmp_path, monkeypatch) as house:
        yield house


async def test_a_deployment_before_its_first_start_passes_and_is_left_alone(house: House) -> None:
    """Everything passes, and nothing is made: neither the data folder nor a collection."""
    house.set(BOT_DISCORD__OBSERVE=str(house.channel.id))
    code, rows = await house.doctor()
    assert (code, {row.verdict for row in rows.values()}) == (0, {"pass"})
    assert rows["Channels of lab"].detail.startswith("1 channel:")
    assert list(house.folder.iterdir()) == []
    async with QdrantServer() as qdrant:
        house.set(QDRANT_URL=qdrant.url)
        code, rows = await house.doctor()
        assert (code, rows["Index"].verdict) == (0, "pass")
        assert not (await qdrant.local.get_collections()).collections
    assert list(house.folder.iterdir()) == []


async def test_a_collection_of_a_plain_mem0_is_completed_or_told_of(house: House) -> None:
    """What an old server cannot add is a warning, a newer one has it all, and another size is a failure."""
    async with QdrantServer() as qdrant:
        vectors = VectorParams(size=1536, distance=Distance.COSINE)
        await qdrant.local.create_collection("discord_memories", vectors)
        house.set(QDRANT_URL=qdrant.url)
        qdrant.refuses = {"vector names"}
        code, rows = await house.doctor()
        assert (code, rows["Index"].verdict, rows["Index"].fix) == (0, "warn", "Update Qdrant to 1.18.")
        assert "bm25, bm25_window, window" in rows["Index"].detail
        qdrant.refuses = set()
        code, rows = await house.doctor()
        assert (code, rows["Index"].verdict) == (0, "pass")
        house.set(BOT_OPENAI__DIMENSIONS="256")
        code, rows = await house.doctor()
        assert (code, rows["Index"].verdict) == (1, "fail")
        assert "1536" in rows["Index"].detail


async def test_a_deployment_at_rest_and_at_work_passes(house: House) -> None:
    """With its data the stopped bot passes; while it runs it is asked for what is in its folder, and goes on."""
    await house.live()
    code, rows = await house.doctor()
    assert (code, {row.verdict for row in rows.values()}) == (0, {"pass"})
    assert "1 point" in rows["Index"].detail
    assert "schema" in rows["Database"].detail
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    house.set(BOT_WEB__PORT=str(port))
    async with App(house.settings) as app, asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(app.serve())
        await app.control.listening.wait()
        code, rows = await house.doctor()
        assert (code, rows["Index"].verdict) == (0, "pass")
        assert "1 point" in rows["Index"].detail
        assert "the running bot answers" in rows["Web port"].detail

        async def damaged() -> dict[int | None, int]:
            raise IndexUnavailable("The index is damaged: move it away.")

        house.monkeypatch.setattr(app.index, "counts", damaged)
        code, rows = await house.doctor()
        assert (code, rows["Index"]) == (1, Row("fail", "The index is damaged", "Move it away."))
        app.stop()
        await serving
    async with App(house.settings):  # which has no socket
        code, rows = await house.doctor()
        assert (code, rows["Index"].verdict) == (0, "warn")
        assert "cannot be asked" in rows["Index"].detail


async def test_what_is_broken_is_named_with_its_fix(house: House) -> None:
    """Of each area one thing is broken: these rows and no others are not well, and say what and how to mend it."""
    await house.live()
    for together in zip_longest(*BROKEN):
        broken = [one for one in together if one]
        with pytest.MonkeyPatch.context() as house.monkeypatch:
            for one in broken:
                one.how(house)
            code, rows = await house.doctor()
        for one in broken:
            row = rows[one.row]
            assert (one.how, row.verdict, one.detail in row.detail, one.fix in row.fix) == (
                *(one.how, one.verdict, True, True),
            ), row
        ill = {name for name, row in rows.items() if row.verdict != "pass" and row.detail != "not checked"}
        assert ill == {one.row for one in broken}.union(*(one.besides for one in broken))
        assert code == any(row.verdict == "fail" for row in rows.values())


async def test_settings_that_do_not_load_are_a_row(house: House) -> None:
    """A wrong file is no crash, nor is a language that only the start would have refused."""
    wrong = {
        '[batch]\nintervall = "1h"\n': "did you mean batch.interval",
        '[recall]\nlanguage = "klingon"\n': "recall.language 'klingon' is not known; use one of",
    }
    for text, sentence in wrong.items():
        (house.folder / "config.toml").write_text(text)
        code, rows = await house.doctor()
        assert (code, rows["Settings"].verdict) == (1, "fail")
        assert sentence in rows["Settings"].detail
        assert "config.example.toml" in rows["Settings"].fix


async def test_the_table_shows_each_check_with_its_fix(tmp_path: Path) -> None:
    """The shipped command: the fix stands below what was found, and a sum at the end."""
    code, out, err = await recollect(tmp_path, "doctor", COLUMNS="200")
    assert (code, err) == (1, "")
    assert "fail  Discord" in out
    assert "→ Start Ollama (`ollama serve`)" in out
    assert out.splitlines()[-1].endswith("2 fail")
