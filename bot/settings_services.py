"""The tables of the services that read, embed and store: who they are, and how each is reached."""

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from bot.settings_types import Duration, HttpUrl, OptionalPath, OptionalUrl, Section


class ExtractionSettings(Section):
    provider: Literal["ollama", "openai", "anthropic", "compatible"] = "ollama"
    """Who reads whole conversations: a local Ollama, a cloud, or any server that speaks OpenAI's chat."""
    fallback: Literal["", "openai", "anthropic", "compatible"] = ""
    """Who takes over while Ollama cannot be reached; empty lets messages wait."""
    fallback_after: Duration = timedelta(hours=1)
    """How long Ollama must have been out of reach before that."""
    fallback_daily_tokens: int = Field(default=200_000, ge=0)
    """Most tokens, read and written, the fallback may use up in a day (UTC)."""

    @model_validator(mode="after")
    def _fallback_is_for_ollama(self) -> Self:
        if self.fallback and self.provider != "ollama":
            raise ValueError('fallback takes over for Ollama only: leave it empty, or set provider = "ollama"')
        return self


class EmbeddingSettings(Section):
    provider: Literal["openai", "ollama", "voyage", "fastembed"] = "openai"
    """Who turns texts into vectors; no text leaves your machines for fastembed, nor for an Ollama of your own."""
    next: Literal["", "openai", "ollama", "voyage", "fastembed"] = ""
    """Who is to take over by `recollect reindex`; members are told of a service outside before it is sent anything."""
    price_per_million: float = Field(default=0.02, ge=0)
    """US dollars for a million tokens, for the cost in /metrics; 0 for your own hardware."""


class OllamaSettings(Section):
    url: HttpUrl = "http://127.0.0.1:11434"
    """Where Ollama listens; a URL without a port means port 80."""
    run_by: str = Field(default="", max_length=80)
    """Who runs that Ollama, if not you: members are told this name, whatever the address looks like."""
    model: str = Field(default="llama3.1:8b", min_length=1)
    """The model that extracts facts; pull it first with `ollama pull`."""
    num_ctx: int = Field(default=8192, ge=2048)
    """The context size asked for, in tokens; Ollama cuts longer prompts silently."""
    timeout: Duration = timedelta(minutes=5)
    """How long Ollama may stay silent before the next word; a cold model needs minutes to load."""
    keep_alive: Duration = timedelta(minutes=10)
    """How long Ollama keeps the model loaded after a call."""
    embedding_model: str = Field(default="nomic-embed-text", min_length=1)
    """The model that embeds texts, where embedding.provider is ollama."""
    embedding_dimensions: int = Field(default=768, ge=8, le=8192)
    """The size of its embeddings."""


class OpenAISettings(Section):
    api_key: SecretStr = SecretStr("")
    """The key, for embeddings and for extraction by OpenAI; without one, recall searches by keywords only."""
    base_url: HttpUrl = "https://api.openai.com/v1"
    """Base of the API; any server that speaks OpenAI's embeddings will do, and is asked to chat, too."""
    embedding_model: str = Field(default="text-embedding-3-small", min_length=1)
    """The embedding model; changing it later needs every memory embedded again."""
    dimensions: int = Field(default=1536, ge=8, le=8192)
    """The size of an embedding."""
    timeout: Duration = timedelta(seconds=30)
    """How long a request for embeddings may take; a model that extracts may think for two minutes."""
    chat_model: str = Field(default="gpt-5-mini", min_length=1)
    """The model that extracts facts, where OpenAI is to."""

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI's own API."""
        own: str = type(self).model_fields["base_url"].default
        return self.base_url == own

    @property
    def configured(self) -> bool:
        """Whether there is an embedder: OpenAI with a key, or another server, which may need none."""
        return bool(self.api_key.get_secret_value()) or not self.is_openai


class VoyageSettings(Section):
    api_key: SecretStr = SecretStr("")
    """The key for Voyage AI's embeddings, where embedding.provider is voyage."""
    base_url: HttpUrl = "https://api.voyageai.com/v1"
    """Base of the API; change it only to talk to a proxy or a stand-in."""
    model: str = Field(default="voyage-4-lite", min_length=1)
    """The embedding model."""
    dimensions: int = Field(default=1024, ge=8, le=8192)
    """The size of an embedding."""
    timeout: Duration = timedelta(seconds=30)
    """How long one request may take."""

    @property
    def configured(self) -> bool:
        """Whether there is a key, without which nothing is answered."""
        return bool(self.api_key.get_secret_value())


class FastembedSettings(Section):
    model: str = Field(default="BAAI/bge-small-en-v1.5", min_length=1)
    """The model that runs inside the bot, where embedding.provider is fastembed."""
    dimensions: int = Field(default=384, ge=8, le=8192)
    """The size of its embeddings."""
    folder: OptionalPath = ""
    """A folder that holds the model's files; empty downloads them once."""


class AnthropicSettings(Section):
    api_key: SecretStr = SecretStr("")
    """The key for Anthropic's API, where it extracts facts."""
    base_url: HttpUrl = "https://api.anthropic.com"
    """Base of the API; change it only to talk to a proxy or a stand-in."""
    model: str = Field(default="claude-haiku-4-5", min_length=1)
    """The model that extracts facts."""
    timeout: Duration = timedelta(minutes=5)
    """How long the API may stay silent before the next word."""


class CompatibleSettings(Section):
    base_url: OptionalUrl = ""
    """Base of a server that speaks OpenAI's chat, as vLLM and llama.cpp do; it ends in /v1, mostly."""
    api_key: SecretStr = SecretStr("")
    """The server's key, if it wants one."""
    model: str = ""
    """The model's name on that server."""
    context: int = Field(default=8192, ge=2048)
    """The model's context size, in tokens."""
    timeout: Duration = timedelta(minutes=5)
    """How long the server may stay silent before the next word."""


class QdrantSettings(Section):
    url: OptionalUrl = ""
    """A Qdrant server; empty keeps the index embedded in the data folder."""
    api_key: SecretStr = SecretStr("")
    """The server's API key, if it has one."""
    collection: str = Field(default="discord_memories", pattern=r"^[A-Za-z0-9_-]{1,200}$")
    """The collection on the server."""
    timeout: Duration = timedelta(seconds=10)
    """How long one request may take."""
