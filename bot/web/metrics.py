"""`/metrics`: what waits, what is wrong and what the bot does, for Prometheus.

What can be read is read when somebody scrapes; the rest was counted by the `Meters`. The client
library is imported with the first scrape: who has no Prometheus pays for none.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Generic, TypeVar

from bot.capture.client import Client
from bot.extraction.loaded import Loaded
from bot.meters import Meters
from bot.storage.breaker import Breakers
from bot.storage.census import Census
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue
from bot.upkeep.alerts import Alerts

T = TypeVar("T")


class Lately(Generic[T]):
    """What was read lately; read anew once it is older than `kept`."""

    def __init__(self, read: Callable[[], Awaitable[T]], kept: timedelta, clock: Callable[[], datetime]) -> None:
        self._read = read
        self._kept = kept
        self._clock = clock
        self._last: tuple[datetime, T] | None = None

    async def __call__(self) -> T:
        now = self._clock()
        if self._last is None or now - self._last[0] >= self._kept:
            self._last = now, await self._read()
        return self._last[1]


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where the values come from.

    `models` are those of ours that may be in an Ollama server's memory, None while it does not answer.
    `about` gives the labels of the build.
    """

    meters: Meters
    queue: ExtractionQueue
    messages: MessageStore
    census: Callable[[], Awaitable[Census]]
    alerts: Alerts
    breakers: Breakers
    client: Client
    models: Callable[[], Awaitable[dict[str, Loaded | None] | None]]
    folder: Path
    refused_events: Callable[[], int]
    places_behind: Callable[[], int]
    about: Callable[[], Mapping[str, str]]
    clock: Callable[[], datetime]

    async def page(self) -> tuple[bytes, str]:
        """The page and its content type. Without the database, what only it knows is left out."""
        from bot.web.exposition import page

        return await page(self)
