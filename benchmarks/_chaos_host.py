"""Keeping the bot alive between its deaths, and reading in its log what no outage excuses."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

from _bot import Bot
from _report import progress

from bot.sandbox.discord import DiscordServer

_PATIENCE = 60.0  # seconds
_STARTS = 3  # in a row that may fail


class Host:
    """The machine the bot runs on: one process at a time. `exceptions` counts what should never be seen, by name."""

    def __init__(self, folder: Path, variables: dict[str, str], log: str = "") -> None:
        self._folder, self._variables, self._log = folder, variables, log
        self._bot: Bot | None = None
        self.exceptions: Counter[str] = Counter()

    @property
    def bot(self) -> Bot:
        """The running process."""
        assert self._bot
        return self._bot

    async def start(self) -> None:
        """Start it; it is ready later."""
        self._bot = await Bot.start(self._folder, **self._variables)

    async def ready(self) -> None:
        """Wait until it is connected to Discord; one that ended instead is counted and started again."""
        for _ in range(_STARTS):
            try:
                await self.bot.logged("ready")
            except RuntimeError:
                progress(f"the bot ended: {self.bot.noise[-1:] or self.bot.events[-1:]}")
            if self.bot.running:
                return
            await self.kill()
            await self.start()
        raise RuntimeError(f"the bot does not stay alive: {dict(self.exceptions)}")

    async def back(self, discord: DiscordServer) -> None:
        """Wait until it is connected again after an outage, or has ended."""
        ways = {asyncio.create_task(discord.wait_ready()), asyncio.create_task(self.bot.process.wait())}
        done, others = await asyncio.wait(ways, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if not done:
            raise RuntimeError(f"the bot does not come back: {self.bot.events[-3:]}")

    async def kill(self) -> None:
        """SIGKILL, unless it was stopped, and look through its log."""
        if self._bot is None:
            return
        if not self.bot.running:
            self.exceptions["it ended by itself"] += 1
        await self.bot.kill()
        self._look_through()

    async def stop(self) -> None:
        """SIGTERM at the end of all: it has to end well."""
        if code := await self.bot.terminate():
            self.exceptions[f"exit code {code}"] += 1
        self._look_through()
        self._bot = None

    def note(self, **facts: Any) -> None:
        """Write a line of JSON into the log, if there is one."""
        if self._log:
            with open(self._log, "a") as file:
                file.write(json.dumps(facts) + "\n")

    def _look_through(self) -> None:
        for event in self.bot.events:
            self.note(**event)
        for line in self.bot.noise:
            self.note(noise=line)
        self.exceptions.update(name for event in self.bot.events if (name := fault_of(event)))
        if self.bot.noise:
            self.exceptions[f"on stderr: {self.bot.noise[-1]}"] += 1


def fault_of(event: dict[str, Any]) -> str | None:
    """What is wrong according to a log line: a stack, or an error that does not say which outage is its reason."""
    if "exception" in event or "stack" in event:
        last = str(event.get("exception") or event["stack"]).strip().splitlines()[-1]
        return f"{event.get('event')}: {last}"
    if event.get("level") in ("error", "critical") and "reason" not in event:
        return str(event.get("event"))
    return None
