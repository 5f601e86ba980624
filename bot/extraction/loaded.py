"""Which of our models an Ollama server holds in memory, for /metrics."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.model import EmbeddingModel
from bot.settings import Settings

if TYPE_CHECKING:
    from ollama import AsyncClient, ProcessResponse

_PATIENCE = 0.5  # seconds: a scrape waits for it


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a model takes up, in bytes: of all memory, and of the GPU's."""

    size: int
    vram: int


class LoadedModels:
    """Asks the server, if there are models of ours on it. Makes no connection and imports no client before.

    `embedding` is the model that embeds now.
    """

    def __init__(self, settings: Settings, embedding: Callable[[], EmbeddingModel]) -> None:
        self._reads = {settings.extraction.provider: settings.ollama.model}
        self._embedding = embedding
        self._url = settings.ollama.url
        self._client: AsyncClient | None = None

    async def look(self) -> dict[str, Loaded | None] | None:
        """Each of the models (None: it is not loaded), or None if the server does not answer within a moment."""
        embedding = self._embedding()
        asked = self._reads, {embedding.provider: embedding.name}
        models = [model for by_provider in asked if (model := by_provider.get("ollama"))]
        if not models:
            return {}
        import httpx
        from ollama import ResponseError

        try:
            async with asyncio.timeout(_PATIENCE):
                running = {one.model: one for one in (await self._connected().ps()).models}
        except (TimeoutError, ResponseError, httpx.HTTPError, ConnectionError, ValueError, TypeError, AttributeError):
            return None
        return {model: _taken(running.get(_tagged(model))) for model in models}

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()  # type: ignore[no-untyped-call]  # the library leaves it untyped

    def _connected(self) -> "AsyncClient":
        import httpx
        from ollama import AsyncClient

        if self._client is None:
            # To read whom the system trusts takes 30 ms, which a server without TLS does not need.
            secure = self._url.startswith("https:")
            tls = httpx.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._client = AsyncClient(self._url, timeout=_PATIENCE, verify=tls)
        return self._client


def _tagged(model: str) -> str:
    return model if ":" in model else f"{model}:latest"


def _taken(running: "ProcessResponse.Model | None") -> Loaded | None:
    return None if running is None else Loaded(running.size or 0, running.size_vram or 0)
