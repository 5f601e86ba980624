"""Forgetting in time: words after `raw_days`, facts after `facts_days`, servers some days after the bot left them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from bot.errors import ServiceUnavailable
from bot.memory.index import VectorIndex
from bot.memory.indexer import Indexer
from bot.settings import RetentionSettings
from bot.storage.consent import Consent
from bot.storage.departures import Departures
from bot.storage.guild_configs import GuildConfigs
from bot.storage.observations import Observations
from bot.storage.queue import ExtractionQueue
from bot.storage.retraction import Retracted, Retraction
from bot.storage.state import StateStore
from bot.telemetry import Outages

log = structlog.get_logger(__name__)

STATE = "expired_at"
_EVERY = timedelta(hours=1)
_A_JUMP = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Expired:
    """How many messages and facts were removed, and how many whole servers (their messages and facts included)."""

    messages: int = 0
    facts: int = 0
    guilds: int = 0


class Retention:
    """Removes what is past its time, every hour.

    A clock that is wrong by years, as after a start without network time, must not forget everything at
    once. So after more than a day without a run, a server that would lose more than half of its messages or
    facts and servers that the bot has left are held back until the next run, with an error in the log: an hour
    to put the clock right. After a long absence of the bot that costs this hour and nothing else.

    `has_left` says whether it is certain now that the bot is not in a server: while it is not connected,
    someone may have invited it again.
    """

    def __init__(
        self,
        retraction: Retraction,
        departures: Departures,
        observations: Observations,
        index: VectorIndex,
        indexer: Indexer,
        settings: RetentionSettings,
        configs: GuildConfigs,
        consent: Consent,
        queue: ExtractionQueue,
        state: StateStore,
        clock: Callable[[], datetime],
        has_left: Callable[[int], bool],
    ) -> None:
        self._retraction = retraction
        self._departures = departures
        self._observations = observations
        self._index = index
        self._indexer = indexer
        self._settings = settings
        self._configs = configs
        self._consent = consent
        self._queue = queue
        self._state = state
        self._clock = clock
        self._has_left = has_left
        self._outages = Outages(log)

    async def run(self) -> None:
        """Expire forever, an hour after the last time, be it before a restart. An outage is one line in the log.

        A retraction that the end of the process cut short is carried through first.
        """
        while True:
            try:
                await self._retraction.resume()
                await asyncio.sleep((await self._rest()).total_seconds())
                await self.expire()
                self._outages.over("expiry_postponed")
                continue
            except ServiceUnavailable as error:
                self._outages.began("expiry_postponed", str(error))
            except Exception:
                log.exception("expiry_failed")
            await asyncio.sleep(_EVERY.total_seconds())

    async def expire(self) -> Expired:
        """Remove everything that is past its time now; what was removed.

        Raises `ServiceUnavailable`; it can be repeated. What was removed before is removed for good.
        """
        now = self._clock()
        last = await self._last()
        jumped = last is not None and now - last > _A_JUMP
        departed = {guild_id for guild_id, at in (await self._departures.all()).items() if self._is_over(at, now)}
        gone, forgotten = Retracted(), 0
        for schedule in await self._queue.guilds():
            if schedule.guild_id not in departed:
                gone += await self._expire(schedule.guild_id, now, jumped)
        if jumped and departed:
            log.error("expiry_held_back", left_guilds=len(departed), clock=now.isoformat())
            departed.clear()
        for guild_id in departed:
            if self._has_left(guild_id):
                gone += await self._forget(guild_id)
                forgotten += 1
            else:
                gone += await self._expire(guild_id, now, jumped)
        await self._state.put(STATE, now.isoformat())
        expired = Expired(gone.messages, gone.facts, forgotten)
        if expired != Expired():
            log.info("expired", messages=expired.messages, facts=expired.facts, guilds=expired.guilds)
            self._indexer.wake()
        return expired

    async def _expire(self, guild_id: int, now: datetime, jumped: bool) -> Retracted:
        config = self._configs.of(guild_id)
        messages_before = now - timedelta(days=config.raw_days)
        facts_before = now - timedelta(days=config.facts_days) if config.facts_days else None
        if jumped:
            messages, facts = await self._retraction.past(guild_id, messages_before, facts_before)
            if any(past > held / 2 for past, held in (messages, facts)):
                log.error(
                    "expiry_held_back", guild_id=guild_id, messages=messages[0], facts=facts[0], clock=now.isoformat()
                )
                return Retracted()
        return await self._retraction.expire(guild_id, messages_before, facts_before)

    async def _forget(self, guild_id: int) -> Retracted:
        """Remove everything of a server; its departure stays noted until nothing is left."""
        removed = await self._retraction.guild_forgotten(guild_id)
        self._observations.forget_guild(guild_id)
        await self._configs.forget(guild_id)
        await self._consent.load()  # without who agreed there, and whether it asked first
        async with self._indexer.lock:  # a write that began before would bring some of it back
            await self._index.drop_guild(guild_id)
        await self._departures.returned(guild_id)
        return removed

    def _is_over(self, left_at: datetime, now: datetime) -> bool:
        return left_at + timedelta(days=self._settings.removed_guild_days) <= now

    async def _last(self) -> datetime | None:
        value = await self._state.get(STATE)
        return None if value is None else datetime.fromisoformat(value)

    async def _rest(self) -> timedelta:
        """How long until the next run, at most an hour: the clock may have been put back."""
        last = await self._last()
        return timedelta(0) if last is None else min(max(last + _EVERY - self._clock(), timedelta(0)), _EVERY)
