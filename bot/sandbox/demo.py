"""`recollect demo`: a community's week with the bot, told in seconds and checked as it goes.

The bot is the one that is deployed, started by its composition root. Discord, OpenAI and, unless
`--ollama` names a real one, Ollama are stand-ins on 127.0.0.1.
"""

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from rich.console import Console

from bot.errors import DataFolderError, RecollectError
from bot.extraction.ollama import OllamaLLM
from bot.model import utcnow
from bot.sandbox.community import Community, StoryClock
from bot.sandbox.conversation import Conversation, load
from bot.sandbox.discord import DiscordServer, World
from bot.sandbox.ollama import MODEL, OllamaServer
from bot.sandbox.openai import OpenAIServer
from bot.sandbox.picture import canvas, save
from bot.sandbox.relay import Relay
from bot.sandbox.screen import Screen
from bot.sandbox.story import LanguageModel, Story, introduce
from bot.sandbox.telling import DemoFailed, Telling
from bot.settings import LogSettings, Settings
from bot.settings_services import OllamaSettings
from bot.telemetry import configure_logging

if TYPE_CHECKING:
    from bot.app import App

_PATIENCE = 30.0  # seconds the bot has to be ready


def run_demo(keep: Path | None = None, ollama: str | None = None, picture: Path | None = None) -> int:
    """Tell the story; the exit code: 0 if every promise held, 1 if one did not, 130 after Ctrl-C.

    `keep` is a folder, new or empty, in which the bot's data stays; `ollama` the URL of a real Ollama,
    whose model is `OLLAMA_MODEL` or the default one; `picture` an SVG file for a recall and the end.
    Raises `DataFolderError` and `DemoFailed`.
    """
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # the bot talks to this machine alone, and no proxy stands in between
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a letter shows another
    with _data_folder(keep) as folder:
        try:
            return 0 if asyncio.run(_demo(folder, keep is not None, ollama, picture)) else 1
        except KeyboardInterrupt:
            print("\nStopped.")
            return 130


@contextmanager
def _data_folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="recollect-demo-") as folder:
            data = Path(folder) / "data"  # with room for the journal beside it
            data.mkdir()
            yield data
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        in_use = any(keep.iterdir())
    except OSError as error:
        raise DataFolderError(f"{keep} cannot be used: {error.strerror}.") from None
    if in_use:
        raise DataFolderError(f"{keep} is not empty; name a new folder for the demo's data.")
    yield keep


async def _demo(folder: Path, kept: bool, ollama: str | None, picture: Path | None) -> bool:
    """Build the stage, start the bot on it and tell the story; whether every promise held."""
    if ollama:
        await _refuse_unusable(ollama)
    drawn = canvas() if picture else None
    if picture and drawn:
        _draw(drawn, picture)  # nobody wants to hear at the end that it cannot be written
    screen = Screen(canvas=drawn)
    conversation = load()
    introduce(screen, conversation, real_model=ollama is not None, kept_in=folder if kept else None)
    async with stage(folder, conversation, ollama) as (discord, community, llm, app):
        numbers = partial(app.messages.stats, community.guild.id)
        held = await Story(Telling(screen, discord, community, numbers), llm).tell()
    if picture and drawn:
        _draw(drawn, picture)
    return held


@asynccontextmanager
async def stage(
    folder: Path, conversation: Conversation, ollama: str | None = None
) -> AsyncIterator[tuple[DiscordServer, Community, LanguageModel, "App"]]:
    """The stand-ins, the community in them and the bot at work among it; its data and log are in `folder`."""
    from bot.app import App  # a second or two, in which people read the introduction

    clock = StoryClock(conversation.start(utcnow()))
    async with (
        DiscordServer(World(clock=clock)) as discord,
        OpenAIServer() as openai,
        _language_model(ollama) as llm,
    ):
        settings = _settings(folder, discord, openai, llm)
        community = Community(discord.world, conversation, clock)
        with (folder / "demo.log").open("w", encoding="utf-8") as log_file:
            configure_logging(LogSettings(level="info", format="json"), log_file)
            logging.getLogger("aiohttp.access").setLevel(logging.WARNING)  # of the stand-ins
            async with _running(App(settings, clock)) as app:
                yield discord, community, llm, app


def _draw(drawn: Console, picture: Path) -> None:
    try:
        save(drawn, picture, "recollect demo")
    except OSError as error:
        raise DemoFailed(f"{picture} cannot be written: {error.strerror}.") from None


async def _refuse_unusable(ollama: str) -> None:
    """Raises `DemoFailed` if there is no Ollama at this URL, or if it lacks the model."""
    try:
        llm = OllamaLLM(OllamaSettings(url=ollama, model=_model()))
    except ValidationError:
        raise DemoFailed("--ollama takes a URL such as http://127.0.0.1:11434.") from None
    try:
        health = await llm.health()
    finally:
        await llm.close()
    if not health.ok:
        raise DemoFailed(f"{health.detail}.")


def _model() -> str:
    return os.environ.get("OLLAMA_MODEL") or MODEL


def _language_model(ollama: str | None) -> AbstractAsyncContextManager[LanguageModel]:
    return Relay(ollama) if ollama else OllamaServer()


def _settings(folder: Path, discord: DiscordServer, openai: OpenAIServer, llm: LanguageModel) -> Settings:
    return Settings.model_validate(
        {
            "discord": {"token": discord.token, "api_url": discord.api_url, "gateway_url": discord.gateway_url},
            "storage": {"path": folder},
            "ollama": {"url": llm.url, "model": _model()},
            "openai": {"api_key": "sandbox-key", "base_url": openai.url},
            "memory": {"index_interval": "1s"},
            "web": {"port": 0},
        }
    )


@asynccontextmanager
async def _running(app: "App") -> AsyncIterator["App"]:
    """The bot at work, connected to Discord; drained at the end."""
    try:
        async with app, asyncio.TaskGroup() as tasks:
            tasks.create_task(app.serve(), name="bot")
            try:
                async with asyncio.timeout(_PATIENCE):
                    await app.client.ready.wait()
            except TimeoutError:
                raise DemoFailed(f"The bot was not ready after {_PATIENCE:.0f} seconds.") from None
            yield app
            app.stop()
    except* RecollectError as group:
        raise group.exceptions[0] from None
