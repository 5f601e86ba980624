"""The part of the Ollama stand-in that embeds: `/api/embed` (https://docs.ollama.com/api/embed)."""

from collections.abc import Collection, Sequence
from typing import Any

from aiohttp import web

from bot.sandbox.embedding import Asked, BadRequest, EmbeddingDesk, Fault, Vector, tokens_of

# Their sizes and what they read of a text, in tokens.
MODELS = {
    "nomic-embed-text": (768, 2048),
    "mxbai-embed-large": (1024, 512),
    "all-minilm": (384, 256),
    "bge-m3": (1024, 8192),
}
POISON = "the text no number comes of"
"""A text with this in it makes the server fail, again and again, as some do with some models."""


class OllamaEmbeddings(EmbeddingDesk):
    """`models` are those the server has; the embedding ones among them embed."""

    def __init__(self, models: Collection[str]) -> None:
        super().__init__()
        self.models = models
        self.kept_alive: list[object] = []

    def read(self, request: web.Request, body: dict[str, Any]) -> Asked:
        model = str(body.get("model", ""))
        if model not in self.models:
            raise _bad(404, f'model "{model}" not found, try pulling it first')
        if model not in MODELS:
            raise _bad(501, "this model does not support embeddings")
        size, context = MODELS[model]
        given = body.get("input")
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise _bad(400, "invalid input type")
        if any(POISON in text for text in texts):
            raise _bad(500, "failed to encode response: json: unsupported value: NaN")
        if not body.get("truncate", True) and any(tokens_of(text) > context for text in texts):
            raise _bad(400, "the input length exceeds the context length")
        self.kept_alive.append(body.get("keep_alive"))
        return Asked(texts, body.get("dimensions") or size, sum(min(tokens_of(text), context) for text in texts))

    def told(self, body: dict[str, Any], vectors: Sequence[Vector], tokens: int) -> dict[str, Any]:
        return {
            "model": body["model"],
            "embeddings": vectors,
            "total_duration": 0,
            "load_duration": 0,
            "prompt_eval_count": tokens,
        }

    def failure(self, fault: Fault) -> web.Response:
        match fault:
            case Fault.RATE_LIMIT:
                return _error(503, "server busy, please try again.  maximum pending requests exceeded")
            case Fault.UNAUTHORIZED:  # of a proxy before it: Ollama itself has no keys
                return _error(401, "unauthorized")
            case _:
                return _error(500, "llama runner process has terminated: exit status 2")


def _bad(status: int, message: str) -> BadRequest:
    return BadRequest(_error(status, message))


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
