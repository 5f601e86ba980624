"""/observe: which channels are remembered. Members of the channel are told before it begins."""

from collections.abc import Sequence
from datetime import datetime

import discord
from discord import app_commands

from bot.capture.convert import Observable as Place
from bot.commands.access import manages, member
from bot.commands.audit import note
from bot.commands.backfill import Backfills
from bot.commands.cards import Page, lines_pages
from bot.commands.places import hidden, observing, place_meant
from bot.commands.replies import Interaction, Refused, show, think
from bot.commands.switching import Switching
from bot.commands.text import ago
from bot.commands.views import Confirm, Pages
from bot.settings import Settings
from bot.storage.audit import Action, Audit
from bot.storage.observations import Observation, Observations

Choices = list[app_commands.Choice[str]]  # named here: in the class below `list` is a command


class ObserveCommands(app_commands.Group):
    """`/observe on`, `off` and `list`, for those who manage the server."""

    def __init__(
        self,
        observations: Observations,
        switching: Switching,
        backfills: Backfills,
        audit: Audit,
        settings: Settings,
    ) -> None:
        super().__init__(
            name="observe",
            description="Which channels I remember",
            default_permissions=discord.Permissions(manage_guild=True),
        )
        self._observations = observations
        self._switching = switching
        self._backfills = backfills
        self._audit = audit
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
        self._switching.refuse_unsuitable(place, since)
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
        await note(self._audit, place.guild.id, interaction.user.id, Action.UNOBSERVED, channel=place.id)
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
        if not manages(interaction):  # at every turn
            raise Refused("You may not see this any more.")
        active = self._observations.active(member(interaction).guild.id)
        if not active:
            return "No channel is observed; `/observe on` switches one on, `/setup` several."
        return lines_pages("Observed channels", [_line(one) for one in active])

    async def _switch_on(self, interaction: Interaction, place: Place, since: datetime | None) -> str | None:
        if not manages(interaction):  # again: a confirmation may come minutes later
            raise Refused("You may not switch channels on any more.")
        if since is None:
            await self._switching.on(place, interaction.user)
            return f"I remember {place.mention} from now on; I posted a notice there."

        async def read_past(until: datetime) -> None:
            await self._backfills.begin(interaction, place, since, until)

        await self._switching.on(place, interaction.user, since, read_past)
        return None


def _line(one: Observation) -> str:
    by = "the settings" if one.by_user_id is None else f"<@{one.by_user_id}>"
    return f"<#{one.channel_id}> since {ago(one.started_at)}, switched on by {by}"
