"""/memory: everything held about oneself, to look at, correct, take away as a file, and see over time."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime
from typing import Self

import discord
from discord import app_commands, ui

from bot.commands.access import MemberVisibility, Place, member, refuse_unless_asker
from bot.commands.cards import PAGE_CARDS, memory_card, paged
from bot.commands.charts import timeline
from bot.commands.export import Exports
from bot.commands.fixing import NOT_YOURS, Fixing
from bot.commands.forget import OPTIONS, Forgetting, is_fact_id, label
from bot.commands.recall import OTHERS
from bot.commands.replies import Interaction, Refused, show, think
from bot.commands.since import parse_since, suggest_since
from bot.commands.text import counted, escaped
from bot.commands.views import OwnedView
from bot.errors import RecallPaused, ServiceUnavailable
from bot.memory.recall import Recall
from bot.model import FactKind, Memory, Scope
from bot.policy import may_ask_about, may_correct
from bot.storage.guild_configs import GuildConfigs
from bot.storage.keyword import KeywordSearch
from bot.storage.mine import START, Mine, OwnMemories, OwnPage, Position

PICTURE = "timeline.png"
NAME_UNITS = 80
CANDIDATES = 200  # found before messages are left out
MESSAGES, FACTS = "messages", "facts"

_KINDS = [app_commands.Choice(name=kind, value=kind) for kind in (MESSAGES, FACTS, *(kind.value for kind in FactKind))]
_NOTHING = "I hold nothing of you."
_NOTHING_SUCH = "I hold nothing like that."


class MemoryCommands(app_commands.Group):
    """`/memory mine`, `fix`, `export` and `timeline`."""

    def __init__(
        self,
        own: OwnMemories,
        recall: Recall,
        keyword: KeywordSearch,
        visibility: MemberVisibility,
        configs: GuildConfigs,
        forgetting: Forgetting,
        fixing: Fixing,
        exports: Exports,
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(name="memory", description="What I hold about you: look, correct, take it with you")
        self._own = own
        self._recall = recall
        self._keyword = keyword
        self._visibility = visibility
        self._configs = configs
        self._forgetting = forgetting
        self._fixing = fixing
        self._exports = exports
        self._clock = clock

    @app_commands.command(name="mine", description="Everything I hold of you: your messages and what I know about you")
    @app_commands.describe(
        kind="Only your messages, only facts, or only facts of one kind",
        channel="Only this channel and its threads",
        since="Only what was said since then: 24h, 7d, 4w or a date like 2026-05-01",
        about="Somebody else instead, if this server allows it",
    )
    @app_commands.choices(kind=_KINDS)
    async def mine(
        self,
        interaction: Interaction,
        kind: str | None = None,
        channel: Place | None = None,
        since: str | None = None,
        about: discord.User | None = None,
    ) -> None:
        moment = parse_since(since, self._clock()) if since else None
        await think(interaction)
        await self.show(interaction, about or interaction.user, kind, channel, moment)

    async def show(
        self,
        interaction: Interaction,
        whose: discord.abc.User,
        kind: str | None = None,
        channel: Place | None = None,
        since: datetime | None = None,
    ) -> None:
        """The pages of what is held of a member. Raises `Refused` if the asker may not ask about them."""
        asker = member(interaction)
        self._refuse_others(asker, whose)

        async def read(press: Interaction, begin: Position) -> OwnPage:
            self._refuse_others(member(press), whose)
            mine = await self._mine(press, whose.id, kind, channel, since)
            return await self._own.page(mine, begin, PAGE_CARDS)

        own = whose.id == asker.id
        nothing = _NOTHING_SUCH if kind or channel or since or not own else _NOTHING
        fixing = self._fixing if own else None
        await OwnPages(asker, read, self._forgetting, fixing, _heading(whose, asker), nothing).turn(interaction)

    @app_commands.command(name="fix", description="Correct something I know about you, in your own words")
    @app_commands.describe(fact="Type a few words of it and pick one of the suggestions")
    async def fix(self, interaction: Interaction, fact: str) -> None:
        if not is_fact_id(fact.strip()):
            raise Refused("Pick one of the suggestions that come up while you type; I know nothing else like that.")
        await self._fixing.open(interaction, fact.strip())

    @fix.autocomplete("fact")
    async def _suggest_fact(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        asker = member(interaction)
        try:
            if self._recall.paused():
                return []
            known = await self._facts_about(interaction, asker, current.strip())
        except ServiceUnavailable:
            return []
        mine = [one for one in known if may_correct(one, asker.id)]
        return [app_commands.Choice(name=label(one), value=one.id) for one in mine[:OPTIONS]]

    @app_commands.command(name="export", description="Everything I hold of you as a file to keep, for you alone")
    @app_commands.describe(since="Only what was said since then: 24h, 7d, 4w or a date like 2026-05-01")
    async def export(self, interaction: Interaction, since: str | None = None) -> None:
        moment = parse_since(since, self._clock()) if since else None
        await think(interaction)
        asker_id = interaction.user.id
        await self._exports.send(interaction, lambda: self._mine(interaction, asker_id, since=moment))

    @mine.autocomplete("since")
    @export.autocomplete("since")
    async def _suggest_since(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return suggest_since(current, self._clock())

    @app_commands.command(name="timeline", description="A picture of what I hold of you over time")
    async def timeline(self, interaction: Interaction) -> None:
        await think(interaction)
        messages, facts = await self._own.days(await self._mine(interaction, interaction.user.id))
        picture = await timeline(messages, facts)
        if picture is None:
            await show(interaction, "There is nothing to draw: I hold nothing of you.")
            return
        days = sorted({*messages, *facts})
        text = (
            f"I hold {counted(sum(messages.values()), 'message')} of yours and "
            f"{counted(sum(facts.values()), 'fact')} about you or from your words alone, "
            f"{_span(days[0], days[-1])}; `/memory mine` shows them."
        )
        embed = discord.Embed(title="Your memories over time", description=text)
        embed.set_image(url=f"attachment://{PICTURE}")
        await show(interaction, embeds=[embed], files=[picture.file(PICTURE)])

    def _refuse_others(self, asker: discord.Member, whose: discord.abc.User) -> None:
        if not may_ask_about(asker.id, whose.id, self._configs.of(asker.guild.id).about_others):
            raise Refused(OTHERS)
        if asker.id != whose.id:
            refuse_unless_asker(asker, self._configs)

    async def _mine(
        self,
        interaction: Interaction,
        member_id: int,
        kind: str | None = None,
        channel: Place | None = None,
        since: datetime | None = None,
    ) -> Mine:
        """What is asked for, as far as the asker may see it now."""
        if self._recall.paused():
            raise RecallPaused()
        asker = member(interaction)
        threaded = isinstance(channel, app_commands.AppCommandThread)
        return Mine(
            asker.guild.id,
            member_id,
            visible=await self._visibility.for_member(asker),
            everywhere=member_id == asker.id,
            messages=kind in (None, MESSAGES),
            facts=kind != MESSAGES,
            fact_kind=FactKind(kind) if kind not in (None, MESSAGES, FACTS) else None,
            access_id=channel.id if channel and not threaded else None,
            channel_id=channel.id if channel and threaded else None,
            since=since,
        )

    async def _facts_about(self, interaction: Interaction, asker: discord.Member, words: str) -> Sequence[Memory]:
        """The asker's newest facts, or those that match what is typed."""
        if words:
            scope = Scope(asker.guild.id, await self._visibility.for_member(asker), about_id=asker.id)
            return [hit.memory for hit in await self._keyword.search(words, scope, CANDIDATES)]
        mine = await self._mine(interaction, asker.id, FACTS)
        return [one.memory for one in (await self._own.page(mine, START, OPTIONS)).items]


class OwnPages(OwnedView):
    """The pages of a member's memories, each read anew. A page begins where the one before it ended."""

    def __init__(
        self,
        asker: discord.abc.User,
        read: Callable[[Interaction, Position], Awaitable[OwnPage]],
        forgetting: Forgetting,
        fixing: Fixing | None,
        heading: str,
        nothing: str,
    ) -> None:
        super().__init__(asker)
        self._read = read
        self._forgetting = forgetting
        self._fixing = fixing
        self._heading = heading
        self._nothing = nothing
        self._begins = [START]  # of each page up to this one
        self._after: Position | None = None
        self._memories: list[Memory] = []  # as last shown
        if fixing is None:
            self.remove_item(self.fix)

    async def turn(self, interaction: Interaction) -> None:
        """Show the page one is at, or the last one before it that is not empty. The interaction is deferred already."""
        page = await self._read(interaction, self._begins[-1])
        while not page.items and len(self._begins) > 1:
            self._begins.pop()
            page = await self._read(interaction, self._begins[-1])
        if not page.items:
            self.stop()
            await show(interaction, self._nothing)
            return
        cards = paged([memory_card(one.memory) for one in page.items])[0]
        shown = page.items[: len(cards)]
        self._memories = [one.memory for one in shown]
        self._after = shown[-1].after if len(shown) < len(page.items) else page.after
        self.back.disabled = len(self._begins) == 1
        self.forth.disabled = self._after is None
        self.fix.disabled = not any(may_correct(one, interaction.user.id) for one in self._memories)
        cards[-1].set_footer(text=f"Page {len(self._begins)} · newest first")
        await self.show(interaction, self._heading, embeds=cards)

    @ui.button(label="Back", emoji="◀️")
    async def back(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await interaction.response.defer()
        self._begins = self._begins[:-1] or [START]
        await self.turn(interaction)

    @ui.button(label="Next", emoji="▶️")
    async def forth(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await interaction.response.defer()
        if self._after is not None:
            self._begins.append(self._after)
        await self.turn(interaction)

    @ui.button(label="Forget…")
    async def forget(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await think(interaction)
        await self._forgetting.offer(interaction, self._memories)

    @ui.button(label="Fix…")
    async def fix(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        if self._fixing is None:
            raise Refused(NOT_YOURS)
        await self._fixing.offer(interaction, self._memories)


def _span(first: date, last: date) -> str:
    return f"from {first:%Y-%m-%d} to {last:%Y-%m-%d}" if first < last else f"all of {first:%Y-%m-%d}"


def _heading(whose: discord.abc.User, asker: discord.Member) -> str:
    if whose.id == asker.id:
        return "What I hold of you: your messages, facts about you, and facts I noted only from what you wrote."
    name = escaped(whose.display_name, NAME_UNITS)
    return f"What I hold of {name}, of what you can read: their messages and facts about them."
