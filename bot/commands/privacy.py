"""/privacy: every member's own say over being remembered."""

import discord
from discord import app_commands

from bot.commands.access import MemberVisibility, member
from bot.commands.cards import Page, lines_pages
from bot.commands.consent_button import Deciding
from bot.commands.declaration import declared
from bot.commands.notice import Notices, kept
from bot.commands.places import in_sight
from bot.commands.replies import Interaction, show, think
from bot.commands.text import ago, counted
from bot.commands.views import Pages
from bot.model import fact_memory
from bot.outside import outside_services
from bot.policy import may_look_at
from bot.storage.consent import Consent
from bot.storage.facts import FactStore
from bot.storage.mine import Mine, OwnMemories
from bot.storage.observations import Observations

SHOWN_CHANNELS = 20


class PrivacyCommands(app_commands.Group):
    """`/privacy status`, `policy`, `opt-out` and `opt-in`."""

    def __init__(
        self,
        consent: Consent,
        observations: Observations,
        facts: FactStore,
        own: OwnMemories,
        visibility: MemberVisibility,
        notices: Notices,
        deciding: Deciding,
    ) -> None:
        super().__init__(name="privacy", description="Whether and what I remember of you")
        self._consent = consent
        self._observations = observations
        self._facts = facts
        self._own = own
        self._visibility = visibility
        self._notices = notices
        self._deciding = deciding

    @app_commands.command(
        name="status", description="Whether I remember you, where I listen, and who else sees the text"
    )
    async def status(self, interaction: Interaction) -> None:
        await think(interaction)
        asker = member(interaction)
        visible = await self._visibility.for_member(asker)
        messages, _ = await self._own.days(Mine(asker.guild.id, asker.id, visible, everywhere=False, facts=False))
        about = map(fact_memory, await self._facts.about(asker.guild.id, asker.id))
        known = sum(may_look_at(memory, asker.guild.id, asker.id, visible) for memory in about)
        terms = self._notices.terms(asker.guild.id)
        lines = [
            self._standing(asker),
            f"I hold {counted(known, 'fact')} about you and {counted(sum(messages.values()), 'message')} of yours in "
            "what you can read. `/forget` removes what you choose, or everything of you wherever it stands; what you "
            "delete on Discord is forgotten too.",
            kept(terms.config),
            f"**Channels**: {self._channels(asker.guild, visible)}",
            "**Who else sees the text**:",
            *(f"- {service}" for service in outside_services(terms.settings)),
        ]
        await show(interaction, embeds=[discord.Embed(title="Your privacy", description="\n".join(lines))])

    @app_commands.command(name="policy", description="What I keep, why, where, how long, and who sees it")
    async def policy(self, interaction: Interaction) -> None:
        await think(interaction)

        async def read(press: Interaction) -> list[Page]:
            terms = self._notices.terms(member(press).guild.id)
            return lines_pages("What becomes of what you write", declared(terms))

        await Pages(interaction.user, read).turn(interaction)

    @app_commands.command(name="opt-out", description="Keep nothing of what you write, from now on")
    async def opt_out(self, interaction: Interaction) -> None:
        await self._deciding.object(interaction)

    @app_commands.command(name="opt-in", description="Remember what you write, from now on")
    async def opt_in(self, interaction: Interaction) -> None:
        await self._deciding.agree(interaction)

    def _standing(self, asker: discord.Member) -> str:
        """Whether the asker is remembered, and why."""
        guild_id = asker.guild.id
        if since := self._consent.opted_out_since(guild_id, asker.id):
            return f"You opted out {ago(since)}: I keep nothing you write."
        if self._consent.mode(guild_id) == "opt_out":
            return "I remember what you write in the channels I listen to; `/privacy opt-out` stops that."
        if since := self._consent.agreed_since(guild_id, asker.id):
            return (
                f"This server asks its members first, and you agreed {ago(since)}: I remember what you write in the "
                "channels I listen to; `/privacy opt-out` stops that."
            )
        return (
            "This server asks its members first, and you have not agreed: I keep nothing you write; "
            "`/privacy opt-in` changes that."
        )

    def _channels(self, guild: discord.Guild, visible: frozenset[int]) -> str:
        """Those observed that the member can see, the first few by name."""
        seen = in_sight(self._observations, guild, visible)
        names = " ".join(place.mention for place in seen[:SHOWN_CHANNELS])
        more = f" and {len(seen) - SHOWN_CHANNELS} more" if len(seen) > SHOWN_CHANNELS else ""
        return names + more or "none that you can see"
