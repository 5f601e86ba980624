"""A stand-in for Anthropic's messages API: the real protocol, without a model.

Serves /v1/messages, streamed, and /v1/models/{id} (https://platform.claude.com/docs/en/api/messages), with the error
shapes, the demands on a schema and the reasons an answer stops.
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

CLAUDE = "claude-haiku-4-5"
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_NOT_TAKEN = ("minimum", "maximum", "minLength", "maxLength", "maxItems")
_STOPS = {"stop": "end_turn", "length": "max_tokens"}  # by the other protocols' names


class AnthropicServer(Listener):
    """`async with AnthropicServer() as server:` serves at `server.url`, which is a client's `base_url`.

    `replies` are used up one a request, then `always` (if set) answers every request. `requests` are the bodies that
    were taken, `refused` how many were not. A model that `thinks_always` refuses to be told not to.
    """

    def __init__(
        self,
        answer: Callable[[Mapping[str, Any]], str] = extractor.answer,
        models: Iterable[str] = (CLAUDE,),
        port: int = 0,
        api_key: str | None = None,
        context: int = 200_000,
        thinks_always: bool = False,
    ) -> None:
        super().__init__(port)
        self.answer = answer
        self.models = set(models)
        self.context = context
        self.thinks_always = thinks_always
        self.replies: deque[Reply] = deque()
        self.always: Reply | None = None
        self.requests: list[dict[str, Any]] = []
        self.refused = 0
        self.asked = asyncio.Event()
        self._api_key = api_key

    @property
    def calls(self) -> int:
        """How many questions were taken."""
        return len(self.requests)

    def routes(self) -> Iterable[web.RouteDef]:
        return (web.post("/v1/messages", self._messages), web.get("/v1/models/{model}", self._model))

    async def _model(self, request: web.Request) -> web.Response:
        model = request.match_info["model"]
        if not self._known(request):
            return _error(401, "invalid API key")
        if model not in self.models:
            return _error(404, f"model: {model}")
        told = {"id": model, "type": "model", "display_name": model, "created_at": "2025-10-01T00:00:00Z"}
        return web.json_response(told)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if problem := self._problem(request, body):
            self.refused += 1
            return problem
        self.requests.append(body)
        self.asked.set()
        reply = self.replies.popleft() if self.replies else self.always or Reply()
        await asyncio.sleep(reply.delay)
        if reply.status != 200:
            return _error(reply.status, reply.error)
        return await self._stream(Events(request, reply), body, reply)

    def _known(self, request: web.Request) -> bool:
        """The key goes in either header: clients before 2.0 use the first."""
        given = request.headers.get("x-api-key"), request.headers.get("Authorization")
        return self._api_key is None or self._api_key == given[0] or f"Bearer {self._api_key}" == given[1]

    def _problem(self, request: web.Request, body: Mapping[str, Any]) -> web.Response | None:
        """The refusal of a request that the real one would not take."""
        if not self._known(request):
            return _error(401, "invalid API key")
        if "anthropic-version" not in request.headers:
            return _error(400, "anthropic-version: header is required")
        if body.get("model") not in self.models:
            return _error(404, f"model: {body.get('model')}")
        if not isinstance(body.get("max_tokens"), int):
            return _error(400, "max_tokens: Field required")
        if self.thinks_always and body.get("thinking", {}).get("type") == "disabled":
            return _error(400, "thinking.type.disabled is not supported by this model")
        schema = _schema(body)
        if schema is not None and (wrong := _not_taken(schema)):
            return _error(400, f"output_config.format.schema: {wrong}")
        if _read(body) > self.context:
            return _error(400, f"prompt is too long: {_read(body)} tokens > {self.context} maximum")
        return None

    async def _stream(self, events: Events, body: Mapping[str, Any], reply: Reply) -> web.StreamResponse:
        schema = _schema(body)
        text, stop = reply.text, reply.done_reason or "stop"
        if text is None:
            messages = [{"role": "system", "content": body.get("system", "")}, *body["messages"]]
            text = self.answer({"messages": messages, "format": schema})
            if body["max_tokens"] < count_tokens(text):
                text, stop = text[: 4 * body["max_tokens"]], "length"
        if stop == "refusal":
            text = ""
        read = _read(body) if reply.prompt_eval_count is None else reply.prompt_eval_count
        message = {
            "id": "msg_stand_in",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": read, "output_tokens": 1},
        }
        await _send(events, "message_start", message=message)
        await _send(events, "content_block_start", index=0, content_block={"type": "text", "text": ""})
        await _send(events, "ping")
        for number, piece in enumerate(pieces(text, schema is not None)):
            if number:
                await events.pause()
            await _send(events, "content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        if reply.broken_off:
            await _send(events, "error", error={"type": "overloaded_error", "message": reply.error})
            return await events.end()
        await _send(events, "content_block_stop", index=0)
        delta = {"stop_reason": _STOPS.get(stop, stop), "stop_sequence": None}
        await _send(events, "message_delta", delta=delta, usage={"output_tokens": count_tokens(text)})
        await _send(events, "message_stop")
        return await events.end()


async def _send(events: Events, kind: str, **fields: Any) -> None:
    await events.send({"type": kind, **fields}, kind)


def _schema(body: Mapping[str, Any]) -> dict[str, Any] | None:
    form = body.get("output_config", {}).get("format", {})
    return form["schema"] if form.get("type") == "json_schema" else None


def _read(body: Mapping[str, Any]) -> int:
    return sum(count_tokens(part) for part in (body.get("system", ""), *(m["content"] for m in body["messages"])))


def _not_taken(schema: Mapping[str, Any]) -> str | None:
    """What structured outputs have against a schema."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if part.get("type") == "object" and part.get("additionalProperties") is not False:
            return "For 'object' type, 'additionalProperties' must be explicitly set to false"
        if wrong := next((name for name in _NOT_TAKEN if name in part), None):
            return f"For '{part.get('type')}' type, property '{wrong}' is not supported"
        waiting += [*part.get("properties", {}).values(), *([part["items"]] if "items" in part else [])]
    return None


def _error(status: int, message: str) -> web.Response:
    error = {"type": _KINDS.get(status, "api_error"), "message": message}
    return web.json_response({"type": "error", "error": error, "request_id": "req_stand_in"}, status=status)
