"""What happens on Discord, handed to whoever it concerns."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from itertools import groupby

import discord
import structlog

from bot.capture.convert import Observable
from bot.capture.gateway import Connection
from bot.capture.observer import Observer
from bot.capture.presence import Presence
from bot.capture.visibility import missing_permissions
from bot.errors import StorageUnavailable
from bot.settings import DiscordSettings
from bot.storage.observations import Observation
from bot.telemetry import Outages

AnnounceInterval = Callable[[Observable, Observation], Awaitable[discord.Message]]

log = structlog.get_logger(__name__)


class Client(Connection):
    """The connection with its events handled.

    Attached before `serve`: `announce` posts the notice in a channel that the settings name; without
    it none of these is switched on. `announce_interval` posts the one of an interval opened
    afterwards, `announce_terms` tells a guild, or all of them, of terms that changed since. `presence`
    keeps track of guilds the bot leaves. `began` and `available` hear of every session that does not continue
    the one before, and of every guild that comes or comes back, `access_changed` of every guild in which what the bot
    may see may have changed, `heard` of every message and `unsaid` of those that were deleted.
    """

    def __init__(self, settings: DiscordSettings, observer: Observer) -> None:
        super().__init__(settings)
        self._observer = observer
        self._switched_on: set[int] = set()
        self._problems: dict[int, str] = {}
        self._announcing = asyncio.Lock()
        self._outages = Outages(log)
        self._connections = 0
        self.announce: Callable[[Observable], Awaitable[discord.Message]] | None = None
        self.announce_interval: AnnounceInterval | None = None
        self.announce_terms: Callable[[int | None], Awaitable[None]] | None = None
        self.presence: Presence | None = None
        self.began: Callable[[], None] = lambda: None
        self.available: Callable[[int], None] = lambda guild_id: None
        self.access_changed: Callable[[int], None] = lambda guild_id: None
        self.heard: Callable[[discord.Message], None] = lambda message: None
        self.unsaid: Callable[[Set[int]], None] = lambda message_ids: None

    async def close(self) -> None:
        """Leave Discord, and let the observer commit what it still owes."""
        await super().close()
        await self._observer.close()

    @property
    def reconnects(self) -> int:
        """How often the gateway was connected again, in the same session or in a new one."""
        return max(self._connections - 1, 0)

    async def on_ready(self) -> None:
        self._connections += 1
        if self.presence is not None:
            await self.presence.began(self.guilds)
        self.began()
        self.ready.set()
        log.info("ready", guilds=len(self.guilds))
        await self._observe_configured(self._settings.observe)
        await self.announce_intervals()

    async def on_resumed(self) -> None:
        self._connections += 1
        self.ready.set()
        log.info("resumed")

    async def on_disconnect(self) -> None:
        if self.ready.is_set() and not self.is_closed():
            log.warning("disconnected")
        self.ready.clear()

    async def on_guild_available(self, guild: discord.Guild) -> None:
        if self.presence is not None:
            await self.presence.here(guild)
        self.available(guild.id)
        await self._observe_configured(
            (id for id in self._settings.observe if guild.get_channel_or_thread(id)), guild.id
        )

    on_guild_join = on_guild_available

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """The bot was removed; discord.py reports an outage, in which a guild is `unavailable`, as another event."""
        if self.presence is not None:
            await self.presence.left(guild.id)

    async def on_guild_channel_update(self, before: discord.abc.GuildChannel, after: discord.abc.GuildChannel) -> None:
        self.access_changed(after.guild.id)

    async def on_guild_role_update(self, before: discord.Role, after: discord.Role) -> None:
        self.access_changed(after.guild.id)

    async def on_guild_role_delete(self, role: discord.Role) -> None:
        self.access_changed(role.guild.id)

    async def on_member_update(self, before: discord.Member, after: discord.Member) -> None:
        """The bot's own roles changed; without the members intent Discord tells of nobody else."""
        self.access_changed(after.guild.id)

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        guild_id = channel.guild.id
        if self._observer.ever_observed(guild_id, channel.id) or self._observer.has_private_threads(
            guild_id, channel.id
        ):
            await self._observer.place_deleted(guild_id, channel.id)

    async def on_raw_thread_delete(self, payload: discord.RawThreadDeleteEvent) -> None:
        if self._observer.ever_observed(payload.guild_id, payload.thread_id, payload.parent_id):
            await self._observer.place_deleted(payload.guild_id, payload.thread_id)

    async def on_message(self, message: discord.Message) -> None:
        await self._observer.message(message)
        self.heard(message)

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        await self._observer.edited(payload.message)

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        await self._deleted(payload.guild_id, payload.channel_id, {payload.message_id})

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        await self._deleted(payload.guild_id, payload.channel_id, payload.message_ids)

    async def _deleted(self, guild_id: int | None, channel_id: int, message_ids: set[int]) -> None:
        self.unsaid(message_ids)
        if guild_id is not None:
            place = self.get_channel(channel_id) or discord.Object(channel_id)
            await self._observer.deleted(guild_id, place, message_ids)

    async def announce_intervals(self) -> None:
        """Tell the members of every place of which intervals were opened afterwards, without a word to them so far."""
        tell = self.announce_interval
        if tell is None:
            return
        async with self._announcing:
            for channel_id, intervals in groupby(sorted(self._observer.unannounced(), key=_channel_id), _channel_id):
                problem = await self._announce(tell, self.get_channel(channel_id), list(intervals))
                if problem is None:
                    self._outages.over("interval_unannounced", channel_id=channel_id)
                else:
                    self._outages.began("interval_unannounced", problem, channel_id=channel_id)

    async def _announce(self, tell: AnnounceInterval, place: object, parts: Sequence[Observation]) -> str | None:
        """Tell one place; what is in the way, if anything."""
        if not isinstance(place, Observable):
            return "the bot sees no text channel, forum or active thread of this id"
        if missing := missing_permissions(place):
            return f"the bot lacks {' and '.join(missing)} there"
        try:
            await tell(place, _whole(parts))
            await self._observer.announced(parts)
        except (discord.HTTPException, StorageUnavailable) as error:
            return f"the notice could not be posted: {error}"
        return None

    async def _observe_configured(self, channel_ids: Iterable[int], guild_id: int | None = None) -> None:
        """Switch on channels named in the settings, each once in the life of the process; of one guild, or of all.

        So an admin's `/observe off` holds until the next start. Where something is in the way it is
        said once, and tried again when a session begins or the guild comes back.
        """
        async with self._announcing:  # lest a guild that comes back meanwhile be told twice
            if self.announce_terms is not None:  # first: who is switched on now is told on the terms of today
                await self.announce_terms(guild_id)
            for channel_id in set(channel_ids) - self._switched_on:
                problem = await self._observe(self.get_channel(channel_id))
                if problem is None:
                    self._switched_on.add(channel_id)
                elif problem != self._problems.get(channel_id):
                    self._problems[channel_id] = problem
                    log.warning("cannot_observe", channel_id=channel_id, reason=problem)

    async def _observe(self, place: object) -> str | None:
        """Post the notice, and only if it stands begin to observe; what is in the way, if anything."""
        if not isinstance(place, Observable):
            return "the bot sees no text channel, forum or thread of this id"
        if self._observer.observes(place):
            return None
        if not self._observer.may_observe(place):
            return "the channel is age-restricted"
        if missing := missing_permissions(place):
            return f"the bot lacks {' and '.join(missing)} there"
        if self.announce is None:
            return "there is no notice to post"
        try:
            notice = await self.announce(place)
        except discord.HTTPException as error:
            return f"the notice could not be posted: {error}"
        try:
            await self._observer.observe(place, notice.created_at)
        except StorageUnavailable as error:
            with suppress(discord.HTTPException):
                await notice.delete()  # it would not be true
            return str(error)
        log.info("observing", guild_id=place.guild.id, channel_id=place.id)
        return None


def _channel_id(interval: Observation) -> int:
    return interval.channel_id


def _whole(parts: Sequence[Observation]) -> Observation:
    """The span of several intervals of a channel: an export may come in many files, and one notice is enough."""
    ended_at = max(filter(None, (part.ended_at for part in parts)), default=None)
    return replace(parts[0], started_at=min(part.started_at for part in parts), ended_at=ended_at)
