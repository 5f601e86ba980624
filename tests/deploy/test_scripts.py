"""The shell scripts inside the manifests, run as they stand with stand-ins for the programs they call."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from manifests import Pod, made_by

from bot.model import Report
from bot.web.control import SOCKET, ControlServer

OLD = 20 * 86400


async def test_the_nightly_backup_is_written_by_the_bot_and_old_ones_go(tmp_path: Path) -> None:
    """With a bot on the socket there is an archive of today and none of weeks ago; without one it fails."""
    data, backups = tmp_path / "data", tmp_path / "backups"
    data.mkdir()
    backups.mkdir()
    for name, age in (("old.zip", OLD), ("new.zip", 0)):
        (backups / name).touch()
        os.utime(backups / name, times=(0, (backups / name).stat().st_mtime - age))
    pod = made_by("0").pod("recollect-backup")
    env = {"BOT_STORAGE__PATH": str(data)}

    async def backup(arguments: Mapping[str, Any], _: Report) -> dict[str, Any]:
        await asyncio.to_thread(Path(arguments["file"]).write_text, "whole")
        return {"messages": 1, "facts": 0, "points": 1, "size": 5}

    code, said = await _run(pod, tmp_path, env, {"/var/backups/recollect": str(backups)})
    assert code != 0
    assert "recollect:" not in said  # it did not come to the command, which would have opened the data itself
    server = ControlServer(data / SOCKET, {"backup": backup})
    serving = asyncio.create_task(server.run())
    await server.listening.wait()
    code, said = await _run(pod, tmp_path, env, {"/var/backups/recollect": str(backups)})
    serving.cancel()
    await asyncio.wait([serving])
    assert code == 0, said
    (made,) = {file.name for file in backups.iterdir()} - {"new.zip"}
    assert (backups / made).read_text() == "whole"


@pytest.mark.parametrize(
    ("hostname", "joins"), [("qdrant-0", ""), ("qdrant-2", " --bootstrap http://qdrant-0.qdrant-headless:6335")]
)
async def test_the_first_node_founds_the_cluster_and_the_others_join(tmp_path: Path, hostname: str, joins: str) -> None:
    """Each node is started with its own name, and all but the first with the first one's."""
    _program(tmp_path / "entrypoint.sh", 'echo "$@"')
    pod = made_by("overlays/qdrant-cluster").pod("qdrant")
    assert await _run(pod, tmp_path, {"HOSTNAME": hostname}) == (
        0,
        f"--uri http://{hostname}.qdrant-headless:6335{joins}\n",
    )


@pytest.mark.parametrize(
    ("models", "pulled"),
    [
        ({"BOT_OLLAMA__MODEL": "a:8b"}, "pull a:8b\n"),
        ({"BOT_OLLAMA__MODEL": "a:8b", "BOT_OLLAMA__EMBEDDING_MODEL": "b"}, "pull a:8b\npull b\n"),
    ],
)
async def test_every_model_that_is_named_is_pulled(tmp_path: Path, models: dict[str, str], pulled: str) -> None:
    """The Job pulls the model that extracts, and the one that embeds where there is one."""
    _program(tmp_path / "ollama", 'echo "$@"')
    assert await _run(made_by("base").pod("ollama-pull"), tmp_path, models) == (0, pulled)


async def test_a_model_that_cannot_be_pulled_fails_the_job(tmp_path: Path) -> None:
    """The Job is tried again rather than done with half of it."""
    _program(tmp_path / "ollama", '[ "$2" != a ]')
    models = {"BOT_OLLAMA__MODEL": "a", "BOT_OLLAMA__EMBEDDING_MODEL": "b"}
    assert (await _run(made_by("base").pod("ollama-pull"), tmp_path, models))[0] != 0


def _program(file: Path, script: str) -> None:
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


async def _run(
    pod: Pod, folder: Path, env: Mapping[str, str], paths: Mapping[str, str] | None = None
) -> tuple[int | None, str]:
    """The exit code and output of the container's script in `folder`, whose programs come first."""
    (script,) = pod.container["args"]
    for inside, here in (paths or {}).items():
        script = script.replace(inside, here)
    search = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.defpath])
    process = await asyncio.create_subprocess_exec(
        *pod.container["command"],
        script,
        cwd=folder,
        env={"PATH": search, "HOME": str(folder), **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode()
