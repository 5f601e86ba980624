"""The batch worker: when a guild's messages are due, conversations become facts.

A batch runs when its deadline in the database has passed, or early when enough messages came since
the last attempt (it then reads what is worth a call, see `due`), and never while the breaker is
open. It takes each window through lease, model and commit. An outage gives the lease back and stops
the batch; an answer that is refused is asked for again once, then for each half of the window, and
at last the single message is put aside. Whole windows go first, so a message nobody can read keeps
no other conversation waiting.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from time import monotonic

import structlog

from bot.errors import AnswerRejected, LLMUnavailable, RecollectError, StorageUnavailable
from bot.extraction.answer import check
from bot.extraction.breaker import Breaker
from bot.extraction.due import Rule, everything, settled, worthwhile
from bot.extraction.llm import LLM
from bot.extraction.prompt import MOST_QUOTES, PersonFacts, build
from bot.extraction.sample import SAMPLE
from bot.extraction.threads import conversations
from bot.extraction.windows import answered_elsewhere, halve, pack, refreshed
from bot.model import Fact, Message, ServiceHealth, Window, utcnow
from bot.settings import BatchSettings
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue, GuildSchedule, Lease

_CHUNK = 1000  # messages in memory at once: a backlog of any size takes no more
_LEASE = timedelta(hours=1)
_LINGER = 0.2  # seconds: captures come in bursts, and each wakes the worker
_LONGEST_SLEEP = timedelta(hours=1)
_REST = timedelta(minutes=1)  # a guild whose batch broke is left alone for so long
_DOUBT = 10  # refused answers in a row: then a sample question shows if it is the model or the messages
_HEALTH_SECONDS = 5.0

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
    calls: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def report(self, stopped_by: str | None = None) -> BatchReport:
        return BatchReport(self.messages, self.facts, self.dead, stopped_by)


class BatchWorker:
    """Runs the batches of every guild: one at a time for each guild, one question at a time for the model."""

    def __init__(
        self,
        queue: ExtractionQueue,
        messages: MessageStore,
        llm: LLM,
        breaker: Breaker,
        batch: BatchSettings,
        person_facts: PersonFacts,
        clock: Callable[[], datetime] = utcnow,
        on_facts: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue = queue
        self._messages = messages
        self._llm = llm
        self._breaker = breaker
        self._settings = batch
        self._person_facts = person_facts
        self._clock = clock
        self._on_facts = on_facts
        self._woken = asyncio.Event()
        self._running: set[int] = set()
        self._guild_locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._turn = asyncio.Lock()  # first come, first served: no guild's backlog keeps the others waiting
        self._resting: dict[int, datetime] = {}
        self._flushes: set[asyncio.Task[BatchReport]] = set()
        self._refusals = 0
        self._hopeless: str | None = None
        self._health: tuple[float, ServiceHealth] | None = None
        self._refused_by_storage: dict[str, str] = {}  # by event: the reason that was logged

    def wake(self) -> None:
        """Look again at what is due: messages were captured."""
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
                    self._refused_by_storage.pop("schedule_failed", None)
                except Exception as error:
                    self._log_failure("schedule_failed", error)
                    pause = _REST.total_seconds()
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
                if (await self._breaker.state()).opened_at is not None:
                    health = await self._llm.health()
                    if not health.ok:
                        return BatchReport(stopped_by=health.detail)
                    await self._breaker.end_pause()
                return await self._batch(guild_id, self._clock() + self._settings.interval, everything)
        except Exception as error:
            # Logged here, for the caller may be gone.
            self._log_failure("batch_failed", error, guild_id=guild_id)
            return BatchReport(stopped_by=str(error if isinstance(error, RecollectError) else RecollectError()))
        finally:
            self._woken.set()

    async def health(self) -> ServiceHealth:
        """The model's health, at most a few seconds old. Questions that fail while it looks well count, too.

        They count until the next one may be asked: nobody knows more then, and it may be long until there is one.
        """
        if self._health is None or monotonic() - self._health[0] > _HEALTH_SECONDS:
            self._health = (monotonic(), await self._llm.health())
        health = self._health[1]
        if health.ok and self._hopeless:
            return ServiceHealth(health.name, False, self._hopeless)
        retry_at = await self._breaker.retry_at()
        if not health.ok or retry_at is None or retry_at <= self._clock():
            return health
        reason = (await self._breaker.state()).reason
        return ServiceHealth(health.name, False, f"{reason}; the next try is at {retry_at:%H:%M} UTC")

    async def next_due(self, guild_id: int) -> datetime | None:
        """When the guild's next batch is due; None if it never had a message."""
        due = [guild.due_at for guild in await self._queue.guilds() if guild.guild_id == guild_id]
        retry_at = await self._breaker.retry_at()
        return max(due[0], retry_at or due[0]) if due else None

    async def _start_due(self, batches: asyncio.TaskGroup) -> float:
        """Start the batches that are due; the seconds until the next one is."""
        now = self._clock()
        retry_at = await self._breaker.retry_at()
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
            self._resting[guild.guild_id] = self._clock() + _REST
        finally:
            self._running.discard(guild.guild_id)
            self._woken.set()

    def _log_failure(self, event: str, error: Exception, **ids: int) -> None:
        """A database that cannot be used is one line until that changes; anything else is a bug and has its stack."""
        if not isinstance(error, StorageUnavailable):
            _log.error(event, exc_info=error, **ids)
        elif self._refused_by_storage.get(event) != str(error):
            self._refused_by_storage[event] = str(error)
            _log.error(event, reason=str(error), **ids)

    async def _batch(self, guild_id: int, next_due: datetime, rule: Rule) -> BatchReport:
        tally = _Tally()
        await self._queue.begin_batch(guild_id, next_due)
        try:
            smaller: list[Window] = []
            for channel_id in await self._queue.channels_waiting(guild_id):
                smaller += await self._drain(guild_id, channel_id, rule, tally)
            while smaller:  # depth first: soon a single message is read or put aside, so each batch gets further
                smaller += await self._extract(smaller.pop(), tally)
        except _HopelessModel as reason:
            report = tally.report(str(reason))
        except LLMUnavailable as outage:
            # Due again as soon as the breaker lets a call through, over a restart too.
            await self._queue.begin_batch(guild_id, (await self._breaker.state()).retry_at or self._clock())
            report = tally.report(str(outage))
        else:
            if tally.calls or rule is not worthwhile:  # an early look that read nothing is no batch
                await self._queue.finish_batch(guild_id)
            if rule is settled and not tally.calls and await self._breaker.retry_at():
                # The breaker let a call through and nothing had settled to ask about: not to wait an interval for.
                soon = self._clock() + max(self._settings.settle, _REST)
                await self._queue.begin_batch(guild_id, min(next_due, soon))
            report = tally.report()
        self._refused_by_storage.pop("batch_failed", None)
        if tally.messages or tally.dead:
            _log.info(
                "batch",
                guild_id=guild_id,
                messages=tally.messages,
                facts=tally.facts,
                dead=tally.dead,
                calls=tally.calls,
                refused=dict(tally.refused),
                stopped=report.stopped_by is not None,
            )
        return report

    async def _drain(self, guild_id: int, channel_id: int, rule: Rule, tally: _Tally) -> Sequence[Window]:
        """Extract what is due of a channel, a chunk at a time; the halves of the windows that were refused."""
        after_id = 0
        halves: list[Window] = []
        while chunk := await self._queue.waiting(guild_id, channel_id, _CHUNK, after_id):
            after_id = chunk[-1].id
            for window in await asyncio.to_thread(self._windows, chunk, rule):
                halves += await self._extract(window, tally)
        return halves

    def _windows(self, chunk: Sequence[Message], rule: Rule) -> Sequence[Window]:
        talks = rule(conversations(chunk), self._settings, self._clock())
        return pack(talks, self._settings.window_tokens)

    async def _extract(self, window: Window, tally: _Tally) -> Sequence[Window]:
        """Take one window from lease to commit; the smaller windows to try instead, if its answers were refused."""
        lease = await self._queue.claim([message.id for message in window.messages], _LEASE)
        window = refreshed(window, {message.id: message for message in lease.messages})
        if not window.sections:
            return ()
        try:
            window = await self._with_surroundings(window)
            facts = await self._question(window, tally)
            stored = await self._queue.commit(lease, facts, {*window.context, *window.quotes.values()})
        except AnswerRejected as error:
            return await self._after_refusal(window, lease, error, tally)
        except BaseException:
            await self._queue.release(lease)
            raise
        tally.messages += len(lease.messages)
        tally.facts += stored
        if stored:
            self._on_facts()
        return ()

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

    async def _with_surroundings(self, window: Window) -> Window:
        """The window with the lines said before it, and the messages elsewhere that it replies to."""
        first = window.messages[0]
        before_id = min(message.id for message in window.messages)
        context = await self._queue.context(first.channel_id, before_id, self._settings.context_lines)
        elsewhere = answered_elsewhere(window)
        held = await self._messages.get(elsewhere.values())
        quotes = {
            id: held[answered]
            for id, answered in elsewhere.items()
            if answered in held and held[answered].access_id == first.access_id
        }
        return replace(window, context=tuple(context), quotes=dict(islice(quotes.items(), MOST_QUOTES)))

    async def _question(self, window: Window, tally: _Tally) -> Sequence[Fact]:
        """The facts of a window. An answer that is refused is asked for once more."""
        try:
            return await self._ask(window, tally)
        except AnswerRejected:
            return await self._ask(window, tally)

    async def _ask(self, window: Window, tally: _Tally) -> Sequence[Fact]:
        prompt = build(window, self._person_facts, self._settings.window_tokens)
        async with self._turn:
            if not await self._breaker.allows():
                state = await self._breaker.state()
                raise LLMUnavailable(state.reason)
            tally.calls += 1
            try:
                answer = await self._llm.chat(prompt.request)
                checked = check(answer.text, prompt)
            except LLMUnavailable as outage:
                await self._breaker.failed(str(outage))
                raise
            except AnswerRejected as error:
                await self._answered()
                await self._count_refusal(error, tally)
                raise
            await self._answered()
            self._refusals, self._hopeless = 0, None
        tally.refused.update(checked.refused)
        return checked.facts

    async def _answered(self) -> None:
        if await self._breaker.succeeded():
            self._woken.set()  # the guilds that waited for the breaker can go on

    async def _count_refusal(self, error: AnswerRejected, tally: _Tally) -> None:
        """Putting every message aside would help nobody: a model that never fits the schema stops the batch.

        Members can write what no model answers well, as often as they like; the sample is ours.
        """
        self._refusals += 1
        if self._refusals < _DOUBT:
            return
        self._refusals = 0
        sample = build(SAMPLE, "self", self._settings.window_tokens)
        tally.calls += 1
        try:
            check((await self._llm.chat(sample.request)).text, sample)
        except LLMUnavailable as outage:
            await self._breaker.failed(str(outage))
            raise
        except AnswerRejected:
            self._hopeless = (
                f"{self._llm.name} answers, but {_DOUBT} answers in a row and one to a simple sample were refused:"
                " try another model"
            )
            _log.warning("answers_refused", service=self._llm.name, last=str(error))
            raise _HopelessModel(self._hopeless) from error


class _HopelessModel(RecollectError):
    """The model's answers are refused one after the other."""
