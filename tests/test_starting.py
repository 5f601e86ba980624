"""What a start costs: nothing is loaded that a bot without work can do without."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from bot.app import App
from bot.memory.embeddings import OpenAIEmbedder
from bot.sandbox.discord import DiscordServer
from bot.settings import Settings

# Each is imported where it is used, when it is used: together they would double what the bot takes up.
LATE = {
    "PIL",
    "alembic",
    "anthropic",
    "dateparser",
    "detect_secrets",
    "fastembed",
    "httpx2",
    "mako",
    "matplotlib",
    "mcp",
    "mem0",
    "numpy",
    "onnxruntime",
    "openai",
    "prometheus_client",
    "qdrant_client",
    "requests",
}
# Modules of other packages than our own and Python's: about 690 are needed. `openai` alone has 500.
MOST = 750
OPENED = """
import asyncio, pathlib, sys
from bot.app import App
from bot.settings import Settings

async def main():
    folder, key = {"path": pathlib.Path(sys.argv[1])}, {"api_key": "none"}
    async with App(Settings.model_validate({"storage": folder, "openai": key})):
        print(*sys.modules)

asyncio.run(main())
"""


def test_a_bot_that_is_open_has_loaded_no_more_than_it_needs(tmp_path: Path) -> None:
    """On an empty folder, with all rooms open and every service configured as most have them."""
    command = [sys.executable, "-c", OPENED, str(tmp_path)]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    packages = [name.partition(".")[0] for name in loaded]
    assert LATE.isdisjoint(packages), f"loaded too early: {LATE & {*packages}}"
    assert sum(name != "bot" and name not in sys.stdlib_module_names for name in packages) < MOST


async def test_the_embedder_is_prepared_once_the_bot_is_ready(
    discord_server: DiscordServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client neither delays the start nor keeps whoever asks first waiting."""
    prepared = asyncio.Event()

    async def prepare(embedder: OpenAIEmbedder) -> None:
        assert app.client.ready.is_set()
        prepared.set()

    monkeypatch.setattr(OpenAIEmbedder, "prepare", prepare)
    discord = {"token": discord_server.token, "api_url": discord_server.api_url}
    settings = {
        "storage": {"path": tmp_path},
        "discord": discord | {"gateway_url": discord_server.gateway_url},
        "openai": {"api_key": "none"},
        "web": {"port": 0},
    }
    async with App(Settings.model_validate(settings)) as app, asyncio.TaskGroup() as tasks:
        tasks.create_task(app.serve())
        async with asyncio.timeout(30):
            await prepared.wait()
        app.stop()
