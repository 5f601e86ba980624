"""The shipped command line as a subprocess, and what it logs."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 30.0


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """The machine's environment without any setting of its own; data and secrets lie in `folder`."""
    foreign = ("BOT_", "DISCORD_", "OPENAI_", "OLLAMA_", "QDRANT_", "MEM0_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    ours = {
        "BOT_STORAGE__PATH": str(folder / "data"),
        "BOT_SECRETS_DIR": str(folder / "secrets"),
        "BOT_WEB__PORT": "0",
        "BOT_LOG__FORMAT": "json",
        "BOT_OLLAMA__URL": "http://127.0.0.1:9",
        "COLUMNS": "80",
    }
    return inherited | ours | variables


async def benchmark(name: str, *arguments: str | Path, within: float = 60) -> Any:
    """The figures a benchmark prints as JSON, and nothing else, on stdout, as it ends well."""
    script = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, script, *arguments, "--json", "-"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, progress = await asyncio.wait_for(process.communicate(), within)
    assert process.returncode == 0, progress.decode()
    return json.loads(out)


async def recollect(folder: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run a command to its end: exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *arguments),
        cwd=folder,
        env=environment(folder, **variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(2 * PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@dataclass
class Running:
    """A bot at work; `events` are its log lines so far."""

    process: asyncio.subprocess.Process
    events: list[dict[str, Any]] = field(default_factory=list)

    async def logged(self, event: str) -> dict[str, Any]:
        """Wait for a log event, one that was seen included."""
        for seen in self.events:
            if seen["event"] == event:
                return seen
        assert self.process.stderr
        async with asyncio.timeout(PATIENCE):
            async for line in self.process.stderr:
                self.events.append(json.loads(line))
                if self.events[-1]["event"] == event:
                    return self.events[-1]
        raise AssertionError(f"the bot ended without {event!r}; it logged {self.events}")

    async def url(self) -> str:
        """The base URL of the health probes."""
        return f"http://{(await self.logged('started'))['probes']}"

    async def terminate(self) -> int:
        """Send SIGTERM and wait for the end: the exit code."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stderr
        async with asyncio.timeout(10):
            async for line in self.process.stderr:
                self.events.append(json.loads(line))
            return await self.process.wait()


@asynccontextmanager
async def running(folder: Path, **variables: str) -> AsyncIterator[Running]:
    """`recollect run`, killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "run"),
        cwd=folder,
        env=environment(folder, **variables),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
