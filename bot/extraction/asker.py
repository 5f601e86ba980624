"""Asking the language model: one question at a time, behind the breaker, each answer checked.

Members can write what no model answers well, as often as they like. So when answer after answer is
refused, a sample of our own tells whether it is the model or the messages.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

import structlog

from bot.errors import AnswerRejected, LLMUnavailable, RecollectError
from bot.extraction.answer import Checked, check
from bot.extraction.llm import LLM
from bot.extraction.prompt import Prompt, build
from bot.extraction.sample import SAMPLE
from bot.extraction.turns import Turns
from bot.meters import Meters
from bot.model import Fact, ServiceHealth, Window
from bot.storage.breaker import Breaker
from bot.storage.guild_configs import GuildConfigs

_DOUBT = 10  # refused answers in a row: then the sample is asked
_HEALTH_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class HopelessModel(RecollectError):
    """The model's answers are refused one after the other."""


@dataclass(slots=True)
class Asked:
    """What a batch asked: calls made, and how many single facts were refused for which reason."""

    calls: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Asker:
    """Asks for the facts of windows. `on_recovery` is called when the model answers for the first time again."""

    def __init__(
        self,
        llm: LLM,
        breaker: Breaker,
        configs: GuildConfigs,
        window_tokens: int,
        turns: Turns,
        on_recovery: Callable[[], None] = lambda: None,
        meters: Meters | None = None,
    ) -> None:
        self.breaker = breaker
        self._llm = llm
        self._configs = configs
        self._window_tokens = window_tokens
        self._on_recovery = on_recovery
        self._turns = turns
        self._meters = meters or Meters()
        self._refusals = 0
        self._hopeless: str | None = None
        self._health: tuple[float, ServiceHealth] | None = None

    async def facts(self, window: Window, asked: Asked) -> Sequence[Fact]:
        """The facts of a window. An answer that is refused is asked for once more.

        Raises `LLMUnavailable` if there is no answer to be had, `AnswerRejected` if the second one was refused,
        too, and `HopelessModel` if the model has not answered well for long.
        """
        try:
            return await self._ask(window, asked)
        except AnswerRejected:
            return await self._ask(window, asked)

    async def health(self) -> ServiceHealth:
        """The model's health, at most a few seconds old. Questions that fail while it looks well count, too.

        They count until the next one may be asked: nobody knows more then, and it may be long until there is one.
        """
        if self._health is None or monotonic() - self._health[0] > _HEALTH_SECONDS:
            self._health = (monotonic(), await self._llm.health())
        health = self._health[1]
        trouble = self._hopeless or self.breaker.trouble
        return ServiceHealth(health.name, False, trouble) if health.ok and trouble else health

    async def obstacle(self) -> str | None:
        """Why no question can be asked now. A pause is over as soon as the model looks well."""
        if self.breaker.open:
            health = await self._llm.health()
            if not health.ok:
                return health.detail
            self.breaker.end_pause()
        return None

    async def _ask(self, window: Window, asked: Asked) -> Sequence[Fact]:
        config = self._configs.of(window.guild_id)
        prompt = build(window, config.person_facts, self._window_tokens, config.drop_sensitive)
        async with self._turns.extraction():
            if not self.breaker.allows():
                raise LLMUnavailable(self.breaker.state.reason)
            try:
                checked = await self._answer(prompt, asked)
            except AnswerRejected as error:
                await self._count_refusal(error, asked)
                raise
            self._refusals, self._hopeless = 0, None
        asked.refused.update(checked.refused)
        return checked.facts

    async def _answer(self, prompt: Prompt, asked: Asked) -> Checked:
        """One call. The breaker learns from it: an answer that is refused is an answer, too."""
        asked.calls += 1
        try:
            answer = await self._llm.chat(prompt.request)
            with self._meters.failing(self._llm.name):
                checked = check(answer.text, prompt)
        except LLMUnavailable as outage:
            self.breaker.failed(str(outage))
            raise
        except AnswerRejected:
            self._answered()
            raise
        self._answered()
        return checked

    def _answered(self) -> None:
        if self.breaker.succeeded():
            self._on_recovery()

    async def _count_refusal(self, error: AnswerRejected, asked: Asked) -> None:
        """Putting every message aside would help nobody: a model that never fits the schema stops the batch."""
        self._refusals += 1
        if self._refusals < _DOUBT:
            return
        self._refusals = 0
        try:
            await self._answer(build(SAMPLE, "self", self._window_tokens), asked)
        except AnswerRejected:
            self._hopeless = (
                f"{self._llm.name} answers, but {_DOUBT} answers in a row and one to a simple sample were refused:"
                " try another model"
            )
            _log.warning("answers_refused", service=self._llm.name, last=str(error))
            raise HopelessModel(self._hopeless) from error
