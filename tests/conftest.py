"""Fixtures that more than one room's tests use, and how the whole suite is run."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import Engine

from bot.sandbox.discord import DiscordServer
from bot.storage import database

MEMORY = Path("/dev/shm")  # noqa: S108  (where Linux has a file system in memory)
ROOM = 4 * 2**30  # bytes; the table of all commands alone takes a quarter

# Nothing here is reached over TLS: no client, not in any process either, needs to read who is trusted, for 30 ms each.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)

hypothesis.settings.register_profile("usual", deadline=None)  # another process may take the processor meanwhile
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=4 * hypothesis.settings().max_examples)
hypothesis.settings.load_profile("usual")


def pytest_configure() -> None:
    """Keep the tests' files in memory where there is room: every commit is put on disk, and would be waited for.

    And hear Ctrl-C: a script's background job ignores it, and so would the programs that tests start and interrupt.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        tempfile.tempdir = os.environ["TMPDIR"] = str(MEMORY)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """More than there are cores: what a test does is often to wait for a timer or a process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + (cores + 1) // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: what is left at the end is then shared evenly among the workers."""
    longest = ("test_chaos", "test_cli", "test_demo")
    items.sort(key=lambda item: not item.path.stem.startswith(longest))


def pytest_collection_finish() -> None:
    """Spare the garbage collector what lives as long as the run: it would look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Engine]:
    """Opens a database as the product does; a new one is a copy of one that was migrated before."""
    template = tmp_path_factory.mktemp("migrated") / database.FILE
    prepare = database._prepare

    def prepared(path: Path) -> Engine:
        if not path.exists():
            if not template.exists():
                prepare(template).dispose()
            shutil.copyfile(template, path)
        return prepare(path)

    return prepared


@pytest.fixture(autouse=True)
def migrated_before(migrated: Callable[[Path], Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare every test the migrations, which have tests of their own."""
    monkeypatch.setattr(database, "_prepare", migrated)


@pytest.fixture
async def discord_server() -> AsyncIterator[DiscordServer]:
    """A stand-in for Discord with an empty world."""
    async with DiscordServer() as server:
        yield server
