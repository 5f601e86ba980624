"""What a scope lets a search see, said once for both indexes."""

from dataclasses import dataclass

from bot.model import Scope
from bot.storage.rows import to_ms


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The field holds one of these values."""

    field: str
    values: list[str] | list[int]


@dataclass(frozen=True, slots=True)
class Between:
    """The field lies in [at_least, below); None leaves an end open."""

    field: str
    at_least: int | None
    below: int | None


def conditions(scope: Scope) -> list[AnyOf | Between]:
    """All that must hold for a point to be found: always its guild and who may see it, then what narrows further."""
    found: list[AnyOf | Between] = [
        AnyOf("guild_id", [str(scope.guild_id)]),
        AnyOf("access_id", sorted(scope.access_ids)),
    ]
    if scope.channel_id is not None:
        found.append(AnyOf("channel_id", [scope.channel_id]))
    if scope.about_id is not None:
        found.append(AnyOf("subject_id", [scope.about_id]))
    if scope.since is not None or scope.until is not None:
        at_least = None if scope.since is None else to_ms(scope.since)
        below = None if scope.until is None else to_ms(scope.until)
        found.append(Between("said_at", at_least, below))
    return found
