"""`recollect reindex`, as an operator types it: beside a bot at work, killed in the middle, and taken back."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from processes import environment, recollect
from typer.testing import CliRunner

from bot.app import App
from bot.cli import cli
from bot.errors import IndexClosed, IndexMismatch, RecollectError
from bot.model import Message, Recalled, Scope
from bot.sandbox.openai import OpenAIServer
from bot.sandbox.voyage import VoyageServer
from bot.settings import Settings
from bot.web.control import SOCKET, call

GUILD, CHANNEL, ANN = 7, 70, 1
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SPEC = "voyage:voyage-4-lite:256"


class PausingVoyage(VoyageServer):
    """Lets a reindex come so many requests far, and then wait until it may go on."""

    def __init__(self, pause_after: int) -> None:
        super().__init__()
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self._pause_after = pause_after

    async def answer(self, request: web.Request) -> web.Response:
        if self.requests >= self._pause_after:
            self.reached.set()
            await self.go_on.wait()
        return await super().answer(request)


def variables(openai: OpenAIServer, voyage: VoyageServer) -> dict[str, str]:
    """What leads a bot to the stand-ins; its settings name OpenAI's model."""
    return {
        "OPENAI_API_KEY": "sk-test",
        "BOT_OPENAI__BASE_URL": openai.url,
        "BOT_OPENAI__DIMENSIONS": "512",
        "VOYAGE_API_KEY": "pa-test",
        "BOT_VOYAGE__BASE_URL": voyage.url,
    }


def settings(folder: Path, openai: OpenAIServer, voyage: VoyageServer, **sections: Any) -> Settings:
    """The same, for a bot in this process."""
    return Settings.model_validate(
        {
            "storage": {"path": folder / "data"},
            "ollama": {"url": "http://127.0.0.1:9"},
            "openai": {"api_key": "sk-test", "base_url": openai.url, "dimensions": 512},
            "voyage": {"api_key": "pa-test", "base_url": voyage.url, "dimensions": 256},
            **sections,
        }
    )


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[App]:
    """A bot that indexes and can be asked for operations."""
    async with App(settings) as app, asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(app.indexer.run()), tasks.create_task(app.control.run())]
        await app.control.listening.wait()
        try:
            yield app
        finally:
            for task in working:
                task.cancel()


async def hear(app: App, *texts: str, first: int = 1) -> None:
    """Ann says this, and it is indexed."""
    said = [
        Message(id, GUILD, CHANNEL, CHANNEL, "general", ANN, "Ann", text, NOON + timedelta(hours=id))
        for id, text in enumerate(texts, first)
    ]
    await app.messages.capture_many(said)
    await app.indexer.drain()


async def ask(app: App, query: str) -> Recalled:
    return await app.recall.recall(query, Scope(GUILD, frozenset({CHANNEL})), 5)


async def best(app: App, query: str) -> str:
    """The words of the best answer, which nothing degraded."""
    recalled = await ask(app, query)
    assert recalled.degraded is None
    return recalled.hits[0].memory.text


async def sizes(app: App) -> set[int]:
    """Of the vectors in the index in use."""
    points, _ = await app.index.scroll(GUILD, limit=1000, keys=True)
    return {len(vector) for point in points for vector in point.dense.values()}


def ignore(*_: object) -> None:
    """Nobody looks at the progress."""


async def test_a_bot_at_work_changes_its_model(tmp_path: Path) -> None:
    """It captures, forgets and answers meanwhile, uses the new model at once, and goes back when told to."""
    async with OpenAIServer() as openai, PausingVoyage(pause_after=1) as voyage:
        async with at_work(settings(tmp_path, openai, voyage)) as app:
            await hear(app, "the kettle is on the stove", "bring cake on Friday", "my cat is called Mia")
            command = asyncio.create_task(
                recollect(tmp_path, "reindex", "--embedder", SPEC, **variables(openai, voyage))
            )
            await voyage.reached.wait()
            await hear(app, "the harbour opens in May", first=10)
            assert await best(app, "when does the harbour open") == "the harbour opens in May"
            [cake] = [hit.memory for hit in (await ask(app, "cake on Friday")).hits if "cake" in hit.memory.text]
            await app.forget.memories(GUILD, [cake])
            assert await sizes(app) == {512}
            voyage.go_on.set()
            code, out, err = await command
            assert (code, err) == (0, "")
            assert out.startswith(f"3 memories are found by {SPEC} now; 3 had to be embedded, in ")
            assert (
                'Before the bot starts again, set embedding.provider = "voyage", voyage.model = "voyage-4-lite" and '
                "voyage.dimensions = 256."
            ) in out
            assert await sizes(app) == {256}
            asked = openai.requests
            await hear(app, "tea is at five", first=20)
            assert await best(app, "when is tea") == "tea is at five"
            assert await best(app, "what is the cat called") == "my cat is called Mia"
            assert openai.requests == asked
            assert not any("cake" in hit.memory.text for hit in (await ask(app, "bring cake on Friday")).hits)
            undone = await call(app.settings.storage.path / SOCKET, "reindex", {"undo": True}, ignore)
            assert (undone["model"], undone["points"], undone["settings"]) == (
                "openai:text-embedding-3-small:512",
                4,
                {},
            )
            assert await sizes(app) == {512}
            assert await best(app, "when is tea") == "tea is at five"
            assert await call(app.settings.storage.path / SOCKET, "reindex", {"discard": True}, ignore) == {
                "discarded": True
            }
        assert {entry.name for entry in (tmp_path / "data").iterdir() if entry.name.startswith("index")} == {"index"}


async def test_a_killed_reindex_is_repeated_and_goes_on(tmp_path: Path) -> None:
    """The old index stays in use until the end; a bot whose settings are not changed then says what to set."""
    async with OpenAIServer() as openai, PausingVoyage(pause_after=2) as voyage:
        async with App(settings(tmp_path, openai, voyage)) as app:
            await hear(app, *(f"line {number} of the long poem" for number in range(144)))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "reindex", "--embedder", SPEC),
            cwd=tmp_path,
            env=environment(tmp_path, **variables(openai, voyage)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await voyage.reached.wait()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        voyage.go_on.set()
        async with App(settings(tmp_path, openai, voyage)) as app:
            assert await best(app, "line 17 of the poem") == "line 17 of the long poem"
            assert await sizes(app) == {512}
            done = await app.operations()["reindex"]({"embedder": SPEC}, ignore)
            assert (done["points"], done["embedded"]) == (144, 16)
        async with App(settings(tmp_path, openai, voyage)) as app:
            with pytest.raises(
                IndexMismatch, match=r"with voyage:voyage-4-lite .* set embedding.provider = \"voyage\""
            ):
                await app.indexer.run()
            assert (await ask(app, "line 17 of the poem")).hits  # by the words in the database
        async with App(settings(tmp_path, openai, voyage, embedding={"provider": "voyage"})) as app:
            assert await best(app, "line 17 of the poem") == "line 17 of the long poem"
            with pytest.raises(RecollectError, match="already"):
                await app.operations()["reindex"]({"embedder": "voyage"}, ignore)


async def test_nobody_waits_for_an_index_that_was_moved(tmp_path: Path) -> None:
    """After a move a reindex says so, a member is forgotten at once, and questions are answered as before."""
    async with OpenAIServer() as openai, PausingVoyage(pause_after=1) as voyage:
        async with at_work(settings(tmp_path, openai, voyage)) as app:
            await hear(app, "the kettle is on the stove")
            reindex = asyncio.create_task(app.operations()["reindex"]({"embedder": SPEC}, ignore))
            await voyage.reached.wait()
            there = {"source": f"edge:{tmp_path / 'data'}", "target": f"edge:{tmp_path / 'there'}"}
            assert (await app.operations()["migrate"](there, ignore))["memories"] == 1
            voyage.go_on.set()
            async with asyncio.timeout(10):
                with pytest.raises(RecollectError, match=r"were moved to edge:.*there, and nothing new is indexed"):
                    await reindex
                with pytest.raises(IndexClosed, match="were moved to"):
                    await hear(app, "bring cake on Friday", first=2)
                assert await best(app, "kettle") == "the kettle is on the stove"
                assert not (await app.forget.member(GUILD, ANN)).complete
            assert not (await ask(app, "kettle")).hits


@pytest.mark.parametrize("asked", [[], ["--undo", "--discard"], ["--undo", "--embedder", "voyage"]])
def test_what_is_asked_for_has_to_be_clear(asked: list[str]) -> None:
    """One of the three things it can do."""
    refused = CliRunner().invoke(cli, ["reindex", *asked]).exception
    assert str(refused) == "Say one of --embedder, --undo and --discard."
