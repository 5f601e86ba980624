"""The image: what its Dockerfile says, what makes it small, and how its health is asked for."""

import asyncio
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Awaitable, Callable
from configparser import RawConfigParser
from pathlib import Path
from types import ModuleType

import dockerfile
import pytest
import typer
from dockerfile import ROOT
from processes import recollect
from typer.testing import CliRunner

from bot.cli import cli
from bot.settings_sources import load
from bot.web.health import HealthServer, Readiness

VOLUME = "/var/lib/recollect"
USER = "10001"
Ask = Callable[..., Awaitable[str]]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    """The linter, with every rule it has, has nothing to say."""
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    assert hadolint, "hadolint is not installed: pip install -e '.[dev]' brings it"
    found = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_both_stages_stand_on_the_same_patch_release() -> None:
    """The environment is built by the very Python that runs it, named down to its patch release."""
    bases = {argument.split()[0] for name, argument in dockerfile.instructions() if name == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases.pop())


def test_the_image_bears_the_version_of_the_package() -> None:
    """Its label and the tag that compose and the manual give it say what pyproject.toml says."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    labels = dict(pair.split("=", 1) for argument in dockerfile.of_image("LABEL") for pair in shlex.split(argument))
    assert labels["org.opencontainers.image.version"] == version
    for file in ("Dockerfile", "compose.yaml", "docs/install.md"):
        assert set(re.findall(r"\brecollect:(\d[\w.]*)", (ROOT / file).read_text())) == {version}


def test_the_image_is_of_a_user_without_rights() -> None:
    """It runs as 10001, who owns its volume and nothing else."""
    (user,) = dockerfile.of_image("USER")
    (setup,) = dockerfile.of_image("RUN")
    assert user == f"{USER}:{USER}"
    assert re.findall(r"--owner \S+|--[ug]id \S+", setup) == [
        *(f"--gid {USER}", f"--uid {USER}", f"--gid {USER}"),
        f"--owner {USER}",
    ]
    assert all("--chown" not in argument for argument in dockerfile.of_image("COPY"))


def test_the_image_keeps_everything_in_its_volume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its variables are settings: data and journal lie in the volume, the probes are reached from outside."""
    for name, value in dockerfile.environment().items():
        if name.startswith("BOT_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("BOT_SECRETS_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    settings = load()
    assert json.loads(dockerfile.of_image("VOLUME")[0]) == [VOLUME]
    assert settings.storage.path.is_relative_to(VOLUME)
    assert settings.journal_path.is_relative_to(VOLUME)
    assert settings.web.host == "0.0.0.0"
    assert [str(settings.web.port)] == dockerfile.of_image("EXPOSE")


def test_the_image_starts_and_asks_what_exists() -> None:
    """Its command and its health check are the command line's, and it is stopped as the bot expects."""
    known = typer.main.get_command(cli).commands  # type: ignore[attr-defined]  # a group, since cli has commands
    assert [json.loads(argument) for argument in dockerfile.of_image("ENTRYPOINT")] == [["recollect"]]
    assert [json.loads(argument)[0] in known for argument in dockerfile.of_image("CMD")] == [True]
    (check,) = dockerfile.of_image("HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2]) == ["recollect", "healthcheck"]
    assert "healthcheck" in known
    assert dockerfile.of_image("STOPSIGNAL") == ["SIGTERM"]


def test_the_build_is_sent_what_it_copies_and_nothing_else() -> None:
    """.dockerignore shuts out everything but the sources of COPY."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == dockerfile.copied()
    assert all((ROOT / source).exists() for source in dockerfile.copied())


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """What `recollect healthcheck` says of the bot on a port, be it good or bad."""
    monkeypatch.chdir(tmp_path)

    async def said(port: str, *options: str) -> str:
        monkeypatch.setenv("BOT_WEB__PORT", port)
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["healthcheck", *options])
        assert (result.exit_code == 0) == (result.exception is None)
        return result.stdout.strip() if result.exception is None else str(result.exception)

    return said


def probes(ready: bool) -> HealthServer:
    """The probes of a bot that is alive, on any free port."""

    async def readiness() -> Readiness:
        return Readiness(gateway=ready, database=True)

    async def metrics() -> tuple[bytes, str]:
        return b"", "text/plain"

    return HealthServer("127.0.0.1", 0, readiness, metrics)


@pytest.fixture
def trim() -> ModuleType:
    """deploy/trim.py as a module."""
    spec = importlib.util.spec_from_file_location("trim", ROOT / "deploy/trim.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_trimming_removes_tests_and_compiles_the_rest(trim: ModuleType, tmp_path: Path) -> None:
    """Folders of tests go, modules stay with their bytecode, and what never runs stays without."""
    kept = {"one/code.py", "one/testing/help.py", "one/latest/tests.py", "two/lexers/c.py", "two/lexers/_mapping.py"}
    for name in (*kept, "one/tests/test_code.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("answer = 42\n")
    trim.remove_tests(tmp_path)
    trim.compile_all(tmp_path, trim.NEVER_RUN)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.py")}
    compiled = {f"{path.parents[1].name}/{path.name.split('.')[0]}" for path in tmp_path.rglob("*.pyc")}
    assert left == kept
    assert compiled == {"one/code", "latest/tests", "lexers/_mapping"}


def test_trimming_spares_a_python_that_is_no_environment(trim: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with the machine's own Python it changes nothing and says why."""
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    with pytest.raises(SystemExit, match="virtual one"):
        trim.main()


async def test_the_health_check_tells_alive_from_ready(tmp_path: Path, ask: Ask) -> None:
    """A bot that waits for Discord is alive and not ready; of one that does not run a sentence says so."""
    health = probes(ready=False)
    async with health.serving():
        port = str(health.port)
        code, said, _ = await recollect(tmp_path, "healthcheck", BOT_WEB__PORT=port)
        assert (code, said) == (0, f"The bot on 127.0.0.1:{port} is alive.\n")
        assert (
            await ask(port, "--ready") == f"The bot on 127.0.0.1:{port} did not say yes to /readyz; its log says why."
        )
    assert (await ask(port)).startswith(f"No bot listens on 127.0.0.1:{port}: start it")
    assert "web.port is 0" in await ask("0")


async def test_the_health_check_reaches_a_bot_on_every_address(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the probes are bound to all addresses, as in a container, it asks on the loopback."""
    health = probes(ready=True)
    async with health.serving():
        monkeypatch.setenv("BOT_WEB__HOST", "0.0.0.0")
        assert await ask(str(health.port), "--ready") == f"The bot on 127.0.0.1:{health.port} is ready."
    monkeypatch.setenv("BOT_WEB__HOST", "::")
    assert (await ask(str(health.port))).startswith(f"No bot listens on [::1]:{health.port}")


def test_the_unit_of_systemd_sets_what_the_bot_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its variables are settings, its credentials secrets the bot knows, and it keeps everything in its own folder."""
    unit = RawConfigParser(strict=False, dict_type=_Repeated)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds case
    unit.read(ROOT / "deploy/recollect.service")
    service = unit["Service"]
    where = {"%S": "/var/lib", "%d": str(tmp_path)}
    for line in service["Environment"].splitlines():
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, re.sub("%[Sd]", lambda found: where[found[0]], value))
    for credential in service["LoadCredential"].splitlines():
        name, _, source = credential.partition(":")
        assert source == f"/etc/recollect/secrets/{name}"
        (tmp_path / name).write_text(f"value of {name}\n")
    monkeypatch.delenv("BOT_CONFIG")
    settings = load(ROOT / "config.example.toml")
    assert settings.storage.path == Path("/var/lib") / service["StateDirectory"] / "data"
    assert settings.journal_path.parent == settings.storage.path.parent
    assert [secret.get_secret_value() for secret in (settings.discord.token, settings.qdrant.api_key)] == [
        "value of DISCORD_TOKEN",
        "value of QDRANT_API_KEY",
    ]
    assert service["ExecStart"].endswith("/bin/recollect run")


class _Repeated(dict[str, object]):
    """A key that stands on several lines keeps them all."""

    def __setitem__(self, key: str, value: object) -> None:
        if key in self and isinstance(value, list) and isinstance(before := self[key], list):
            before.extend(value)
        else:
            super().__setitem__(key, value)
