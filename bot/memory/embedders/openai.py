"""Embeddings through OpenAI's API, or any server that speaks it."""

import asyncio
from typing import TYPE_CHECKING

from bot.errors import EmbedderUnavailable, QuotaExhausted
from bot.memory.embedders.base import (
    CONTENT_REFUSED,
    BaseEmbedder,
    Embedded,
    Limits,
    Purpose,
    Temporary,
    TextsRefused,
    read_answer,
    retry_after,
)
from bot.settings import shown_url
from bot.settings_services import OpenAISettings

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

# https://platform.openai.com/docs/api-reference/embeddings/create
_LIMITS = Limits(inputs=2048, bytes=300_000)


class OpenAIEmbedder(BaseEmbedder):
    """The `Embedder` on OpenAI's embeddings API.

    Its client is made with the first request, in a worker thread: importing `openai` takes most of a second.
    """

    service = "OpenAI"

    def __init__(self, settings: OpenAISettings) -> None:
        super().__init__(settings.embedding_model, settings.dimensions, "openai.dimensions", _LIMITS)
        self._settings = settings
        self._client: AsyncOpenAI | None = None
        self._connecting = asyncio.Lock()

    async def prepare(self) -> None:
        """See `Embedder`."""
        await self._connected()

    async def close(self) -> None:
        """See `Embedder`."""
        if self._client is not None:
            await self._client.close()

    async def _connected(self) -> "AsyncOpenAI":
        async with self._connecting:
            if self._client is None:
                self._client = await asyncio.to_thread(_client, self._settings)
            return self._client

    async def _request(self, texts: list[str], purpose: Purpose) -> Embedded:
        client = await self._connected()
        import openai

        # Only the third generation can shorten its vectors; other models refuse the parameter.
        dimensions = self.dimensions if self.model.startswith("text-embedding-3") else openai.omit
        try:
            answer = await client.embeddings.with_raw_response.create(
                input=texts, model=self.model, dimensions=dimensions, encoding_format="base64"
            )
            # The client's own objects of a large answer would hold up the event loop.
            return await asyncio.to_thread(read_answer, answer.content)
        except openai.APIStatusError as error:
            raise self._refusal(error) from None  # its own words may quote what was sent
        except openai.APIConnectionError as error:
            raise Temporary(f"The embedder at {shown_url(self._settings.base_url)} cannot be reached.") from error
        except (openai.OpenAIError, LookupError, TypeError, ValueError) as error:  # the client hardly checks
            where = shown_url(self._settings.base_url)
            raise EmbedderUnavailable(f"{where} does not answer like OpenAI's API.") from error

    def _refusal(self, error: "APIStatusError") -> EmbedderUnavailable:
        """What a status code means, without the server's own words: they may quote what was sent."""
        status = error.status_code
        if "insufficient_quota" in (error.code, error.type):
            return QuotaExhausted()
        if status in (401, 403):
            return EmbedderUnavailable(f"The embedder refused the API key ({status}): check openai.api_key.")
        if status == 404 and error.code != "model_not_found":
            where = shown_url(self._settings.base_url)
            return EmbedderUnavailable(
                f"There is no embeddings API at {where} (404): openai.base_url ends in /v1, mostly."
            )
        if status == 404:
            return EmbedderUnavailable(f"The embedder has no model {self.model!r} (404): check openai.embedding_model.")
        if status == 429:
            return Temporary("The embedder's rate limit is reached (429).", retry_after(error.response.headers))
        if status >= 500:
            return Temporary(f"The embedder failed ({status}).", retry_after(error.response.headers))
        refused = TextsRefused if status in CONTENT_REFUSED else EmbedderUnavailable
        return refused(f"The embedder refused the request ({status}, {error.code or 'no code'}).")


def _client(settings: OpenAISettings) -> "AsyncOpenAI":
    from openai import AsyncOpenAI

    key = settings.api_key.get_secret_value() or "none"  # local servers want none, the client wants one
    timeout = settings.timeout.total_seconds()
    return AsyncOpenAI(api_key=key, base_url=settings.base_url, timeout=timeout, max_retries=0)
