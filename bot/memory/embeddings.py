"""Embeddings: text to dense vectors, by whichever service the settings name."""

from collections.abc import Sequence
from typing import Protocol, get_args

from bot.errors import SettingsError
from bot.memory.embedders.base import TextsRefused, Usage
from bot.memory.embedders.fastembed import FastEmbedder
from bot.memory.embedders.ollama import OllamaEmbedder
from bot.memory.embedders.openai import OpenAIEmbedder
from bot.memory.embedders.voyage import VoyageEmbedder
from bot.model import EmbeddingModel, ServiceHealth
from bot.settings import Settings
from bot.settings_services import EmbeddingSettings

__all__ = [
    "Embedder",
    "OpenAIEmbedder",
    "TextsRefused",
    "embedder_name",
    "embedder_of",
    "open_embedder",
    "parse_embedding_model",
]

_PROVIDERS: tuple[str, ...] = get_args(EmbeddingSettings.model_fields["provider"].annotation)
# What the makers say; of other models the size has to be told.
_SIZES = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
    "nomic-embed-text": 768,
    "mxbai-embed-large": 1024,
    "embeddinggemma": 768,
    "bge-m3": 1024,
    "all-minilm": 384,
    "voyage-4-lite": 1024,
    "voyage-4": 1024,
    "voyage-4-large": 1024,
    "BAAI/bge-small-en-v1.5": 384,
    "BAAI/bge-base-en-v1.5": 768,
    "nomic-ai/nomic-embed-text-v1.5": 768,
    "sentence-transformers/all-MiniLM-L6-v2": 384,
    "intfloat/multilingual-e5-large": 1024,
}


class Embedder(Protocol):
    """Turns text into vectors of one size. Raises `EmbedderUnavailable` or `QuotaExhausted`.

    Nothing that it logs or raises holds a text.
    """

    @property
    def name(self) -> str:
        """The service's name for people, and its breaker's."""
        ...

    @property
    def model(self) -> str:
        """The model's name."""
        ...

    @property
    def dimensions(self) -> int:
        """The size of its vectors."""
        ...

    @property
    def usage(self) -> Usage:
        """What the service has done so far."""
        ...

    async def prepare(self) -> None:
        """Load what the first request would have to wait for; nothing is sent."""
        ...

    async def documents(self, texts: Sequence[str], within: float | None = None) -> list[Sequence[float] | None]:
        """One vector a text, in order, made within this many seconds.

        A blank text gets the zero vector, which is similar to nothing, and one the server refuses None.
        """
        ...

    async def queries(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """The vectors to search with, of a few short texts at once; repeated ones are answered from memory."""
        ...

    def known(self, text: str) -> Sequence[float] | None:
        """The vector of a query that was answered before and is still remembered."""
        ...

    async def health(self) -> ServiceHealth:
        """How the last request went; asking costs nothing."""
        ...

    async def close(self) -> None:
        """Release everything."""
        ...


def open_embedder(settings: Settings) -> Embedder | None:
    """The configured embedder; None where the service wants a key and has none.

    Raises `SettingsError` for one that cannot be used, as one that is not installed.
    """
    return embedder_of(settings, settings.embedding_model) if settings.embeds else None


def embedder_of(settings: Settings, model: EmbeddingModel) -> Embedder:
    """The embedder of any model, reached as the settings say. Raises `SettingsError` for one that cannot be used."""
    size = model.dimensions
    match model.provider:
        case "openai":
            openai = settings.openai.model_copy(update={"embedding_model": model.name, "dimensions": size})
            if not openai.configured:
                raise SettingsError("OpenAI wants a key: set OPENAI_API_KEY, or openai.api_key.")
            return OpenAIEmbedder(openai)
        case "ollama":
            update = {"embedding_model": model.name, "embedding_dimensions": size}
            return OllamaEmbedder(settings.ollama.model_copy(update=update))
        case "voyage":
            voyage = settings.voyage.model_copy(update={"model": model.name, "dimensions": size})
            if not voyage.configured:
                raise SettingsError("Voyage wants a key: set VOYAGE_API_KEY, or voyage.api_key.")
            return VoyageEmbedder(voyage)
        case "fastembed":
            changed = {} if model.name == settings.fastembed.model else {"folder": ""}  # which holds the other model
            update = {"model": model.name, "dimensions": size, **changed}
            return FastEmbedder(settings.fastembed.model_copy(update=update), settings.storage.path / "models")
    raise SettingsError(_nobody(model.provider))


def embedder_name(settings: Settings) -> str:
    """The name of the configured service for people, whether or not it can be used."""
    return {
        "openai": OpenAIEmbedder.service,
        "ollama": OllamaEmbedder.service,
        "voyage": VoyageEmbedder.service,
        "fastembed": FastEmbedder.service,
    }[settings.embedding.provider]


def parse_embedding_model(spec: str, settings: Settings) -> EmbeddingModel:
    """The model of `provider[:model[:dimensions]]`; what is left out is as in the settings, or as the model is known.

    Raises `SettingsError` for a provider there is none of, and where the size is neither told nor known.
    """
    provider, _, rest = spec.partition(":")
    if provider not in _PROVIDERS:
        raise SettingsError(_nobody(provider))
    name, colon, size = rest.rpartition(":")
    if not (colon and size.isdecimal()):  # a model of Ollama may have a colon of its own, before its tag
        name, size = rest, ""
    set_up = settings.model_copy(
        update={"embedding": settings.embedding.model_copy(update={"provider": provider})}
    ).embedding_model
    name = name or set_up.name
    known = set_up.dimensions if name == set_up.name else _SIZES.get(name) or _SIZES.get(name.partition(":")[0])
    if not (dimensions := int(size or known or 0)):
        raise SettingsError(f"Say the size of the vectors of {name}, too, as in {provider}:{name}:1024.")
    return EmbeddingModel(provider, name, dimensions)


def _nobody(provider: str) -> str:
    return f"There is no embedder {provider!r}; there are: {', '.join(_PROVIDERS)}."
