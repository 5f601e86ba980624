"""Switching channels on, by whichever command: members are told first, and only then does it begin."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime

import discord

from bot.capture.convert import Observable as Place
from bot.commands.audit import note
from bot.commands.notice import Notices, observe_notice
from bot.commands.places import observing, parent_of_private, refuse_unreadable
from bot.commands.replies import Refused
from bot.commands.text import ago
from bot.errors import StorageUnavailable
from bot.settings import Settings
from bot.storage.audit import Action, Audit
from bot.storage.observations import Observations

ReadPast = Callable[[datetime], Awaitable[None]]
"""Begins to read what was said before; told when observation began."""


class Switching:
    """What stands between a channel and being remembered. `switched_on` hears that one is."""

    def __init__(
        self,
        observations: Observations,
        notices: Notices,
        audit: Audit,
        settings: Settings,
        switched_on: Callable[[], None],
    ) -> None:
        self._observations = observations
        self._notices = notices
        self._audit = audit
        self._settings = settings
        self._switched_on = switched_on
        self._switching: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # by guild

    def refuse_unsuitable(self, place: Place, since: datetime | None = None) -> None:
        """Raises `Refused` for a channel that is on already, age-restricted, or out of reach."""
        if one := observing(self._observations, place):
            through = "" if one.channel_id == place.id else f" with <#{one.channel_id}>"
            earlier = " `/backfill` reads what was said before." if since else ""
            raise Refused(f"{place.mention} is observed already{through}, since {ago(one.started_at)}.{earlier}")
        refuse_unreadable(place, self._settings.discord, "It was not switched on")

    async def on(
        self, place: Place, by: discord.abc.User, since: datetime | None = None, read_past: ReadPast | None = None
    ) -> None:
        """Post the notice, and only if it stands begin to observe, and to read what was said `since`.

        Raises `Refused`, and `StorageUnavailable` with no word left standing that is not true.
        """
        async with self._switching[place.guild.id]:  # of two admins at once the second is told that it is on
            await self._on(place, by, since, read_past)

    async def _on(self, place: Place, by: discord.abc.User, since: datetime | None, read_past: ReadPast | None) -> None:
        self.refuse_unsuitable(place, since)
        guild_id = place.guild.id
        try:
            notice = await self._notices.post(place, observe_notice(self._notices.terms(guild_id), since))
        except discord.HTTPException:
            raise Refused(f"It was not switched on: I could not post the notice in {place.mention}.") from None
        try:
            parent_id = parent_of_private(place)
            begun = await self._observations.switch_on(guild_id, place.id, by.id, notice.created_at, parent_id)
        except StorageUnavailable:
            with suppress(discord.HTTPException):
                await notice.delete()  # it would not be true
            raise
        if begun:
            self._switched_on()
            await note(self._audit, guild_id, by.id, Action.OBSERVED, channel=place.id)
        if read_past is None:
            return
        try:
            await read_past(notice.created_at)
        except StorageUnavailable:
            with suppress(discord.HTTPException):
                await notice.edit(content=observe_notice(self._notices.terms(guild_id)))
            raise
