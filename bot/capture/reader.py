"""Reading what was said in an observed interval from Discord's history into the queue."""

import asyncio
from collections.abc import Callable, Coroutine, MutableSet, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from traceback import format_tb

import discord
import structlog

from bot.capture.convert import PLACES, Place
from bot.capture.history import PAGE, History, PlaceGone, Unreachable, Unreadable
from bot.capture.observer import Observer
from bot.errors import StorageUnavailable
from bot.model import Mention, Message, snowflake_time, utcnow
from bot.storage.cursors import Cursors
from bot.storage.guild_configs import GuildConfigs
from bot.storage.messages import MessageStore
from bot.storage.names import Names
from bot.storage.observations import Observation, Observations, Source
from bot.telemetry import Outages

_COMMITTING = 1.0  # seconds that a page being committed has when the reading is stopped

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the reading of an interval is: `reached` is the time of the latest message read.

    `unreachable` places were kept from being read by an outage, `refused` ones by Discord, which does
    not let the bot read there.
    """

    read: int = 0
    kept: int = 0
    places_done: int = 0
    places: int = 0
    unreachable: int = 0
    refused: int = 0
    reached: datetime | None = None


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads intervals place by place, oldest message first.

    Each page is committed before its cursor moves, so that being cut off at any point costs a repeat
    and nothing else.
    """

    history: History
    observer: Observer
    messages: MessageStore
    observations: Observations
    cursors: Cursors
    names: Names
    configs: GuildConfigs
    clock: Callable[[], datetime] = utcnow
    refusals: dict[tuple[int, int], str] = field(default_factory=dict)
    """Why Discord did not let the bot read a place when last asked, by guild and place."""
    _outages: Outages = field(default_factory=lambda: Outages(log))

    async def read(
        self, one: Observation, done: MutableSet[int], going_on: Callable[[], bool], report: Report
    ) -> Progress:
        """Read the channel of an interval and its public threads, and report after every page.

        Places in `done` are left out, those read to their end are added to it. A place that cannot be
        read does not stop the others. It stops between pages when `going_on` says so.
        """
        progress = Progress(places=1)
        try:
            places, cursors = await self._places(one), await self.cursors.of(one.id)
        except Exception as error:
            return await self._failed(one.guild_id, one.channel_id, error, progress)
        progress = Progress(places=len(places))

        def told(page: Sequence[discord.Message], kept: int) -> None:
            nonlocal progress
            read, reached = progress.read + len(page), page[-1].created_at
            progress = replace(progress, read=read, kept=progress.kept + kept, reached=reached)
            report(progress)

        for place in places:
            try:
                after = max(self._start(one), cursors.get(place.id, 0))
                if place.id in done or await self._read_place(one, place, after, going_on, told):
                    done.add(place.id)
                    progress = replace(progress, places_done=progress.places_done + 1)
                    self._outages.over("cannot_read", place_id=place.id)
                    self.refusals.pop((one.guild_id, place.id), None)
            except Exception as error:
                progress = await self._failed(one.guild_id, place.id, error, progress)
        return progress

    async def keep(self, guild_id: int, page: Sequence[discord.Message]) -> int:
        """Commit what the policy keeps of these messages; how many brought anything new."""
        records = [record for message in page if (record := self.observer.accept(message))]
        return await self.messages.capture_many(await self._named(guild_id, records)) if records else 0

    async def _places(self, one: Observation) -> list[Place]:
        """What an interval covers that may hold unread messages: the channel, if it has any itself, and its threads."""
        after = self._start(one)
        if one.ended_at is not None and discord.utils.time_snowflake(one.ended_at) - 1 <= after:
            return []
        channel = await self.history.place(one.guild_id, one.channel_id)
        own = [channel] if isinstance(channel, PLACES) else []
        return [*own, *await self.history.threads(channel, snowflake_time(after))]

    async def _read_place(
        self,
        one: Observation,
        place: Place,
        after: int,
        going_on: Callable[[], bool],
        told: Callable[[Sequence[discord.Message], int], None],
    ) -> bool:
        """Read a place from a message to the end of the interval or its latest message; whether it came that far."""
        if _says_nothing_after(place, after):
            return True
        while going_on() and (now := self.observations.get(one.id)):
            page = await self.history.after(place, after)
            said = [message for message in page if now.ended_at is None or message.created_at < now.ended_at]
            if said:
                await _to_its_end(self._take(one, place, said, told))
                after = said[-1].id
            if len(page) < PAGE or len(said) < len(page):
                return True
        return False

    async def _take(
        self,
        one: Observation,
        place: Place,
        page: Sequence[discord.Message],
        told: Callable[[Sequence[discord.Message], int], None],
    ) -> None:
        kept = await self.keep(one.guild_id, page)
        await self.cursors.move(one.id, {place.id: page[-1].id})
        told(page, kept)

    def _start(self, one: Observation) -> int:
        """The id after which an interval is to be read; what would expire at once is left out of live ones."""
        since = one.started_at
        if one.source is Source.LIVE:
            since = max(since, self.clock() - timedelta(days=self.configs.of(one.guild_id).raw_days))
        return max(one.read_to or 0, discord.utils.time_snowflake(since) - 1)

    async def _named(self, guild_id: int, records: Sequence[Message]) -> list[Message]:
        """Records with the names people go by in the guild, which history does not tell, as far as they are known."""
        people = {record.author_id for record in records}
        names = await self.names.known(guild_id, people.union(m.id for record in records for m in record.mentions))
        return [
            replace(
                record,
                author_name=names.get(record.author_id, record.author_name),
                mentions=tuple(Mention(m.id, names.get(m.id, m.name)) for m in record.mentions),
            )
            for record in records
        ]

    async def _failed(self, guild_id: int, place_id: int, error: Exception, progress: Progress) -> Progress:
        """Note why a place was not read, once; one that is gone is forgotten, and counts as read."""
        self.refusals.pop((guild_id, place_id), None)
        if isinstance(error, PlaceGone):
            await self.observer.place_deleted(guild_id, place_id)
            return replace(progress, places_done=progress.places_done + 1)
        if not isinstance(error, Unreadable | StorageUnavailable):
            stack = "".join(format_tb(error.__traceback__))
            log.error("catch_up_failed", place_id=place_id, error=type(error).__name__, stack=stack)
        else:
            self._outages.began("cannot_read", str(error), place_id=place_id)
        if isinstance(error, Unreachable | StorageUnavailable):
            return replace(progress, unreachable=progress.unreachable + 1)
        if isinstance(error, Unreadable):
            self.refusals[guild_id, place_id] = str(error)
        return replace(progress, refused=progress.refused + 1)


def _says_nothing_after(place: Place, message_id: int) -> bool:
    """Whether this is an archived thread without a later message; of others it is not sure that the last is known."""
    if not isinstance(place, discord.Thread) or not place.archived or place.last_message_id is None:
        return False
    return place.last_message_id <= message_id


async def _to_its_end(taking: Coroutine[None, None, None]) -> None:
    """Take a page: whoever stops the reading in the middle is told of what is being committed, if it does not hang."""
    task = asyncio.ensure_future(taking)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=_COMMITTING)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
