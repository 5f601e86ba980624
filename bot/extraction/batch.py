"""A batch: what a guild has waiting becomes facts, window by window, each through lease, model and commit.

An outage gives the lease back and stops the batch; an answer that is refused is asked for again once, then for each
half of the window, and at last the single message is put aside. Whole windows go first, so a message nobody can read
keeps no other conversation waiting.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import perf_counter

import structlog

from bot.errors import AnswerRejected, LLMUnavailable
from bot.extraction.asker import Asked, Asker, HopelessModel
from bot.extraction.due import Rule, settled, worthwhile
from bot.extraction.stretch import Stretch
from bot.extraction.windows import CONTEXT_SHARE, halve, refreshed
from bot.meters import Meters
from bot.model import Message, Window
from bot.settings import BatchSettings
from bot.storage.breaker import Breaker
from bot.storage.lease import Lease
from bot.storage.queue import ExtractionQueue

_CHUNK = 400  # messages in memory at once: a backlog of any size takes no more
_HISTORY = 400  # extracted ones looked at with them, for what they answer;
_BACKLOG_HISTORY = 100  # so many suffice where all before a whole chunk was extracted
_LEASE = timedelta(hours=1)
_SOON = timedelta(minutes=1)

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


class BatchRunner:
    """Runs one batch of a guild after the other; two of the same guild at once are for nobody.

    `on_facts` is called when facts were stored, and `give_way` is awaited before each window is begun and
    before it is committed.
    """

    def __init__(
        self,
        queue: ExtractionQueue,
        asker: Asker,
        breaker: Breaker,
        settings: BatchSettings,
        clock: Callable[[], datetime],
        on_facts: Callable[[], None],
        give_way: Callable[[], Awaitable[None]] | None,
        meters: Meters,
    ) -> None:
        self._queue = queue
        self._asker = asker
        self._breaker = breaker
        self._settings = settings
        self._clock = clock
        self._on_facts = on_facts
        self._give_way = give_way
        self._meters = meters
        self._unreleased: list[Lease] = []

    async def run(self, guild_id: int, next_due: datetime, rule: Rule) -> BatchReport:
        """Extract what the rule picks of what a guild has waiting. The next batch is due then, or after an outage."""
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
                soon = self._clock() + max(self._settings.settle, _SOON)
                await self._queue.begin_batch(guild_id, min(next_due, soon))
            report = tally.report()
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

    async def release(self) -> None:
        """Give back the leases of windows that were not read, those included whose release the database refused."""
        while self._unreleased:
            lease = self._unreleased.pop()
            try:
                await self._queue.release(lease)
            except BaseException:
                self._unreleased.append(lease)
                raise

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
            await self.release()
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

    async def _quiet(self) -> None:
        """Let whoever waits for an answer go first."""
        if self._give_way is not None:
            await self._give_way()
