"""Catching up: after an absence every observed channel is read from where it was left, until nothing is missing."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf

import discord
import structlog

from bot.capture.client import Client
from bot.capture.convert import Observable
from bot.capture.history import Unreadable
from bot.capture.observer import Observer
from bot.capture.reader import Progress, Reader, Report
from bot.capture.recheck import Comparison, Rechecked, Sweep
from bot.errors import StorageUnavailable
from bot.model import snowflake_time, utcnow
from bot.storage.observations import Observation, Observations, Source

log = structlog.get_logger(__name__)

_CHANNELS_AT_ONCE = 2
_LAG = timedelta(minutes=3)  # longer than discord.py takes to notice that a socket is dead, some 100 s


@dataclass(frozen=True, slots=True)
class Pace:
    """How long, in seconds, until positions move on, and until what was kept from being read is tried again.

    `retry` is for outages and doubles while they last; `hourly` is for what Discord refuses.
    """

    move: float = 30.0
    retry: float = 15.0
    hourly: float = 3600.0


@dataclass(slots=True, eq=False)
class _Session:
    """What is caught up in one session of the gateway, by observation; what is said since arrives as events."""

    newest: float = inf  # the latest observation when it began; what is opened since is heard from its start
    places: dict[int, int] = field(default_factory=dict)  # how many there are
    caught_up: dict[int, set[int]] = field(default_factory=dict)  # their ids; a new set once one fell behind
    complete: set[int] = field(default_factory=set)
    closed: set[int] = field(default_factory=set)  # the bot may not read there now
    sweeps: dict[int, Sweep] = field(default_factory=dict)  # by guild: what is left to compare with Discord
    sweeping: asyncio.Event = field(default_factory=asyncio.Event)  # there is more to compare than before
    read: asyncio.Event = field(default_factory=asyncio.Event)  # all of it, for the first time
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self) -> None:
        """Another session has begun."""
        self.over.set()
        self.read.set()  # nobody waits for it any more
        self.sweeping.set()

    def sweep(self, guild_id: int) -> None:
        """What is held of a guild is to be compared, be it for a second time."""
        self.sweeps[guild_id] = Sweep(guild_id)
        self.sweeping.set()

    def fall_behind(self, observation_id: int, place_id: int | None = None) -> None:
        """A place, or all of them, is to be read again, even if it is being read right now."""
        done = self.caught_up.pop(observation_id, set())
        self.caught_up[observation_id] = set() if place_id is None else done - {place_id}
        self.complete.discard(observation_id)


class Catchup:
    """Reads what was said while nobody listened, and notes how far everything is committed.

    `began`, `missed`, `guild_available` and `access_changed` tell it what happens on the gateway, `switched_on` what
    admins do; `run` does the work.
    """

    def __init__(
        self,
        client: Client,
        observer: Observer,
        observations: Observations,
        reader: Reader,
        comparison: Comparison,
        clock: Callable[[], datetime] = utcnow,
        pace: Pace = Pace(),
    ) -> None:
        self._client = client
        self._observer = observer
        self._observations = observations
        self._reader = reader
        self._comparison = comparison
        self._clock = clock
        self._pace = pace
        self._session = _Session()
        self._backfilled: set[int] = set()
        self._progressed = asyncio.Event()
        self._wakes = {live: asyncio.Event() for live in (True, False)}

    async def run(self) -> None:
        """Work until cancelled. No outage of Discord or of the database ends it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_reading(live=True), name="catch-up")
            tasks.create_task(self._keep_reading(live=False), name="backfill")
            tasks.create_task(self._keep_moving(), name="positions")
            tasks.create_task(self._keep_rechecking(), name="recheck")

    def began(self) -> None:
        """A session began that does not continue the one before: everything is behind."""
        self._session.end()
        self._session = _Session(newest=max((one.id for one in self._observations.unread()), default=0))
        self._wake()

    def switched_on(self) -> None:
        """A channel is observed from now on: what was said there since its notice is behind."""
        self._wake()

    def guild_available(self, guild_id: int) -> None:
        """A guild came, or is back after an outage: everything there is behind."""
        for one in self._observations.unread(guild_id):
            self._session.fall_behind(one.id)
        self._session.sweep(guild_id)
        self._wake()

    def access_changed(self, guild_id: int) -> None:
        """The bot may see more or less of a guild than before, perhaps only for a moment."""
        for one in self._observations.unread(guild_id):
            if one.source is Source.LIVE:
                self._hears(one, self._session)

    def missed(self, place_id: int) -> None:
        """A message could not be captured there: that place is behind again."""
        place = self._client.get_channel(place_id)
        ids = {place_id, place.parent_id} if isinstance(place, discord.Thread) else {place_id}
        for one in self._observations.unread():
            if place is None or one.channel_id in ids:  # None: a thread that was archived meanwhile
                self._session.fall_behind(one.id, place_id)
        self._wake()

    def behind(self, guild_id: int | None = None) -> int:
        """How many places are not caught up; a channel counts as one until its threads are listed."""
        return self._places_behind(self._unread(guild_id))

    def lagging(self, guild_id: int) -> int:
        """As `behind`, of what people wait for: not where observation ended, nor where it began just now."""
        session = self._session
        return self._places_behind(
            one
            for one in self._unread(guild_id)
            if one.source is not Source.LIVE
            or (one.ended_at is None and (one.id <= session.newest or one.id in session.places))
        )

    def refusals(self, guild_id: int) -> dict[int, str]:
        """The guild's places that Discord does not let the bot read, and why."""
        return {place: reason for (guild, place), reason in self._reader.refusals.items() if guild == guild_id}

    async def caught_up(self) -> None:
        """Wait until nothing is behind."""
        while self.behind():
            self._progressed.clear()
            await self._progressed.wait()

    async def backfill(self, observation: Observation, report: Report = lambda progress: None) -> Progress:
        """Read an interval opened afterwards, reporting after every page; returns how far it came.

        May be cancelled at any point. As long as the interval is not `fetched`, `run` goes on with it
        later; `Observations.truncate` ends it where it is.
        """
        self._backfilled.add(observation.id)
        try:
            progress = await self._read(observation, self._session, report)
        finally:
            self._backfilled.discard(observation.id)
        if progress.unreachable:
            self._wakes[False].set()  # lest `run` come by only within the hour
        return progress

    async def recheck(
        self, guild_id: int, report: Callable[[Rechecked], None] = lambda found: None, budget: int | None = None
    ) -> None:
        """Compare what is held of a guild with Discord, and forget what is gone: `budget` messages a place, or all.

        Raises `Unreadable` or `StorageUnavailable` if that could not be done to the end. What Discord
        does not let the bot read is left out, and so is a guild that the bot is not in any more.
        """
        if self._client.get_guild(guild_id) is None:
            return
        if budget is None:
            await self._comparison.all(guild_id, report)
        else:
            await self._comparison.go_on(Sweep(guild_id), report, budget)

    def _places_behind(self, unread: Iterable[Observation]) -> int:
        session = self._session
        behind = [one.id for one in unread if one.id not in session.complete]
        return sum(max(1, session.places.get(id, 1) - len(session.caught_up.get(id, ()))) for id in behind)

    def _unread(self, guild_id: int | None = None) -> list[Observation]:
        """Intervals not read to their end; not those of guilds that removed the bot, once it knows its guilds."""
        known, here = self._client.is_ready(), {guild.id for guild in self._client.guilds}
        return [one for one in self._observations.unread(guild_id) if not known or one.guild_id in here]

    def _wake(self) -> None:
        for event in self._wakes.values():
            event.set()

    async def _keep_reading(self, live: bool) -> None:
        """Read what is behind whenever woken, and what Discord refused hourly; in an outage, in its own time."""
        woken, retry = self._wakes[live], self._pace.retry
        while True:
            await _within(self._pace.hourly, woken)
            await self._client.ready.wait()
            woken.clear()
            if await self._round(live):
                await _within(retry, self._session.over)
                retry = min(2 * retry, 8 * self._pace.retry)
                woken.set()
            else:
                retry = self._pace.retry

    async def _round(self, live: bool) -> bool:
        """Read every interval that is behind; whether an outage kept some of it from being read."""
        session = self._session
        unread = [one for one in self._unread() if (one.source is Source.LIVE) is live]
        todo = deque(one for one in unread if one.id not in session.complete | self._backfilled)
        results: list[Progress] = []

        async def work() -> None:
            while todo and session is self._session:
                results.append(await self._read(todo.popleft(), session))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_CHANNELS_AT_ONCE if live else 1):
                tasks.create_task(work())
        if live:
            session.read.set()
        if kept := sum(result.kept for result in results):
            log.info("caught_up", messages=kept, places=sum(result.places_done for result in results))
        return any(result.unreachable for result in results)

    async def _read(self, one: Observation, session: _Session, report: Report = lambda progress: None) -> Progress:
        """Read an interval, and note it if nothing of it is left behind."""

        def going_on() -> bool:  # a live one is begun anew with a new session
            return one.source is not Source.LIVE or session is self._session

        horizon, done = self._horizon(), session.caught_up.setdefault(one.id, set())
        try:
            progress = await self._reader.read(one, done, going_on, report)
            if progress.places_done == progress.places and session.caught_up[one.id] is done:
                await self._note(one.id, horizon)
        except StorageUnavailable:
            return Progress(places=1, unreachable=1)
        session.places[one.id] = progress.places
        if progress.places_done == progress.places and session.caught_up[one.id] is done:
            session.complete.add(one.id)
        self._progressed.set()
        return progress

    async def _note(self, observation_id: int, read_to: int) -> None:
        one = self._observations.get(observation_id)
        if one is not None and one.ended_at is not None:
            await self._observations.mark_fetched(one.id)
        elif one is not None and read_to > (one.read_to or 0):
            await self._observations.mark_read({one.id: read_to})

    def _horizon(self) -> int:
        """The message id up to which everything said has arrived, whichever of Discord's clock and ours is behind."""
        newest = self._observer.newest_id
        return discord.utils.time_snowflake(min(self._clock(), snowflake_time(newest)) - _LAG) if newest else 0

    async def _keep_moving(self) -> None:
        while True:
            await asyncio.sleep(self._pace.move)
            await self._client.ready.wait()
            with suppress(StorageUnavailable):  # whoever captures says so
                await self._move()

    async def _move(self) -> None:
        """Note how far the events of this session have brought what is caught up."""
        session, horizon = self._session, self._horizon()
        await self._client.settle()  # what came before the horizon is committed now, or missed
        if session is not self._session or not self._client.ready.is_set():
            return
        moved = {}
        for one in self._unread():
            if one.id not in session.caught_up:  # opened since
                self._wake()
            if one.source is not Source.LIVE or not self._hears(one, session):
                continue
            if one.ended_at is not None:
                if one.id in session.complete and one.ended_at <= self._clock() - _LAG:
                    await self._observations.mark_fetched(one.id)
            elif horizon and one.id in session.complete:
                moved[one.id] = horizon
            elif horizon and (done := session.caught_up.get(one.id)):
                await self._reader.cursors.move(one.id, dict.fromkeys(done, horizon))
        await self._observations.mark_read(moved)

    def _hears(self, one: Observation, session: _Session) -> bool:
        """Whether the bot hears what happens there; what happened while it did not is looked for once it does again."""
        guild = self._client.get_guild(one.guild_id)
        place = guild.get_channel_or_thread(one.channel_id) if guild else None
        try:
            if not isinstance(place, Observable):  # an archived thread, or one that the bot was taken out of
                raise Unreadable
            self._reader.history.check(place)
        except Unreadable:
            session.closed.add(one.id)
            return False
        if one.id in session.closed:
            session.closed.discard(one.id)
            session.fall_behind(one.id)
            session.sweep(one.guild_id)
            self._wake()
            return False
        return True

    async def _keep_rechecking(self) -> None:
        """After each catch-up compare what is held with Discord: the latest at once, the rest in hourly passes."""
        while True:
            session = self._session
            await session.read.wait()
            for guild in self._client.guilds:
                session.sweep(guild.id)
            while not session.over.is_set():
                session.sweeping.clear()
                for sweep in list(session.sweeps.values()):
                    if not await self._comparison.keep_on(sweep) and session.sweeps[sweep.guild_id] is sweep:
                        del session.sweeps[sweep.guild_id]
                sweeps = session.sweeps.values()
                pause = self._pace.retry if any(sweep.outage for sweep in sweeps) else self._pace.hourly
                await _within(pause if sweeps else None, session.sweeping)


async def _within(seconds: float | None, event: asyncio.Event) -> None:
    """Wait for an event, but no longer than this."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
