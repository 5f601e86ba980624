"""Circuit breakers: when a service that failed is asked again, over restarts too.

Closed, everything passes. A failure opens a breaker for a time that doubles with each further
failure. After that time it lets a single probe through: success closes it, failure opens it again.

Whoever asks a breaker never waits: its state is in memory, read once at start, and each change is
written soon after. What cannot be written is written with the next change.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from bot.errors import StorageUnavailable
from bot.model import utcnow
from bot.settings import OutageSettings
from bot.storage.database import Database
from bot.storage.rows import maybe_ms, maybe_time
from bot.storage.tables import breaker

QUOTA_PAUSE = timedelta(hours=1)
"""How long a service is left alone whose quota is used up: asking sooner only costs refusals."""

_JITTER = 0.2  # the share a pause may be shorter, so that several bots do not knock at the same instant
_PROBE = timedelta(minutes=10)  # a probe that reported nothing for so long is given up

_random = random.SystemRandom()
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BreakerState:
    """How often in a row a service failed, since when it is left alone and until when."""

    failures: int = 0
    opened_at: datetime | None = None
    retry_at: datetime | None = None
    reason: str | None = None

    def pause(self, now: datetime) -> timedelta:
        """How much longer the service is left alone."""
        return timedelta(0) if self.retry_at is None else max(self.retry_at - now, timedelta(0))

    def after_failure(
        self, reason: str, now: datetime, pauses: OutageSettings, at_least: timedelta = timedelta(0)
    ) -> "BreakerState":
        """The state once the service failed again: its pause is twice as long."""
        doubled = min(pauses.first_pause * 2 ** min(self.failures, 32), pauses.longest_pause)
        retry_at = now + max(doubled * _random.uniform(1 - _JITTER, 1), at_least)
        return BreakerState(self.failures + 1, self.opened_at or now, retry_at, reason)


class Breaker:
    """Guards one service. Logs when an outage begins, when its reason changes and when it is over."""

    def __init__(
        self,
        name: str,
        pauses: OutageSettings | None = None,
        clock: Callable[[], datetime] = utcnow,
        state: BreakerState | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.pauses = pauses or OutageSettings()
        self._clock = clock
        self._state = state or BreakerState()
        self._on_change = on_change
        self._probe_until: datetime | None = None

    @property
    def state(self) -> BreakerState:
        """The state as kept: without `opened_at` it is closed."""
        return self._state

    @property
    def open(self) -> bool:
        """Whether the last that was heard of the service is a failure."""
        return self._state.opened_at is not None

    @property
    def retry_at(self) -> datetime | None:
        """When the next call may be made; None if now, as the breaker is closed."""
        return self._probe_until or self._state.retry_at

    @property
    def pause(self) -> timedelta:
        """How much longer no call may be made."""
        return replace(self._state, retry_at=self.retry_at).pause(self._clock())

    @property
    def waiting(self) -> bool:
        """Whether no call may be made now."""
        return bool(self.pause)

    @property
    def trouble(self) -> str | None:
        """For people, what is wrong with the service and when it is asked again; None if it may be asked now."""
        if not self.waiting:
            return None
        return f"{(self._state.reason or '').rstrip('.')}; the next try is at {self.retry_at:%H:%M} UTC"

    def allows(self) -> bool:
        """Whether a call may be made now. When the pause is over, True for one caller only: the probe."""
        if self.waiting:
            return False
        if self.open:
            self._probe_until = self._clock() + _PROBE
        return True

    def end_pause(self) -> None:
        """Let the next caller be the probe, because someone saw the service answer."""
        if self.open:
            self._probe_until = None
            self._keep(replace(self._state, retry_at=self._clock()))

    def succeeded(self) -> bool:
        """The service answered: close. True if it was open."""
        if not self.open:
            return False
        self._probe_until = None
        self._keep(BreakerState())
        _log.info("service_back", service=self.name)
        return True

    def failed(self, reason: str, at_least: timedelta = timedelta(0)) -> None:
        """The service did not answer: open, or stay open for longer. `reason` is one sentence for people."""
        if self.open and self._probe_until is None:
            return  # of calls under way together, only the first to fail tells something new
        self._probe_until = None
        before = self._state
        self._keep(before.after_failure(reason, self._clock(), self.pauses, at_least))
        if reason != before.reason:
            _log.warning("service_down", service=self.name, reason=reason)

    def _keep(self, state: BreakerState) -> None:
        self._state = state
        self._on_change()


class Breakers:
    """The breakers of all services by name, kept in the database. Make it with `load`, end it with `close`."""

    def __init__(
        self,
        database: Database,
        pauses: OutageSettings,
        clock: Callable[[], datetime],
        kept: Mapping[str, BreakerState],
    ) -> None:
        self._database = database
        self._pauses = pauses
        self._clock = clock
        self._kept = dict(kept)
        self._breakers: dict[str, Breaker] = {}
        self._writer: asyncio.Task[None] | None = None

    @classmethod
    async def load(
        cls, database: Database, pauses: OutageSettings | None = None, clock: Callable[[], datetime] = utcnow
    ) -> "Breakers":
        """The breakers as the last process left them."""
        async with database.read() as connection:
            rows = (await connection.execute(select(breaker))).all()
        kept = {
            row.name: BreakerState(row.failures, maybe_time(row.opened_at), maybe_time(row.retry_at), row.reason)
            for row in rows
        }
        return cls(database, pauses or OutageSettings(), clock, kept)

    def of(self, name: str) -> Breaker:
        """The one breaker of a service; one that never failed is closed."""
        if name not in self._breakers:
            state = self._kept.get(name)
            self._breakers[name] = Breaker(name, self._pauses, self._clock, state, self._changed)
        return self._breakers[name]

    def hand_over(self, former: str, name: str) -> None:
        """Have the breaker of one service guard another in its place, which was just seen to answer."""
        breaker = self.of(former)
        self._breakers[name] = self._breakers.pop(former)
        breaker.name = name
        breaker.succeeded()
        self._changed()  # of this service another state may be kept

    def open(self) -> dict[str, bool]:
        """Of each service that was asked for, whether its breaker is open."""
        return {name: one.open for name, one in self._breakers.items()}

    async def close(self) -> None:
        """Wait until what changed is written."""
        while self._writer is not None:
            await asyncio.wait({self._writer})

    def _changed(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="breakers")

    async def _write(self) -> None:
        """Write every state that differs from what is kept; this task lives only while there are such."""
        try:
            while changed := {n: b.state for n, b in self._breakers.items() if b.state != self._kept.get(n)}:
                await self._put(changed)
                self._kept |= changed
        except StorageUnavailable as error:
            _log.debug("breakers_not_kept", reason=str(error))  # a restart would ask too early, and find out
        finally:
            self._writer = None

    async def _put(self, states: Mapping[str, BreakerState]) -> None:
        rows = [
            {
                "name": name,
                "failures": state.failures,
                "opened_at": maybe_ms(state.opened_at),
                "retry_at": maybe_ms(state.retry_at),
                "reason": state.reason,
            }
            for name, state in states.items()
        ]
        row = insert(breaker)
        new = {column.name: column for column in row.excluded if column.name != "name"}
        async with self._database.write() as connection:
            await connection.execute(row.on_conflict_do_update(index_elements=[breaker.c.name], set_=new), rows)
