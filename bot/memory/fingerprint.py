"""What an index is made of: whose vectors of what size, in which layout. Another one's vectors fit into it nowhere."""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bot.errors import IndexMismatch, IndexUnavailable
from bot.model import EmbeddingModel

LAYOUT = 1
"""Raised whenever an index made before has to be filled anew."""
FILE = "fingerprint.json"
# What the settings call the model and the size of each provider.
_SETTINGS = {
    "openai": ("openai.embedding_model", "openai.dimensions"),
    "ollama": ("ollama.embedding_model", "ollama.embedding_dimensions"),
    "voyage": ("voyage.model", "voyage.dimensions"),
    "fastembed": ("fastembed.model", "fastembed.dimensions"),
}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a whole index has in common."""

    embedding: EmbeddingModel
    layout: int = LAYOUT

    def __str__(self) -> str:
        return str(self.embedding) if self.layout == LAYOUT else f"{self.embedding} in layout {self.layout}"

    def refuse_other(self, stored: "Fingerprint", where: str) -> None:
        """Raise `IndexMismatch` if what lies `where` is of another one: which, and what to do about it."""
        if stored.layout > self.layout:
            raise IndexMismatch(f"{where} is in layout {stored.layout}, this version makes {self}: update Recollect.")
        if stored != self:
            back = "" if stored.embedding == self.embedding else f", or set {in_settings(stored.embedding)} again"
            raise IndexMismatch(
                f"{where} was made with {stored}, but the settings ask for {self}: run `recollect reindex "
                f"--embedder {spec_of(self.embedding)}`{back}."
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """From JSON. Raises `LookupError`, `TypeError` or `ValueError` for what is none."""
        model = stored["embedding"]
        embedding = EmbeddingModel(str(model["provider"]), str(model["name"]), int(model["dimensions"]))
        return cls(embedding, int(stored["layout"]))


def refuse_size(stored: int, dimensions: int, where: str, fingerprint: Fingerprint | None) -> None:
    """Raise `IndexMismatch` if vectors of another size lie `where`; it is not known whose."""
    if stored != dimensions:
        asked = f"the settings ask for {fingerprint}" if fingerprint else f"{dimensions} is asked for"
        raise IndexMismatch(
            f"{where} holds vectors of size {stored}, but {asked}: set the embedding model that it was made with "
            "again, or begin with another index, and what is held is indexed anew."
        )


class Stamp:
    """The fingerprint of the index in a folder: checked, or given to one that has none, once a process. None checks
    nothing."""

    def __init__(self, folder: Path, fingerprint: Fingerprint | None) -> None:
        self._folder = folder
        self._fingerprint = fingerprint
        self._lock = threading.Lock()
        self._right = fingerprint is None

    def check(self, filled: bool) -> None:
        """Raise `IndexMismatch` for another index, unless there is nothing in it, and `IndexUnavailable` as `read`."""
        if not self._right and self._fingerprint is not None and filled and (stored := read(self._folder)):
            self._fingerprint.refuse_other(stored, f"The index in {self._folder}")
            self._right = True

    def put(self) -> None:
        """Say what it is made of, once it was checked. Raises `OSError`."""
        with self._lock:
            if not self._right and self._fingerprint is not None:
                write(self._folder, self._fingerprint)
                self._right = True


def read(folder: Path) -> Fingerprint | None:
    """The fingerprint of the index in a folder, None if it has none. Raises `IndexUnavailable` if it is damaged."""
    try:
        return Fingerprint.from_dict(json.loads((folder / FILE).read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise IndexUnavailable(
            f"{folder / FILE} is damaged: delete it if the settings name the model that made this index."
        ) from error


def write(folder: Path, fingerprint: Fingerprint) -> None:
    """Say of the index in a folder what it is made of; on disk when this returns. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{FILE}.new"
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump(fingerprint.to_dict(), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / FILE)


def spec_of(model: EmbeddingModel) -> str:
    """The model as `recollect reindex --embedder` takes it."""
    return f"{model.provider}:{model.name}:{model.dimensions}"


def settings_for(model: EmbeddingModel) -> dict[str, str | int]:
    """The settings that name a model: its provider, its name and its size."""
    name, dimensions = _SETTINGS[model.provider]
    return {"embedding.provider": model.provider, name: model.name, dimensions: model.dimensions}


def in_settings(model: EmbeddingModel) -> str:
    """The settings that name a model, for people."""
    provider, name, size = (f"{key} = {json.dumps(value)}" for key, value in settings_for(model).items())
    return f"{provider}, {name} and {size}"
