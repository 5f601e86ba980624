"""Embeddings through Voyage AI's API (https://docs.voyageai.com/reference/embeddings-api).

It is one POST, so httpx, which the bot has anyway, asks it: the `voyageai` client brings langchain-core, langsmith and
a dozen more, and logs what it sends.
"""

import asyncio

import httpx

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
from bot.settings_services import VoyageSettings

# 1,000 texts, and the tokens of the models that take the fewest, as voyage-4-large; voyage-4-lite takes a million.
_LIMITS = Limits(inputs=1000, bytes=120_000)
_ONE_SIZE = ("voyage-3", "voyage-3-lite")  # these, and whatever ends in -2, refuse to be told a size


class VoyageEmbedder(BaseEmbedder):
    """The `Embedder` on Voyage AI's embeddings API."""

    service = "Voyage"

    def __init__(self, settings: VoyageSettings) -> None:
        super().__init__(settings.model, settings.dimensions, "voyage.dimensions", _LIMITS)
        self._where = shown_url(settings.base_url)
        self._url = f"{settings.base_url}/embeddings"
        self._client = httpx.AsyncClient(
            headers={b"Authorization": f"Bearer {settings.api_key.get_secret_value()}".encode()},
            timeout=settings.timeout.total_seconds(),
            verify=httpx.create_ssl_context(),
        )

    async def close(self) -> None:
        """See `Embedder`."""
        await self._client.aclose()

    async def _request(self, texts: list[str], purpose: Purpose) -> Embedded:
        body = {
            "input": texts,
            "model": self.model,
            "input_type": purpose.value,
            "truncation": True,
            "encoding_format": "base64",
        }
        if self.model not in _ONE_SIZE and not self.model.endswith("-2"):
            body["output_dimension"] = self.dimensions
        try:
            answer = await self._client.post(self._url, json=body)
        except httpx.HTTPError:
            raise Temporary(f"The embedder at {self._where} cannot be reached.") from None
        if not answer.is_success:
            raise self._refusal(answer)
        try:
            return await asyncio.to_thread(read_answer, answer.content)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise EmbedderUnavailable(f"{self._where} does not answer like Voyage's API.") from error

    def _refusal(self, answer: httpx.Response) -> EmbedderUnavailable:
        """What a status code means (https://docs.voyageai.com/docs/error-codes), without the server's own words."""
        status = answer.status_code
        if status == 402:
            return QuotaExhausted()
        if status == 401:
            return EmbedderUnavailable("Voyage refused the API key (401): check voyage.api_key.")
        if status == 403:
            return EmbedderUnavailable("Voyage does not serve the address of this machine (403).")
        if status == 404:
            return EmbedderUnavailable(
                f"There is no embeddings API at {self._where} (404): voyage.base_url ends in /v1, mostly."
            )
        if status == 429:
            return Temporary("Voyage's rate limit is reached (429).", retry_after(answer.headers))
        if status >= 500:
            return Temporary(f"Voyage failed ({status}).", retry_after(answer.headers))
        if status in CONTENT_REFUSED:
            # It has no code that tells a text from a setting: the same status means either.
            return TextsRefused(
                f"Voyage refused the request ({status}): check voyage.model and voyage.dimensions, "
                "which are 256, 512, 1024 or 2048 for the newer models."
            )
        return EmbedderUnavailable(f"Voyage refused the request ({status}).")
