"""Runs of the real `recollect migrate`: watched, killed, repeated."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

COLLECTION = "discord_memories"
_LOOK = 0.02  # seconds between two looks
_SETTLED = 2_000  # points after which a run has all that it needs
_LONGEST = 3_600.0  # seconds


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its seconds, by how many bytes its memory grew once it was at work, and its result if it had one."""

    seconds: float
    growth: int
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
        began, base, most = time.monotonic(), 0, 0
        first = self.copied()
        with subprocess.Popen(
            self._command, cwd=self._folder, env=variables, stdout=subprocess.PIPE, text=True
        ) as running:
            watched = psutil.Process(running.pid)
            while running.poll() is None and time.monotonic() - began < _LONGEST:
                copied = self.copied()
                if base or copied >= first + _SETTLED:
                    resident = _resident(watched)
                    base, most = base or resident, max(most, resident)
                if until is not None and copied >= until:
                    running.kill()
                    break
                time.sleep(_LOOK)
            else:
                running.kill()
            out, _ = running.communicate()
        result = json.loads(out) if running.returncode == 0 else None
        return Run(time.monotonic() - began, most - base, result)

    def copied(self) -> int:
        """How many points the target has acknowledged."""
        try:
            return sum(json.loads(self._checkpoint.read_text())["copied"].values())
        except FileNotFoundError:
            return 0


def _resident(process: psutil.Process) -> int:
    try:
        return sum(one.memory_info().rss for one in (process, *process.children()))
    except psutil.NoSuchProcess:
        return 0
