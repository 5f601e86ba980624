"""`recollect run` as a process of its own: on these settings alone, with its log read as it comes."""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Self

import aiohttp
import psutil

from bot.sandbox.discord import DiscordServer

_LONGEST_LINE = 2**22  # bytes; a stack is one line of the log
_PATIENCE = 60.0  # seconds
_LONGEST_START = 120  # seconds
_CALM = 10.0  # per cent of a core


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """The machine's environment without any setting of its own; data and secrets lie in `folder`.

    Nor is the bot watched for coverage, should a test have begun this: what is measured is the bot alone.
    """
    foreign = ("BOT_", "DISCORD_", "OPENAI_", "OLLAMA_", "QDRANT_", "MEM0_", "COVERAGE_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    ours = {
        "BOT_STORAGE__PATH": str(folder / "data"),
        "BOT_SECRETS_DIR": str(folder),
        "BOT_WEB__PORT": "0",
        "BOT_LOG__FORMAT": "json",
    }
    return inherited | ours | variables


def stand_ins(discord: DiscordServer, ollama: str, openai: str) -> dict[str, str]:
    """The variables by which a bot finds the stand-ins for its services; of the latter two, their URLs."""
    return {
        "DISCORD_TOKEN": discord.token,
        "BOT_DISCORD__API_URL": discord.api_url,
        "BOT_DISCORD__GATEWAY_URL": discord.gateway_url,
        "OLLAMA_BASE_URL": ollama,
        "OPENAI_API_KEY": "sandbox-key",
        "BOT_OPENAI__BASE_URL": openai,
    }


class Bot:
    """One process. `events` are its log lines so far, `noise` what it wrote to stderr beside them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.noise: list[str] = []
        self._news = asyncio.Condition()
        self._silent = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, folder: Path, *command: str | Path, **variables: str) -> Self:
        """Start it in `folder`, by default this interpreter's; it is ready later."""
        return cls(
            await asyncio.create_subprocess_exec(
                *(command or (sys.executable, "-m", "bot")),
                "run",
                cwd=folder,
                env=environment(folder, **variables),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                limit=_LONGEST_LINE,
            )
        )

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.returncode is None

    async def logged(self, event: str, within: float = _PATIENCE) -> dict[str, Any]:
        """Wait for a log event, one that was seen included. Raises `TimeoutError`, or `RuntimeError` at its end."""
        seen = 0
        async with asyncio.timeout(within), self._news:
            while True:
                for line in self.events[seen:]:
                    if line.get("event") == event:
                        return line
                seen = len(self.events)
                if self._silent:
                    raise RuntimeError(f"the bot ended without {event!r}: {self.noise[-3:] or self.events[-3:]}")
                await self._news.wait()

    async def ready(self, look_every: float = 0.2) -> None:
        """Wait for a 200 from /readyz, asked for every so many seconds. Raises `TimeoutError`."""
        url = f"http://{(await self.logged('started'))['probes']}/readyz"
        async with asyncio.timeout(_PATIENCE), aiohttp.ClientSession() as session:
            while True:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
                await asyncio.sleep(look_every)

    async def calm(self) -> None:
        """Wait until what a start brings with it is done, such as the look at every point of the index."""
        process = psutil.Process(self.process.pid)
        process.cpu_percent()
        for _ in range(_LONGEST_START):
            await asyncio.sleep(1)
            if process.cpu_percent() < _CALM:
                return
        raise RuntimeError("the bot has no rest after its start")

    async def kill(self) -> None:
        """SIGKILL, unless it has ended already; returns when it is dead and its log is read."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self._ended()

    async def terminate(self) -> int:
        """SIGTERM, and wait for the end: the exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        await self._ended()
        assert self.process.returncode is not None
        return self.process.returncode

    async def _ended(self) -> None:
        async with asyncio.timeout(_PATIENCE):
            await self.process.wait()
            await self._reading

    async def _read(self) -> None:
        assert self.process.stderr
        async for line in self.process.stderr:
            if not line.endswith(b"\n"):
                break  # cut short by its death
            try:
                self.events.append(json.loads(line))
            except ValueError:
                self.noise.append(line.decode(errors="replace").rstrip())
            await self._tell()
        self._silent = True
        await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()
