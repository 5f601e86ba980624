"""Embeddings: text to dense vectors, through OpenAI's API or any server that speaks it."""

import asyncio
import base64
import json
from array import array
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Protocol

import stamina
import structlog

from bot.errors import EmbedderUnavailable, QuotaExhausted
from bot.model import ServiceHealth
from bot.settings import OpenAISettings, shown_url

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

# The API's limits (https://platform.openai.com/docs/api-reference/embeddings/create), held in UTF-8
# bytes: the tokenizer works on bytes, so a text never has more tokens than bytes.
_REQUEST_INPUTS = 2048
_REQUEST_BYTES = 300_000
_INPUT_BYTES = 8191

_DOCUMENT_ATTEMPTS = 4
_QUERY_ATTEMPTS = 2  # someone is waiting, and keywords can answer
_QUERY_SECONDS = 5.0
_LONGEST_WAIT = 60.0  # seconds; a longer Retry-After is left to the caller's own back-off
_CACHED_QUERIES = 256
_CONTENT_REFUSED = (400, 413, 422)
_HARMLESS = "hello"

log = structlog.get_logger(__name__)


class Embedder(Protocol):
    """Turns text into vectors of one size. Raises `EmbedderUnavailable` or `QuotaExhausted`."""

    model: str
    dimensions: int

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
        """Close the connections."""
        ...


class OpenAIEmbedder:
    """The `Embedder` on OpenAI's embeddings API; `openai` is imported with the first instance."""

    def __init__(self, settings: OpenAISettings) -> None:
        self.model = settings.embedding_model
        self.dimensions = settings.dimensions
        self._settings = settings
        self._client = _client(settings)
        self._zero = array("f", bytes(4 * self.dimensions))
        self._queries: OrderedDict[str, Sequence[float]] = OrderedDict()
        self._health = ServiceHealth("OpenAI", True, "No embedding was needed yet.")

    async def documents(self, texts: Sequence[str], within: float | None = None) -> list[Sequence[float] | None]:
        """See `Embedder`. Sends as few requests as the server's limits allow, one after the other."""
        vectors: list[Sequence[float] | None] = [self._zero] * len(texts)
        async with self._in_time(within):
            for chunk in _chunks(texts):
                for position, vector in zip(chunk, await self._chunk(list(chunk.values())), strict=True):
                    vectors[position] = vector
        if refused := vectors.count(None):
            log.warning("texts_without_vector", texts=refused)
            self._answers()  # the refusal may have come last
        return vectors

    async def queries(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """See `Embedder`. One request, which gives up after seconds rather than minutes."""
        if unknown := [text for text in dict.fromkeys(texts) if text.strip() and self.known(text) is None]:
            async with self._in_time(_QUERY_SECONDS):
                found = await self._embed(list(map(_cut, unknown)), _QUERY_ATTEMPTS)
            self._queries |= zip(unknown, found, strict=True)
        vectors = [self._queries.get(text, self._zero) for text in texts]
        while len(self._queries) > _CACHED_QUERIES:
            self._queries.popitem(last=False)
        return vectors

    def known(self, text: str) -> Sequence[float] | None:
        """See `Embedder`."""
        if (vector := self._queries.get(text)) is not None:
            self._queries.move_to_end(text)
        return vector

    async def health(self) -> ServiceHealth:
        return self._health

    async def close(self) -> None:
        await self._client.close()

    async def _chunk(self, texts: list[str]) -> list[Sequence[float] | None]:
        """The vectors of one request, or of more if the server refuses it for what it holds."""
        try:
            return list(await self._embed(texts, _DOCUMENT_ATTEMPTS))
        except TextsRefused:
            await self._embed([_HARMLESS], _DOCUMENT_ATTEMPTS)  # if it refuses this too, it is not the texts
        return await self._halves(texts)

    async def _halves(self, texts: list[str]) -> list[Sequence[float] | None]:
        """The vectors of texts that are refused together: local servers take fewer or shorter ones than OpenAI."""
        if len(texts) == 1:
            return [None]
        middle = len(texts) // 2
        vectors: list[Sequence[float] | None] = []
        for half in (texts[:middle], texts[middle:]):
            try:
                vectors += await self._embed(half, _DOCUMENT_ATTEMPTS)
            except TextsRefused:
                vectors += await self._halves(half)
        return vectors

    @asynccontextmanager
    async def _in_time(self, within: float | None) -> AsyncIterator[None]:
        """All requests and waits together take at most this many seconds."""
        try:
            async with asyncio.timeout(within):
                yield
        except TimeoutError as error:
            raise self._failed(EmbedderUnavailable(f"The embedder did not answer within {within} s.")) from error

    async def _embed(self, texts: list[str], attempts: int) -> list[Sequence[float]]:
        """The vectors of one request."""
        try:
            async for attempt in stamina.retry_context(_wait_before_retry, attempts=attempts, timeout=None):
                with attempt:
                    vectors = await self._request(texts)
        except EmbedderUnavailable as error:
            self._failed(error)
            raise
        self._answers()
        return vectors

    def _answers(self) -> None:
        self._health = ServiceHealth("OpenAI", True, f"{self.model} answers.")

    def _failed(self, error: EmbedderUnavailable) -> EmbedderUnavailable:
        self._health = ServiceHealth("OpenAI", False, str(error))
        return error

    async def _request(self, texts: list[str]) -> list[Sequence[float]]:
        import openai

        # Only the third generation can shorten its vectors; other models refuse the parameter.
        dimensions = self.dimensions if self.model.startswith("text-embedding-3") else openai.omit
        try:
            answer = await self._client.embeddings.with_raw_response.create(
                input=texts, model=self.model, dimensions=dimensions, encoding_format="base64"
            )
            # The client's own objects of a large answer would hold up the event loop.
            vectors = await asyncio.to_thread(_vectors, answer.content)
        except openai.APIStatusError as error:
            raise self._refusal(error) from error
        except openai.APIConnectionError as error:
            raise _Temporary(f"The embedder at {shown_url(self._settings.base_url)} cannot be reached.") from error
        except (openai.OpenAIError, LookupError, TypeError, ValueError) as error:  # the client hardly checks
            where = shown_url(self._settings.base_url)
            raise EmbedderUnavailable(f"{where} does not answer like OpenAI's API.") from error
        if len(vectors) != len(texts):
            raise EmbedderUnavailable(f"The embedder returned {len(vectors)} vectors for {len(texts)} texts.")
        if wrong := next((len(vector) for vector in vectors if len(vector) != self.dimensions), None):
            raise EmbedderUnavailable(
                f"{self.model} makes vectors of size {wrong}, but openai.dimensions is {self.dimensions}."
            )
        return vectors

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
            return _Temporary("The embedder's rate limit is reached (429).", _retry_after(error))
        if status >= 500:
            return _Temporary(f"The embedder failed ({status}).", _retry_after(error))
        refused = TextsRefused if status in _CONTENT_REFUSED else EmbedderUnavailable
        return refused(f"The embedder refused the request ({status}, {error.code or 'no code'}).")


class TextsRefused(EmbedderUnavailable):
    """The embedder does not take what was sent: too many texts, or one that is too long or odd for it."""


class _Temporary(EmbedderUnavailable):
    """The embedder may answer if asked again, after `wait` seconds when it said so."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def open_embedder(settings: OpenAISettings) -> OpenAIEmbedder | None:
    """The configured embedder; None when OpenAI itself is meant but there is no key."""
    return OpenAIEmbedder(settings) if settings.configured else None


def _client(settings: OpenAISettings) -> "AsyncOpenAI":
    from openai import AsyncOpenAI

    key = settings.api_key.get_secret_value() or "none"  # local servers want none, the client wants one
    timeout = settings.timeout.total_seconds()
    return AsyncOpenAI(api_key=key, base_url=settings.base_url, timeout=timeout, max_retries=0)


def _wait_before_retry(error: Exception) -> bool | float:
    if not isinstance(error, _Temporary):
        return False
    if error.wait is None:
        return True
    return error.wait if error.wait <= _LONGEST_WAIT else False


def _retry_after(error: "APIStatusError") -> float | None:
    """Seconds to wait, by the standard header or OpenAI's finer one; None if not said in numbers."""
    headers = error.response.headers
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return float(milliseconds) / 1000
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None


def _chunks(texts: Sequence[str]) -> Iterator[dict[int, str]]:
    """The texts that are not blank, cut to size, by position, as many a request as its limits allow."""
    chunk: dict[int, str] = {}
    size = 0
    for position, text in enumerate(texts):
        if not text.strip():
            continue
        cut = _cut(text)
        length = len(cut.encode())
        if chunk and (len(chunk) == _REQUEST_INPUTS or size + length > _REQUEST_BYTES):
            yield chunk
            chunk, size = {}, 0
        chunk[position] = cut
        size += length
    if chunk:
        yield chunk


def _cut(text: str) -> str:
    """The text, or as much of its beginning as one input may hold."""
    encoded = text.encode(errors="replace")  # a lone surrogate cannot be sent
    return encoded[:_INPUT_BYTES].decode(errors="ignore")


def _vectors(answer: bytes) -> list[Sequence[float]]:
    return [_vector(item["embedding"]) for item in sorted(json.loads(answer)["data"], key=itemgetter("index"))]


def _vector(embedding: str | Sequence[float]) -> Sequence[float]:
    """Base64 is little-endian float32; a server that ignores the asked format sends numbers."""
    if not isinstance(embedding, str):
        return array("f", embedding)
    return array("f", base64.b64decode(embedding))
