"""What OpenAI's and Anthropic's protocols have in common: what failures mean, and what a schema must be like.

Imported with one of their clients only, both of which stand on httpx2. No sentence made here quotes the server: its own
words may quote the prompt.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import httpx2

from bot.errors import AnswerLost, AnswerRejected, LLMUnavailable, LLMUnreachable, ModelMissing, RecollectError
from bot.extraction.answer import MAX_ANSWER_CHARACTERS

MAX_BODY_BYTES = 4 * 1024 * 1024  # 4,096 streamed tokens, each in an object of OpenAI's, take 1.5 MB
HEALTH_SECONDS = 5.0
_UNASKED = (httpx2.ConnectError, httpx2.ConnectTimeout)
_TOO_LONG = ("context", "too long", "too large")
# OpenAI allows 1,000 enum values in a schema, and allowed 500; a grammar of so many is slow to compile elsewhere, too.
# (https://platform.openai.com/docs/guides/structured-outputs#supported-schemas)
_MOST_ENUM_VALUES = 500


@dataclass(frozen=True, slots=True)
class Service:
    """One model on one server, in words for people: `where` begins a sentence, the settings are named in its end."""

    name: str
    where: str
    model: str
    model_setting: str
    key_setting: str
    url_setting: str

    def refused(self, status: int, code: str | None, said: str) -> RecollectError:
        """What a status code means. `said` and `code` are the server's words, looked at and passed on to nobody."""
        said = said.lower()
        if status in (401, 403):
            return LLMUnavailable(f"{self.where} refused the API key ({status}): check {self.key_setting}")
        if status == 402 or code == "insufficient_quota" or "credit balance" in said:
            return LLMUnavailable(f"{self.where} has no credit left for this key ({status}): look at its billing page")
        if status == 404 and "model" in f"{code} {said}":
            return ModelMissing(self.missing())
        if status == 404:
            return LLMUnavailable(f"{self.where} has no such API (404): check {self.url_setting}")
        if status == 429:
            return LLMUnavailable(f"{self.where} has had too many questions for now (429)")
        if status == 413 or (status in (400, 422) and any(words in f"{code} {said}" for words in _TOO_LONG)):
            return AnswerRejected("the prompt is too long for the model")
        if status in (400, 422):
            return AnswerRejected(f"{self.where} refused the question ({status})")
        failed = LLMUnreachable if status >= 500 or status == 408 else LLMUnavailable
        return failed(f"{self.where} answered with error {status}")

    def missing(self) -> str:
        """The sentence for a model that is not there."""
        return f"{self.where} does not have the model {self.model}: check {self.model_setting}"

    def halfway(self) -> AnswerLost:
        """An error in the middle of a stream."""
        return AnswerLost(f"{self.where} answered with an error halfway")

    def unreachable(self, error: Exception, timed_out: bool) -> LLMUnreachable:
        """No connection, a broken one, or silence."""
        what = "does not answer in time" if timed_out else "cannot be reached"
        unasked = any(isinstance(one, _UNASKED) for one in (error, error.__cause__))  # the clients wrap it
        failed = LLMUnreachable if unasked else AnswerLost
        return failed(f"{self.where} {what} ({type(error).__name__})")

    def odd(self, protocol: str) -> LLMUnavailable:
        """Something answers, but not in this protocol."""
        return LLMUnavailable(f"{self.where} does not answer as {protocol} does: check {self.url_setting}")


class Size:
    """Counts the characters of an answer and raises `AnswerRejected` where it is absurdly long."""

    def __init__(self) -> None:
        self._size = 0

    def grow(self, piece: str) -> None:
        """A piece came."""
        self._size += len(piece)
        if self._size > MAX_ANSWER_CHARACTERS:
            raise AnswerRejected(f"the answer is longer than {MAX_ANSWER_CHARACTERS} characters")


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that the strict modes of both take: closed objects, every field required, not too many enum values.

    Where there are too many the longest lists of numbers go: what names a line that is not there is refused later.
    """
    return _closed(schema, _enum_values(schema) <= _MOST_ENUM_VALUES)


def _closed(schema: Mapping[str, Any], numbers: bool) -> dict[str, Any]:
    copy = dict(schema)
    if not numbers and copy.get("type") == "integer" and len(copy.get("enum", ())) > 5:
        del copy["enum"]
    if "items" in copy:
        copy["items"] = _closed(copy["items"], numbers)
    if copy.get("type") == "object":
        properties = {name: _closed(one, numbers) for name, one in copy.get("properties", {}).items()}
        copy |= {"properties": properties, "required": list(properties), "additionalProperties": False}
    return copy


def _enum_values(schema: Mapping[str, Any]) -> int:
    parts: Sequence[Mapping[str, Any]] = [*schema.get("properties", {}).values()]
    if "items" in schema:
        parts = [*parts, schema["items"]]
    return len(schema.get("enum", ())) + sum(map(_enum_values, parts))


async def limit_body(response: httpx2.Response) -> None:
    """Response hook: no body may grow without limit before it is looked at."""
    response.stream = _Limited(cast(httpx2.AsyncByteStream, response.stream))


class _Limited(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise AnswerRejected(f"the answer is larger than {MAX_BODY_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
