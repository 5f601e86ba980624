"""The language model on an Ollama server, through the official client.

Protocol: https://github.com/ollama/ollama/blob/main/docs/api.md. Answers are streamed, so the read
timeout bounds the silence before each token (a cold model is silent for minutes) and not the whole
answer, which `max_tokens` bounds.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final, cast

import httpx
from ollama import AsyncClient, ChatResponse, ResponseError

from bot.errors import AnswerRejected, AnswerTooLong, LLMUnavailable, LLMUnreachable, ModelMissing
from bot.extraction.answer import MAX_ANSWER_CHARACTERS
from bot.extraction.llm import ChatAnswer, ChatRequest, check_read
from bot.extraction.text import most_tokens, one_line
from bot.model import ServiceHealth
from bot.settings import shown_url
from bot.settings_services import OllamaSettings

_MAX_BODY_BYTES = 2 * 1024 * 1024  # 4,096 streamed tokens, each in its own object, take 0.6 MB
_MIN_ANSWER_TOKENS = 512
_HEALTH_SECONDS = 5
_LONGEST_VERSION = 40
_NOT_OLLAMA = (ValueError, TypeError, AttributeError, KeyError)  # no JSON, or not of Ollama's shape
_FAILURES = (ResponseError, httpx.HTTPError, ConnectionError, *_NOT_OLLAMA)


class OllamaLLM:
    """Asks one model on one server. Makes no connection before the first question."""

    name: Final = "Ollama"

    def __init__(self, settings: OllamaSettings) -> None:
        self._settings = settings
        self._where = f"Ollama at {shown_url(settings.url)}"
        # Compression would only hide the size of an answer from the limit.
        options: dict[str, Any] = {
            "headers": {"accept-encoding": "identity"},
            "event_hooks": {"response": [_limit_body]},
        }
        tls = httpx.create_ssl_context()
        silence = httpx.Timeout(settings.timeout.total_seconds(), connect=10)
        self._client = AsyncClient(settings.url, timeout=silence, verify=tls, **options)
        self._probe = AsyncClient(settings.url, timeout=_HEALTH_SECONDS, verify=tls, **options)
        self._version = httpx.AsyncClient(base_url=settings.url, timeout=_HEALTH_SECONDS, verify=tls, **options)

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """See `LLM.chat`."""
        pieces: list[str] = []
        read = written = 0
        async with aclosing(self._answer(request.system, request.prompt, request.max_tokens, request.schema)) as parts:
            async for part in parts:
                pieces.append(part.message.content or "")
                read, written = part.prompt_eval_count or 0, part.eval_count or 0
        return ChatAnswer("".join(pieces), read, written)

    async def stream(self, system: str, prompt: str, max_tokens: int) -> AsyncGenerator[str, None]:
        """See `LLM.stream`."""
        async with aclosing(self._answer(system, prompt, max_tokens)) as parts:
            async for part in parts:
                if piece := part.message.content:
                    yield piece

    async def load(self) -> None:
        """See `LLM.load`."""
        try:
            await self._client.chat(
                model=self._settings.model,
                messages=[],
                options={"num_ctx": self._settings.num_ctx},
                keep_alive=self._settings.keep_alive.total_seconds(),
            )
        except _FAILURES as error:
            raise self._meaning(error) from None

    async def _answer(
        self, system: str, prompt: str, max_tokens: int, schema: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[ChatResponse, None]:
        """The parts of one answer, the last of which has the counts."""
        size, last = 0, None
        try:
            answer = await self._ask(system, prompt, max_tokens, schema)
            async with aclosing(cast("AsyncGenerator[ChatResponse, None]", answer)) as parts:
                async for last in parts:
                    size += len(last.message.content or "")
                    if size > MAX_ANSWER_CHARACTERS:
                        raise AnswerRejected(f"the answer is longer than {MAX_ANSWER_CHARACTERS} characters")
                    yield last
        except _FAILURES as error:
            raise self._meaning(error) from None
        _check_whole(last)
        check_read(last.prompt_eval_count or 0 if last else 0, system, prompt)

    async def _ask(
        self, system: str, prompt: str, max_tokens: int, schema: Mapping[str, Any] | None
    ) -> AsyncIterator[ChatResponse]:
        room = self._settings.num_ctx - most_tokens(system) - most_tokens(prompt)
        return await self._client.chat(
            model=self._settings.model,
            messages=[{"role": "system", "content": system}, {"role": "user", "content": prompt}],
            stream=True,
            think=False,
            format=None if schema is None else dict(schema),
            options={
                "temperature": 0,
                "num_ctx": self._settings.num_ctx,
                "num_predict": min(max_tokens, max(room, _MIN_ANSWER_TOKENS)),
            },
            keep_alive=self._settings.keep_alive.total_seconds(),
        )

    def _meaning(self, error: Exception) -> Exception:
        """What a failed request means for whoever asked."""
        if isinstance(error, ResponseError):
            return self._refusal(error)
        if isinstance(error, httpx.HTTPError | ConnectionError):
            return LLMUnreachable(self._unreachable(error))
        return LLMUnavailable(f"{self._where} does not answer as Ollama does ({type(error).__name__})")

    def _refusal(self, error: ResponseError) -> Exception:
        """What the server's error means. Its own words may quote the prompt and are passed on to nobody."""
        said = str(error.error).lower()
        if error.status_code == 404 and "model" in said:
            return ModelMissing(self._missing())
        if error.status_code == 400 and "context" in said:
            return AnswerRejected("the prompt is too long for the model")
        failed = LLMUnreachable if error.status_code >= 500 or error.status_code < 0 else LLMUnavailable
        return failed(self._failed(error.status_code))

    def _refused(self, status: int) -> ServiceHealth:
        """A server that fails is as good as out, here as for a question."""
        return ServiceHealth(self.name, False, self._failed(status), reachable=status < 500)

    def _failed(self, status: int) -> str:
        # -1: an error in the middle of a stream.
        return f"{self._where} answered with " + (f"error {status}" if status > 0 else "an error halfway")

    def _unreachable(self, error: Exception) -> str:
        if isinstance(error, httpx.TimeoutException):
            return f"{self._where} does not answer in time ({type(error).__name__})"
        return f"{self._where} cannot be reached ({type(error).__name__})"

    def _missing(self) -> str:
        return f"{self._where} does not have the model {self._settings.model}: run `ollama pull {self._settings.model}`"

    async def health(self) -> ServiceHealth:
        """Whether the server answers and has the model, and whether the model is in memory."""
        try:
            answer = await self._version.get("/api/version")
            version = one_line(str(answer.raise_for_status().json()["version"]))[:_LONGEST_VERSION]
            installed = {model.model for model in (await self._probe.list()).models}
            loaded = {model.model: model for model in (await self._probe.ps()).models}
        except ResponseError as error:
            return self._refused(error.status_code)
        except httpx.HTTPStatusError as error:
            return self._refused(error.response.status_code)
        except (httpx.HTTPError, ConnectionError) as error:
            return ServiceHealth(self.name, False, self._unreachable(error), reachable=False)
        except (*_NOT_OLLAMA, AnswerRejected):
            return ServiceHealth(self.name, False, f"{self._where} does not answer as Ollama does")
        model = self._settings.model if ":" in self._settings.model else f"{self._settings.model}:latest"
        if model not in installed:
            return ServiceHealth(self.name, False, self._missing())
        state = "not loaded yet"
        if running := loaded.get(model):
            state = "loaded"
            if running.context_length and running.context_length < self._settings.num_ctx:
                state = f"loaded with {running.context_length} tokens of context, not {self._settings.num_ctx}"
        return ServiceHealth(self.name, True, f"Ollama {version}, model {model} {state}")

    async def context(self) -> int | None:
        """How many tokens the model was made to read, None if the server does not say. Raises `LLMUnavailable`."""
        try:
            told = (await self._probe.show(self._settings.model)).modelinfo or {}
        except _FAILURES as error:
            raise self._meaning(error) from None
        length = told.get(f"{told.get('general.architecture')}.context_length")
        return length if isinstance(length, int) else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]  # the library leaves it untyped
        await self._probe.close()  # type: ignore[no-untyped-call]
        await self._version.aclose()


def _check_whole(last: ChatResponse | None) -> None:
    """Raise `AnswerRejected` unless the answer came to its end."""
    if last is not None and last.done_reason == "length":
        raise AnswerTooLong()
    if last is None or last.done_reason != "stop":
        raise AnswerRejected("the answer was cut short: it has no end")


async def _limit_body(response: httpx.Response) -> None:
    """Response hook: no body may grow without limit before it is looked at."""
    response.stream = _Limited(cast(httpx.AsyncByteStream, response.stream))


class _Limited(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > _MAX_BODY_BYTES:
                raise AnswerRejected(f"the answer is larger than {_MAX_BODY_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
