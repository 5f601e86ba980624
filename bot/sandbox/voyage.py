"""A stand-in for Voyage AI's embeddings API: the real protocol, limits and error shapes on 127.0.0.1.

Run it by itself with `python -m bot.sandbox.voyage --port 0`.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web

from bot.sandbox.embedding import Asked, BadRequest, EmbeddingDesk, Fault, Vector, encoded, tokens_of
from bot.sandbox.listener import Listener, serve_alone

MODELS = {"voyage-4-lite": 1_000_000, "voyage-4": 320_000, "voyage-4-large": 120_000}  # most tokens of a request
SIZES = (256, 512, 1024, 2048)
MOST_INPUTS = 1000
MOST_TOKENS = 32_000  # of one text, if it is not to be cut


class VoyageServer(EmbeddingDesk, Listener):
    """`async with VoyageServer() as server:` listens at `server.url`, which is the setting `voyage.base_url`.

    For its faults and counters see `EmbeddingDesk`. `purposes` are the `input_type`s of what was answered well.
    """

    def __init__(self, port: int = 0, api_key: str | None = None) -> None:
        EmbeddingDesk.__init__(self)
        Listener.__init__(self, port)
        self.purposes: list[str | None] = []
        self._api_key = api_key

    @property
    def url(self) -> str:
        return f"{super().url}/v1"

    def routes(self) -> Iterable[web.RouteDef]:
        return (web.post("/v1/embeddings", self.answer),)

    async def start(self) -> None:
        self.hang()
        await super().start()

    async def stop(self) -> None:
        self.release()
        await super().stop()

    def read(self, request: web.Request, body: dict[str, Any]) -> Asked:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not key or (self._api_key is not None and key != self._api_key):
            raise BadRequest(self.failure(Fault.UNAUTHORIZED))
        model, size, purpose = body.get("model"), body.get("output_dimension"), body.get("input_type")
        if model not in MODELS:
            raise _bad(f"Model {model} is not supported. Supported models are {sorted(MODELS)}.")
        if size is not None and size not in SIZES:
            raise _bad(f"Value {size} for argument 'output_dimension' is not valid: it is one of {SIZES}.")
        if purpose not in (None, "query", "document"):
            raise _bad(f"Value '{purpose}' provided for argument 'input_type' is not valid.")
        texts = _inputs(body)
        tokens = [tokens_of(text) for text in texts]
        if sum(tokens) > MODELS[model]:
            raise _bad(f"The max allowed tokens per submitted batch is {MODELS[model]}.")
        if not body.get("truncation", True) and max(tokens) > MOST_TOKENS:
            raise _bad(f"The example at index {tokens.index(max(tokens))} has too many tokens.")
        self.purposes.append(purpose)
        return Asked(texts, size or SIZES[2], sum(tokens))

    def told(self, body: dict[str, Any], vectors: Sequence[Vector], tokens: int) -> dict[str, Any]:
        encoding = body.get("encoding_format")
        data = [
            {"object": "embedding", "embedding": encoded(vector, encoding), "index": index}
            for index, vector in enumerate(vectors)
        ]
        return {"object": "list", "data": data, "model": body["model"], "usage": {"total_tokens": tokens}}

    def failure(self, fault: Fault) -> web.Response:
        match fault:
            case Fault.RATE_LIMIT:
                response = _error(429, "Rate limit is exceeded. Please slow down.")
                response.headers["Retry-After"] = str(math.ceil(self.retry_after)) if self.retry_after >= 1 else "0"
                return response
            case Fault.QUOTA:
                return _error(402, "Please add a payment method.")
            case Fault.UNAUTHORIZED:
                return _error(401, "Provided API key is invalid.")
            case Fault.HANG:
                return _error(503, "The server is going away.")
            case _:
                return _error(500, "Unexpected issue on our servers.")


def _inputs(body: dict[str, Any]) -> list[str]:
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise _bad("Input cannot contain empty strings or empty lists.")
    if len(texts) > MOST_INPUTS:
        raise _bad(f"The batch size limit is {MOST_INPUTS}.")
    return texts


def _bad(message: str) -> BadRequest:
    return BadRequest(_error(400, message))


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"detail": message}, status=status)


if __name__ == "__main__":
    serve_alone("Voyage", VoyageServer)
