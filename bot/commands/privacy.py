"""/privacy: every member's own say over being remembered."""

from typing import Self

import discord
from discord import app_commands, ui

from bot.capture.convert import access_id
from bot.commands.access import MemberVisibility, member
from bot.commands.forget import Forgetting
from bot.commands.notice import kept, outside_services
from bot.commands.replies import Interaction, show, think
from bot.commands.text import ago, counted
from bot.commands.views import OwnedView
from bot.model import fact_memory
from bot.policy import may_look_at
from bot.settings import Settings
from bot.storage.consent import Consent
from bot.storage.facts import FactStore
from bot.storage.observations import Observations

SHOWN_CHANNELS = 20


class PrivacyCommands(app_commands.Group):
    """`/privacy status`, `opt-out` and `opt-in`."""

    def __init__(
        self,
        consent: Consent,
        observations: Observations,
        facts: FactStore,
        visibility: MemberVisibility,
        forgetting: Forgetting,
        settings: Settings,
    ) -> None:
        super().__init__(name="privacy", description="Whether and what I remember of you")
        self._consent = consent
        self._observations = observations
        self._facts = facts
        self._visibility = visibility
        self._forgetting = forgetting
        self._settings = settings

    @app_commands.command(
        name="status", description="Whether I remember you, where I listen, and who else sees the text"
    )
    async def status(self, interaction: Interaction) -> None:
        await think(interaction)
        asker = member(interaction)
        visible = await self._visibility.for_member(asker)
        about = map(fact_memory, await self._facts.about(asker.guild.id, asker.id))
        known = sum(may_look_at(memory, asker.guild.id, asker.id, visible) for memory in about)
        since = self._consent.opted_out_since(asker.guild.id, asker.id)
        lines = [
            f"You opted out {ago(since)}: I keep nothing you write."
            if since
            else "I remember what you write in the channels I listen to; `/privacy opt-out` stops that.",
            f"I hold {counted(known, 'fact')} about you in what you can read; `/forget` removes what you choose, or "
            "everything about you wherever it stands, and what you delete is forgotten too.",
            kept(self._settings, asker.guild.id),
            f"**Channels**: {self._channels(asker.guild, visible)}",
            "**Who else sees the text**:",
            *(f"- {service}" for service in outside_services(self._settings)),
        ]
        await show(interaction, embeds=[discord.Embed(title="Your privacy", description="\n".join(lines))])

    @app_commands.command(name="opt-out", description="Keep nothing of what I write, from now on")
    async def opt_out(self, interaction: Interaction) -> None:
        await think(interaction)
        asker = member(interaction)
        changed = await self._consent.opt_out(asker.guild.id, asker.id, interaction.created_at)
        done = "Done: from now on I keep nothing you write here." if changed else "You have opted out already."
        await ErasePast(asker, self._forgetting).show(interaction, f"{done} Shall I also forget what I already hold?")

    @app_commands.command(name="opt-in", description="Let me remember what you write again, from now on")
    async def opt_in(self, interaction: Interaction) -> None:
        await think(interaction)
        asker = member(interaction)
        if await self._consent.opt_in(asker.guild.id, asker.id, interaction.created_at):
            await show(interaction, "Welcome back: I remember what you write from now on, nothing of the time between.")
        else:
            await show(interaction, "You had not opted out; I remember what you write in the channels I listen to.")

    def _channels(self, guild: discord.Guild, visible: frozenset[int]) -> str:
        """Those observed that the member can see, the first few by name."""
        places = [guild.get_channel_or_thread(one.channel_id) for one in self._observations.active(guild.id)]
        seen = [place for place in places if place and access_id(place) in visible]
        names = " ".join(place.mention for place in seen[:SHOWN_CHANNELS])
        more = f" and {len(seen) - SHOWN_CHANNELS} more" if len(seen) > SHOWN_CHANNELS else ""
        return names + more or "none that you can see"


class ErasePast(OwnedView):
    """Offers to forget the past after an opt-out."""

    def __init__(self, asker: discord.abc.User, forgetting: Forgetting) -> None:
        super().__init__(asker)
        self._forgetting = forgetting

    @ui.button(label="Forget my past…", style=discord.ButtonStyle.danger)
    async def forget(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        self.stop()
        await self._forgetting.ask_everything(interaction, reason="opted_out")

    @ui.button(label="Keep it")
    async def keep(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        self.stop()
        await show(interaction, "It stays as it is; `/forget` removes it whenever you like.")
