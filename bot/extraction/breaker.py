"""A circuit breaker whose state outlives the process.

Closed, everything passes. A failure opens it for a time that doubles with each further failure.
After that time it lets a single probe through: success closes it, failure opens it again.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from bot.model import utcnow
from bot.storage.breakers import BreakerState, BreakerStore

_FIRST_PAUSE = timedelta(seconds=15)
_LONGEST_PAUSE = timedelta(minutes=10)
_JITTER = 0.2  # so that several bots do not knock at the same instant
_PROBE = timedelta(minutes=10)  # a probe that reported nothing for so long is given up

_random = random.SystemRandom()
_log = structlog.get_logger(__name__)


class Breaker:
    """Guards one service. Logs when an outage begins, when its reason changes and when it is over."""

    def __init__(self, name: str, store: BreakerStore, clock: Callable[[], datetime] = utcnow) -> None:
        self._name = name
        self._store = store
        self._clock = clock
        self._state: BreakerState | None = None
        self._probe_until: datetime | None = None

    async def state(self) -> BreakerState:
        """The state as kept: without `opened_at` it is closed."""
        if self._state is None:
            self._state = await self._store.get(self._name)
        return self._state

    async def retry_at(self) -> datetime | None:
        """When the next call may be made; None if now, as the breaker is closed."""
        return self._probe_until or (await self.state()).retry_at

    async def allows(self) -> bool:
        """Whether a call may be made now. When the pause is over, True for one caller only: the probe."""
        retry_at, now = await self.retry_at(), self._clock()
        if retry_at is None:
            return True
        if now < retry_at:
            return False
        self._probe_until = now + _PROBE
        return True

    async def end_pause(self) -> None:
        """Let the next caller be the probe, because someone saw the service answer."""
        state = await self.state()
        if state.opened_at is not None:
            self._probe_until = None
            await self._keep(replace(state, retry_at=self._clock()))

    async def succeeded(self) -> bool:
        """The service answered: close. True if it was open."""
        if (await self.state()).opened_at is None:
            return False
        await self._keep(BreakerState())
        self._probe_until = None
        _log.info("service_back", service=self._name)
        return True

    async def failed(self, reason: str) -> None:
        """The service did not answer: open, or stay open for longer. `reason` is one sentence for people."""
        state, now = await self.state(), self._clock()
        if state.opened_at is not None and self._probe_until is None:
            return  # of calls under way together, only the first to fail tells something new
        pause = min(_FIRST_PAUSE * 2 ** min(state.failures, 16), _LONGEST_PAUSE)
        retry_at = now + pause * _random.uniform(1 - _JITTER, 1 + _JITTER)
        await self._keep(BreakerState(state.failures + 1, state.opened_at or now, retry_at, reason))
        self._probe_until = None
        if reason != state.reason:
            _log.warning("service_down", service=self._name, reason=reason)

    async def _keep(self, state: BreakerState) -> None:
        await self._store.put(self._name, state)
        self._state = state
