"""Taking a sample of every guild each ten minutes, from which /status draws its pictures."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from bot.errors import StorageUnavailable
from bot.model import utcnow
from bot.storage.samples import Samples
from bot.telemetry import Outages

EVERY = 600.0  # seconds

log = structlog.get_logger(__name__)


class Sampling:
    """Takes samples for as long as the bot runs."""

    def __init__(self, samples: Samples, clock: Callable[[], datetime] = utcnow, every: float = EVERY) -> None:
        self._samples = samples
        self._clock = clock
        self._every = every
        self._outages = Outages(log)

    async def run(self) -> None:
        """Take one now and then, until cancelled. What an outage keeps from being counted is missing in the picture."""
        while True:
            try:
                await self._samples.take(self._clock())
                self._outages.over("not_sampled")
            except StorageUnavailable as error:
                self._outages.began("not_sampled", str(error))
            except Exception:
                log.exception("sampling_failed")
            await asyncio.sleep(self._every)
