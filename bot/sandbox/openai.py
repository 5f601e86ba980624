"""A stand-in for OpenAI's embeddings API: the real protocol, limits and error shapes on 127.0.0.1.

Embeddings are deterministic and lexical: texts that share words, or pieces of words, are similar.
"""

import argparse
import asyncio
import base64
import hashlib
import math
import re
import struct
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from aiohttp import web

from bot.sandbox.listener import Listener

MODELS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
MOST_INPUTS = 2048
MOST_TOKENS = 8192
MOST_REQUEST_TOKENS = 300_000

_WORD = re.compile(r"\w+")
_PIECE_WEIGHT = 0.4


class Fault(StrEnum):
    """What the server does instead of answering."""

    RATE_LIMIT = "rate limit"
    QUOTA = "quota"
    UNAUTHORIZED = "unauthorized"
    ERROR = "error"
    HANG = "hang"
    WRONG_SIZE = "wrong size"
    NOT_OPENAI = "not openai"


class OpenAIServer(Listener):
    """`async with OpenAIServer() as server:` listens at `server.url`, which is a client's `base_url`.

    `fault` is shown until set to None again, or for the next `fault_for` requests. `requests`,
    `inputs` and `tokens` count what was answered well; `texts` holds the inputs of those requests.
    `hanging` is set while a request hangs.
    """

    def __init__(self, port: int = 0, api_key: str | None = None) -> None:
        super().__init__(port)
        self.fault: Fault | None = None
        self.fault_for: int | None = None
        self.retry_after = 0.01
        self.requests = 0
        self.refused = 0
        self.tokens = 0
        self.texts: list[str] = []
        self.hanging = asyncio.Event()
        self._api_key = api_key
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        return f"{super().url}/v1"

    @property
    def inputs(self) -> int:
        return len(self.texts)

    def routes(self) -> Iterable[web.RouteDef]:
        return (web.post("/v1/embeddings", self._embeddings), web.get("/v1/models", self._models))

    async def start(self) -> None:
        self._released.clear()
        await super().start()

    async def stop(self) -> None:
        self._released.set()
        await super().stop()

    async def _models(self, request: web.Request) -> web.Response:
        data = [{"id": model, "object": "model", "created": 0, "owned_by": "stand-in"} for model in MODELS]
        return web.json_response({"object": "list", "data": data})

    async def _embeddings(self, request: web.Request) -> web.Response:
        if (fault := self._next_fault()) and fault is not Fault.WRONG_SIZE:
            self.refused += 1
            return await self._show(fault)
        if self._api_key is not None and request.headers.get("Authorization") != f"Bearer {self._api_key}":
            self.refused += 1
            return _error(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")
        try:
            body = await request.json()
            texts, size = _inputs(body), _size(body)
            tokens = _counted(texts)
        except _BadRequest as error:
            self.refused += 1
            return error.response
        self.requests += 1
        self.tokens += tokens
        self.texts += texts
        if fault is Fault.WRONG_SIZE:
            size += 1
        encode = _base64 if body.get("encoding_format") == "base64" else list
        data = []
        for index, text in enumerate(texts):
            data.append({"object": "embedding", "index": index, "embedding": encode(embed(text, size))})
            await asyncio.sleep(0)  # a question does not stand in line behind a batch of documents
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})

    def _next_fault(self) -> Fault | None:
        fault = self.fault
        if fault is not None and self.fault_for is not None:
            self.fault_for -= 1
            if self.fault_for <= 0:
                self.fault, self.fault_for = None, None
        return fault

    async def _show(self, fault: Fault) -> web.Response:
        match fault:
            case Fault.RATE_LIMIT:
                response = _error(429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded")
                response.headers["Retry-After"] = str(math.ceil(self.retry_after))
                response.headers["retry-after-ms"] = str(math.ceil(self.retry_after * 1000))
                return response
            case Fault.QUOTA:
                message = "You exceeded your current quota, please check your plan and billing details."
                return _error(429, message, "insufficient_quota", "insufficient_quota")
            case Fault.UNAUTHORIZED:
                return _error(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")
            case Fault.HANG:
                self.hanging.set()
                await self._released.wait()
                self.hanging.clear()
                return _error(503, "The server is going away.", "server_error", None)
            case Fault.NOT_OPENAI:
                return web.Response(text="<html>Welcome to nginx!</html>", content_type="text/html")
            case _:
                return _error(500, "The server had an error while processing your request.", "server_error", None)


def embed(text: str, size: int) -> tuple[float, ...]:
    """A unit vector of a text's words and their three-letter pieces, each hashed to a place and a sign."""
    vector = [0.0] * size
    for feature, count in _features(text).items():
        digest = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest())
        weight = _PIECE_WEIGHT if feature.startswith("#") else 1.0
        vector[digest % size] += weight * math.log1p(count) * (1 if digest >> 63 else -1)
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return tuple(value / length for value in vector)


def _features(text: str) -> Counter[str]:
    features: Counter[str] = Counter()
    for word in _WORD.findall(text.lower()):
        features[word] += 1
        padded = f"^{word}$"
        features.update("#" + padded[start : start + 3] for start in range(len(padded) - 2))
    return features


class _BadRequest(Exception):
    def __init__(self, message: str, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.response = _error(status, message, "invalid_request_error", code)


def _inputs(body: dict[str, Any]) -> list[str]:
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise _BadRequest("'$.input' is invalid. Please check the API reference.")
    if len(texts) > MOST_INPUTS:
        raise _BadRequest(f"'$.input' is too long: at most {MOST_INPUTS} items.")
    return texts


def _size(body: dict[str, Any]) -> int:
    model = body.get("model")
    if model not in MODELS:
        raise _BadRequest(f"The model {model!r} does not exist.", "model_not_found", 404)
    size = body.get("dimensions")
    if size is None:
        return MODELS[model]
    if not model.startswith("text-embedding-3"):
        raise _BadRequest("This model does not support specifying dimensions.")
    if not isinstance(size, int) or not 1 <= size <= MODELS[model]:
        raise _BadRequest(f"'$.dimensions' must be between 1 and {MODELS[model]}.")
    return size


def _counted(texts: list[str]) -> int:
    """The tokens of a request, by the rule of thumb of four bytes a token."""
    counts = [math.ceil(len(text.encode()) / 4) for text in texts]
    if max(counts) > MOST_TOKENS:
        raise _BadRequest(f"This model's maximum context length is {MOST_TOKENS} tokens.")
    if sum(counts) > MOST_REQUEST_TOKENS:
        raise _BadRequest(f"Requested {sum(counts)} tokens, max {MOST_REQUEST_TOKENS} tokens per request.")
    return sum(counts)


def _base64(vector: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _error(status: int, message: str, kind: str, code: str | None) -> web.Response:
    return web.json_response({"error": {"message": message, "type": kind, "param": None, "code": code}}, status=status)


async def _serve(port: int) -> None:
    async with OpenAIServer(port) as server:
        print(f"OpenAI stand-in at {server.url}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A stand-in for OpenAI's embeddings API.")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 takes any free one")
    try:
        asyncio.run(_serve(parser.parse_args().port))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
