"""People's questions to the language model: ahead of extraction, behind its breaker, answered piece by piece.

What goes wrong is told in words for whoever asked; the details are the admins', by the breaker and /status.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import timedelta

import structlog

from bot.errors import AnswerRejected, LLMUnavailable, ModelMissing
from bot.extraction.llm import LLM
from bot.extraction.turns import Turns
from bot.storage.breaker import Breaker

_AWAY = "The language model cannot be reached right now."
_NO_MODEL = "The language model is not installed yet."
_TOO_SLOW = "The language model is too slow right now."
_BROKE_OFF = "The language model broke off in the middle of its answer."

_log = structlog.get_logger(__name__)


class Questions:
    """Asks for plain text. `patience` is how long the first piece may take, counted from the question's turn.

    `on_recovery` is called when the model answers for the first time again.
    """

    def __init__(
        self,
        llm: LLM,
        breaker: Breaker,
        turns: Turns,
        patience: timedelta,
        on_recovery: Callable[[], None] = lambda: None,
    ) -> None:
        self._llm = llm
        self._breaker = breaker
        self._turns = turns
        self._patience = patience.total_seconds()
        self._on_recovery = on_recovery
        self._loading: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Wait for the model no longer."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait({self._loading})

    @property
    def waiting(self) -> bool:
        """Whether a question asked now would wait for those of others."""
        return self._turns.taken

    async def stream(self, system: str, prompt: str, max_tokens: int) -> AsyncGenerator[str, None]:
        """The answer piece by piece, of at most `max_tokens` tokens. Closing the generator ends it.

        Raises `LLMUnavailable` with a sentence for people if there is none to be had, if the first piece takes longer
        than the patience (which says nothing of whether extraction can go on), or if it breaks off; `AnswerTooLong`
        after the last piece if the model had more to say, and `AnswerRejected` if it did not read the whole prompt.
        """
        async with self._turns.question():
            if not self._breaker.allows():
                raise LLMUnavailable(_AWAY)
            probing = self._breaker.open
            begun = False
            try:
                async with aclosing(self._llm.stream(system, prompt, max_tokens)) as pieces:
                    async with asyncio.timeout(self._patience):
                        first = await anext(pieces, "")
                    begun = True
                    yield first
                    async for piece in pieces:
                        yield piece
            except TimeoutError:
                _log.info("question_too_slow", service=self._llm.name, seconds=self._patience)
                self._begin_loading()
                raise LLMUnavailable(_TOO_SLOW) from None
            except LLMUnavailable as outage:
                probing = False
                self._breaker.failed(str(outage))
                raise _for_people(outage, begun) from outage
            except AnswerRejected:
                probing = False
                self._answered()
                raise
            else:
                probing = False
                self._answered()
            finally:
                if probing:  # still: nothing was learned, so the next to ask is to find out
                    self._breaker.end_pause()

    def _begin_loading(self) -> None:
        """Have the model loaded all the same: a server stops loading for who went away, and would never be done.

        See github.com/ollama/ollama/pull/4638.
        """
        if self._loading is None:
            self._loading = asyncio.create_task(self._load(), name="load the language model")

    async def _load(self) -> None:
        try:
            await self._llm.load()
        except (LLMUnavailable, AnswerRejected) as error:
            _log.info("model_not_loaded", service=self._llm.name, reason=str(error))
        finally:
            self._loading = None

    def _answered(self) -> None:
        if self._breaker.succeeded():
            self._on_recovery()


def _for_people(outage: LLMUnavailable, begun: bool) -> LLMUnavailable:
    if isinstance(outage, ModelMissing):
        return ModelMissing(_NO_MODEL)
    return LLMUnavailable(_BROKE_OFF if begun else _AWAY)
