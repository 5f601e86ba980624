"""The settings and where they come from."""

import itertools
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.errors import SettingsError
from bot.settings import Settings, shown_url
from bot.settings_sources import load

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable, secret or config.toml of the machine reaches a test."""
    import os

    for name in list(os.environ):
        if name.startswith(("BOT_", "DISCORD_", "OPENAI_", "OLLAMA_", "QDRANT_", "MEM0_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BOT_SECRETS_DIR", str(tmp_path / "secrets"))
    monkeypatch.chdir(tmp_path)


def write(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text, "utf-8")
    return file


def test_defaults_are_the_documented_ones() -> None:
    """Without any source the defaults hold."""
    settings = load()
    assert settings.ollama.model == "llama3.1:8b"
    assert (settings.openai.embedding_model, settings.openai.dimensions) == ("text-embedding-3-small", 1536)
    assert settings.qdrant.collection == "discord_memories"
    assert settings.batch.interval == timedelta(hours=1)


def test_example_file_is_complete_and_loads() -> None:
    """config.example.toml holds every key with its default and a line of why above it."""
    text = (ROOT / "config.example.toml").read_text("utf-8")
    assert load(ROOT / "config.example.toml").model_dump() == load().model_dump()
    keys = {section: set(table) for section, table in tomllib.loads(text).items()}
    assert keys == {name: set(field.annotation.model_fields) for name, field in Settings.model_fields.items()}  # type: ignore[union-attr]
    lines = text.splitlines()
    for above, line in itertools.pairwise(lines):
        if " = " in line and not line.startswith("#"):
            assert above.startswith("# "), f"{line} has no line of why"


def test_file_is_found_by_argument_variable_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config wins over BOT_CONFIG, and that over ./config.toml."""
    write(tmp_path, "[web]\nport = 1\n")
    assert load().web.port == 1
    (tmp_path / "b.toml").write_text("[web]\nport = 2\n")
    monkeypatch.setenv("BOT_CONFIG", str(tmp_path / "b.toml"))
    assert load().web.port == 2
    (tmp_path / "c.toml").write_text("[web]\nport = 3\n")
    assert load(tmp_path / "c.toml").web.port == 3


def test_bot_variables_win_over_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BOT_SECTION__KEY beats the ecosystem's variables, which beat the file."""
    file = write(tmp_path, '[ollama]\nmodel = "from-file"\n')
    assert load(file).ollama.model == "from-file"
    monkeypatch.setenv("OLLAMA_MODEL", "from-ecosystem")
    assert load(file).ollama.model == "from-ecosystem"
    monkeypatch.setenv("BOT_OLLAMA__MODEL", "from-bot")
    assert load(file).ollama.model == "from-bot"


def test_lists_in_variables_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channel ids can be given as `1, 2` or as JSON."""
    for text in ("1, 22", "[1, 22]", "1 22"):
        monkeypatch.setenv("BOT_DISCORD__OBSERVE", text)
        assert load().discord.observe == (1, 22)


@pytest.mark.parametrize("name", ["discord__token", "discord_token", "DISCORD_TOKEN"])
def test_secrets_come_from_files(name: str, tmp_path: Path) -> None:
    """One file a secret, under either name, without its trailing newline."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / name).write_text("s3cret\n")
    assert load().discord.token.get_secret_value() == "s3cret"


def test_other_files_among_the_secrets_are_left_alone(tmp_path: Path) -> None:
    """A keystore, a folder and a file named like a section do no harm; our own file must be text."""
    folder = tmp_path / "secrets"
    (folder / "discord__token.d").mkdir(parents=True)
    (folder / "tls.p12").write_bytes(b"\xff\xfe")
    (folder / "discord").write_text("x")
    assert load().discord.token.get_secret_value() == ""
    (folder / "discord_token").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="discord_token cannot be read as UTF-8"):
        load()


def test_a_url_is_shown_without_its_password() -> None:
    """What /status, the probes and the log name is the address alone."""
    assert shown_url("http://admin:pw@gpu-box:11434/v1") == "http://gpu-box:11434/v1"


def test_names_of_earlier_deployments_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """MEM0_QDRANT_HOST and MEM0_QDRANT_PORT make the Qdrant URL, unless QDRANT_URL is set."""
    monkeypatch.setenv("MEM0_QDRANT_HOST", "qdrant")
    assert load().qdrant.url == "http://qdrant:6333"
    monkeypatch.setenv("MEM0_QDRANT_PORT", "7000")
    monkeypatch.setenv("MEM0_LLM_PROVIDER", "ollama")
    assert load().qdrant.url == "http://qdrant:7000"
    monkeypatch.setenv("QDRANT_URL", "http://other:6333/")
    assert load().qdrant.url == "http://other:6333"


@pytest.mark.parametrize(
    ("name", "value", "url"),
    [
        ("OLLAMA_HOST", "0.0.0.0", "http://127.0.0.1:11434"),
        ("OLLAMA_HOST", "gpu-box", "http://gpu-box:11434"),
        ("OLLAMA_HOST", "gpu-box:8000", "http://gpu-box:8000"),
        ("OLLAMA_HOST", ":8000", "http://127.0.0.1:8000"),
        ("OLLAMA_BASE_URL", "https://gpu-box/", "https://gpu-box"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(
    name: str, value: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bare host means http on port 11434, and the bind address 0.0.0.0 means this machine."""
    monkeypatch.setenv(name, value)
    assert load().ollama.url == url


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[batch]\nintervall = "1h"', "batch.intervall is not a setting, did you mean batch.interval"),
        ('[bacth]\ninterval = "1h"', "[bacth] is no section of the settings, did you mean batch"),
        ("[batch]\ninterval = true", "batch.interval is wrong: it must be a duration such as 90s, 15m, 1h or 30d"),
        ('[storage]\npath = "a\\u0000b"', "storage.path is wrong: it must be a path"),
        ('[journal]\npath = "a\\u0000b"', "journal.path is wrong: it must be a path"),
        ('[batch]\ninterval = "soon"', "batch.interval is wrong: it must be a duration such as 90s, 15m, 1h or 30d"),
        ("[batch]\nmax_messages = 0", "batch.max_messages is wrong: input should be greater than or equal to 1"),
        ("[batch\n", "is not valid TOML: expected ']' at the end of a table declaration (at line 1"),
        ('[ollama]\nurl = "http://h:notaport"', "ollama.url is wrong: must be a URL such as http://127.0.0.1:11434"),
        ('[ollama]\nurl = ""', "ollama.url is wrong: must be a URL such as http://127.0.0.1:11434"),
        ('[discord]\ngateway_url = "discord"', "gateway_url is wrong: must be a URL such as wss://gateway.discord.gg/"),
        (
            '[batch]\ninterval = "99999999999d"',
            "batch.interval is wrong: it must be a duration such as 90s, 15m, 1h or 30d",
        ),
        ('[ollama]\nurl = "gpu-box"', "ollama.url is wrong: must be a URL such as http://127.0.0.1:11434"),
        ("discord = 5", "discord is wrong"),
    ],
)
def test_a_wrong_file_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    """The sentence names the file, the key and the fix."""
    file = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(file)
    assert sentence in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("BOT_BATCH", "{bad", "BOT_BATCH must be JSON"),
        ("BOT_RETENTION__GUILDS", "{bad", "BOT_RETENTION__GUILDS must be JSON"),
        ("BOT_RETENTION__GUILDS", "7", "BOT_RETENTION__GUILDS: retention.guilds is wrong"),
        ("BOT_RETENTION__GUILDS", "seven", 'BOT_RETENTION__GUILDS must be JSON such as {"123": {"raw_days": 7}}'),
        (
            "BOT_RETENTION__GUILDS",
            '{"123": {"raw_day": 7}}',
            "retention.guilds.123.raw_day is not a setting, did you mean raw_days",
        ),
        ("BOT_STORAGE__PATH", "", "BOT_STORAGE__PATH: storage.path is wrong: it must be a path"),
        ("BOT_WEB__HOST", "", "BOT_WEB__HOST: web.host is wrong: it must be an address such as 127.0.0.1 or 0.0.0.0"),
        ("BOT_BATCH__INTERVAL", "never", "BOT_BATCH__INTERVAL: batch.interval is wrong"),
        ("BOT_BATCH__INTRVAL", "1h", "BOT_BATCH__INTRVAL: batch.intrval is not a setting, did you mean batch.interval"),
        ("BOT_DISCORD_TOKEN", "x", "BOT_DISCORD_TOKEN is not a setting, did you mean BOT_DISCORD__TOKEN"),
        ("BOT_BTCH__INTERVAL", "1h", "BOT_BTCH__INTERVAL names no section of the settings, did you mean batch"),
        ("MEM0_LLM_PROVIDER", "openai", "MEM0_LLM_PROVIDER is openai: to have it read"),
        ("OLLAMA_HOST", "ftp://x", "OLLAMA_HOST or OLLAMA_BASE_URL: ollama.url is wrong"),
        ("BOT_BATCH__WINDOW_TOKENS", "8000", "batch.window_tokens must be at most half of ollama.num_ctx"),
        ("BOT_CONFIG", "nowhere.toml", "There is no settings file nowhere.toml"),
    ],
)
def test_a_wrong_variable_is_one_sentence(
    name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the variable and the key it set."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("closed", "named", "fix"),
    [("is_file", "config.toml", "--config"), ("iterdir", "secrets", "BOT_SECRETS_DIR")],
)
def test_a_folder_closed_to_this_user_is_named(
    closed: str, named: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's folder, be it the working folder or that of the secrets, is one sentence with the fix."""
    (tmp_path / "secrets").mkdir()

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, closed, refused)
    with pytest.raises(SettingsError, match=rf"{named}.*: .*{fix}"):
        load()


def test_secrets_never_print(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings' repr nor an error about one holds a secret."""
    monkeypatch.setenv("DISCORD_TOKEN", "s3cret")
    settings = load()
    assert settings.discord.token == SecretStr("s3cret")
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    monkeypatch.setenv("BOT_DISCORD__TOKN", "s3cret")
    with pytest.raises(SettingsError) as caught:
        load()
    assert "s3cret" not in str(caught.value)
