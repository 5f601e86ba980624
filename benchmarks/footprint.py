"""What the container image holds, and how long it takes from nothing to ready.

Makes a clean virtual environment by the Dockerfile's own steps: the locked packages, the wheel of this checkout,
`deploy/trim.py`. Its size and that of the base image make the image's. Then starts `recollect run` from it, each time
on an empty data folder against stand-ins, and waits for the first 200 from /readyz. A start is cold when the machine's
page cache could be emptied before it, which takes root; `cold` says whether. `--python` names the interpreter: the
image's is a Python 3.13.
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _bot import Bot, stand_ins
from _report import main, progress

from bot.errors import RecollectError
from bot.sandbox.discord import DiscordServer
from bot.sandbox.ollama import OllamaServer
from bot.sandbox.openai import OpenAIServer

SOURCE = Path(__file__).parents[1]
# All layers of python:3.13.15-slim-trixie on linux/amd64, as docker-library/repo-info lists them;
# it has no figure for the next patch release, which the Dockerfile is pinned to.
BASE_MB = 118.1
MB = 1_000_000  # as container engines count
LOOK = 0.01  # seconds between looks at /readyz
PATIENCE = 120.0  # seconds for one start
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def run(python: str, runs: int) -> dict[str, float | bool | str]:
    """Build once, start so many times; times are medians."""
    if shutil.which(python) is None:
        raise RecollectError(f"There is no Python {python}: name a CPython 3.13 with --python.")
    with tempfile.TemporaryDirectory(prefix="recollect-footprint-") as folder:
        environment = Path(folder) / "recollect"
        _build(Path(folder), environment, python)
        installed = _size(environment) / MB
        progress(f"installed: {installed:.1f} MB")
        cold = os.access(DROP_CACHES, os.W_OK)
        first, again = [], []
        for number in range(1, runs + 1):
            if cold:
                os.sync()
                DROP_CACHES.write_text("3\n")
            first.append(asyncio.run(_start(environment)))
            again.append(asyncio.run(_start(environment)))
            progress(f"run {number}: ready in {first[-1]:.2f} s, started again in {again[-1]:.2f} s")
    return {
        "python": _output(python, "-c", "import platform; print(platform.python_version())"),
        "installed_mb": round(installed, 1),
        "base_mb": BASE_MB,
        "total_mb": round(installed + BASE_MB, 1),
        "cold": cold,
        "cold_start_to_ready_s": round(statistics.median(first), 2),
        "warm_start_to_ready_s": round(statistics.median(again), 2),
    }


def _build(folder: Path, environment: Path, python: str) -> None:
    """The builder's steps in the Dockerfile, without extras."""
    progress("building the environment as the Dockerfile does")
    builder = folder / "builder"
    _do(python, "-m", "venv", builder)
    _do(python, "-m", "venv", "--without-pip", environment)
    pip = (builder / "bin/pip", "--quiet", "--disable-pip-version-check")
    into = ("--python", environment / "bin/python", "install", "--no-compile", "--only-binary", ":all:")
    _do(*pip, "install", "--require-hashes", "--requirement", SOURCE / "deploy/build.lock")
    _do(*pip, *into, "--require-hashes", "--requirement", SOURCE / "requirements.lock")
    source = folder / "source"  # a build leaves folders behind
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(SOURCE / name, source)
    shutil.copytree(SOURCE / "bot", source / "bot", ignore=shutil.ignore_patterns("__pycache__"))
    _do(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    _do(*pip, *into, "--no-deps", *folder.glob("*.whl"))
    trimmed = os.environ | {"PYTHONPYCACHEPREFIX": str(_bytecode(environment))}
    _do(environment / "bin/python", SOURCE / "deploy/trim.py", env=trimmed)


async def _start(environment: Path) -> float:
    """Seconds from the start of the process until it is ready."""
    async with (
        asyncio.timeout(PATIENCE),
        DiscordServer() as discord,
        OllamaServer() as ollama,
        OpenAIServer() as openai,
    ):
        with tempfile.TemporaryDirectory() as folder:
            variables = stand_ins(discord, ollama.url, openai.url) | {
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPYCACHEPREFIX": str(_bytecode(environment)),
            }
            started = time.perf_counter()
            bot = await Bot.start(Path(folder), environment / "bin/recollect", **variables)
            try:
                await bot.ready(LOOK)
                return time.perf_counter() - started
            finally:
                await bot.terminate()


def _bytecode(environment: Path) -> Path:
    return environment / "bytecode"


def _size(folder: Path) -> int:
    """Bytes of all files, as they count in an image's layer."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def _do(*command: str | Path, env: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=env, stdout=sys.stderr)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main(run, __doc__, python=sys.executable, runs=3)
