"""/forget: memories one picks, or everything about oneself; asked twice, then gone everywhere."""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import discord
from discord import app_commands, ui

from bot.commands.access import MemberVisibility, manages, member
from bot.commands.audit import note
from bot.commands.cards import memory_card, paged
from bot.commands.replies import Interaction, Refused, show, think
from bot.commands.text import counted, jump_url, plain
from bot.commands.views import Confirm, OwnedView
from bot.errors import RecallPaused, ServiceUnavailable
from bot.memory.forget import Forget
from bot.memory.held import Held
from bot.memory.recall import Recall
from bot.model import Fact, Hit, Memory, MemoryKind, Scope, fact_memory, is_kept, message_memory
from bot.policy import may_forget, may_look_at
from bot.storage.audit import Action, Audit
from bot.storage.consent import Consent
from bot.storage.facts import FactStore
from bot.storage.keyword import KeywordSearch
from bot.storage.messages import MessageStore

CANDIDATES = 50  # recalled before what the asker may not forget is left out
OPTIONS = 25  # Discord's limit for a menu and for suggestions
LABEL_UNITS = 100  # Discord's limit for the label and the description of an option

_LINK = re.compile(r"<?https://(?:\w+\.)?discord(?:app)?\.com/channels/(\d{1,20})/(\d{1,20})/(\d{1,20})/?>?")
_FACT_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEPT = " (kept)"  # beside the message itself, which has the same words
_NOT_YOURS = "I found nothing like that which you may forget."
_INDEX_NOT_SEARCHED = (
    "The memory index is down, so whatever other programs wrote into it about you is still there; "
    "run this again when it is back."
)


class Forgetting:
    """The way from memories to their end: who may, which ones, are you sure, what went."""

    def __init__(
        self,
        forget: Forget,
        recall: Recall,
        held: Held,
        facts: FactStore,
        visibility: MemberVisibility,
        consent: Consent,
        audit: Audit,
    ) -> None:
        self._forget = forget
        self._facts = facts
        self._recall = recall
        self._held = held
        self._visibility = visibility
        self._consent = consent
        self._audit = audit

    async def allowed(self, interaction: Interaction, memories: Sequence[Memory]) -> list[Memory]:
        """Those the asker may forget now: their own, and with Manage Server whatever they can see."""
        asker = member(interaction)
        visible = await self._visibility.for_member(asker) if manages(interaction) else frozenset[int]()
        return [one for one in memories if may_forget(one, asker.id, manager=one.access_id in visible)]

    async def choices(self, interaction: Interaction, memories: Sequence[Memory]) -> list[Memory]:
        """Memories found earlier as they are now: those that the asker may still see, and may forget.

        Raises `RecallPaused`: what is picked is shown.
        """
        if self._recall.paused():
            raise RecallPaused()
        asker = member(interaction)
        visible = await self._visibility.for_member(asker)
        now = await self._held.again(asker.guild.id, memories)
        seen = [one for one in now if may_look_at(one, asker.guild.id, asker.id, visible)]
        return await self.allowed(interaction, seen)

    async def offer(self, interaction: Interaction, memories: Sequence[Memory]) -> None:
        """Let the asker pick among the memories they may forget."""
        choices = await self.choices(interaction, memories)
        if not choices:
            await show(interaction, _NOT_YOURS)
        elif len(choices) == 1:
            await self._ask(interaction, choices)
        else:
            question = "What shall I forget?"
            if len(choices) > OPTIONS:
                question += f" More than {OPTIONS} memories match; other words may bring up the rest."
            await Pick(interaction.user, choices[:OPTIONS], self._ask_picked).show(interaction, question)

    async def _ask_picked(self, interaction: Interaction, memories: Sequence[Memory]) -> None:
        choices = await self.choices(interaction, memories)
        if not choices:
            raise Refused("What you picked is gone by now, or no longer yours to forget.")
        await self._ask(interaction, choices)

    async def _ask(self, interaction: Interaction, memories: Sequence[Memory]) -> None:
        """Show what would be forgotten and ask whether to."""

        async def forget(press: Interaction) -> str:
            return await self._forget_now(press, memories)

        shown = paged([memory_card(memory) for memory in memories])[0]
        more = f" ({counted(len(memories) - len(shown), 'more')} not shown)" if len(memories) > len(shown) else ""
        question = f"Forget {counted(len(memories), 'memory', 'memories')}{more}? This cannot be undone."
        if any(memory.kind is MemoryKind.MESSAGE for memory in memories):
            question += f" Facts noted from {'it' if len(memories) == 1 else 'them'} go too."
        await Confirm(interaction.user, "Forget", forget).show(interaction, question, embeds=shown)

    async def ask_everything(self, interaction: Interaction, reason: str = "forgotten") -> None:
        """Ask whether to forget everything about the asker."""

        async def forget(press: Interaction) -> str:
            asker = member(press)
            seen, _ = await self._in_sight(press, await self._facts.concerning(asker.guild.id, asker.id))
            gone = await self._forget.member(asker.guild.id, asker.id, reason)
            await note(self._audit, asker.guild.id, asker.id, Action.FORGOT, of=asker.id)
            report = _report(gone.messages, seen)
            return report if gone.complete else f"{report} {_INDEX_NOT_SEARCHED}"

        question = (
            "Forget everything about you? Every message you wrote here goes, and every fact that is about you or "
            "rests on your words. This cannot be undone."
        )
        asker = member(interaction)
        if not self._consent.keeps_out(asker.guild.id, asker.id):
            question += " It does not stop me from remembering what you say from now on; `/privacy opt-out` does."
        await Confirm(interaction.user, "Forget everything", forget).show(interaction, question)

    async def _in_sight(self, interaction: Interaction, facts: Sequence[Fact]) -> tuple[int, int]:
        """How many of these facts the asker may look at, and how many not: the latter go untold."""
        asker = member(interaction)
        visible = await self._visibility.for_member(asker)
        seen = sum(may_look_at(fact_memory(fact), asker.guild.id, asker.id, visible) for fact in facts)
        return seen, len(facts) - seen

    async def _forget_now(self, press: Interaction, memories: Sequence[Memory]) -> str:
        allowed = await self.allowed(press, memories)
        if not allowed:
            raise Refused("You may not forget these any more.")
        said = [source for one in allowed if one.kind is MemoryKind.MESSAGE for source in one.sources]
        _, unseen = await self._in_sight(press, await self._facts.resting_on(said))
        asker = member(press)
        gone = await self._forget.memories(asker.guild.id, allowed)
        messages, facts = gone.messages, max(0, gone.facts - unseen)
        own = all(may_forget(one, asker.id, manager=False) for one in allowed)
        counts = {} if own else {"messages": messages, "facts": facts}
        await note(self._audit, asker.guild.id, asker.id, Action.FORGOT, **counts)
        kept = len(memories) - len(allowed)
        return _report(messages, facts) + (f" {kept} you may not forget any more." if kept else "")


class Pick(OwnedView):
    """A menu of memories; what is picked goes to `picked`."""

    def __init__(
        self,
        asker: discord.abc.User,
        memories: Sequence[Memory],
        picked: Callable[[Interaction, Sequence[Memory]], Awaitable[None]],
    ) -> None:
        super().__init__(asker)
        self._memories = memories
        self._picked = picked
        self.menu.max_values = len(memories)
        for number, memory in enumerate(memories):
            self.menu.add_option(label=label(memory), description=description(memory), value=str(number))

    @ui.select(cls=ui.Select[Any], placeholder="Pick one or more")
    async def menu(self, interaction: Interaction, select: ui.Select[Any]) -> None:
        self.stop()
        await interaction.response.defer()
        await self._picked(interaction, [self._memories[int(number)] for number in select.values])


def forget_command(
    forgetting: Forgetting,
    recall: Recall,
    visibility: MemberVisibility,
    messages: MessageStore,
    facts: FactStore,
    keyword: KeywordSearch,
) -> app_commands.Command[Any, ..., None]:
    """`/forget query` and `/forget everything`."""

    @app_commands.command(description="Make me forget what you said, or what I know about you")
    @app_commands.describe(
        query="Words to search for, the link of a message, or one of the suggestions",
        everything="Forget every message you wrote here and every fact about you",
    )
    async def forget(interaction: Interaction, query: str | None = None, everything: bool = False) -> None:
        await think(interaction)
        if everything:
            await forgetting.ask_everything(interaction)
        elif query and query.strip():
            await forgetting.offer(interaction, await find(interaction, query.strip()))
        else:
            raise Refused("Say what to forget: words, the link of a message, or `everything: True`.")

    async def find(interaction: Interaction, query: str) -> list[Memory]:
        """What is meant, whoever may see it: `offer` leaves out what the asker may not."""
        if link := _LINK.fullmatch(query):
            message_id = int(link[3])
            said = [message_memory(message) for message in (await messages.get([message_id])).values()]
            return said + [fact_memory(fact) for fact in await facts.resting_on([message_id])]
        if is_fact_id(query):
            return [fact_memory(fact) for fact in (await facts.get([query])).values()]
        asker = member(interaction)
        return await matching(query, Scope(asker.guild.id, await visibility.for_member(asker)), asker.id)

    async def matching(query: str, scope: Scope, asker_id: int) -> list[Memory]:
        """What matches: first what is about the asker, however much of others' matches better."""
        scopes = (replace(scope, about_id=asker_id), scope)
        hits = [hit for one in scopes for hit in (await recall.recall(query, one, CANDIDATES)).hits]
        return standing_for(hits)

    @forget.autocomplete("query")
    async def suggest(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        """The asker's own memories: the newest facts, then whatever matches what is typed."""
        asker = member(interaction)
        visible = await visibility.for_member(asker)
        scope = Scope(asker.guild.id, visible, about_id=asker.id)
        try:
            if recall.paused():
                return []
            if current.strip():
                own = [hit.memory for hit in await keyword.search(current, scope, OPTIONS)]
            else:
                own = [fact_memory(fact) for fact in await facts.newest(scope, OPTIONS)]
        except ServiceUnavailable:
            return []
        return [app_commands.Choice(name=label(memory), value=handle(memory)) for memory in own]

    return forget


def standing_for(hits: Iterable[Hit]) -> list[Memory]:
    """The memories that cards show or link to, each once."""
    return list({memory.id: memory for hit in hits for memory in (hit.memory, *hit.evidence)}.values())


def label(memory: Memory) -> str:
    """A memory in one line of a menu."""
    kept = _KEPT if is_kept(memory) else ""
    return (plain(memory.text, LABEL_UNITS - len(kept)) or "(no words)") + kept


def is_fact_id(text: str) -> bool:
    """Whether this is the id of a fact, as suggestions hand it over."""
    return _FACT_ID.fullmatch(text) is not None


def handle(memory: Memory) -> str:
    """What `/forget` takes for one memory: the link of a message, the id of a fact."""
    if memory.kind is MemoryKind.MESSAGE:
        return jump_url(memory.guild_id, memory.channel_id, memory.sources[0])
    return memory.id


def description(memory: Memory) -> str:
    """Who said it, where and when, in one line of a menu."""
    channel = f"#{memory.channel_name}" if memory.channel_name else ""
    parts = [memory.speaker_name, channel, f"{memory.said_at:%Y-%m-%d}"]
    return plain(" · ".join(part for part in parts if part), LABEL_UNITS)


def _report(messages: int, facts: int) -> str:
    if not messages and not facts:
        return "There is nothing left to forget: I hold none of it."
    return f"Forgotten: {counted(messages, 'message')} and {counted(facts, 'fact')}."
