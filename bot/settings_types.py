"""A table of the settings, and what may stand in it: durations, addresses, paths and lists, as people write them."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.IGNORECASE)
_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=3650)


def _parse_duration(value: object) -> object:
    """`90s`, `15m`, `1h`, `30d` or `1h 30m`; anything else is left to pydantic (ISO 8601, seconds)."""
    if isinstance(value, bool):  # to pydantic, true is a second
        raise ValueError("it must be a duration such as 90s, 15m, 1h or 30d")
    if isinstance(value, str) and (parts := _DURATION.findall(value)) and not _DURATION.sub("", value).strip():
        seconds = sum(float(number) * _UNIT_SECONDS[unit.lower()] for number, unit in parts)
        return timedelta(seconds=min(seconds, 2 * _LONGEST.total_seconds()))
    return value


def _parse_url(value: object, schemes: tuple[str, ...], example: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        url = urlsplit(value)
        usable = url.scheme in schemes and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is no number, an IPv6 address without its end
        usable = False
    if not usable:
        raise ValueError(f"must be a URL such as {example}")
    return value


def _parse_http_url(value: object) -> object:
    parsed = _parse_url(value, ("http", "https"), "http://127.0.0.1:11434")
    return parsed.rstrip("/") if isinstance(parsed, str) else parsed


def _parse_optional_url(value: object) -> object:
    return value if value == "" else _parse_http_url(value)


def _parse_gateway_url(value: object) -> object:
    return _parse_url(value, ("ws", "wss"), "wss://gateway.discord.gg/")


def _parse_path(value: object) -> object:
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("it must be a path")
    return value


def _parse_host(value: object) -> object:
    if isinstance(value, str) and (not value or re.search(r"[\s\0]", value)):
        raise ValueError("it must be an address such as 127.0.0.1 or 0.0.0.0")
    return value


def _parse_optional_path(value: object) -> object:
    return value if value == "" else _parse_path(value)


def _split_list(value: object) -> object:
    return [part for part in re.split(r"[\s,]+", value.strip("[] ")) if part] if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_parse_duration), Field(gt=timedelta(0), le=_LONGEST)]
HttpUrl = Annotated[str, BeforeValidator(_parse_http_url)]
OptionalUrl = Annotated[str, BeforeValidator(_parse_optional_url)]
GatewayUrl = Annotated[str, BeforeValidator(_parse_gateway_url)]
FolderPath = Annotated[Path, BeforeValidator(_parse_path)]
OptionalPath = Annotated[str, BeforeValidator(_parse_optional_path)]
Host = Annotated[str, BeforeValidator(_parse_host)]
Ids = Annotated[tuple[int, ...], BeforeValidator(_split_list), NoDecode]


class Section(BaseModel):
    """One table of the file: unknown keys are refused, values never appear in error messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)
