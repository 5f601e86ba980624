"""The language model behind OpenAI's chat completions: OpenAI itself, vLLM, llama.cpp and whatever else speaks it.

Protocol: https://platform.openai.com/docs/api-reference/chat. Chat completions, not responses, as every server speaks
them. Answers are streamed, so the timeout bounds the silence before each token. Structured outputs in strict mode hold
the answer to the schema; each window has its own, which costs the server a moment.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx2
import openai
from openai import AsyncStream
from openai.types.chat import ChatCompletionChunk
from openai.types.shared_params import ResponseFormatJSONSchema, ResponseFormatText

from bot.errors import AnswerRejected, AnswerTooLong, LLMUnavailable
from bot.extraction.llm import NAMES, ChatAnswer, ChatRequest, check_read
from bot.extraction.service import HEALTH_SECONDS, Service, Size, limit_body, strict
from bot.extraction.text import most_tokens
from bot.model import ServiceHealth
from bot.settings import shown_url
from bot.settings_services import CompatibleSettings, OpenAISettings

_SILENCE = 120.0  # seconds a model may think before its first word; `openai.timeout` is meant for embeddings
_THINKING = 2000  # tokens it may think in before plain text, which is a few hundred tokens itself
_MIN_ANSWER_TOKENS = 512
_ODD = (ValueError, TypeError, AttributeError, LookupError)  # no JSON, or not of OpenAI's shape
_SHOWN_MODELS = 3


class OpenAILLM:
    """Asks one model on one server. Makes no connection before the first question.

    `fixed` goes with every question. `extras` are parameters that not every model takes; those it refuses are left out
    from then on. `limit` is the name under which the server takes the longest answer. `context` is how many tokens
    prompt and answer may have together, None where the server's own limit is far away.
    """

    def __init__(
        self,
        service: Service,
        base_url: str,
        api_key: str,
        silence: float,
        limit: str,
        fixed: Mapping[str, Any],
        extras: Mapping[str, Any],
        context: int | None = None,
    ) -> None:
        self.name = service.name
        self._service = service
        self._fixed = fixed
        self._extras = dict(extras)
        self._limit = limit
        self._context = context
        self._key_missing = not api_key and base_url == OpenAISettings().base_url
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "none",  # local servers want none, the client wants one
            base_url=base_url,
            max_retries=0,  # who asks has a breaker
            timeout=httpx2.Timeout(silence, connect=10),
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [limit_body]}),
        )

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """See `LLM.chat`. What a model thinks counts as its answer."""
        pieces: list[str] = []
        read = written = 0
        async with aclosing(self._answer(request.system, request.prompt, request.max_tokens, request.schema)) as chunks:
            async for chunk in chunks:
                pieces.append(_text(chunk))
                if chunk.usage:
                    read, written = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        return ChatAnswer("".join(pieces), read, written)

    async def stream(self, system: str, prompt: str, max_tokens: int) -> AsyncGenerator[str, None]:
        """See `LLM.stream`."""
        room = max_tokens + (_THINKING if "reasoning_effort" in self._extras else 0)
        async with aclosing(self._answer(system, prompt, room)) as chunks:
            async for chunk in chunks:
                if piece := _text(chunk):
                    yield piece

    async def load(self) -> None:
        """See `LLM.load`: these servers have theirs loaded."""
        health = await self.health()
        if not health.ok:
            raise LLMUnavailable(health.detail)

    async def health(self) -> ServiceHealth:
        """Whether the server answers, takes the key and has the model; asking costs nothing."""
        if self._key_missing:
            return ServiceHealth(self.name, False, self._without_key())
        try:
            page = await self._client.models.list(timeout=HEALTH_SECONDS)
            models = [model.id for model in page.data]
        except Exception as error:
            return ServiceHealth(self.name, False, str(self._meaning(error)))
        if self._service.model not in models:
            others = ", ".join(models[:_SHOWN_MODELS]) if len(models) <= _SHOWN_MODELS else f"{len(models)} others"
            return ServiceHealth(self.name, False, f"{self._service.missing()} (it has {others or 'none'})")
        return ServiceHealth(self.name, True, f"{self._service.where} has the model {self._service.model}")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _answer(
        self, system: str, prompt: str, max_tokens: int, schema: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[ChatCompletionChunk, None]:
        """The chunks of one answer, the last of which has the counts."""
        if self._key_missing:
            raise LLMUnavailable(self._without_key())
        size, finish, declined, read, empty = Size(), None, False, 0, True
        try:
            async with await self._ask(system, prompt, max_tokens, schema) as chunks:
                async for chunk in chunks:
                    empty = False
                    size.grow(_text(chunk))
                    for choice in chunk.choices:
                        declined = declined or bool(choice.delta.refusal)
                        finish = choice.finish_reason or finish
                    read = chunk.usage.prompt_tokens if chunk.usage else read
                    yield chunk
        except Exception as error:
            raise self._meaning(error) from None
        if empty:
            raise self._service.odd("OpenAI")
        _check_end("content_filter" if declined else finish)
        check_read(read, system, prompt)

    async def _ask(
        self, system: str, prompt: str, max_tokens: int, schema: Mapping[str, Any] | None
    ) -> AsyncStream[ChatCompletionChunk]:
        """Open the stream, with as many of the extras as the model takes: each refusal names one, or leaves all out."""
        form: ResponseFormatText | ResponseFormatJSONSchema = {"type": "text"}
        if schema is not None:
            form = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": strict(schema), "strict": True},
            }
        if self._context is not None:
            room = self._context - most_tokens(system) - most_tokens(prompt)
            max_tokens = min(max_tokens, max(room, _MIN_ANSWER_TOKENS))
        extras = self._extras
        while True:
            try:
                stream = await self._client.chat.completions.create(
                    model=self._service.model,
                    messages=[{"role": "system", "content": system}, {"role": "user", "content": prompt}],
                    response_format=form,
                    stream=True,
                    stream_options={"include_usage": True},
                    extra_body={self._limit: max_tokens, **self._fixed, **extras},
                )
            except openai.BadRequestError as error:
                if not extras or isinstance(self._meaning(error), LLMUnavailable):
                    raise
                extras = {
                    name: value for name, value in extras.items() if name != error.param and error.param in extras
                }
            else:
                self._extras = extras
                return stream

    def _meaning(self, error: Exception) -> Exception:
        """What a failed request means for whoever asked; what is none of these is a bug and stays as it is."""
        if isinstance(error, openai.APIStatusError):
            return self._service.refused(error.status_code, error.code, error.message)
        if isinstance(error, openai.APIConnectionError | httpx2.HTTPError):
            if isinstance(error.__cause__, AnswerRejected):  # a body without end
                return error.__cause__
            timed_out = isinstance(error, openai.APITimeoutError | httpx2.TimeoutException)
            return self._service.unreachable(error, timed_out)
        if isinstance(error, openai.APIError):
            return self._service.halfway()
        return self._service.odd("OpenAI") if isinstance(error, _ODD) else error

    def _without_key(self) -> str:
        return f"{self._service.where} needs an API key: set {self._service.key_setting}"


def openai_llm(settings: OpenAISettings) -> OpenAILLM:
    """OpenAI's own API, or a proxy of it."""
    where = "OpenAI" if settings.is_openai else f"The API at {shown_url(settings.base_url)}"
    return OpenAILLM(
        Service(
            name=NAMES["openai"],
            where=where,
            model=settings.chat_model,
            model_setting="openai.chat_model",
            key_setting="openai.api_key",
            url_setting="openai.base_url",
        ),
        settings.base_url,
        settings.api_key.get_secret_value(),
        max(settings.timeout.total_seconds(), _SILENCE),
        limit="max_completion_tokens",
        fixed={"store": False},  # for new accounts it is true by default
        # Models that think refuse a temperature, others refuse an effort.
        extras={"temperature": 0, "reasoning_effort": "low"},
    )


def compatible_llm(settings: CompatibleSettings) -> OpenAILLM:
    """Any other server that speaks OpenAI's chat, by the older names, which all of them know."""
    return OpenAILLM(
        Service(
            name=NAMES["compatible"],
            where=f"The language model at {shown_url(settings.base_url)}",
            model=settings.model,
            model_setting="compatible.model",
            key_setting="compatible.api_key",
            url_setting="compatible.base_url",
        ),
        settings.base_url,
        settings.api_key.get_secret_value(),
        settings.timeout.total_seconds(),
        limit="max_tokens",
        fixed={"temperature": 0},
        extras={
            "chat_template_kwargs": {"enable_thinking": False}
        },  # as vLLM and llama.cpp take it for Qwen and others
        context=settings.context,
    )


def _text(chunk: ChatCompletionChunk) -> str:
    return "".join(choice.delta.content or "" for choice in chunk.choices)


def _check_end(finish: str | None) -> None:
    """Raise `AnswerRejected` unless the answer came to its end."""
    if finish == "length":
        raise AnswerTooLong()
    if finish == "content_filter":
        raise AnswerRejected("the model declined to answer")
    if finish != "stop":
        raise AnswerRejected("the answer was cut short: it has no end")
