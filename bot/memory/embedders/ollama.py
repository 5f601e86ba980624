"""Embeddings by a model on an Ollama server, through the official client: no text goes anywhere but there.

Protocol: https://docs.ollama.com/api/embed.
"""

from array import array
from typing import TYPE_CHECKING

import httpx

from bot.errors import EmbedderUnavailable
from bot.memory.embedders.base import (
    CONTENT_REFUSED,
    BaseEmbedder,
    Embedded,
    Limits,
    Purpose,
    Temporary,
    TextsRefused,
)
from bot.memory.embedders.prefixes import prefix
from bot.settings import shown_url
from bot.settings_services import OllamaSettings

if TYPE_CHECKING:
    from ollama import AsyncClient, ResponseError

# The server has no limits. A few texts a request let a member's question in between, and keep the answer so small
# that reading it does not hold up the event loop.
_LIMITS = Limits(inputs=32, bytes=128_000)
_CONNECT_SECONDS = 10
# A text longer than the model's context that the server did not cut though it was told to (github.com/ollama/ollama/
# issues/14186), and one the model makes no number of, again and again (issues/15582): both come as server errors, too.
_TEXT_AT_FAULT = ("context length", "unsupported value: nan")
_BUSY = (429, 500, 502, 503, 504)


class OllamaEmbedder(BaseEmbedder):
    """The `Embedder` on `/api/embed`; `ollama` is imported with the first instance.

    It asks for no context size: an embedding model's own is the most it can use, and asking for another would load
    it anew.
    """

    # Not "Ollama", which is the language model: either may fail without the other, even on one server.
    service = "Ollama embeddings"

    def __init__(self, settings: OllamaSettings) -> None:
        super().__init__(
            settings.embedding_model,
            settings.embedding_dimensions,
            "ollama.embedding_dimensions",
            _LIMITS,
        )
        self._settings = settings
        self._where = f"Ollama at {shown_url(settings.url)}"
        self._client = _client(settings)

    async def close(self) -> None:
        """See `Embedder`."""
        await self._client.close()  # type: ignore[no-untyped-call]  # the library leaves it untyped

    async def _request(self, texts: list[str], purpose: Purpose) -> Embedded:
        from ollama import ResponseError

        before = prefix(self.model, purpose)
        try:
            answer = await self._client.embed(
                model=self.model,
                input=[before + text for text in texts],
                truncate=True,
                keep_alive=self._settings.keep_alive.total_seconds(),
            )
            return Embedded([array("f", vector) for vector in answer.embeddings], answer.prompt_eval_count or 0)
        except ResponseError as error:
            raise self._refusal(error) from None  # its own words may quote what was sent
        except (httpx.HTTPError, ConnectionError):
            raise Temporary(f"{self._where} cannot be reached.") from None
        except (AttributeError, LookupError, TypeError, ValueError) as error:  # no JSON, or not of Ollama's shape
            raise EmbedderUnavailable(f"{self._where} does not answer as Ollama does.") from error

    def _refusal(self, error: "ResponseError") -> EmbedderUnavailable:
        """What the server's error means."""
        status, said = error.status_code, str(error.error).lower()
        if status == 404 and "model" in said:
            return EmbedderUnavailable(f"Ollama has no model {self.model!r}: run `ollama pull {self.model}`.")
        if status == 404:
            return EmbedderUnavailable(f"There are no embeddings at {shown_url(self._settings.url)} (404).")
        if "support embed" in said:
            return EmbedderUnavailable(f"{self.model!r} cannot embed: check ollama.embedding_model.")
        if status in CONTENT_REFUSED or any(words in said for words in _TEXT_AT_FAULT):
            return TextsRefused(f"{self._where} refused the request ({status}).")
        if status in _BUSY:
            return Temporary(f"{self._where} failed ({status}).")
        return EmbedderUnavailable(f"{self._where} refused the request ({status}).")


def _client(settings: OllamaSettings) -> "AsyncClient":
    from ollama import AsyncClient

    timeout = httpx.Timeout(settings.timeout.total_seconds(), connect=_CONNECT_SECONDS)
    return AsyncClient(settings.url, timeout=timeout, verify=httpx.create_ssl_context())
