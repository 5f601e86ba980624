"""How far the copying of an index has come, in a small file that survives a kill and a power cut."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

UNMAPPED = "unmapped"


@dataclass(slots=True)
class Progress:
    """What is on the target's disk: so many points of each guild, the one at work up to `after` in id order."""

    copied: dict[str, int] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    at: str | None = None
    after: str | None = None

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """From JSON. Raises `LookupError`, `TypeError` or `ValueError` for what is none."""
        copied = {str(name): int(count) for name, count in stored["copied"].items()}
        return cls(copied, [str(name) for name in stored["finished"]], stored["at"], stored["after"])


class Checkpoint:
    """The file at `path`: one JSON object, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Progress | None:
        """What it says; None if there is none, or one that is not whole."""
        try:
            return Progress.from_dict(json.loads(self.path.read_text("utf-8")))
        except (FileNotFoundError, LookupError, TypeError, ValueError, AttributeError):
            return None

    def save(self, progress: Progress) -> None:
        """Replace it; on disk when this returns. Raises `OSError`."""
        self.path.parent.mkdir(0o700, parents=True, exist_ok=True)
        unfinished = self.path.with_name(f"{self.path.name}.new")
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(asdict(progress), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove(self) -> None:
        """Nothing is under way any more."""
        self.path.unlink(missing_ok=True)


def name_of(guild_id: int | None) -> str:
    """A guild in a checkpoint."""
    return UNMAPPED if guild_id is None else str(guild_id)
