"""Runs of the real `recollect migrate`: watched, killed, repeated."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

COLLECTION = "discord_memories"
_LOOK = 0.02  # seconds between two looks
_SETTLED = 2_000  # points after which a run has all that it needs
_LONGEST = 3_600.0  # seconds


@dataclass(frozen=True, slots=True)
class Memory:
    """The bytes of processes when so many points were acknowledged; the anonymous ones are in no file's pages."""

    resident: int
    anonymous: int
    points: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its seconds, the most by which each of these grew once it was at work, and its result if it had one."""

    seconds: float
    growth: Memory
    result: dict[str, Any] | None


class Runs:
    """Runs of one migration, whose data folder and checkpoint lie in `folder`."""

    def __init__(self, folder: Path, source: str, target: str) -> None:
        self._folder = folder
        self._checkpoint = folder / "checkpoint.json"
        self._command = [
            *(sys.executable, "-m", "bot", "migrate", "--from", source, "--to", target),
            *("--checkpoint", str(self._checkpoint), "--json"),
        ]

    def run(self, until: int | None) -> Run:
        """Run it to its end, or kill it (SIGKILL) once so many points are acknowledged."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BOT_", "QDRANT_"))}
        variables = inherited | {"BOT_STORAGE__PATH": str(self._folder / "data")}
        began, first, seen = time.monotonic(), self.copied(), list[Memory]()
        with subprocess.Popen(
            self._command, cwd=self._folder, env=variables, stdout=subprocess.PIPE, text=True
        ) as running:
            watched = psutil.Process(running.pid)
            while running.poll() is None and time.monotonic() - began < _LONGEST:
                copied = self.copied()
                if seen or copied >= first + _SETTLED:
                    seen += _memory(watched, copied)
                if until is not None and copied >= until:
                    running.kill()
                    break
                with suppress(subprocess.TimeoutExpired):
                    running.wait(_LOOK)
            else:
                running.kill()
            out, _ = running.communicate()
        result = json.loads(out) if running.returncode == 0 else None
        return Run(time.monotonic() - began, _growth(seen), result)

    def copied(self) -> int:
        """How many points the target has acknowledged."""
        try:
            return sum(json.loads(self._checkpoint.read_text())["copied"].values())
        except FileNotFoundError:
            return 0


def anonymous(process: psutil.Process) -> int:
    """Bytes of its memory that are no pages of files."""
    memory = process.memory_info()
    return int(memory.rss - memory.shared)


def _memory(process: psutil.Process, points: int) -> list[Memory]:
    """What a process and its children have now; nothing if one of them has just ended."""
    try:
        both = process, *process.children()
        return [Memory(sum(one.memory_info().rss for one in both), sum(map(anonymous, both)), points)]
    except psutil.NoSuchProcess:
        return []


def _growth(seen: Sequence[Memory]) -> Memory:
    def grown(value: Callable[[Memory], int]) -> int:
        return max(map(value, seen)) - value(seen[0]) if seen else 0

    return Memory(grown(lambda one: one.resident), grown(lambda one: one.anonymous), grown(lambda one: one.points))
