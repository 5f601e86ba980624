"""A stand-in for OpenAI's chat completions, and for the servers that speak them: the real protocol, without a model.

Serves /v1/chat/completions, streamed, and /v1/models (https://platform.openai.com/docs/api-reference/chat), with the
error shapes, the strict mode's demands on a schema, and a thinking model's refusal of a temperature.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

from bot.sandbox import extractor
from bot.sandbox.listener import Listener
from bot.sandbox.ollama import Reply, count_tokens
from bot.sandbox.sse import Events, pieces

CHAT_MODEL = "gpt-5-mini"
_MOST_ENUM_VALUES = 1000


class OpenAIChatServer(Listener):
    """`async with OpenAIChatServer() as server:` serves at `server.url`, which is a client's `base_url`.

    `replies` are used up one a request, then `always` (if set) answers every request. `requests` are the bodies that
    were taken, `refused` how many were not. A `thinking` model takes an effort and no temperature, another one no
    effort; `own` is OpenAI's dialect, which wants `max_completion_tokens`. `context` is the model's size. Parameters in
    `unknown` are refused without being named.
    """

    def __init__(
        self,
        answer: Callable[[Mapping[str, Any]], str] = extractor.answer,
        models: Iterable[str] = (CHAT_MODEL,),
        port: int = 0,
        api_key: str | None = None,
        thinking: bool = True,
        own: bool = True,
        context: int = 400_000,
        unknown: Iterable[str] = (),
    ) -> None:
        super().__init__(port)
        self.answer = answer
        self.models = set(models)
        self.thinking = thinking
        self.own = own
        self.context = context
        self.unknown = set(unknown)
        self.replies: deque[Reply] = deque()
        self.always: Reply | None = None
        self.requests: list[dict[str, Any]] = []
        self.refused = 0
        self.asked = asyncio.Event()
        self._api_key = api_key

    @property
    def url(self) -> str:
        return f"{super().url}/v1"

    @property
    def calls(self) -> int:
        """How many questions were taken."""
        return len(self.requests)

    def routes(self) -> Iterable[web.RouteDef]:
        return (web.post("/v1/chat/completions", self._chat), web.get("/v1/models", self._models))

    async def _models(self, request: web.Request) -> web.Response:
        if not self._known(request):
            return _wrong_key()
        data = [{"id": model, "object": "model", "created": 0, "owned_by": "stand-in"} for model in sorted(self.models)]
        return web.json_response({"object": "list", "data": data})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if problem := (None if self._known(request) else _wrong_key()) or self._problem(body):
            self.refused += 1
            return problem
        self.requests.append(body)
        self.asked.set()
        reply = self.replies.popleft() if self.replies else self.always or Reply()
        await asyncio.sleep(reply.delay)
        if reply.status != 200:
            return _error(reply.status, reply.error, "server_error", None)
        return await self._stream(Events(request, reply), body, reply)

    def _known(self, request: web.Request) -> bool:
        return self._api_key is None or request.headers.get("Authorization") == f"Bearer {self._api_key}"

    def _problem(self, body: Mapping[str, Any]) -> web.Response | None:
        """The refusal of a request that the real one would not take."""
        model = body.get("model")
        if model not in self.models:
            return _error(404, f"The model `{model}` does not exist.", "invalid_request_error", "model_not_found")
        if self.own and "max_tokens" in body and self.thinking:
            return _unsupported("max_tokens")
        if self.own and self.thinking and body.get("temperature", 1) != 1:
            return _unsupported("temperature")
        if self.own and not self.thinking and "reasoning_effort" in body:
            return _unsupported("reasoning_effort")
        if self.unknown & body.keys():
            return _error(400, "Extra inputs are not permitted.", "BadRequestError", "400")
        form = body.get("response_format", {})
        if form.get("type") == "json_schema" and (wrong := _not_strict(form["json_schema"])):
            return _error(400, f"Invalid schema for response_format: {wrong}", "invalid_request_error", None)
        if _read(body) > self.context:
            said = f"This model's maximum context length is {self.context} tokens."
            return _error(400, said, "invalid_request_error", "context_length_exceeded")
        return None

    async def _stream(self, events: Events, body: Mapping[str, Any], reply: Reply) -> web.StreamResponse:
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        text, finish = reply.text, reply.done_reason or "stop"
        if text is None:
            text = self.answer({"messages": body["messages"], "format": schema})
            limit = body.get("max_completion_tokens", body.get("max_tokens", -1))
            if 0 < limit < count_tokens(text):
                text, finish = text[: 4 * limit], "length"
        if finish == "refusal":
            await events.send(_chunk(body, {"refusal": "I cannot help with that."}))
            text, finish = "", "stop"
        else:
            await events.send(_chunk(body, {"role": "assistant", "content": ""}))
        for number, piece in enumerate(pieces(text, schema is not None)):
            if number:
                await events.pause()
            await events.send(_chunk(body, {"content": piece}))
        if reply.broken_off:
            await events.send({"error": {"message": reply.error, "type": "server_error", "code": None, "param": None}})
            return await events.end()
        await events.send(_chunk(body, {}, finish))
        if body.get("stream_options", {}).get("include_usage"):
            read = _read(body) if reply.prompt_eval_count is None else reply.prompt_eval_count
            written = count_tokens(text)
            usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
            await events.send(_chunk(body, None) | {"usage": usage})
        await events.send("[DONE]")
        return await events.end()


def _read(body: Mapping[str, Any]) -> int:
    return sum(count_tokens(message["content"]) for message in body["messages"])


def _chunk(body: Mapping[str, Any], delta: Mapping[str, Any] | None, finish: str | None = None) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
    return {
        "id": "chatcmpl-stand-in",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": body["model"],
        "choices": choices,
        "usage": None,
    }


def _not_strict(form: Mapping[str, Any]) -> str | None:
    """What strict mode has against a schema (https://platform.openai.com/docs/guides/structured-outputs)."""
    if not form.get("strict"):
        return None
    values = 0
    waiting = [form["schema"]]
    while waiting:
        schema = waiting.pop()
        properties = schema.get("properties", {})
        if schema.get("type") == "object":
            if schema.get("additionalProperties") is not False:
                return "'additionalProperties' is required to be supplied and to be false."
            if list(properties) != schema.get("required"):
                return "'required' is required to be an array including every key in properties."
        values += len(schema.get("enum", ()))
        waiting += [*properties.values(), *([schema["items"]] if "items" in schema else [])]
    return f"Expected at most {_MOST_ENUM_VALUES} enum values in total." if values > _MOST_ENUM_VALUES else None


def _unsupported(name: str) -> web.Response:
    said = f"Unsupported value: '{name}' does not support this value with this model."
    return _error(400, said, "invalid_request_error", "unsupported_value", name)


def _wrong_key() -> web.Response:
    return _error(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")


def _error(status: int, message: str, kind: str, code: str | None, param: str | None = None) -> web.Response:
    error = {"message": message, "type": kind, "param": param, "code": code}
    if status == 429 and "quota" in message:
        error |= {"type": "insufficient_quota", "code": "insufficient_quota"}
    return web.json_response({"error": error}, status=status)
