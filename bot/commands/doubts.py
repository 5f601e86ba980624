"""Messages that seem to be gone from Discord, too many to forget them unasked: an admin decides, place by place."""

from typing import Self

import discord
from discord import ui

from bot.commands.access import manages, member
from bot.commands.audit import note
from bot.commands.replies import Interaction, Refused, show
from bot.commands.text import ago, counted, dated
from bot.commands.views import OwnedView
from bot.memory.forget import Forget
from bot.model import snowflake_time
from bot.storage.audit import Action, Audit
from bot.storage.doubts import Doubt, Doubts

_NONE_LEFT = "Nothing is in doubt any more."


class Review(OwnedView):
    """Goes through the doubts of a server, the oldest first. Each is decided as it was shown."""

    def __init__(self, asker: discord.abc.User, doubts: Doubts, forget: Forget, audit: Audit) -> None:
        super().__init__(asker)
        self._doubts = doubts
        self._forget = forget
        self._audit = audit
        self._shown: Doubt | None = None

    async def turn(self, interaction: Interaction, said: str = "") -> None:
        """Show the next doubt, below what there is to say of the one before. The interaction is deferred already."""
        left = await self._left(interaction)
        if not left:
            self.stop()
            await show(interaction, said or _NONE_LEFT)
            return
        self._shown = left[0]
        self.forget.label = f"Forget {counted(len(left[0].missing), 'message')}"
        await self.show(interaction, "\n\n".join(filter(None, (said, _described(left[0])))))

    @ui.button(style=discord.ButtonStyle.danger)
    async def forget(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await interaction.response.defer()
        if doubt := await self._still(interaction):
            gone = await self._forget.messages(doubt.guild_id, doubt.missing)
            counts = {"messages": gone.messages, "facts": gone.facts, "channel": doubt.place_id}
            await note(self._audit, doubt.guild_id, interaction.user.id, Action.FORGOT, **counts)
            await self._doubts.resolve(doubt.place_id)
            said = f"Forgotten: {counted(gone.messages, 'message')} and {counted(gone.facts, 'fact')}."
            await self.turn(interaction, said)

    @ui.button(label="They are fine")
    async def keep(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await interaction.response.defer()
        if doubt := await self._still(interaction):
            await self._doubts.resolve(doubt.place_id, keep=True)
            await self.turn(
                interaction, f"Kept: {counted(len(doubt.missing), 'message')}. I do not ask about them again."
            )

    async def _still(self, interaction: Interaction) -> Doubt | None:
        """The doubt that was shown, if it is as it was; otherwise the next one is shown."""
        if self._shown in await self._left(interaction):
            return self._shown
        await self.turn(interaction, "This has changed meanwhile.")
        return None

    async def _left(self, interaction: Interaction) -> list[Doubt]:
        if not manages(interaction):
            raise Refused("You may not decide this any more.")
        return await self._doubts.all(member(interaction).guild.id)


def _described(doubt: Doubt) -> str:
    first, last = (dated(snowflake_time(id)) for id in (min(doubt.missing), max(doubt.missing)))
    gone, looked_for = counted(len(doubt.missing), "message"), counted(doubt.held, "message")
    return (
        f"**{gone} in <#{doubt.place_id}> are gone from Discord**, said between {first} and {last}. I noticed the "
        f"last of it {ago(doubt.at)}, when I looked for {looked_for} there. That is too many to be sure that "
        "they were deleted, so I have kept them so far. If they were, I forget them and the facts that rest on them."
    )
