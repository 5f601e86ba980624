"""Real discord.py clients pointed at the stand-in."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import discord
import pytest
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.sandbox.discord import DiscordServer

LEAST = discord.Intents(guilds=True, guild_messages=True, message_content=True)


class RecordingClient(discord.Client):
    """Keeps every event; `until` waits for the record to hold what is asked for."""

    def __init__(self, intents: discord.Intents = LEAST) -> None:
        super().__init__(intents=intents, max_messages=None, guild_ready_timeout=0.05)
        self.tree = app_commands.CommandTree(self)
        self.events: list[tuple[str, Any]] = []
        self._heard = asyncio.Event()

        @self.tree.error
        async def on_error(interaction: discord.Interaction, error: Exception) -> None:
            self.record("command_error", error)

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Identify again at once; the default waits five seconds."""

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        self.record(event, args[0] if args else None)
        super().dispatch(event, *args, **kwargs)

    def record(self, event: str, subject: Any) -> None:
        self.events.append((event, subject))
        self._heard.set()

    def heard(self, event: str) -> list[Any]:
        """What came with each event of that name."""
        return [subject for name, subject in self.events if name == event]

    async def until(self, condition: Callable[[], bool], seconds: float = 5) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._heard.clear()
                await self._heard.wait()

    async def hear(self, event: str, times: int = 1) -> Any:
        """Wait for the event; returns what came with the latest."""
        await self.until(lambda: len(self.heard(event)) >= times)
        return self.heard(event)[-1]


def point_discord_py_at(server: DiscordServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make discord.py talk to the stand-in."""
    monkeypatch.setattr(Route, "BASE", server.api_url)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(server.gateway_url))


@asynccontextmanager
async def running(client: RecordingClient, server: DiscordServer) -> AsyncIterator[RecordingClient]:
    """The client, ready; closed at the end. What ends it early is raised."""
    async with client:
        task = asyncio.create_task(client.start(server.token))
        ready = asyncio.create_task(client.hear("ready"))
        await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            ready.cancel()
            task.result()
        await ready
        try:
            yield client
        finally:
            await client.close()
            await task
