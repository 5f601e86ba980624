"""A second extractor for the time Ollama is out of reach: asked for, after a wait, within a daily budget of tokens.

It reads whole conversations somewhere else, which is another promise to members and a bill. So it is asked for facts
only, never people's questions, and only when the server is out: a missing model is for the admin to pull, a refused
answer for the next smaller window.
"""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

import structlog

from bot.errors import AnswerLost, AnswerRejected, LLMUnavailable, LLMUnreachable, StorageUnavailable
from bot.extraction.llm import LLM, ChatAnswer, ChatRequest
from bot.extraction.text import most_tokens
from bot.model import ServiceHealth, utcnow
from bot.storage.breaker import Breaker
from bot.storage.state import StateStore

_STATE = "extraction fallback"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Book:
    """What is kept over restarts: since when the first is out of reach and was last seen to be, who reads, and what a
    UTC day used up."""

    since: str | None = None  # ISO 8601
    seen: str | None = None
    taken_over: bool = False
    day: str = ""
    tokens: int = 0


class FallbackLLM:
    """Asks `first`; for facts also `second`, once `first` has been out of reach for `after`.

    An outage counts while it is looked at: one that nobody saw going on for `after` begins anew with the next failure.
    `daily_tokens` is what `second` may use up in a day (UTC), read and written.
    `breaker` is the first's, shared with people's questions. Whoever asks this needs another one, for when neither
    answers. Before each call of `second` the most it can use up is kept as used, and after it what it did use: a
    process that dies in between has counted too much rather than too little.
    """

    def __init__(
        self,
        first: LLM,
        second: LLM,
        breaker: Breaker,
        state: StateStore,
        after: timedelta,
        daily_tokens: int,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        self.name = f"{first.name} or {second.name}"
        self._first = first
        self._second = second
        self._breaker = breaker
        self._state = state
        self._after = after
        self._daily_tokens = daily_tokens
        self._clock = clock
        self._book: _Book | None = None
        self._looked_out = False

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """See `LLM.chat`. Raises `StorageUnavailable` if what the second uses up cannot be kept."""
        book = await self._read()
        if not self._may_step_in(book):
            self._breaker.end_pause()  # who asks has waited already
        elif await self._looks_out():
            return await self._instead(request)
        if not self._breaker.allows():
            return await self._instead(request)
        try:
            answer = await self._first.chat(request)
        except LLMUnavailable as outage:
            self._breaker.failed(str(outage))
            if await self._learn(outage):
                return await self._instead(request)
            raise
        except AnswerRejected:
            await self._answered()
            raise
        await self._answered()
        return answer

    async def stream(self, system: str, prompt: str, max_tokens: int) -> AsyncGenerator[str, None]:
        """See `LLM.stream`: a person's question, so the first alone. Its breaker is with whoever asks."""
        try:
            async with aclosing(self._first.stream(system, prompt, max_tokens)) as pieces:
                async for piece in pieces:
                    yield piece
        except LLMUnavailable as outage:
            with suppress(StorageUnavailable):  # the next failure tells it, too
                await self._learn(outage)
            raise
        with suppress(StorageUnavailable):
            await self._back()

    async def load(self) -> None:
        """See `LLM.load`: the first's."""
        await self._first.load()

    async def health(self) -> ServiceHealth:
        """The first's; while the second reads in its place, whether that can, and what it has used up."""
        health = await self._first.health()
        try:
            book = await self._read()
        except StorageUnavailable:
            return ServiceHealth(self.name, health.ok, health.detail)
        if not health.reachable:
            self._book = book = self._seen_out(book)
        if not self._may_step_in(book) or (health.ok and not self._breaker.waiting):
            return ServiceHealth(self.name, health.ok, health.detail)
        trouble = (self._breaker.state.reason if health.ok else health.detail) or health.detail
        second, used = await self._second.health(), self._used(book)
        if not second.ok:
            return ServiceHealth(self.name, False, f"{trouble}; {second.detail}")
        if used >= self._daily_tokens:
            return ServiceHealth(self.name, False, f"{trouble}; {self._used_up()}")
        spent = f"{used:,} of {self._daily_tokens:,} tokens used today"
        reads = f"{self._second.name} reads conversations in its place ({spent})"
        return ServiceHealth(self.name, True, f"{trouble.rstrip('.')}; {reads}")

    async def close(self) -> None:
        """Close the connections of both."""
        await self._first.close()
        await self._second.close()

    def _may_step_in(self, book: _Book) -> bool:
        return (
            book.since is not None
            and self._watched(book)
            and self._clock() - datetime.fromisoformat(book.since) >= self._after
        )

    def _watched(self, book: _Book) -> bool:
        """Whether the outage was seen going on: a failure, hours of silence and another one may be two short ones."""
        seen = book.seen or book.since
        longest = max(self._after, 2 * self._breaker.pauses.longest_pause)
        return seen is not None and self._clock() - datetime.fromisoformat(seen) <= longest

    def _seen_out(self, book: _Book) -> _Book:
        """The first is out of reach now; if it was not known to be, nothing begins: only a failed question counts."""
        return replace(book, seen=self._clock().isoformat()) if self._watched(book) else book

    async def _looks_out(self) -> bool:
        """Whether there is no use in asking the first; one that comes back is not left waiting for its pause to end.

        A server that answers without its model is asked, and says so: that is no outage.
        """
        health = await self._first.health()
        if not health.reachable:
            self._looked_out = True
            await self._note(self._seen_out(await self._read()))
            return True
        if self._looked_out or not health.ok:
            self._breaker.end_pause()
        self._looked_out = False
        return False

    async def _learn(self, outage: LLMUnavailable) -> bool:
        """Whether the second may be asked after this failure of the first; the first outage is when the wait begins."""
        if not isinstance(outage, LLMUnreachable):
            await self._back()
            return False
        book = await self._read()
        now = self._clock().isoformat()
        book = replace(book, since=book.since if self._watched(book) else now, seen=now)
        await self._note(book)
        return self._may_step_in(book)

    async def _answered(self) -> None:
        self._breaker.succeeded()
        await self._back()

    async def _back(self) -> None:
        """The first is there again, with an answer or without."""
        book = await self._read()
        if book.taken_over:
            _log.info("fallback_ended", service=self._first.name, fallback=self._second.name)
        if book.since is not None:
            await self._note(replace(book, since=None, seen=None, taken_over=False))

    async def _instead(self, request: ChatRequest) -> ChatAnswer:
        """Ask the second, if it may step in and today's budget allows for the longest answer."""
        book = await self._read()
        if not self._may_step_in(book):  # whatever led here: no conversation leaves the house too early
            raise LLMUnavailable(self._breaker.state.reason)
        most = most_tokens(request.system + request.prompt + json.dumps(request.schema)) + request.max_tokens
        used = self._used(book)
        if used + most > self._daily_tokens:
            raise LLMUnavailable(f"{self._breaker.state.reason or self._first.name}; {self._used_up()}")
        if not book.taken_over:
            _log.warning("fallback_began", service=self._first.name, fallback=self._second.name, since=book.since)
        today = self._today()
        await self._keep(replace(book, taken_over=True, day=today, tokens=used + most))
        try:
            answer = await self._second.chat(request)
        except AnswerLost:
            raise
        except LLMUnavailable:
            await self._spend(today, most, 0)
            raise
        # What does not tell is taken to have used all of it: an answer without counts, one lost halfway, or refused.
        await self._spend(today, most, answer.prompt_tokens + answer.answer_tokens or most)
        return answer

    async def _spend(self, day: str, reserved: int, used: int) -> None:
        """What a call used up, in place of what was reserved for it."""
        book = await self._read()
        if book.day == day:
            await self._note(replace(book, tokens=book.tokens - reserved + used))

    def _used(self, book: _Book) -> int:
        return book.tokens if book.day == self._today() else 0

    def _used_up(self) -> str:
        return (
            f"the {self._daily_tokens:,} tokens {self._second.name} may use up today do not suffice for the next "
            f"window, so messages wait for {self._first.name} or tomorrow (UTC)"
        )

    def _today(self) -> str:
        return self._clock().date().isoformat()

    async def _read(self) -> _Book:
        if self._book is None:
            kept = await self._state.get(_STATE)
            if self._book is None:  # still: whoever else read it may have noted something
                self._book = _Book(**json.loads(kept)) if kept else _Book()
        return self._book

    async def _keep(self, book: _Book) -> None:
        await self._state.put(_STATE, json.dumps(asdict(book)))
        self._book = book

    async def _note(self, book: _Book) -> None:
        """Keep what can be learned again, or is on the safe side, if it cannot be written."""
        self._book = book
        try:
            await self._keep(book)
        except StorageUnavailable as error:
            _log.debug("fallback_not_kept", reason=str(error))
