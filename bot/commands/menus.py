"""The menus of a message and of a member: keep it, forget it, what became of it; what is known about somebody."""

from collections.abc import Sequence
from dataclasses import dataclass

import discord
from discord import app_commands

from bot.capture.convert import by_a_person
from bot.capture.observer import Observer
from bot.commands.access import MemberVisibility, member
from bot.commands.audit import note
from bot.commands.cards import Page, memory_card, paged
from bot.commands.forget import Forgetting
from bot.commands.memory import FACTS, MemoryCommands
from bot.commands.replies import Interaction, Refused, show, think
from bot.commands.views import Pages
from bot.errors import RecallPaused
from bot.memory.recall import Recall
from bot.model import Memory, fact_memory, message_memory
from bot.policy import may_look_at, person_fact_allowed
from bot.storage.audit import Action, Audit
from bot.storage.consent import Consent
from bot.storage.facts import FactStore
from bot.storage.guild_configs import GuildConfigs
from bot.storage.keepsakes import Keepsakes, Kept, Stage
from bot.storage.messages import MessageStore

_NOT_BY_A_PERSON = "I remember only what people say, nothing of bots, webhooks or Discord itself."
_OUT_OF_SIGHT = "I keep only what you can read here, and you cannot read this channel's history."
# One sentence for all reasons: whether somebody objected to being remembered is nobody else's business.
_MAY_NOT_KEEP = (
    "I may not keep this message: I was not listening here when it was said, its author does not want to be "
    "remembered, or it tells of something too private."
)
_NOTHING_ABOUT_PEOPLE = "This server notes nothing about people, so I cannot keep anybody's words for good."
_WAS_FORGOTTEN = "This message was deleted or forgotten, or is past its time, so I do not keep it again."
_KEPT = {
    Kept.NOW: "Remembered: I keep these words until the message is deleted or changed, or somebody has me forget them.",
    Kept.ALREADY: "I keep these words already.",
}
_NOT_HELD = "I hold nothing of this message."
_OBJECTED = "I hold nothing of this message: you did not want to be remembered when you wrote it."
_EXPIRED = "I hold nothing of this message any more: its words are past their time."
_READ = {
    "waiting": "It waits to be read for facts.",
    "leased": "It is being read for facts right now.",
    "done": "It was read for facts.",
    "dead": "It was put aside, because the language model made nothing usable of it.",
}


@dataclass(frozen=True, slots=True)
class MessageMenu:
    """What a member can do with any message they see."""

    keepsakes: Keepsakes
    messages: MessageStore
    facts: FactStore
    observer: Observer
    recall: Recall
    visibility: MemberVisibility
    consent: Consent
    forgetting: Forgetting
    configs: GuildConfigs
    audit: Audit

    async def keep(self, interaction: Interaction, message: discord.Message) -> Kept:
        """Keep its words for good. Raises `Refused` if the rules of what may be kept forbid it."""
        asker = member(interaction)
        if not by_a_person(message):
            raise Refused(_NOT_BY_A_PERSON)
        record = self.observer.accept(message)
        if record is None:
            raise Refused(_MAY_NOT_KEEP)
        rule = self.configs.of(asker.guild.id).person_facts
        if not person_fact_allowed(rule, record.author_id, [record.author_id]):
            raise Refused(_NOTHING_ABOUT_PEOPLE)
        if record.access_id not in await self.visibility.for_member(asker):
            raise Refused(_OUT_OF_SIGHT)
        await self.messages.capture(record)  # it may be one that was missed, or have newer words
        kept = await self.keepsakes.keep(record)
        if kept is Kept.REFUSED:
            raise Refused(_WAS_FORGOTTEN)
        if kept is Kept.NOW:
            await note(self.audit, asker.guild.id, asker.id, Action.REMEMBERED, message=message.id)
        return kept

    async def forget(self, interaction: Interaction, message: discord.Message) -> None:
        """Ask whether to forget it, and everything with it, or else what rests on it and is the asker's to forget."""
        said = [message_memory(held) for held in (await self.messages.get([message.id])).values()]
        allowed = await self.forgetting.allowed(interaction, said)
        await self.forgetting.offer(interaction, allowed or await self._resting_on(message))

    async def origin(self, interaction: Interaction, message: discord.Message) -> Sequence[Page] | str:
        """Where it stands, and pages of the facts that rest on it and that the asker may see."""
        if self.recall.paused():
            raise RecallPaused()
        asker = member(interaction)
        visible = await self.visibility.for_member(asker)
        resting = await self._resting_on(message)
        seen = [one for one in resting if may_look_at(one, asker.guild.id, asker.id, visible)]
        told = self._told(asker, message, await self.keepsakes.stage(asker.guild.id, message.id))
        if not seen:
            return f"{told} I learnt nothing from it that you can read."
        pages = paged([memory_card(one) for one in seen])
        for number, page in enumerate(pages, start=1):
            page[-1].set_footer(text=f"{told} Page {number} of {len(pages)}" if len(pages) > 1 else told)
        return pages

    async def _resting_on(self, message: discord.Message) -> Sequence[Memory]:
        return [fact_memory(fact) for fact in await self.facts.resting_on([message.id])]

    def _told(self, asker: discord.Member, message: discord.Message, stage: Stage) -> str:
        if not by_a_person(message):
            return _NOT_BY_A_PERSON
        if stage.extraction is not None:
            found = "can be found" if stage.indexed else "can be found in a moment"
            return f"I hold this message, and it {found}. {_READ[stage.extraction]}"
        if stage.expired:
            return _EXPIRED
        own = message.author.id == asker.id
        if own and not self.consent.allows(asker.guild.id, asker.id, message.created_at):
            return _OBJECTED
        return _NOT_HELD


def menus(messages: MessageMenu, memory: MemoryCommands) -> Sequence[app_commands.ContextMenu]:
    """The entries in the menus of messages and of members."""

    async def remember(interaction: Interaction, message: discord.Message) -> None:
        await think(interaction)
        await show(interaction, _KEPT[await messages.keep(interaction, message)])

    async def forget(interaction: Interaction, message: discord.Message) -> None:
        await think(interaction)
        await messages.forget(interaction, message)

    async def origin(interaction: Interaction, message: discord.Message) -> None:
        async def read(press: Interaction) -> Sequence[Page] | str:
            return await messages.origin(press, message)

        await think(interaction)
        await Pages(interaction.user, read).turn(interaction)

    async def known(interaction: Interaction, whose: discord.Member | discord.User) -> None:
        await think(interaction)
        await memory.show(interaction, whose, FACTS)

    return [
        app_commands.ContextMenu(name="Remember this", callback=remember),
        app_commands.ContextMenu(name="Forget this message", callback=forget),
        app_commands.ContextMenu(name="What was made of this?", callback=origin),
        app_commands.ContextMenu(name="What do you know about them?", callback=known),
    ]
