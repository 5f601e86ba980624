"""A stand-in for OpenAI's embeddings API: the real protocol, limits and error shapes on 127.0.0.1."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web

from bot.sandbox.embedding import Asked, BadRequest, EmbeddingDesk, Fault, Vector, embed, encoded, tokens_of
from bot.sandbox.listener import Listener, serve_alone

__all__ = ["Fault", "OpenAIServer", "embed"]

MODELS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
MOST_INPUTS = 2048
MOST_TOKENS = 8192
MOST_REQUEST_TOKENS = 300_000


class OpenAIServer(EmbeddingDesk, Listener):
    """`async with OpenAIServer() as server:` listens at `server.url`, which is a client's `base_url`.

    For its faults and counters see `EmbeddingDesk`.
    """

    def __init__(self, port: int = 0, api_key: str | None = None) -> None:
        EmbeddingDesk.__init__(self)
        Listener.__init__(self, port)
        self._api_key = api_key

    @property
    def url(self) -> str:
        return f"{super().url}/v1"

    @property
    def inputs(self) -> int:
        return len(self.texts)

    def routes(self) -> Iterable[web.RouteDef]:
        return (web.post("/v1/embeddings", self.answer), web.get("/v1/models", self._models))

    async def start(self) -> None:
        self.hang()
        await super().start()

    async def stop(self) -> None:
        self.release()
        await super().stop()

    def read(self, request: web.Request, body: dict[str, Any]) -> Asked:
        if self._api_key is not None and request.headers.get("Authorization") != f"Bearer {self._api_key}":
            raise BadRequest(self.failure(Fault.UNAUTHORIZED))
        texts = _inputs(body)
        return Asked(texts, _size(body), _counted(texts))

    def told(self, body: dict[str, Any], vectors: Sequence[Vector], tokens: int) -> dict[str, Any]:
        encoding = body.get("encoding_format")
        data = [
            {"object": "embedding", "index": index, "embedding": encoded(vector, encoding)}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": body["model"], "usage": usage}

    def failure(self, fault: Fault) -> web.Response:
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
                return _error(503, "The server is going away.", "server_error", None)
            case _:
                return _error(500, "The server had an error while processing your request.", "server_error", None)

    async def _models(self, request: web.Request) -> web.Response:
        data = [{"id": model, "object": "model", "created": 0, "owned_by": "stand-in"} for model in MODELS]
        return web.json_response({"object": "list", "data": data})


def _inputs(body: dict[str, Any]) -> list[str]:
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise _bad("'$.input' is invalid. Please check the API reference.")
    if len(texts) > MOST_INPUTS:
        raise _bad(f"'$.input' is too long: at most {MOST_INPUTS} items.")
    return texts


def _size(body: dict[str, Any]) -> int:
    model = body.get("model")
    if model not in MODELS:
        raise _bad(f"The model {model!r} does not exist.", "model_not_found", 404)
    size = body.get("dimensions")
    if size is None:
        return MODELS[model]
    if not model.startswith("text-embedding-3"):
        raise _bad("This model does not support specifying dimensions.")
    if not isinstance(size, int) or not 1 <= size <= MODELS[model]:
        raise _bad(f"'$.dimensions' must be between 1 and {MODELS[model]}.")
    return size


def _counted(texts: list[str]) -> int:
    """The tokens of a request."""
    counts = list(map(tokens_of, texts))
    if max(counts) > MOST_TOKENS:
        raise _bad(f"This model's maximum context length is {MOST_TOKENS} tokens.")
    if sum(counts) > MOST_REQUEST_TOKENS:
        raise _bad(f"Requested {sum(counts)} tokens, max {MOST_REQUEST_TOKENS} tokens per request.")
    return sum(counts)


def _bad(message: str, code: str | None = None, status: int = 400) -> BadRequest:
    return BadRequest(_error(status, message, "invalid_request_error", code))


def _error(status: int, message: str, kind: str, code: str | None) -> web.Response:
    return web.json_response({"error": {"message": message, "type": kind, "param": None, "code": code}}, status=status)


if __name__ == "__main__":
    serve_alone("OpenAI", OpenAIServer)
