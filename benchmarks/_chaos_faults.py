"""Everything the bot needs, as stand-ins behind wires, and the ways each of them can be away."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Self

from _chaos_script import Outage
from _chaos_services import DIMENSIONS, Embeddings, Model
from _chaos_stores import DATABASE, INDEX
from _chaos_wire import Fault, Wire

from bot.sandbox.discord import DiscordServer
from bot.sandbox.ollama import GARBAGE


class Surroundings:
    """`async with Surroundings(folder)`: the services, and the data folder with the index on a volume of its own."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.discord, self.model, self.embeddings = DiscordServer(), Model(), Embeddings()
        self._volume, self._damaged, self._nothing = folder / "volume", folder / "damaged", folder / "nothing"
        self._wires: dict[str, Wire] = {}
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            for service in (self.discord, self.model, self.embeddings):
                await opened.enter_async_context(service)
            wires = {
                "ollama": Wire(self.model.url),
                "openai": Wire(self.embeddings.url),
                "gateway": Wire(self.discord.api_url, garbage=502),  # as Discord's proxy does
            }
            for name, wire in wires.items():
                self._wires[name] = await opened.enter_async_context(wire)
            self._exit = opened.pop_all()
        for place in (self.data, self._volume, self._damaged):
            place.mkdir()
        self._nothing.touch()
        self._link(self._volume)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    @property
    def variables(self) -> dict[str, str]:
        """The bot's settings: everything behind its wire, and all pauses short, so that much happens in little time."""
        ollama, openai, gateway = (self._wires[name].through for name in ("ollama", "openai", "gateway"))
        return {
            "DISCORD_TOKEN": self.discord.token,
            "BOT_DISCORD__API_URL": gateway(self.discord.api_url),
            "BOT_DISCORD__GATEWAY_URL": gateway(self.discord.gateway_url),
            "OLLAMA_BASE_URL": ollama(self.model.url),
            "BOT_OLLAMA__TIMEOUT": "1s",
            "OPENAI_API_KEY": "sandbox-key",
            "BOT_OPENAI__BASE_URL": openai(self.embeddings.url),
            "BOT_OPENAI__DIMENSIONS": str(DIMENSIONS),
            "BOT_OPENAI__TIMEOUT": "1s",
            "BOT_BATCH__INTERVAL": "1s",
            "BOT_BATCH__SETTLE": "100ms",
            "BOT_MEMORY__INDEX_INTERVAL": "200ms",
            "BOT_OUTAGES__FIRST_PAUSE": "300ms",
            "BOT_OUTAGES__LONGEST_PAUSE": "2s",
            "BOT_RETENTION__PURGE_WITHIN": "10s",
        }

    @asynccontextmanager
    async def away(self, outage: Outage) -> AsyncIterator[None]:
        """A service is away inside the block."""
        match outage.service:
            case "database":
                async with self._locked():
                    yield
            case "index":
                self._link(self._spoilt() if outage.fault is Fault.GARBAGE else self._nothing)
                try:
                    yield
                finally:
                    self._link(self._volume)
            case wire:
                await self._wires[wire].disturb(outage.fault)
                try:
                    yield
                finally:
                    self._sequel(outage)
                    await self._wires[wire].mend()

    def _sequel(self, outage: Outage) -> None:
        """What goes on being wrong for a moment when a service is back."""
        if outage.service == "gateway" and not outage.resumable:
            self.discord.gateway.invalidate()  # for who is still connected
            self.discord.gateway.forget_sessions()
        if (outage.service, outage.fault) == ("ollama", Fault.GARBAGE) and not self.model.replies:
            self.model.replies.append(GARBAGE)  # once: two in a row are a message nobody can read, and put aside

    def _link(self, target: Path) -> None:
        """Put another volume where the index is, all at once."""
        link = self.data / f"{INDEX}.next"
        link.symlink_to(target)
        os.replace(link, self.data / INDEX)

    def _spoilt(self) -> Path:
        """A volume on which every shard is damaged."""
        for shard in self._volume.iterdir():
            (self._damaged / shard.name).mkdir(exist_ok=True)
            (self._damaged / shard.name / "edge_config.json").write_text("\0" * 64)
        return self._damaged

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Another process is writing into the database."""
        with closing(self._connected()) as database:
            await asyncio.to_thread(database.execute, "BEGIN IMMEDIATE")
            yield
            database.execute("ROLLBACK")

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(self.data / DATABASE, timeout=30, isolation_level=None, check_same_thread=False)
