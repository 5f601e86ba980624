"""What all embedders do alike: requests within limits, retries, refused texts, a memory of queries, and health."""

import asyncio
import base64
import json
from abc import ABC, abstractmethod
from array import array
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter
from typing import ClassVar, NamedTuple

import stamina
import structlog

from bot.errors import EmbedderUnavailable
from bot.model import ServiceHealth

# The longest input of OpenAI's models in tokens, and a text never has more tokens than bytes. Models that take less
# cut the rest off themselves: they are told to.
_INPUT_BYTES = 8191

_DOCUMENT_ATTEMPTS = 4
_QUERY_ATTEMPTS = 2  # someone is waiting, and keywords can answer
_QUERY_SECONDS = 5.0
_LONGEST_WAIT = 60.0  # seconds; a longer Retry-After is left to the caller's own back-off
_CACHED_QUERIES = 256
_HARMLESS = "hello"

CONTENT_REFUSED = (400, 413, 422)

Vector = Sequence[float]

log = structlog.get_logger(__name__)


class TextsRefused(EmbedderUnavailable):
    """The embedder does not take what was sent: too many texts, or one that is too long or odd for it."""


class Temporary(EmbedderUnavailable):
    """The embedder may answer if asked again, after `wait` seconds when it said so."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Purpose(StrEnum):
    """What a text is embedded for: to be found, or to find."""

    DOCUMENT = "document"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may hold: texts, and bytes of UTF-8, of which a text never has fewer than tokens."""

    inputs: int
    bytes: int


class Embedded(NamedTuple):
    """What one request brought: the vectors, in order, and how many tokens the service counted."""

    vectors: Sequence[Vector]
    tokens: int


@dataclass(slots=True)
class Usage:
    """What a service has done for this process: requests that it answered, and the tokens it counted in them."""

    requests: int = 0
    tokens: int = 0


class BaseEmbedder(ABC):
    """An `Embedder` but for the request itself and for closing.

    `service` is its name for people, `size_setting` the setting that holds the size of its vectors.
    """

    service: ClassVar[str]

    def __init__(self, model: str, dimensions: int, size_setting: str, limits: Limits) -> None:
        self.name = self.service
        self.model = model
        self.dimensions = dimensions
        self.usage = Usage()
        self._size_setting = size_setting
        self._limits = limits
        self._zero = array("f", bytes(4 * dimensions))
        self._queries: OrderedDict[str, Vector] = OrderedDict()
        self._health = ServiceHealth(self.name, True, "No embedding was needed yet.")

    @abstractmethod
    async def _request(self, texts: list[str], purpose: Purpose) -> Embedded:
        """The vectors of one request.

        Raises `TextsRefused` for what the texts are, `Temporary` for what may pass, and else
        `EmbedderUnavailable` or `QuotaExhausted`, none of which quotes a text.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release everything."""

    async def prepare(self) -> None:  # noqa: B027  (most have nothing to load)
        """See `Embedder`."""

    async def documents(self, texts: Sequence[str], within: float | None = None) -> list[Vector | None]:
        """See `Embedder`. Sends as few requests as the service's limits allow, one after the other."""
        vectors: list[Vector | None] = [self._zero] * len(texts)
        async with self._in_time(within):
            for chunk in _chunks(texts, self._limits):
                for position, vector in zip(chunk, await self._chunk(list(chunk.values())), strict=True):
                    vectors[position] = vector
        if refused := vectors.count(None):
            log.warning("texts_without_vector", texts=refused)
            self._answers()  # the refusal may have come last
        return vectors

    async def queries(self, texts: Sequence[str]) -> list[Vector]:
        """See `Embedder`. One request, which gives up after seconds rather than minutes."""
        if unknown := [text for text in dict.fromkeys(texts) if text.strip() and self.known(text) is None]:
            async with self._in_time(_QUERY_SECONDS):
                found = await self._embed(list(map(_cut, unknown)), Purpose.QUERY, _QUERY_ATTEMPTS)
            self._queries |= zip(unknown, found, strict=True)
        vectors = [self._queries.get(text, self._zero) for text in texts]
        while len(self._queries) > _CACHED_QUERIES:
            self._queries.popitem(last=False)
        return vectors

    def known(self, text: str) -> Vector | None:
        """See `Embedder`."""
        if (vector := self._queries.get(text)) is not None:
            self._queries.move_to_end(text)
        return vector

    async def health(self) -> ServiceHealth:
        """See `Embedder`."""
        return self._health

    async def _chunk(self, texts: list[str]) -> list[Vector | None]:
        """The vectors of one request, or of more if the service refuses it for what it holds."""
        try:
            return list(await self._embed(texts))
        except TextsRefused:
            await self._embed([_HARMLESS])  # if it refuses this too, it is not the texts
        return await self._halves(texts)

    async def _halves(self, texts: list[str]) -> list[Vector | None]:
        """The vectors of texts that are refused together: local servers take fewer or shorter ones than OpenAI."""
        if len(texts) == 1:
            return [None]
        middle = len(texts) // 2
        vectors: list[Vector | None] = []
        for half in (texts[:middle], texts[middle:]):
            try:
                vectors += await self._embed(half)
            except TextsRefused:
                vectors += await self._halves(half)
        return vectors

    async def _embed(
        self, texts: list[str], purpose: Purpose = Purpose.DOCUMENT, attempts: int = _DOCUMENT_ATTEMPTS
    ) -> Sequence[Vector]:
        """The vectors of one request, which is repeated while that may help."""
        try:
            async for attempt in stamina.retry_context(_wait_before_retry, attempts=attempts, timeout=None):
                with attempt:
                    vectors, tokens = await self._request(texts, purpose)
            self.usage.requests += 1
            self.usage.tokens += tokens
            self._check(texts, vectors)
        except EmbedderUnavailable as error:
            self._failed(error)
            raise
        self._answers()
        return vectors

    def _check(self, texts: list[str], vectors: Sequence[Vector]) -> None:
        if len(vectors) != len(texts):
            raise EmbedderUnavailable(f"The embedder returned {len(vectors)} vectors for {len(texts)} texts.")
        if wrong := next((len(vector) for vector in vectors if len(vector) != self.dimensions), None):
            raise EmbedderUnavailable(
                f"{self.model} makes vectors of size {wrong}, but {self._size_setting} is {self.dimensions}."
            )

    @asynccontextmanager
    async def _in_time(self, within: float | None) -> AsyncIterator[None]:
        """All requests and waits together take at most this many seconds."""
        try:
            async with asyncio.timeout(within):
                yield
        except TimeoutError as error:
            raise self._failed(EmbedderUnavailable(f"The embedder did not answer within {within} s.")) from error

    def _answers(self) -> None:
        self._health = ServiceHealth(self.name, True, f"{self.model} answers.")

    def _failed(self, error: EmbedderUnavailable) -> EmbedderUnavailable:
        self._health = ServiceHealth(self.name, False, str(error))
        return error


def read_answer(answer: bytes) -> Embedded:
    """An answer in the form of OpenAI's API, which Voyage's has, too.

    Raises `LookupError`, `TypeError` or `ValueError` for another form. Large ones take milliseconds: use a worker
    thread.
    """
    told = json.loads(answer)
    vectors = [_vector(item["embedding"]) for item in sorted(told["data"], key=itemgetter("index"))]
    return Embedded(vectors, int((told.get("usage") or {}).get("total_tokens") or 0))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, by the standard header or OpenAI's finer one; None if not said in numbers."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return float(milliseconds) / 1000
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None


def _wait_before_retry(error: Exception) -> bool | float:
    if not isinstance(error, Temporary):
        return False
    if error.wait is None:
        return True
    return error.wait if error.wait <= _LONGEST_WAIT else False


def _chunks(texts: Sequence[str], limits: Limits) -> Iterator[dict[int, str]]:
    """The texts that are not blank, cut to size, by position, as many a request as its limits allow."""
    chunk: dict[int, str] = {}
    size = 0
    for position, text in enumerate(texts):
        if not text.strip():
            continue
        cut = _cut(text)
        length = len(cut.encode())
        if chunk and (len(chunk) == limits.inputs or size + length > limits.bytes):
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


def _vector(embedding: str | Sequence[float]) -> Vector:
    """Base64 is little-endian float32; a server that ignores the asked format sends numbers."""
    if not isinstance(embedding, str):
        return array("f", embedding)
    return array("f", base64.b64decode(embedding))
