"""The stand-ins by themselves, as `recollect sandbox` runs them."""

import asyncio
import json
import os
import shlex
from pathlib import Path

import pytest
from processes import environment
from typer.testing import CliRunner

from bot.cli import cli
from bot.sandbox.standing import stand_in


async def test_what_it_says_leads_a_bot_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variables it prints, doctor finds nothing to mend, and two channels to listen in; nothing is left."""
    monkeypatch.setattr("bot.telemetry.configure_logging", lambda settings: None)  # it is the test run's own
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    lines: list[str] = []
    ready = asyncio.Event()

    def tell(line: str) -> None:
        lines.append(line)
        if line.startswith("# Then"):
            ready.set()

    playing = asyncio.create_task(stand_in(tell))
    await asyncio.wait_for(ready.wait(), 30)
    for line in lines:
        if line.startswith("export "):
            [name, value] = shlex.split(line.removeprefix("export "))[0].split("=", 1)
            monkeypatch.setenv(name, value)
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["doctor", "--json"])
    assert {check["name"]: check["fix"] for check in json.loads(result.stdout) if check["verdict"] != "pass"} == {}
    [channels] = [check for check in json.loads(result.stdout) if check["name"].startswith("Channels")]
    assert channels["detail"].startswith("2 channels")
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    assert [name for name in os.listdir(tmp_path) if name.startswith("recollect-sandbox")] == []
