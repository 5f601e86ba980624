"""What all stand-ins for embedding services do alike: make vectors, count, and show faults.

Embeddings are deterministic and lexical: texts that share words, or pieces of words, are similar.
"""

import asyncio
import base64
import hashlib
import math
import re
import struct
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from aiohttp import web

_WORD = re.compile(r"\w+")
_PIECE_WEIGHT = 0.4

Vector = tuple[float, ...]


class Fault(StrEnum):
    """What the server does instead of answering."""

    RATE_LIMIT = "rate limit"
    QUOTA = "quota"
    UNAUTHORIZED = "unauthorized"
    ERROR = "error"
    HANG = "hang"
    WRONG_SIZE = "wrong size"
    NOT_OPENAI = "not openai"


class Asked(NamedTuple):
    """What a good request asks for."""

    texts: list[str]
    size: int
    tokens: int


class BadRequest(Exception):
    """A request the server refuses, with its answer."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


class EmbeddingDesk(ABC):
    """Answers one service's requests for embeddings, or shows a fault.

    `fault` is shown until set to None again, or for the next `fault_for` requests. `requests` and
    `tokens` count what was answered well; `texts` holds the inputs of those requests, and `refused`
    counts the others. `hanging` is set while a request hangs.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.fault_for: int | None = None
        self.retry_after = 0.01
        self.requests = 0
        self.refused = 0
        self.tokens = 0
        self.texts: list[str] = []
        self.hanging = asyncio.Event()
        self._released = asyncio.Event()

    @abstractmethod
    def read(self, request: web.Request, body: dict[str, Any]) -> Asked:
        """What is asked for. Raises `BadRequest`."""

    @abstractmethod
    def told(self, body: dict[str, Any], vectors: Sequence[Vector], tokens: int) -> dict[str, Any]:
        """The answer, as JSON."""

    @abstractmethod
    def failure(self, fault: Fault) -> web.Response:
        """How the service shows a fault that is an answer of its own."""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request."""
        if (fault := self._next_fault()) and fault is not Fault.WRONG_SIZE:
            self.refused += 1
            return await self._show(fault)
        try:
            body = await request.json()
            asked = self.read(request, body)
        except BadRequest as error:
            self.refused += 1
            return error.response
        self.requests += 1
        self.tokens += asked.tokens
        self.texts += asked.texts
        vectors = []
        for text in asked.texts:
            vectors.append(embed(text, asked.size + (fault is Fault.WRONG_SIZE)))
            await asyncio.sleep(0)  # a question does not stand in line behind a batch of documents
        return web.json_response(self.told(body, vectors, asked.tokens))

    def hang(self) -> None:
        """Let requests hang from now on, where the fault says so."""
        self._released.clear()

    def release(self) -> None:
        """Answer whatever hangs."""
        self._released.set()

    def _next_fault(self) -> Fault | None:
        fault = self.fault
        if fault is not None and self.fault_for is not None:
            self.fault_for -= 1
            if self.fault_for <= 0:
                self.fault, self.fault_for = None, None
        return fault

    async def _show(self, fault: Fault) -> web.Response:
        if fault is Fault.HANG:
            self.hanging.set()
            await self._released.wait()
            self.hanging.clear()
        if fault is Fault.NOT_OPENAI:
            return web.Response(text="<html>Welcome to nginx!</html>", content_type="text/html")
        return self.failure(fault)


def embed(text: str, size: int) -> Vector:
    """A unit vector of a text's words and their three-letter pieces, each hashed to a place and a sign."""
    vector = [0.0] * size
    for feature, count in _features(text).items():
        digest = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest())
        weight = _PIECE_WEIGHT if feature.startswith("#") else 1.0
        vector[digest % size] += weight * math.log1p(count) * (1 if digest >> 63 else -1)
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return tuple(value / length for value in vector)


def encoded(vector: Vector, encoding: str | None) -> str | Vector:
    """A vector as a service sends it: as numbers, or as base64 of little-endian float32."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if encoding == "base64" else vector


def tokens_of(text: str) -> int:
    """About how many tokens a text has, by the rule of thumb of four bytes a token."""
    return math.ceil(len(text.encode()) / 4)


def _features(text: str) -> Counter[str]:
    features: Counter[str] = Counter()
    for word in _WORD.findall(text.lower()):
        features[word] += 1
        padded = f"^{word}$"
        features.update("#" + padded[start : start + 3] for start in range(len(padded) - 2))
    return features
