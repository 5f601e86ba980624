"""The page that lists every setting, written from the settings themselves."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from bot.settings import Settings
from bot.settings_sources import well_known_names

HEADER = """\
# Settings

This page is written by `make docs` from the settings themselves. They stand in `config.toml` under the heading of \
their section, as in [config.example.toml](../config.example.toml); the variable of the same row overrides the file. \
Durations are written as `90s`, `15m`, `1h` or `30d`. A secret is better kept in a file of its own, named as the \
variable in brackets or `section__key`, in the folder that `BOT_SECRETS_DIR` names (`/run/secrets`).
"""
_UNITS = (("h", 3600), ("m", 60), ("s", 1))


def reference() -> str:
    """The page as Markdown."""
    return "\n".join([HEADER, *map(_section, Settings.model_fields)])


def _section(name: str) -> str:
    fields: dict[str, FieldInfo] = getattr(Settings.model_fields[name].annotation, "model_fields", {})
    rows = ["| setting | default | variable | |", "|---|---|---|---|"]
    rows += (f"| {' | '.join(_cells(name, key, field))} |" for key, field in fields.items())
    return f"## {name}\n" + "\n".join(rows) + "\n"


def _cells(section: str, key: str, field: FieldInfo) -> Iterator[str]:
    yield f"`{key}`"
    yield f"`{_written(field.get_default(call_default_factory=True))}`"
    yield " ".join([f"`BOT_{section.upper()}__{key.upper()}`", *_known_as(section, key)])
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    one_of = f" One of {', '.join(f'`{json.dumps(choice)}`' for choice in choices)}." if choices else ""
    yield (field.description or "").replace("|", "\\|") + one_of


def _known_as(section: str, key: str) -> Iterator[str]:
    for name in well_known_names().get((section, key), ()):
        yield f"(`{name}`)"


def _written(value: Any) -> str:
    """A value as it stands in the file."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0)
        value = f"{seconds // size}{unit}"
    return json.dumps(str(value) if isinstance(value, Path) else value)
