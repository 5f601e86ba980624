"""What the rooms count while they work, for /metrics: numbers that only grow, and how values spread.

Plain numbers in lists: an addition takes a microsecond, and the library that writes the page is not needed
before somebody asks for it. All of it lives on the event loop, in one `Meters` for each bot.
"""

import asyncio
import re
from bisect import bisect_left
from collections.abc import Awaitable, Collection, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

from bot.errors import RecollectError
from bot.model import Degraded

T = TypeVar("T")
Labels = tuple[str, ...]

STAGES = ("embed", "search", "sql", "rest", "total")
"""Where the time of a recall goes; `embed`, `search` and `sql` are waited for one after the other."""

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)  # seconds
_ASKED = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10)
_OVER_A_NETWORK = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2.5, 5, 10, 20)
_MODEL = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_BATCH = (1, 5, 15, 30, 60, 150, 300, 600, 1800, 3600)
_MESSAGES = (1, 5, 10, 25, 50, 100, 250, 500, 1000, 5000)


class Counter:
    """A number that only grows, one for each combination of label values; those of `start` are there from 0."""

    def __init__(self, name: str, help: str, labels: Labels = (), start: Collection[Labels] = ()) -> None:
        self.name = name
        self.help = help
        self.labels = labels
        self.values: dict[Labels, float] = dict.fromkeys(start if labels else [()], 0)

    def add(self, amount: float, *labels: str) -> None:
        """Count so much more."""
        self.values[labels] = self.values.get(labels, 0) + amount


class Series:
    """Values as counts by bucket (the last one has no bound), with their sum."""

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.sum = 0.0


class Histogram:
    """How values spread over buckets up to each of `bounds`, and above; for labels see `Counter`."""

    def __init__(
        self, name: str, help: str, bounds: Sequence[float], labels: Labels = (), start: Collection[Labels] = ()
    ) -> None:
        self.name = name
        self.help = help
        self.bounds = bounds
        self.labels = labels
        self.series = {values: Series(len(bounds) + 1) for values in (start if labels else [()])}

    def observe(self, value: float, *labels: str) -> None:
        """Take one value in."""
        series = self.series.get(labels)
        if series is None:
            series = self.series[labels] = Series(len(self.bounds) + 1)
        series.counts[bisect_left(self.bounds, value)] += 1
        series.sum += value


class Laps:
    """The stages of one recall."""

    def __init__(self) -> None:
        self._began = perf_counter()
        self._seconds: dict[str, float] = {}

    async def of(self, stage: str, work: Awaitable[T]) -> T:
        """The result of work that is waited for; its time counts for this stage."""
        began = perf_counter()
        try:
            return await work
        finally:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + perf_counter() - began

    def finish(self, durations: Histogram) -> None:
        """The recall was answered."""
        total = perf_counter() - self._began
        for stage, seconds in self._seconds.items():
            durations.observe(seconds, stage)
        durations.observe(max(total - sum(self._seconds.values()), 0.0), "rest")
        durations.observe(total, "total")


class Meters:
    """Every counter and histogram of a bot. Labels take few values: never an id, a text or a message of an error."""

    def __init__(self) -> None:
        self.batch_seconds = Histogram(
            "recollect_batch_duration_seconds", "How long batches took that read messages.", _BATCH
        )
        self.batch_messages = Histogram("recollect_batch_messages", "Messages read in a batch.", _MESSAGES)
        self.facts = Counter("recollect_facts_extracted", "Facts drawn from messages and stored.")
        self.llm_seconds = Histogram(
            "recollect_llm_request_duration_seconds",
            "How long the language model took for a whole answer.",
            _MODEL,
            ("dependency", "use"),
        )
        self.llm_tokens = Counter(
            "recollect_llm_tokens",
            "Tokens of extraction, as the language model's server counted them.",
            ("dependency", "part"),
        )
        self.embedding_seconds = Histogram(
            "recollect_embedding_request_duration_seconds",
            "How long the embedder took, over all requests that one lot of texts needed.",
            _OVER_A_NETWORK,
            ("dependency", "use"),
        )
        self.embedding_requests = Counter(
            "recollect_embedding_requests", "Requests the embedder answered.", ("dependency",)
        )
        self.embedding_tokens = Counter(
            "recollect_embedding_tokens", "Tokens the embedder counted in them.", ("dependency",)
        )
        self.embedding_cost = Counter(
            "recollect_embedding_cost_dollars",
            "What they cost, by embedding.price_per_million: an estimate.",
            ("dependency",),
        )
        self.recall_seconds = Histogram(
            "recollect_recall_duration_seconds",
            "How long a recall took, by stage.",
            _ASKED,
            ("stage",),
            [(stage,) for stage in STAGES],
        )
        self.recall_degraded = Counter(
            "recollect_recall_degraded",
            "Recalls answered with less than there is, by reason.",
            ("reason",),
            [(_reason(degraded),) for degraded in Degraded],
        )
        self.index_seconds = Histogram(
            "recollect_index_operation_duration_seconds",
            "How long the index took.",
            _QUICK,
            ("operation",),
        )
        self.command_seconds = Histogram(
            "recollect_command_duration_seconds", "How long commands took, answer included.", _ASKED, ("command",)
        )
        self.command_failures = Counter(
            "recollect_command_failures", "Commands that failed, by cause.", ("command", "cause")
        )
        self.failures = Counter(
            "recollect_failures", "Requests to other services that failed, by cause.", ("dependency", "cause")
        )

    @property
    def all(self) -> list[Counter | Histogram]:
        """In the order of the page."""
        return list(vars(self).values())

    def batch(self, seconds: float, messages: int, facts: int) -> None:
        """A batch of extraction that read something."""
        self.batch_seconds.observe(seconds)
        self.batch_messages.observe(messages)
        self.facts.add(facts)

    def recalled(self, laps: Laps, degraded: Degraded | None) -> None:
        """A recall that was answered."""
        laps.finish(self.recall_seconds)
        if degraded:
            self.recall_degraded.add(1, _reason(degraded))

    @contextmanager
    def request(self, dependency: str, durations: Histogram, *labels: str) -> Iterator[None]:
        """A request to another service: how long it takes, or why it fails."""
        began = perf_counter()
        with self.failing(dependency):
            yield
        durations.observe(perf_counter() - began, *labels)

    @contextmanager
    def failing(self, dependency: str) -> Iterator[None]:
        """Count what is raised in the block."""
        try:
            yield
        except BaseException as error:
            self.failures.add(1, dependency, cause(error))
            raise


def cause(error: BaseException) -> str:
    """The cause of a failure in a word: its class, of those in `bot.errors`."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit | TimeoutError):
        return "given_up"  # whoever asked waited no longer
    kinds = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ == RecollectError.__module__)
    return re.sub(r"(?<=.)(?=[A-Z][a-z])", "_", next(kinds, "Unexpected")).lower()


def _reason(degraded: Degraded) -> str:
    return degraded.name.lower()
