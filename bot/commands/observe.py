"""/observe: which channels are remembered. Members of the channel are told before it begins."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import discord
from discord import app_commands

from bot.capture.convert import Observable as Place
from bot.commands.access import manages, member
from bot.commands.backfill import Backfills
from bot.commands.cards import Page, lines_pages
from bot.commands.notice import observe_notice, post
from bot.commands.places import hidden, observing, parent_of_private, place_meant, refuse_unreadable
from bot.commands.replies import Interaction, Refused, show, think
from bot.commands.text import ago
from bot.commands.views import Confirm, Pages
from bot.errors import StorageUnavailable
from bot.settings import Settings
from bot.storage.observations import Observation, Observations

Choices = list[app_commands.Choice[str]]  # named here: in the class below `list` is a command


class ObserveCommands(app_commands.Group):
    """`/observe on`, `off` and `list`, for those who manage the server."""

    def __init__(self, observations: Observations, backfills: Backfills, settings: Settings) -> None:
        super().__init__(
            name="observe",
            description="Which channels I remember",
            default_permissions=discord.Permissions(manage_guild=True),
        )
        self._observations = observations
        self._backfills = backfills
        self._settings = settings

    @app_commands.command(name="on", description="Remember a channel from now on; its members are told there")
    @app_commands.describe(
        channel="A channel, forum or thread; without one, where you are",
        backfill="Also read what was said since then: 24h, 7d, 4w, 1y or a date like 2026-05-01",
    )
    @app_commands.checks.has_permissions(manage_guild=True)
    async def on(self, interaction: Interaction, channel: Place | None = None, backfill: str | None = None) -> None:
        await think(interaction)
        place = place_meant(interaction, channel)
        since = self._backfills.since(place, backfill, "backfill") if backfill else None
        self._refuse_unsuitable(place, since)
        doubts = []
        if hidden(place):
            doubts.append(
                f"{place.mention} is hidden from @everyone. I would remember it, and show it only to those who can "
                "read it when they ask. Its members are told."
            )
        if since:
            doubts.append(self._backfills.told(place, since))
        if doubts:
            view = Confirm(interaction.user, "Switch on", lambda press: self._switch_on(press, place, since))
            await view.show(interaction, " ".join([*doubts, "Switch it on?"]))
        else:
            await show(interaction, await self._switch_on(interaction, place, None))

    @on.autocomplete("backfill")
    async def suggest(self, interaction: Interaction, current: str) -> Choices:
        return self._backfills.suggestions(current)

    @app_commands.command(name="off", description="Stop remembering a channel, at once")
    @app_commands.describe(channel="A channel, forum or thread; without one, where you are")
    @app_commands.checks.has_permissions(manage_guild=True)
    async def off(self, interaction: Interaction, channel: Place | None = None) -> None:
        await think(interaction)
        place = place_meant(interaction, channel)
        if not await self._observations.switch_off(place.guild.id, place.id, interaction.created_at):
            covering = observing(self._observations, place)
            raise Refused(
                f"{place.mention} is observed with <#{covering.channel_id}>; switch that one off."
                if covering
                else f"{place.mention} is not observed."
            )
        await self._backfills.forsake(place)
        told = [
            f"I stopped remembering {place.mention}. What I hold of it stays and can still be recalled and forgotten."
        ]
        if place.id in self._settings.discord.observe:
            told.append("It is listed in the settings under `discord.observe`; take it out there, or it comes back.")
        await show(interaction, " ".join(told))

    @app_commands.command(name="list", description="Which channels I remember, since when, and who switched them on")
    @app_commands.checks.has_permissions(manage_guild=True)
    async def list(self, interaction: Interaction) -> None:
        await think(interaction)
        await Pages(interaction.user, self._listed).turn(interaction)

    async def _listed(self, interaction: Interaction) -> Sequence[Page] | str:
        active = self._observations.active(member(interaction).guild.id)
        if not active:
            return "No channel is observed; `/observe on` switches one on."
        return lines_pages("Observed channels", [_line(one) for one in active])

    def _refuse_unsuitable(self, place: Place, since: datetime | None) -> None:
        """Raises `Refused` for a channel that is on already, age-restricted, or out of reach."""
        if one := observing(self._observations, place):
            through = "" if one.channel_id == place.id else f" with <#{one.channel_id}>"
            earlier = " `/backfill` reads what was said before." if since else ""
            raise Refused(f"{place.mention} is observed already{through}, since {ago(one.started_at)}.{earlier}")
        refuse_unreadable(place, self._settings.discord, "It was not switched on")

    async def _switch_on(self, interaction: Interaction, place: Place, since: datetime | None) -> str | None:
        """Post the notice, and only if it stands begin to observe, and to read what was said `since`."""
        if not manages(interaction):  # again, like the rest: a confirmation may come minutes later
            raise Refused("You may not switch channels on any more.")
        self._refuse_unsuitable(place, since)
        guild_id, user_id = place.guild.id, interaction.user.id
        try:
            notice = await post(place, observe_notice(self._settings, guild_id, since))
        except discord.HTTPException:
            raise Refused(f"It was not switched on: I could not post the notice in {place.mention}.") from None
        try:
            parent_id = parent_of_private(place)
            await self._observations.switch_on(guild_id, place.id, user_id, notice.created_at, parent_id)
        except StorageUnavailable:
            with suppress(discord.HTTPException):
                await notice.delete()  # it would not be true
            raise
        if since is None:
            return f"I remember {place.mention} from now on; the notice stands there."
        try:
            await self._backfills.begin(interaction, place, since, notice.created_at)
        except StorageUnavailable:
            with suppress(discord.HTTPException):
                await notice.edit(content=observe_notice(self._settings, guild_id))
            raise
        return None


def _line(one: Observation) -> str:
    by = "the settings" if one.by_user_id is None else f"<@{one.by_user_id}>"
    return f"<#{one.channel_id}> since {ago(one.started_at)}, switched on by {by}"
