"""A deployment that lacks nothing, with stand-ins for everything it needs, and what `recollect doctor` says of it."""

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processes import environment
from structlog.testing import capture_logs
from typer.testing import CliRunner

from bot.app import App
from bot.cli import cli
from bot.core import open_index
from bot.memory.index import IndexPoint
from bot.sandbox.discord import Channel, DiscordServer, Guild, Permission
from bot.sandbox.discord.entities import Overwrite
from bot.sandbox.ollama import OllamaServer
from bot.sandbox.openai import OpenAIServer
from bot.settings import Settings
from bot.settings_sources import load


@dataclass
class Row:
    """One row of the table."""

    verdict: str
    detail: str
    fix: str


@dataclass
class House:
    """A deployment that lacks nothing, and its surroundings."""

    folder: Path
    discord: DiscordServer
    ollama: OllamaServer
    openai: OpenAIServer
    guild: Guild
    channel: Channel
    monkeypatch: pytest.MonkeyPatch

    def set(self, **variables: str) -> None:
        """Change settings, as variables."""
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    @property
    def settings(self) -> Settings:
        return load()

    @property
    def data(self) -> Path:
        return self.settings.storage.path

    async def live(self) -> None:
        """A bot observed the channel here and remembered something, and was stopped."""
        async with App(self.settings) as app:
            await app.observations.switch_on(self.guild.id, self.channel.id, None)
        index = open_index(self.settings, self.data / "index")
        await index.upsert(self.guild.id, [IndexPoint(str(uuid.uuid4()), {"data": "Ada keeps bees"})])
        await index.close()

    def change(self, owner: object, name: str, value: object) -> None:
        """Have something be otherwise."""
        self.monkeypatch.setattr(owner, name, value)

    def deny(self, channel: Channel, permission: Permission) -> None:
        """Take a permission from everyone in a channel, the bot included."""
        self.monkeypatch.setitem(channel.overwrites, self.guild.id, Overwrite(is_member=False, deny=permission))

    async def doctor(self) -> tuple[int, dict[str, Row]]:
        """The exit code and the rows by name."""
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["doctor", "--json"])
        checks: list[dict[str, Any]] = json.loads(result.stdout)
        rows = {check.pop("name"): Row(**check) for check in checks}
        assert len(rows) == len(checks)
        assert all(bool(row.fix) == (row.verdict != "pass") for row in rows.values())
        assert self.discord.token not in result.output
        return result.exit_code, rows


@asynccontextmanager
async def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Everything is there, and the bot has not been started yet."""
    monkeypatch.setattr("bot.telemetry.configure_logging", lambda settings: None)  # it is the test run's own
    monkeypatch.chdir(tmp_path)
    async with DiscordServer() as discord, OllamaServer() as ollama, OpenAIServer(api_key="sk-good") as openai:
        guild = discord.world.add_guild(name="lab")
        channel = discord.world.add_channel(guild, "general")
        house = House(tmp_path, discord, ollama, openai, guild, channel, monkeypatch)
        for name in os.environ:
            if name not in environment(tmp_path):
                monkeypatch.delenv(name)
        house.set(
            BOT_STORAGE__PATH=str(tmp_path / "data"),
            BOT_SECRETS_DIR=str(tmp_path / "secrets"),
            BOT_WEB__PORT="0",
            DISCORD_TOKEN=discord.token,
            BOT_DISCORD__API_URL=discord.api_url,
            BOT_DISCORD__GATEWAY_URL=discord.gateway_url,
            BOT_OLLAMA__URL=ollama.url,
            OPENAI_API_KEY="sk-good",
            BOT_OPENAI__BASE_URL=openai.url,
        )
        with capture_logs():
            yield house
