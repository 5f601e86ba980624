"""The batch worker: when a guild's messages are due, conversations become facts.

A batch runs when its deadline in the database has passed, or early when enough messages came since
the last attempt (it then reads what is worth a call, see `due`), and never while the breaker is open.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from bot.errors import RecollectError, StorageUnavailable
from bot.extraction.asker import Asker
from bot.extraction.batch import BatchReport, BatchRunner
from bot.extraction.due import Rule, everything, settled, worthwhile
from bot.extraction.llm import LLM
from bot.extraction.turns import Turns
from bot.meters import Meters
from bot.model import ServiceHealth, utcnow
from bot.settings import BatchSettings
from bot.storage.breaker import Breaker
from bot.storage.guild_configs import GuildConfigs
from bot.storage.queue import ExtractionQueue, GuildSchedule
from bot.telemetry import Outages

_LINGER = 0.2  # seconds: captures come in bursts, and each wakes the worker
_LONGEST_SLEEP = timedelta(hours=1)
_REST = timedelta(minutes=1)  # a guild whose batch broke is left alone for so long
_BREATH = timedelta(seconds=5)  # and so long if the database refused, which has kept it waiting before

_log = structlog.get_logger(__name__)


class BatchWorker:
    """Runs the batches of every guild: one at a time for each guild, one question at a time for the model.

    `on_facts` is called when facts were stored, and `give_way` is awaited before each window is begun and
    before it is committed. `turns` decide when it may ask the model.
    """

    def __init__(
        self,
        queue: ExtractionQueue,
        llm: LLM,
        breaker: Breaker,
        batch: BatchSettings,
        configs: GuildConfigs,
        clock: Callable[[], datetime] = utcnow,
        on_facts: Callable[[], None] = lambda: None,
        give_way: Callable[[], Awaitable[None]] | None = None,
        turns: Turns | None = None,
        meters: Meters | None = None,
    ) -> None:
        self._queue = queue
        self._settings = batch
        self._clock = clock
        self._woken = asyncio.Event()
        self._breaker = breaker
        # The guilds that waited for the breaker can go on once the model answers.
        meters = meters or Meters()
        self._asker = Asker(llm, breaker, configs, batch.window_tokens, turns or Turns(), self._woken.set, meters)
        self._runner = BatchRunner(queue, self._asker, breaker, batch, clock, on_facts, give_way, meters)
        self._running: set[int] = set()
        self._guild_locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._resting: dict[int, datetime] = {}
        self._flushes: set[asyncio.Task[BatchReport]] = set()
        self._outages = Outages(_log)

    def wake(self) -> None:
        """Look again at what is due: messages were captured."""
        self._woken.set()

    def resume(self) -> None:
        """Look again, and ask the model: it was seen to answer."""
        self._breaker.end_pause()
        self._woken.set()

    async def run(self) -> None:
        """Run batches as they become due, until cancelled. Leases left by an earlier process are taken back first."""
        try:
            await self._run()
        finally:
            await self.close()

    async def close(self) -> None:
        """End the flushes under way; their leases are given back."""
        for flush in self._flushes:
            flush.cancel()
        await asyncio.gather(*self._flushes, return_exceptions=True)

    async def _run(self) -> None:
        released = False
        async with asyncio.TaskGroup() as batches:
            while True:
                self._woken.clear()
                try:
                    if not released:
                        await self._queue.release_all()
                        released = True
                    pause = await self._start_due(batches)
                    self._outages.over("schedule_failed")
                except Exception as error:
                    self._log_failure("schedule_failed", error)
                    pause = _rest(error).total_seconds()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._woken.wait()
                        await asyncio.sleep(_LINGER)

    async def run_due(self) -> None:
        """Run the batches that are due now, and return when they are done."""
        async with asyncio.TaskGroup() as batches:
            await self._start_due(batches)

    async def flush(self, guild_id: int) -> BatchReport:
        """Run one batch of everything a guild has waiting, conversations still going on included.

        A batch of this guild that is running is waited for. While the breaker is open, the model's
        health decides whether to try. The batch is the worker's: it goes on if the caller stops waiting.
        """
        flush = asyncio.create_task(self._flush(guild_id))
        self._flushes.add(flush)
        flush.add_done_callback(self._flushes.discard)
        return await asyncio.shield(flush)

    async def _flush(self, guild_id: int) -> BatchReport:
        try:
            async with self._guild_locks[guild_id]:
                if obstacle := await self._asker.obstacle():
                    return BatchReport(stopped_by=obstacle)
                return await self._batch(guild_id, self._clock() + self._settings.interval, everything)
        except Exception as error:
            # Logged here, for the caller may be gone.
            self._log_failure("batch_failed", error, guild_id=guild_id)
            return BatchReport(stopped_by=str(error if isinstance(error, RecollectError) else RecollectError()))
        finally:
            self._woken.set()

    async def health(self) -> ServiceHealth:
        """The model's health, at most a few seconds old; see `Asker.health`."""
        return await self._asker.health()

    async def next_due(self, guild_id: int) -> datetime | None:
        """When the guild's next batch is due; None if it never had a message."""
        due = [guild.due_at for guild in await self._queue.guilds() if guild.guild_id == guild_id]
        retry_at = self._breaker.retry_at
        return max(due[0], retry_at or due[0]) if due else None

    async def _start_due(self, batches: asyncio.TaskGroup) -> float:
        """Start the batches that are due; the seconds until the next one is."""
        await self._runner.release()
        now = self._clock()
        retry_at = self._breaker.retry_at
        next_at = now + _LONGEST_SLEEP
        for guild in await self._queue.guilds():
            if guild.waiting == 0 or guild.guild_id in self._running:
                continue
            early = guild.due_at > now and guild.since_attempt >= self._settings.max_messages
            due_at = now if early else guild.due_at
            start_at = max(due_at, retry_at or due_at, self._resting.get(guild.guild_id, due_at))
            if start_at > now:
                next_at = min(next_at, start_at)
            else:
                self._running.add(guild.guild_id)
                batches.create_task(self._scheduled(guild, early))
        return (next_at - now).total_seconds()

    async def _scheduled(self, guild: GuildSchedule, early: bool) -> None:
        # An early batch leaves the deadline where it is, for what it leaves behind.
        next_due = guild.due_at if early else self._clock() + self._settings.interval
        rule = worthwhile if early else settled
        try:
            async with self._guild_locks[guild.guild_id]:
                await self._batch(guild.guild_id, next_due, rule)
            self._resting.pop(guild.guild_id, None)
        except Exception as error:
            self._log_failure("batch_failed", error, guild_id=guild.guild_id)
            self._resting[guild.guild_id] = self._clock() + _rest(error)
        finally:
            self._running.discard(guild.guild_id)
            self._woken.set()

    async def _batch(self, guild_id: int, next_due: datetime, rule: Rule) -> BatchReport:
        report = await self._runner.run(guild_id, next_due, rule)
        self._outages.over("batch_failed")
        return report

    def _log_failure(self, event: str, error: Exception, **ids: int) -> None:
        """A database that cannot be used is one line until that changes; anything else is a bug and has its stack."""
        if isinstance(error, StorageUnavailable):
            self._outages.began(event, str(error))
        else:
            _log.error(event, exc_info=error, **ids)


def _rest(error: Exception) -> timedelta:
    return _BREATH if isinstance(error, StorageUnavailable) else _REST
