"""Buttons and menus under an answer. Only the person who asked may use them, for as long as they last."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, ClassVar, Self

import discord
import structlog
from discord import ui

from bot.commands.cards import Page
from bot.commands.replies import NO_PINGS, Interaction, fail, own, show, tell, while_thinking

log = structlog.get_logger(__name__)

EXPIRED = "This has expired; run the command again."
_OWNED = "owned"


def take(interaction: Interaction) -> None:
    """Note that a view answers this press, which is to be over before the client closes."""
    own(interaction)
    interaction.extras[_OWNED] = True


def is_live(interaction: Interaction) -> bool:
    """Whether a view took this press; if none did, it belongs to an answer of long ago."""
    return _OWNED in interaction.extras


class OwnedView(ui.View):
    """A view that answers its asker alone, and takes its buttons away when it expires.

    `show` binds it to the interaction whose token can edit the message (good for 15 minutes).
    """

    lifetime: ClassVar[float] = 600.0  # seconds since the last press

    def __init__(self, asker: discord.abc.User) -> None:
        super().__init__(timeout=self.lifetime)
        self._asker_id = asker.id
        self._shown_by: Interaction | None = None
        self.last_words = EXPIRED  # stand where the buttons were

    async def show(
        self,
        interaction: Interaction,
        content: str | None = None,
        *,
        embeds: Sequence[discord.Embed] = (),
        files: Sequence[discord.File] = (),
    ) -> None:
        """Make this view, with what stands above it, the answer."""
        self._shown_by = interaction
        await show(interaction, content, embeds=embeds, files=files, view=self)

    async def interaction_check(self, interaction: Interaction) -> bool:
        take(interaction)
        if interaction.user.id != self._asker_id:
            await tell(interaction, "Only the person who asked can use this.")
            return False
        if self.is_finished():  # a second press, on its way before the first was answered
            await interaction.response.defer()
            return False
        return True

    async def on_timeout(self) -> None:
        if self._shown_by is None:
            return
        own(self._shown_by)
        try:
            await self._shown_by.edit_original_response(content=self.last_words, view=None, allowed_mentions=NO_PINGS)
        except discord.HTTPException as error:  # the message is gone, or its token has expired too
            log.debug("expired_view_left", status=error.status, code=error.code)

    async def on_error(self, interaction: Interaction, error: Exception, item: ui.Item[Self]) -> None:
        await fail(interaction, error, instead=self.is_finished())


class Pages(OwnedView):
    """Pages of cards, turned by two buttons.

    `read` gives the pages, or a sentence when there are none. It is asked at every turn, so that no
    page shows what the asker may no longer see, or what was forgotten meanwhile.
    """

    def __init__(
        self, asker: discord.abc.User, read: Callable[[Interaction], Coroutine[Any, Any, Sequence[Page] | str]]
    ) -> None:
        super().__init__(asker)
        self._read = read
        self.at = 0

    async def begin(self, interaction: Interaction, *, public: bool = False) -> None:
        """Answer a command with the first page, private unless said otherwise."""
        await self._turned(interaction, await while_thinking(interaction, self._read(interaction), public=public), 0)

    async def turn(self, interaction: Interaction, to: int = 0) -> None:
        """Show a page, the last one if there are fewer. The interaction is deferred already."""
        await self._turned(interaction, await self._read(interaction), to)

    async def _turned(self, interaction: Interaction, pages: Sequence[Page] | str, to: int) -> None:
        if isinstance(pages, str):
            self.stop()
            await show(interaction, pages)
            return
        self.at = min(to, len(pages) - 1)
        self.back.disabled = self.at == 0
        self.forth.disabled = self.at == len(pages) - 1
        if len(pages) == 1:
            self.remove_item(self.back).remove_item(self.forth)
        await self.show(interaction, embeds=pages[self.at])

    @ui.button(label="Back", emoji="◀️")
    async def back(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await interaction.response.defer()
        await self.turn(interaction, max(self.at - 1, 0))

    @ui.button(label="Next", emoji="▶️")
    async def forth(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await interaction.response.defer()
        await self.turn(interaction, self.at + 1)


class Confirm(OwnedView):
    """One question with two answers. `act` runs on yes, at most once, and returns what to say, or None if it has."""

    def __init__(self, asker: discord.abc.User, yes: str, act: Callable[[Interaction], Awaitable[str | None]]) -> None:
        super().__init__(asker)
        self._act = act
        self.yes.label = yes

    @ui.button(style=discord.ButtonStyle.danger)
    async def yes(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        self.stop()
        await interaction.response.defer()
        if (said := await self._act(interaction)) is not None:
            await show(interaction, said)

    @ui.button(label="Cancel")
    async def no(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        self.stop()
        await show(interaction, "Nothing was changed.")
