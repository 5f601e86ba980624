"""A member's yes or no to being remembered, by command or by the buttons under a notice."""

from typing import Any, Self

import discord
from discord import ui

from bot.commands.access import member
from bot.commands.audit import note
from bot.commands.forget import Forgetting
from bot.commands.replies import Interaction, fail, show, think
from bot.commands.views import OwnedView, take
from bot.storage.audit import Action, Audit
from bot.storage.consent import Consent

AGREE = "Remember me"
OBJECT = "Do not remember me"
# Discord sends these back when a button is pressed, of notices years old, too: they must never change.
_AGREE_ID, _OBJECT_ID = "recollect:remember", "recollect:do-not-remember"


class Deciding:
    """What a member's decision does, and what they are told of it."""

    def __init__(self, consent: Consent, audit: Audit, forgetting: Forgetting) -> None:
        self._consent = consent
        self._audit = audit
        self._forgetting = forgetting

    async def agree(self, interaction: Interaction) -> None:
        """Remember the asker from now on."""
        await think(interaction)
        asker = member(interaction)
        opted_out = self._consent.opted_out_since(asker.guild.id, asker.id)
        if await self._consent.opt_in(asker.guild.id, asker.id, interaction.created_at):
            await note(self._audit, asker.guild.id, asker.id, Action.OPTED_IN)
            welcome, between = ("Welcome back", ", nothing of the time between") if opted_out else ("Welcome", "")
            await show(
                interaction,
                f"{welcome}: I remember what you write in the channels I listen to from now on{between}. "
                "`/privacy opt-out` ends that, and `/privacy policy` tells what becomes of it.",
            )
        elif self._consent.mode(asker.guild.id) == "opt_in":
            await show(interaction, "You have agreed already; I remember what you write in the channels I listen to.")
        else:
            await show(interaction, "You had not opted out; I remember what you write in the channels I listen to.")

    async def object(self, interaction: Interaction) -> None:
        """Remember nothing more of the asker, and offer to forget what is held."""
        await think(interaction)
        asker = member(interaction)
        changed = await self._consent.opt_out(asker.guild.id, asker.id, interaction.created_at)
        if changed:
            await note(self._audit, asker.guild.id, asker.id, Action.OPTED_OUT)
        done = "Done: from now on I keep nothing you write here." if changed else "You have opted out already."
        await ErasePast(asker, self._forgetting).show(interaction, f"{done} Shall I also forget what I already hold?")


class ConsentButtons(ui.View):
    """The buttons under every notice of a server that asks first: anyone may press them, for as long as they stand.

    One registered with the client (`Client.add_view`) takes every press, also on notices from before a restart.
    """

    def __init__(self, deciding: Deciding) -> None:
        super().__init__(timeout=None)
        self._deciding = deciding

    async def interaction_check(self, interaction: Interaction) -> bool:
        take(interaction)
        return True

    @ui.button(label=AGREE, custom_id=_AGREE_ID, style=discord.ButtonStyle.success)
    async def agree(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await self._deciding.agree(interaction)

    @ui.button(label=OBJECT, custom_id=_OBJECT_ID)
    async def object(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await self._deciding.object(interaction)

    async def on_error(self, interaction: Interaction, error: Exception, item: ui.Item[Any]) -> None:
        await fail(interaction, error)


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


def posted_buttons() -> ui.View:
    """The buttons to post. It is over at once, so that discord.py keeps none for each notice: see `ConsentButtons`."""
    view = ui.View(timeout=None)
    view.add_item(ui.Button(label=AGREE, custom_id=_AGREE_ID, style=discord.ButtonStyle.success))
    view.add_item(ui.Button(label=OBJECT, custom_id=_OBJECT_ID))
    view.stop()
    return view
