"""A stand-in for an Ollama server: the real protocol on 127.0.0.1, without a model.

Serves /api/version, /api/tags, /api/show, /api/ps, /api/chat and /api/embed
(https://github.com/ollama/ollama/blob/main/docs/api.md), streaming or not, with the error shapes, the
cold load and the silent cut of a prompt that does not fit `num_ctx`. Run it by itself with
`python -m bot.sandbox.ollama --port 0`.
"""

import argparse
import asyncio
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from aiohttp import web

from bot.sandbox import extractor
from bot.sandbox.listener import Listener, until_interrupted
from bot.sandbox.ollama_embed import OllamaEmbeddings

MODEL = "llama3.1:8b"
LLAMA_CONTEXT = 131_072  # what llama3.1 was made to read
_DEFAULT_CONTEXT = 4096  # what Ollama gives a request that does not ask for more
_PIECE = 256  # characters in one part of a stream of JSON,
_WORDS = 16  # and of one that somebody reads as it comes
_LONGEST_HANG = 3600


@dataclass(frozen=True, slots=True)
class Reply:
    """How one chat request is answered: with `text` as it is, or else by the server's `answer` function."""

    text: str | None = None
    status: int = 200
    error: str = ""
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    delay: float = 0.0
    gate: asyncio.Event | None = None
    """After its first part a stream goes on once this is set."""
    broken_off: bool = False
    """The stream ends in the middle with `error`, as when Ollama's runner dies."""


BUSY = Reply(status=503, error="server busy, please try again.  maximum pending requests exceeded")
BROKEN = Reply(status=500, error="llama runner process has terminated: exit status 2")
GARBAGE = Reply(text="Sure! Here are the facts you asked for:")
CUT_SHORT = Reply(done_reason="length")
HANG = Reply(delay=_LONGEST_HANG)


def count_tokens(text: str) -> int:
    """About what a language model's tokenizer makes of English text."""
    return math.ceil(max(len(text.split()) * 1.3, len(text) / 4))


class OllamaServer(Listener):
    """`async with OllamaServer() as server:` serves at `server.url` until the block ends.

    `replies` are used up one a request, then `always` (if set) answers every request. `calls` and
    `prompt_tokens` count what was asked and answered: the messages, and the schema in `format` if there is one.
    `context` is how many tokens its models were made to read.
    """

    def __init__(
        self,
        answer: Callable[[Mapping[str, Any]], str] = extractor.answer,
        models: Iterable[str] = (MODEL,),
        port: int = 0,
        load_seconds: float = 0.0,
        context: int = LLAMA_CONTEXT,
    ) -> None:
        super().__init__(port)
        self.answer = answer
        self.models = set(models)
        self.embeddings = OllamaEmbeddings(self.models)
        self.load_seconds = load_seconds
        self.context = context
        self.replies: deque[Reply] = deque()
        self.always: Reply | None = None
        self.requests: list[dict[str, Any]] = []
        self.asked = asyncio.Event()
        self.prompt_tokens = 0
        self.memory = self.vram = 0  # bytes that a loaded model takes, of the processor's and of the GPU's
        self._loaded: dict[str, tuple[int, datetime]] = {}  # model → context, expiry

    @property
    def calls(self) -> int:
        """How many chat requests came."""
        return len(self.requests)

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.get("/", self._root),
            web.get("/api/version", self._version),
            web.get("/api/tags", self._tags),
            web.post("/api/show", self._show),
            web.get("/api/ps", self._ps),
            web.post("/api/chat", self._chat),
            web.post("/api/embed", self.embeddings.answer),
        )

    async def start(self) -> None:
        self.embeddings.hang()
        await super().start()

    async def stop(self) -> None:
        self.embeddings.release()
        await super().stop()
        self._loaded.clear()

    async def _root(self, _: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.0.0-stand-in"})

    async def _tags(self, _: web.Request) -> web.Response:
        return web.json_response({"models": [_describe(model) for model in sorted(self.models)]})

    async def _show(self, request: web.Request) -> web.Response:
        model = (await request.json()).get("model", "")
        if model not in {*self.models, *(name.removesuffix(":latest") for name in self.models)}:
            return web.json_response({"error": f"model '{model}' not found"}, status=404)
        info = {"general.architecture": "llama", "llama.context_length": self.context}
        details = _describe(model)["details"]
        return web.json_response({"details": details, "model_info": info, "capabilities": ["completion"]})

    async def _ps(self, _: web.Request) -> web.Response:
        running = [
            _describe(model)
            | {
                "expires_at": expiry.isoformat(),
                "size": self.memory + self.vram,
                "size_vram": self.vram,
                "context_length": context,
            }
            for model, (context, expiry) in self._loaded.items()
            if expiry > datetime.now(UTC)
        ]
        return web.json_response({"models": running})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        model = body.get("model", "")
        if model in self.models and not body.get("messages"):
            await self._load(request, body)
            return web.json_response(_part(model, "") | {"done": True, "done_reason": "load"})
        self.requests.append(body)
        self.asked.set()
        started = monotonic()
        if model not in self.models:
            return web.json_response({"error": f"model '{model}' not found"}, status=404)
        reply = self.replies.popleft() if self.replies else self.always or Reply()
        await asyncio.sleep(reply.delay)
        if reply.status != 200:
            return web.json_response({"error": reply.error}, status=reply.status)
        await self._load(request, body)
        text, final = self._generate(body, reply)
        final["total_duration"] = round((monotonic() - started) * 1e9)
        if body.get("stream", True):
            return await _stream(request, body, text, final, reply)
        if reply.broken_off:
            return web.json_response({"error": reply.error}, status=500)
        return web.json_response(_part(model, text) | final)

    async def _load(self, request: web.Request, body: Mapping[str, Any]) -> None:
        """A model that is not in memory takes `load_seconds` to answer; then it stays for `keep_alive`.

        As with the real one it is not loaded if whoever asked goes away before.
        """
        model, now = body["model"], datetime.now(UTC)
        context = body.get("options", {}).get("num_ctx", _DEFAULT_CONTEXT)
        loaded = self._loaded.get(model)
        if loaded is None or loaded[1] <= now or loaded[0] != context:
            await asyncio.sleep(self.load_seconds)
            if request.transport is None or request.transport.is_closing():
                return
        keep_alive = body.get("keep_alive", 300)
        seconds = float(keep_alive) if isinstance(keep_alive, int | float) else 300.0
        self._loaded[model] = (context, datetime.now(UTC) + timedelta(seconds=seconds))

    def _generate(self, body: Mapping[str, Any], reply: Reply) -> tuple[str, dict[str, Any]]:
        """The text and the fields of the last part."""
        asked = sum(count_tokens(message.get("content", "")) for message in body.get("messages", ()))
        schema = body.get("format")
        self.prompt_tokens += asked + (count_tokens(json.dumps(schema)) if isinstance(schema, dict) else 0)
        options = body.get("options", {})
        context = options.get("num_ctx", _DEFAULT_CONTEXT)
        # A prompt that does not fit is cut, silently, to half of the context.
        read = asked if asked <= context else context // 2 + 2
        text, done_reason = reply.text, reply.done_reason or "stop"
        if text is None:
            text = self.answer(body)
            limit = options.get("num_predict", -1)
            if 0 < limit < count_tokens(text):
                text, done_reason = text[: 4 * limit], "length"
        return text, {
            "done": True,
            "done_reason": done_reason,
            "load_duration": 0,
            "prompt_eval_count": read if reply.prompt_eval_count is None else reply.prompt_eval_count,
            "prompt_eval_duration": 0,
            "eval_count": count_tokens(text),
            "eval_duration": 0,
        }


async def _stream(
    request: web.Request, body: Mapping[str, Any], text: str, final: Mapping[str, Any], reply: Reply
) -> web.StreamResponse:
    model, size = body["model"], _PIECE if body.get("format") else _WORDS
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    try:
        for start in range(0, len(text), size):
            if start and reply.gate:
                await reply.gate.wait()
            await response.write(_line(_part(model, text[start : start + size]) | {"done": False}))
        last = {"error": reply.error} if reply.broken_off else _part(model, "") | dict(final)
        await response.write(_line(last))
        await response.write_eof()
    except ConnectionResetError:
        # The client had enough; Ollama, too, stops generating then.
        return response
    return response


def _part(model: str, text: str) -> dict[str, Any]:
    return {
        "model": model,
        "created_at": datetime.now(UTC).isoformat(),
        "message": {"role": "assistant", "content": text},
    }


def _line(part: Mapping[str, Any]) -> bytes:
    return json.dumps(part).encode() + b"\n"


def _describe(model: str) -> dict[str, Any]:
    return {
        "name": model,
        "model": model,
        "modified_at": "2024-01-01T00:00:00Z",
        "size": 0,
        "digest": "0" * 64,
        "details": {
            "parent_model": "",
            "format": "none",
            "family": "stand-in",
            "families": ["stand-in"],
            "parameter_size": "0",
            "quantization_level": "none",
        },
    }


async def _serve(server: OllamaServer) -> None:
    async with server:
        print(json.dumps({"url": server.url, "models": sorted(server.models), "stand_in": True}), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted; the first line of output is where, as JSON."""
    parser = argparse.ArgumentParser(description="A stand-in for an Ollama server: it has no model.")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("--model", action="append", help="a model it pretends to have; may be repeated")
    parser.add_argument("--load-seconds", type=float, default=0.0, help="how long a cold model takes to load")
    arguments = parser.parse_args()
    server = OllamaServer(models=arguments.model or (MODEL,), port=arguments.port, load_seconds=arguments.load_seconds)
    until_interrupted(_serve(server))


if __name__ == "__main__":
    main()
