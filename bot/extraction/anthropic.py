"""The language model behind Anthropic's API, through the official client (the extra `recollect[anthropic]`).

Protocol: https://platform.claude.com/docs/en/api/messages. The answer is held to the schema by structured outputs
(https://platform.claude.com/docs/en/build-with-claude/structured-outputs); each window has its own schema, which costs
the server a moment. Answers are streamed, so the timeout bounds the silence before each piece.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

import anthropic
import httpx2
from anthropic import AsyncStream
from anthropic.types import RawMessageStreamEvent, ThinkingConfigParam

from bot.errors import AnswerRejected, AnswerTooLong, LLMUnavailable
from bot.extraction.llm import NAMES, ChatAnswer, ChatRequest, check_read
from bot.extraction.service import HEALTH_SECONDS, Service, Size, limit_body, strict
from bot.model import ServiceHealth
from bot.settings import shown_url
from bot.settings_services import AnthropicSettings

_ODD = (ValueError, TypeError, AttributeError, LookupError)  # no JSON, or not of Anthropic's shape
_NO_THINKING: ThinkingConfigParam = {"type": "disabled"}


class AnthropicLLM:
    """Asks one model. Makes no connection before the first question."""

    name: Final = NAMES["anthropic"]

    def __init__(self, settings: AnthropicSettings) -> None:
        own = settings.base_url == AnthropicSettings().base_url
        self._service = Service(
            name=self.name,
            where="Anthropic" if own else f"The API at {shown_url(settings.base_url)}",
            model=settings.model,
            model_setting="anthropic.model",
            key_setting="anthropic.api_key",
            url_setting="anthropic.base_url",
        )
        key = settings.api_key.get_secret_value()
        self._key_missing = not key
        self._thinks_always = False  # a few models refuse not to think
        self._client = anthropic.AsyncAnthropic(
            api_key=key or "none",  # without one the client would look for other credentials of this user
            base_url=settings.base_url,
            max_retries=0,  # who asks has a breaker
            timeout=httpx2.Timeout(settings.timeout.total_seconds(), connect=10),
            http_client=anthropic.DefaultAsyncHttpxClient(event_hooks={"response": [limit_body]}),
        )

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """See `LLM.chat`."""
        reading = _Reading()
        parts = self._answer(reading, request.system, request.prompt, request.max_tokens, request.schema)
        async with aclosing(parts) as pieces:
            text = "".join([piece async for piece in pieces])
        return ChatAnswer(text, reading.read, reading.written)

    async def stream(self, system: str, prompt: str, max_tokens: int) -> AsyncGenerator[str, None]:
        """See `LLM.stream`."""
        async with aclosing(self._answer(_Reading(), system, prompt, max_tokens)) as pieces:
            async for piece in pieces:
                yield piece

    async def load(self) -> None:
        """See `LLM.load`: a cloud has its models loaded."""
        health = await self.health()
        if not health.ok:
            raise LLMUnavailable(health.detail)

    async def health(self) -> ServiceHealth:
        """Whether the API answers, takes the key and has the model; asking costs nothing."""
        if self._key_missing:
            return ServiceHealth(self.name, False, self._without_key())
        try:
            model = (await self._client.models.retrieve(self._service.model, timeout=HEALTH_SECONDS)).id
            detail = f"{self._service.where} has the model {model}"
        except Exception as error:
            return ServiceHealth(self.name, False, str(self._meaning(error)))
        return ServiceHealth(self.name, True, detail)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _answer(
        self,
        reading: "_Reading",
        system: str,
        prompt: str,
        max_tokens: int,
        schema: Mapping[str, Any] | None = None,
    ) -> AsyncGenerator[str, None]:
        """The pieces of one answer; `reading` learns the counts and how it ended."""
        if self._key_missing:
            raise LLMUnavailable(self._without_key())
        size = Size()
        try:
            async with await self._ask(system, prompt, max_tokens, schema) as events:
                async for event in events:
                    if piece := reading.take(event):
                        size.grow(piece)
                        yield piece
        except Exception as error:
            raise self._meaning(error) from None
        if not reading.begun:
            raise self._service.odd("Anthropic")
        reading.check_end()
        check_read(reading.read, system, prompt)

    async def _ask(
        self, system: str, prompt: str, max_tokens: int, schema: Mapping[str, Any] | None
    ) -> AsyncStream[RawMessageStreamEvent]:
        while True:
            try:
                return await self._client.messages.create(
                    model=self._service.model,
                    system=system,
                    messages=[{"role": "user", "content": prompt}],
                    max_tokens=max_tokens,
                    thinking=anthropic.omit if self._thinks_always else _NO_THINKING,
                    output_config=(
                        anthropic.omit
                        if schema is None
                        else {"format": {"type": "json_schema", "schema": strict(schema)}}
                    ),
                    stream=True,
                )
            except anthropic.BadRequestError as error:
                if self._thinks_always or "thinking" not in error.message:
                    raise
                self._thinks_always = True

    def _meaning(self, error: Exception) -> Exception:
        """What a failed request means for whoever asked; what is none of these is a bug and stays as it is."""
        if isinstance(error, anthropic.APIStatusError):
            if error.status_code == 200:
                return self._service.halfway()
            return self._service.refused(error.status_code, error.error_code or error.type, error.message)
        if isinstance(error, anthropic.APIConnectionError | httpx2.HTTPError):
            if isinstance(error.__cause__, AnswerRejected):  # a body without end
                return error.__cause__
            timed_out = isinstance(error, anthropic.APITimeoutError | httpx2.TimeoutException)
            return self._service.unreachable(error, timed_out)
        return self._service.odd("Anthropic") if isinstance(error, (anthropic.AnthropicError, *_ODD)) else error

    def _without_key(self) -> str:
        return f"{self._service.where} needs an API key: set {self._service.key_setting}"


class _Reading:
    """What the events of one stream tell: how many tokens were read and written, and why it stopped."""

    def __init__(self) -> None:
        self.begun = False
        self.read = 0
        self.written = 0
        self._stopped: str | None = None

    def take(self, event: RawMessageStreamEvent) -> str:
        """The text of an event, if it has any."""
        if event.type == "message_start":
            usage = event.message.usage
            cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
            self.begun, self.read, self.written = True, usage.input_tokens + cached, usage.output_tokens
        elif event.type == "message_delta":
            self.written = event.usage.output_tokens
            self._stopped = event.delta.stop_reason or self._stopped
        elif event.type == "content_block_delta" and event.delta.type == "text_delta":
            return event.delta.text
        return ""

    def check_end(self) -> None:
        """Raise `AnswerRejected` unless the answer came to its end."""
        if self._stopped == "max_tokens":
            raise AnswerTooLong()
        if self._stopped == "refusal":
            raise AnswerRejected("the model declined to answer")
        if self._stopped == "model_context_window_exceeded":
            raise AnswerRejected("the prompt is too long for the model")
        if self._stopped not in ("end_turn", "stop_sequence"):
            raise AnswerRejected("the answer was cut short: it has no end")
