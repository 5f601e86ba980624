"""The batch worker: when a guild's messages are due, conversations become facts.

A batch runs when its deadline in the database has passed, or early when enough messages came since
the last attempt (it then reads what is worth a call, see `due`), and never while the breaker is
open. It takes each window through lease, model and commit. An outage gives the lease back and stops
the batch; an answer that is refused is asked for again once, then for each half of the window, and
at last the single message is put aside. Whole windows go first, so a message nobody can read keeps
no other conversation waiting.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import perf_counter

import structlog

from bot.errors import AnswerRejected, LLMUnavailable, RecollectError, StorageUnavailable
from bot.extraction.asker import Asked, Asker, HopelessModel
from bot.extraction.due import Rule, everything, settled, worthwhile
from bot.extraction.llm import LLM
from bot.extraction.stretch import Stretch
from bot.extraction.turns import Turns
from bot.extraction.windows import CONTEXT_SHARE, halve, refreshed
from bot.meters import Meters
from bot.model import Message, ServiceHealth, Window, utcnow
from bot.settings import BatchSettings
from bot.storage.breaker import Breaker
from bot.storage.guild_configs import GuildConfigs
from bot.storage.lease import Lease
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue, GuildSchedule
from bot.telemetry import Outages

_CHUNK = 400  # messages in memory at once: a backlog of any size takes no more
_HISTORY = 400  # extracted ones looked at with them, for what they answer;
_BACKLOG_HISTORY = 100  # so many suffice where all before a whole chunk was extracted
_LEASE = timedelta(hours=1)
_LINGER = 0.2  # seconds: captures come in bursts, and each wakes the worker
_LONGEST_SLEEP = timedelta(hours=1)
_REST = timedelta(minutes=1)  # a guild whose batch broke is left alone for so long
_BREATH = timedelta(seconds=5)  # and so long if the database refused, which has kept it waiting before

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one batch did: messages extracted, facts stored, messages put aside, and what stopped it, if anything."""

    messages: int = 0
    facts: int = 0
    dead: int = 0
    stopped_by: str | None = None


@dataclass(slots=True)
class _Tally:
    messages: int = 0
    facts: int = 0
    dead: int = 0
    asked: Asked = field(default_factory=Asked)

    def report(self, stopped_by: str | None = None) -> BatchReport:
        return BatchReport(self.messages, self.facts, self.dead, stopped_by)


class BatchWorker:
    """Runs the batches of every guild: one at a time for each guild, one question at a time for the model.

    `on_facts` is called when facts were stored, and `give_way` is awaited before each window is begun and
    before it is committed. `turns` decide when it may ask the model.
    """

    def __init__(
        self,
        queue: ExtractionQueue,
        messages: MessageStore,
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
        self._messages = messages
        self._settings = batch
        self._clock = clock
        self._on_facts = on_facts
        self._give_way = give_way
        self._woken = asyncio.Event()
        self._breaker = breaker
        # The guilds that waited for the breaker can go on once the model answers.
        self._meters = meters or Meters()
        self._asker = Asker(llm, breaker, configs, batch.window_tokens, turns or Turns(), self._woken.set, self._meters)
        self._running: set[int] = set()
        self._guild_locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._resting: dict[int, datetime] = {}
        self._unreleased: list[Lease] = []
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
        await self._release()
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

    def _log_failure(self, event: str, error: Exception, **ids: int) -> None:
        """A database that cannot be used is one line until that changes; anything else is a bug and has its stack."""
        if isinstance(error, StorageUnavailable):
            self._outages.began(event, str(error))
        else:
            _log.error(event, exc_info=error, **ids)

    async def _batch(self, guild_id: int, next_due: datetime, rule: Rule) -> BatchReport:
        tally, began = _Tally(), perf_counter()
        await self._queue.begin_batch(guild_id, next_due)
        try:
            smaller = await self._drain(guild_id, rule, tally)
            while smaller:  # depth first: soon a single message is read or put aside, so each batch gets further
                smaller += await self._extract(smaller.pop(), tally)
        except HopelessModel as reason:
            report = tally.report(str(reason))
        except LLMUnavailable as outage:
            # Due again as soon as the breaker lets a call through, over a restart too.
            await self._queue.begin_batch(guild_id, self._breaker.state.retry_at or self._clock())
            report = tally.report(str(outage))
        else:
            if tally.asked.calls or rule is not worthwhile:  # an early look that read nothing is no batch
                await self._queue.finish_batch(guild_id)
            if rule is settled and not tally.asked.calls and self._breaker.open:
                # The breaker let a call through and nothing had settled to ask about: not to wait an interval for.
                soon = self._clock() + max(self._settings.settle, _REST)
                await self._queue.begin_batch(guild_id, min(next_due, soon))
            report = tally.report()
        self._outages.over("batch_failed")
        if tally.messages or tally.dead:
            self._meters.batch(perf_counter() - began, tally.messages, tally.facts)
            _log.info(
                "batch",
                guild_id=guild_id,
                messages=tally.messages,
                facts=tally.facts,
                dead=tally.dead,
                calls=tally.asked.calls,
                refused=dict(tally.asked.refused),
                stopped=report.stopped_by is not None,
            )
        return report

    async def _drain(self, guild_id: int, rule: Rule, tally: _Tally) -> list[Window]:
        """Extract what is due, a chunk of each channel in turn; the halves of the windows that were refused.

        So no channel's backlog keeps the talk in the others waiting, which is looked at anew in every round.
        """
        halves: list[Window] = []
        read_to: dict[int, int] = {}  # of the channels with more than a chunk waiting
        backlog = True
        while backlog:
            backlog = False
            for channel_id in await self._queue.channels_waiting(guild_id):
                chunk = await self._queue.waiting(guild_id, channel_id, _CHUNK, read_to.get(channel_id, 0))
                if not chunk:
                    continue
                history = _HISTORY
                if len(chunk) == _CHUNK:
                    read_to[channel_id], backlog, history = chunk[-1].id, True, _BACKLOG_HISTORY
                refused = {message.id for window in halves for message in window.messages}
                fresh = [message for message in chunk if message.id not in refused]
                before = await self._queue.extracted_before(channel_id, chunk[-1].id, history)
                await self._quiet()
                for window in await asyncio.to_thread(self._windows, before, fresh, rule):
                    halves += await self._extract(window, tally)
        return halves

    def _windows(self, before: Sequence[Message], chunk: Sequence[Message], rule: Rule) -> list[Window]:
        batch = self._settings
        stretch = Stretch(sorted([*before, *chunk], key=lambda message: message.id))
        windows = rule(stretch.conversations({message.id for message in chunk}), batch, self._clock())
        room = batch.window_tokens // CONTEXT_SHARE
        return [replace(one, context=stretch.context(one, batch.context_lines, room)) for one in windows]

    async def _extract(self, window: Window, tally: _Tally) -> Sequence[Window]:
        """Take one window from lease to commit; the smaller windows to try instead, if its answers were refused."""
        await self._quiet()
        ids = [message.id for message in window.messages]
        taken = await self._queue.take(ids, _LEASE, [message.id for message in window.context])
        lease, window = taken.lease, refreshed(window, taken, self._settings.window_tokens)
        if not window.sections:
            return ()
        try:
            facts = await self._asker.facts(window, tally.asked)
            await self._quiet()
            stored = await self._queue.commit(lease, facts, {*window.context, *window.quotes.values()})
        except AnswerRejected as error:
            return await self._after_refusal(window, lease, error, tally)
        except BaseException:
            self._unreleased.append(lease)
            await self._release()
            raise
        tally.messages += len(lease.messages)
        tally.facts += stored
        if stored:
            self._on_facts()
        return ()

    async def _quiet(self) -> None:
        """Let whoever waits for an answer go first."""
        if self._give_way is not None:
            await self._give_way()

    async def _release(self) -> None:
        """Give back the leases of windows that were not read, those included whose release the database refused."""
        while self._unreleased:
            lease = self._unreleased.pop()
            try:
                await self._queue.release(lease)
            except BaseException:
                self._unreleased.append(lease)
                raise

    async def _after_refusal(
        self, window: Window, lease: Lease, error: AnswerRejected, tally: _Tally
    ) -> Sequence[Window]:
        if halves := halve(window):
            await self._queue.failed(lease)
            return halves
        await self._queue.bury(lease, str(error))
        tally.dead += 1
        _log.warning("message_put_aside", message_id=lease.messages[0].id, reason=str(error))
        return ()


def _rest(error: Exception) -> timedelta:
    return _BREATH if isinstance(error, StorageUnavailable) else _REST
