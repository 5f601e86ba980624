"""The embedders of the recall benchmark: a local model through fastembed, or the configured API.

All systems of a run get the same vectors: a text is embedded once. A question is embedded whenever it is asked.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bot.errors import RecollectError
from bot.memory.embedders.fastembed import FastEmbedder
from bot.memory.embeddings import Embedder, embedder_of, parse_embedding_model
from bot.model import ServiceHealth
from bot.settings_services import FastembedSettings
from bot.settings_sources import load

_AT_ONCE = 64

Vector = Sequence[float]


def open_named(name: str) -> Embedder:
    """`fastembed:PATH`, a folder named as the model in it, or `openai`, as the settings have it.

    Raises `RecollectError` with a sentence that says what is missing.
    """
    kind, _, path = name.partition(":")
    if kind == "fastembed" and path:
        return _Unremembering(_model_in(Path(path)), cache=Path(path))
    if name != "openai":
        raise RecollectError(f"There is no embedder {name!r}; there are: fastembed:PATH, openai.")
    settings = load()
    if not settings.openai.configured:
        raise RecollectError("The embedder openai needs a key: set OPENAI_API_KEY, or name fastembed:PATH instead.")
    return embedder_of(settings, parse_embedding_model("openai", settings))


def _model_in(folder: Path) -> FastembedSettings:
    """The model of a folder that is named as fastembed knows it."""
    if not folder.is_dir():
        raise RecollectError(f"There is no model in {folder}: it is no folder.")
    try:
        from fastembed import TextEmbedding
    except ImportError:
        raise RecollectError("The embedder fastembed is not installed: pip install fastembed.") from None
    for model in TextEmbedding.list_supported_models():
        if model["model"].rpartition("/")[2].lower() == folder.resolve().name.lower():
            return FastembedSettings(model=model["model"], dimensions=model["dim"], folder=str(folder))
    raise RecollectError(f"fastembed knows no model named {folder.resolve().name}, as the folder is.")


class _Unremembering(FastEmbedder):
    """The embedder of the product, but every system that asks a question waits for its vector alike."""

    def known(self, text: str) -> Vector | None:
        return None


class Remembering:
    """An `Embedder` that embeds a text once, however many systems store it, but each question when it is asked.

    `seconds` adds up the time in which questions were being embedded, until set back to 0. `embedded` is told how many
    more texts have their vectors.
    """

    def __init__(self, embedder: Embedder, embedded: Callable[[int], object] = lambda count: None) -> None:
        self.name = embedder.name
        self.model = embedder.model
        self.dimensions = embedder.dimensions
        self.usage = embedder.usage
        self.seconds = 0.0
        self.embedded = embedded
        self._embedder = embedder
        self._vectors: dict[str, Vector | None] = {}
        self._asked = 0  # questions under way
        self._since = 0.0

    async def prepare(self) -> None:
        """See `Embedder`."""
        await self._embedder.prepare()

    async def documents(self, texts: Sequence[str], within: float | None = None) -> list[Vector | None]:
        """See `Embedder`. Not bound by `within`: vectors that come too late would only be missing."""
        new = [text for text in dict.fromkeys(texts) if self._key(text) not in self._vectors]
        for start in range(0, len(new), _AT_ONCE):
            chunk = new[start : start + _AT_ONCE]
            vectors = await self._embedder.documents(chunk)
            self._vectors.update(zip(map(self._key, chunk), vectors, strict=True))
            self.embedded(len(chunk))
        self.embedded(len(set(texts)) - len(new))
        return [self._vectors[self._key(text)] for text in texts]

    async def queries(self, texts: Sequence[str]) -> list[Vector]:
        if not self._asked:
            self._since = time.perf_counter()
        self._asked += 1
        try:
            return await self._embedder.queries(texts)
        finally:
            self._asked -= 1
            if not self._asked:
                self.seconds += time.perf_counter() - self._since

    def known(self, text: str) -> Vector | None:
        return None

    async def health(self) -> ServiceHealth:
        return await self._embedder.health()

    async def close(self) -> None:
        await self._embedder.close()

    def read(self, file: Path) -> None:
        """Take the vectors kept in a file, if there is one."""
        if file.exists():
            kept = np.load(file)
            self._vectors.update(zip(kept["keys"].tolist(), kept["vectors"], strict=True))

    def write(self, file: Path) -> None:
        """Keep all vectors in a file, by hashes of the texts."""
        kept = {key: vector for key, vector in self._vectors.items() if vector is not None}
        with file.open("wb") as opened:
            np.savez(opened, keys=np.array(list(kept)), vectors=np.array(list(kept.values()), np.float32))

    def _key(self, text: str) -> str:
        return hashlib.sha256(f"{self.model}\n{text}".encode()).hexdigest()
