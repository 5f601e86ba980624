"""/observe: which channels are remembered. Members of the channel are told before it begins."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import discord
from discord import app_commands

from bot.capture.convert import Observable as Place
from bot.capture.convert import is_public_thread
from bot.capture.visibility import missing_permissions
from bot.commands.access import manages, member
from bot.commands.cards import Page, lines_pages
from bot.commands.notice import post_notice
from bot.commands.replies import Interaction, Refused, show, think
from bot.commands.text import ago
from bot.commands.views import Confirm, Pages
from bot.errors import StorageUnavailable
from bot.settings import Settings
from bot.storage.observations import Observation, Observations


class ObserveCommands(app_commands.Group):
    """`/observe on`, `off` and `list`, for those who manage the server."""

    def __init__(self, observations: Observations, settings: Settings) -> None:
        super().__init__(
            name="observe",
            description="Which channels I remember",
            default_permissions=discord.Permissions(manage_guild=True),
        )
        self._observations = observations
        self._settings = settings

    @app_commands.command(name="on", description="Remember a channel from now on; its members are told there")
    @app_commands.describe(channel="A channel, forum or thread; without one, where you are")
    @app_commands.checks.has_permissions(manage_guild=True)
    async def on(self, interaction: Interaction, channel: Place | None = None) -> None:
        await think(interaction)
        place = self._place(interaction, channel)
        self._refuse_unsuitable(place)
        if _hidden(place):
            question = (
                f"{place.mention} is hidden from @everyone. I would remember it, and show it only to those who can "
                "read it when they ask. Its members are told. Switch it on?"
            )
            view = Confirm(interaction.user, "Switch on", lambda press: self._switch_on(press, place))
            await view.show(interaction, question)
        else:
            await show(interaction, await self._switch_on(interaction, place))

    @app_commands.command(name="off", description="Stop remembering a channel, at once")
    @app_commands.describe(channel="A channel, forum or thread; without one, where you are")
    @app_commands.checks.has_permissions(manage_guild=True)
    async def off(self, interaction: Interaction, channel: Place | None = None) -> None:
        await think(interaction)
        place = self._place(interaction, channel)
        if not await self._observations.switch_off(place.guild.id, place.id, interaction.created_at):
            covering = self._covering(place)
            raise Refused(
                f"{place.mention} is observed with <#{covering.channel_id}>; switch that one off."
                if covering
                else f"{place.mention} is not observed."
            )
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

    def _place(self, interaction: Interaction, named: Place | None) -> Place:
        member(interaction)
        place: Any = named or interaction.channel
        if not isinstance(place, Place):
            raise Refused("I remember text channels, forums and threads only; name one of these.")
        return place

    def _refuse_unsuitable(self, place: Place) -> None:
        """Raises `Refused` for a channel that is on already, age-restricted, or out of reach."""
        if covering := self._covering(place):
            through = "" if covering.channel_id == place.id else f" with <#{covering.channel_id}>"
            raise Refused(f"{place.mention} is observed already{through}, since {ago(covering.started_at)}.")
        if place.is_nsfw() and not self._settings.discord.allow_age_restricted:
            raise Refused(f"{place.mention} is age-restricted; the settings do not allow me to remember such channels.")
        if missing := missing_permissions(place):
            raise Refused(f"It was not switched on: in {place.mention} I lack {' and '.join(missing)}.")

    def _covering(self, place: Place) -> Observation | None:
        """What observes the place now: itself, or for a public thread or forum post its parent."""
        active = {one.channel_id: one for one in self._observations.active(place.guild.id)}
        return active.get(place.id) or (active.get(place.parent_id) if is_public_thread(place) else None)

    async def _switch_on(self, interaction: Interaction, place: Place) -> str:
        """Post the notice, and only if it stands begin to observe."""
        if not manages(interaction):  # again, like the rest: a confirmation may come minutes later
            raise Refused("You may not switch channels on any more.")
        self._refuse_unsuitable(place)
        try:
            notice = await post_notice(place, self._settings)
        except discord.HTTPException:
            raise Refused(f"It was not switched on: I could not post the notice in {place.mention}.") from None
        try:
            await self._observations.switch_on(place.guild.id, place.id, interaction.user.id, notice.created_at)
        except StorageUnavailable:
            with suppress(discord.HTTPException):
                await notice.delete()  # it would not be true
            raise
        return f"I remember {place.mention} from now on; the notice stands there."


def _hidden(place: Place) -> bool:
    """Whether @everyone cannot read this place."""
    if isinstance(place, discord.Thread) and place.is_private():
        return True
    return not place.permissions_for(place.guild.default_role).view_channel


def _line(one: Observation) -> str:
    by = "the settings" if one.by_user_id is None else f"<@{one.by_user_id}>"
    return f"<#{one.channel_id}> since {ago(one.started_at)}, switched on by {by}"
