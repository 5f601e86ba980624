"""In which guilds the bot is: what a guild that removed it means for what is held and observed there."""

from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial

import discord
import structlog

from bot.capture.observer import Observer
from bot.model import utcnow
from bot.storage.departures import Departures
from bot.storage.observations import Observations

log = structlog.get_logger(__name__)


class Presence:
    """Keeps track of departures. What the database refuses is tried again until the observer is closed."""

    def __init__(
        self,
        departures: Departures,
        observations: Observations,
        observer: Observer,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        self._departures = departures
        self._observations = observations
        self._observer = observer
        self._clock = clock

    async def left(self, guild_id: int) -> None:
        """The bot was removed from a guild, now or while nobody noticed."""
        leave = partial(self._departures.left, guild_id, self._clock())
        await self._observer.certainly("departure", [guild_id], leave)
        log.warning("guild_left", guild_id=guild_id)

    async def here(self, guild: discord.Guild) -> None:
        """The bot is in a guild. What was said there between a departure and its return is not observed."""
        await self._observer.certainly("return", [guild.id], partial(self._return, guild))

    async def began(self, guilds: Collection[discord.Guild]) -> None:
        """A session began with these guilds, unavailable ones included; those known but not among them are left."""
        for guild_id in self._observations.guilds() - {guild.id for guild in guilds}:
            await self.left(guild_id)
        for guild in guilds:
            await self.here(guild)

    async def _return(self, guild: discord.Guild) -> None:
        left_at = (await self._departures.all()).get(guild.id)
        if left_at is None or guild.unavailable:
            return
        back_at = guild.me.joined_at
        if back_at is not None and back_at > left_at:
            for one in self._observations.active(guild.id):
                if one.started_at < left_at:
                    await self._observations.switch_off(guild.id, one.channel_id, left_at)
                    await self._observations.switch_on(guild.id, one.channel_id, one.by_user_id, back_at, one.parent_id)
        await self._departures.returned(guild.id)
        log.info("guild_returned", guild_id=guild.id)
