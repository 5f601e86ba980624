"""Correcting what is known about oneself: a form with the old words in it, and what is written there instead."""

from collections.abc import Sequence
from typing import Any

import discord
from discord import ui

from bot.capture.redaction import redact
from bot.commands.access import MemberVisibility, member
from bot.commands.audit import note
from bot.commands.cards import memory_card
from bot.commands.forget import OPTIONS, description, label
from bot.commands.replies import Interaction, Refused, fail, show, think
from bot.commands.text import cut, tidy, units
from bot.commands.views import OwnedView, take
from bot.errors import RecallPaused
from bot.memory.held import Held
from bot.memory.recall import Recall
from bot.model import Memory, fact_memory
from bot.policy import may_correct, may_look_at, sensitive_allowed
from bot.sensitive import sensitive
from bot.storage.audit import Action, Audit
from bot.storage.corrections import Corrections
from bot.storage.facts import FactStore
from bot.storage.guild_configs import GuildConfigs

FORM_UNITS = 4000  # Discord's limit for a text field
FACT_UNITS = 500  # a fact is a sentence or two; kept words may be longer, but nothing grows beyond this
FORM_SECONDS = 15 * 60.0

GONE = "I do not hold that any more, so there is nothing left to correct."
NOT_YOURS = "I take corrections only of facts about yourself, from you; `/memory mine` shows them."
_NO_WORDS = "A correction needs words; `/forget` removes what I should not know at all."
_SAME = "Those are the words I have already, so nothing was changed."
_SENSITIVE = (
    "This server has me keep nothing about health, faith, politics, sexuality and the like, so I left the fact as it "
    "was; `/forget` removes it."
)
_REDACTED = " I left out what looked like a password or another secret."


class Fixing:
    """The way from a fact about the asker to their own words for it."""

    def __init__(
        self,
        corrections: Corrections,
        recall: Recall,
        held: Held,
        facts: FactStore,
        visibility: MemberVisibility,
        configs: GuildConfigs,
        audit: Audit,
    ) -> None:
        self._corrections = corrections
        self._recall = recall
        self._held = held
        self._facts = facts
        self._visibility = visibility
        self._configs = configs
        self._audit = audit

    async def offer(self, interaction: Interaction, memories: Sequence[Memory]) -> None:
        """Let the asker pick among those of these memories that they may correct, and open the form."""
        correctable = [one for one in memories if may_correct(one, interaction.user.id)]
        if not correctable:
            raise Refused(NOT_YOURS)
        if len(correctable) == 1:
            await self.open(interaction, correctable[0].id)
            return
        await think(interaction)
        menu = PickFact(interaction.user, self, correctable[:OPTIONS])
        await menu.show(interaction, "Which one shall I correct?")

    async def open(self, interaction: Interaction, fact_id: str) -> None:
        """Answer with the form for a fact. Raises `Refused` if it is gone, out of sight or not the asker's."""
        memory = await self._current(interaction, fact_id)
        await interaction.response.send_modal(FixForm(self, memory))

    async def submit(self, interaction: Interaction, fact_id: str, words: str) -> None:
        """Put these words in the place of the fact, and show it. The interaction is deferred already."""
        asker, old = member(interaction), await self._current(interaction, fact_id)
        text = redact(spoken := tidy(words))
        if not any(map(str.isalnum, text)):
            raise Refused(_NO_WORDS)
        if text == old.text:
            raise Refused(_SAME)
        drop_sensitive = self._configs.of(asker.guild.id).drop_sensitive
        if not sensitive_allowed(drop_sensitive, sensitive(text, asker.display_name) is not None):
            raise Refused(_SENSITIVE)
        new = await self._corrections.correct(asker.guild.id, asker.id, asker.display_name, fact_id, text)
        if new is None:
            raise Refused(GONE)
        await note(self._audit, asker.guild.id, asker.id, Action.CORRECTED)
        done = "Corrected: from now on this is what I know. The old words are gone for good."
        await show(interaction, done + (_REDACTED if text != spoken else ""), embeds=[memory_card(fact_memory(new))])

    async def _current(self, interaction: Interaction, fact_id: str) -> Memory:
        """The fact as it is now; what the asker may not see is to them as if it were gone."""
        if self._recall.paused():
            raise RecallPaused()
        asker = member(interaction)
        known = [fact_memory(fact) for fact in (await self._facts.get([fact_id])).values()]
        found = await self._held.again(asker.guild.id, known)
        visible = await self._visibility.for_member(asker)
        if not found or not may_look_at(found[0], asker.guild.id, asker.id, visible):
            raise Refused(GONE)
        if not may_correct(found[0], asker.id):
            raise Refused(NOT_YOURS)
        return found[0]


class PickFact(OwnedView):
    """A menu of facts, each of which opens its form, as often as one likes."""

    def __init__(self, asker: discord.abc.User, fixing: Fixing, memories: Sequence[Memory]) -> None:
        super().__init__(asker)
        self._fixing = fixing
        for memory in memories:
            self.menu.add_option(label=label(memory), description=description(memory), value=memory.id)

    @ui.select(cls=ui.Select[Any], placeholder="Pick a fact")
    async def menu(self, interaction: Interaction, select: ui.Select[Any]) -> None:
        await self._fixing.open(interaction, select.values[0])


class FixForm(ui.Modal):
    """The old words, to be changed."""

    def __init__(self, fixing: Fixing, memory: Memory) -> None:
        super().__init__(title="Correct what I know about you", timeout=FORM_SECONDS)
        self._fixing = fixing
        self._fact_id = memory.id
        most = min(max(FACT_UNITS, units(memory.text)), FORM_UNITS)
        self.words: ui.TextInput[FixForm] = ui.TextInput(
            style=discord.TextStyle.paragraph, default=cut(memory.text, most), max_length=most
        )
        self.add_item(ui.Label(text="What is right", description="One sentence is best.", component=self.words))

    async def interaction_check(self, interaction: Interaction) -> bool:
        take(interaction)
        return True

    async def on_submit(self, interaction: Interaction) -> None:
        await think(interaction)
        await self._fixing.submit(interaction, self._fact_id, self.words.value)

    async def on_error(self, interaction: Interaction, error: Exception, *_: Any) -> None:
        await fail(interaction, error, instead=interaction.response.is_done())
