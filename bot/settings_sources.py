"""Where settings come from, and how a wrong one is explained.

Highest first: `BOT_SECTION__KEY` variables, secret files, the ecosystem's own variables
(`DISCORD_TOKEN`, `OLLAMA_HOST`, …), the TOML file, the defaults.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SettingsSourceError

from bot.errors import SettingsError
from bot.settings import GuildRetention, Settings

# What the ecosystem and earlier deployments already use, as environment variables or secret files.
_WELL_KNOWN = {
    "DISCORD_TOKEN": ("discord", "token"),
    "OPENAI_API_KEY": ("openai", "api_key"),
    "ANTHROPIC_API_KEY": ("anthropic", "api_key"),
    "VOYAGE_API_KEY": ("voyage", "api_key"),
    "OLLAMA_MODEL": ("ollama", "model"),
    "QDRANT_URL": ("qdrant", "url"),
    "QDRANT_API_KEY": ("qdrant", "api_key"),
    "MEM0_LLM_PROVIDER": ("extraction", "provider"),
}
# These are read with a rule of their own; here they only say where a wrong value came from.
_WELL_KNOWN_ADDRESSES = {
    ("ollama", "url"): "OLLAMA_HOST or OLLAMA_BASE_URL",
    ("qdrant", "url"): "QDRANT_URL or MEM0_QDRANT_HOST",
}
_GUILDS = "BOT_RETENTION__GUILDS"


def load(config: Path | None = None) -> Settings:
    """Build the settings from every source.

    `config` is the TOML file; without it `BOT_CONFIG`, and else `./config.toml` where there is one.
    Raises `SettingsError`, one sentence that names the file or variable, the key and the fix.
    """
    secrets_dir = _secrets_dir()
    _refuse_unknown_sections(os.environ)
    file = _config_file(config)
    sources: dict[str, PydanticBaseSettingsSource] = {
        "environment": EnvSettingsSource(Settings),
        f"a file in {secrets_dir}": InitSettingsSource(Settings, dict(_secrets(secrets_dir))),
        "well-known variable": InitSettingsSource(Settings, _well_known(os.environ)),
    }
    if file:
        sources[str(file)] = _toml(file)

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: PydanticBaseSettingsSource, **__: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(sources.values())

    try:
        return Loaded()
    except ValidationError as error:
        raise SettingsError(_explain(error.errors(include_input=False), sources)) from None
    except SettingsSourceError as error:
        raise SettingsError(_not_json(str(error))) from None


def secret_files(config: Path | None = None) -> list[Path]:
    """The files that secrets of the settings were read from. Raises `SettingsError` as `load` does."""
    files = [file for file, _ in _secret_files(_secrets_dir())]
    if file := _config_file(config):
        values = _toml(file)()
        secret = ((section, key) for section, field in Settings.model_fields.items() for key in _keys(field, SecretStr))
        if any(values.get(section, {}).get(key) for section, key in secret):
            files.append(file)
    return files


def well_known_names() -> dict[tuple[str, str], list[str]]:
    """The ecosystem's own variables, by the section and key they set."""
    names: dict[tuple[str, str], list[str]] = {path: [name] for name, path in _WELL_KNOWN.items()}
    names[("ollama", "url")] = ["OLLAMA_HOST", "OLLAMA_BASE_URL"]
    return names


def _not_json(reason: str) -> str:
    """What to do about a variable that should hold JSON; the library's words name its section in quotes."""
    section = "".join(re.findall(r'field "(\w+)"', reason)[:1])
    whole = f"BOT_{section}".upper()
    if section == "retention" and _GUILDS in os.environ and whole not in os.environ:
        return f'{_GUILDS} must be JSON such as {{"123": {{"raw_days": 7}}}}.'
    wrong = [name for name in os.environ if name == whole or (name.startswith(whole) and "{" in os.environ[name])]
    return f"{' or '.join(wrong) or whole} must be JSON; or set each key on its own, as in BOT_BATCH__INTERVAL=1h."


def _config_file(config: Path | None) -> Path | None:
    named = config or (Path(os.environ["BOT_CONFIG"]) if os.environ.get("BOT_CONFIG") else None)
    file = named or Path("config.toml")
    try:
        there = file.is_file()
    except PermissionError:
        where = "start in a folder that this user may enter, or name another file with --config"
        raise SettingsError(f"This user may not look for the settings file {file}: {where}.") from None
    if named and not there:
        raise SettingsError(f"There is no settings file {named}; copy config.example.toml there and edit it.")
    return file if there else None


def _toml(file: Path) -> TomlConfigSettingsSource:
    try:
        return TomlConfigSettingsSource(Settings, file)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not valid TOML: {str(error)[0].lower()}{str(error)[1:]}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read as UTF-8 text: {error}.") from None


def _secrets_dir() -> Path:
    return Path(os.environ.get("BOT_SECRETS_DIR", "/run/secrets"))


def _secrets(folder: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for file, (section, key) in _secret_files(folder):
        try:
            found.setdefault(section, {})[key] = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"The secret file {file} cannot be read as UTF-8 text: {error}.") from None
    return found


def _secret_files(folder: Path) -> Iterator[tuple[Path, tuple[str, str]]]:
    """One file a secret, named `section__key` or by its well-known name, in either case; other files are not ours."""
    known = {name.lower(): path for name, path in _WELL_KNOWN.items()}
    for section, field in Settings.model_fields.items():
        known |= {f"{section}__{key}": (section, key) for key in _keys(field)}
    try:
        files = [file for file in sorted(folder.iterdir()) if file.is_file()] if folder.is_dir() else []
    except PermissionError:
        whom = "let this user read it, or have BOT_SECRETS_DIR name another"
        raise SettingsError(f"The folder of secrets {folder} cannot be read: {whom}.") from None
    for file in files:
        if path := known.get(file.name.lower()):
            yield file, path


def _well_known(values: Mapping[str, str]) -> dict[str, Any]:
    provider = values.get("MEM0_LLM_PROVIDER", "").strip()
    if provider not in ("", "ollama"):  # what was set for another program sends no conversation to a cloud
        raise SettingsError(
            f"MEM0_LLM_PROVIDER is {provider}: to have it read conversations, unset this and set extraction.provider."
        )
    found: dict[str, dict[str, str]] = {}
    for name, (section, key) in _WELL_KNOWN.items():
        if value := values.get(name, "").strip():
            found.setdefault(section, {})[key] = value
    if url := values.get("OLLAMA_BASE_URL") or values.get("OLLAMA_HOST"):
        found.setdefault("ollama", {})["url"] = _ollama_url(url)
    if (host := values.get("MEM0_QDRANT_HOST")) and "url" not in found.get("qdrant", {}):
        url = f"http://{host}:{values.get('MEM0_QDRANT_PORT') or 6333}"
        found.setdefault("qdrant", {})["url"] = url
    return found


def _ollama_url(host: str) -> str:
    """Ollama's own reading of OLLAMA_HOST: a bare host means http and port 11434, 0.0.0.0 this machine."""
    if "://" in host:
        return host
    address, colon, port = host.strip("/").rpartition(":") if re.search(r":\d+/*$", host) else (host.strip("/"), "", "")
    address = "127.0.0.1" if address in {"", "0.0.0.0"} else address  # noqa: S104  (a server's bind address)
    return f"http://{address}:{port if colon else 11434}"


def _refuse_unknown_sections(environ: Mapping[str, str]) -> None:
    """Settings' own reading passes over a variable whose section is misspelt or lacks its second underscore."""
    short = {
        f"BOT_{s}_{key}".upper(): f"BOT_{s}__{key}".upper()
        for s, f in Settings.model_fields.items()
        for key in _keys(f)
    }
    for name in environ:
        section, separator, _ = name.removeprefix("BOT_").partition("__")
        if name.startswith("BOT_") and separator and section.lower() not in Settings.model_fields:
            guess = _closest(section.lower(), list(Settings.model_fields))
            raise SettingsError(f"{name} names no section of the settings{guess}; correct or unset it.")
        if name in short:
            raise SettingsError(f"{name} is not a setting, did you mean {short[name]}; correct or unset it.")


def _keys(section: FieldInfo, kind: type | None = None) -> list[str]:
    fields = section.annotation.model_fields  # type: ignore[union-attr]  # every field is a Section
    return [key for key, field in fields.items() if kind in (None, field.annotation)]


def _closest(name: str, known: Sequence[str], prefix: str = "") -> str:
    matches = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {prefix}{matches[0]}" if matches else ""


def _explain(errors: list[ErrorDetails], sources: Mapping[str, PydanticBaseSettingsSource]) -> str:
    """The first problem in one sentence: where it stands, which key, how to mend it."""
    error = errors[0]
    location = tuple(str(part) for part in error["loc"])
    if not location:
        return f"The settings do not fit together: {_reason(error)}."
    key = ".".join(location[:2])
    if error["type"] == "extra_forbidden":
        section = Settings.model_fields.get(location[0])
        if section is None or len(location) == 1:
            problem = (
                f"[{location[0]}] is no section of the settings{_closest(location[0], list(Settings.model_fields))}"
            )
        elif len(location) > 2:
            problem = (
                f"{'.'.join(location)} is not a setting{_closest(location[-1], list(GuildRetention.model_fields))}"
            )
        else:
            problem = f"{key} is not a setting{_closest(location[1], _keys(section), location[0] + '.')}"
        return f"{_origin(location, sources)}: {problem}; correct or remove it."
    return f"{_origin(location, sources)}: {key} is wrong: {_reason(error)}."


def _reason(error: ErrorDetails) -> str:
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] == "time_delta_parsing" or "timedelta" in text:
        return "it must be a duration such as 90s, 15m, 1h or 30d"
    return f"{text[0].lower()}{text[1:]}"


def _origin(location: tuple[str, ...], sources: Mapping[str, PydanticBaseSettingsSource]) -> str:
    """Which source set the offending key, by the name an operator knows it under."""
    for name, source in sources.items():
        value: Any = source()
        for part in location[:2]:
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            continue
        if name == "environment":
            return "BOT_" + "__".join(location[:2]).upper()
        if name == "well-known variable":
            names = {path: known for known, path in _WELL_KNOWN.items()}
            return (names | _WELL_KNOWN_ADDRESSES)[location[0], location[1]]
        return name
    return "settings"
