"""/recall: a private answer from what the asker may read now, or a public one from what all who see it may read."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Self

import discord
from discord import app_commands, ui

from bot.commands.access import MemberVisibility, Place, manages, member, refuse_unless_asker, scope_in, stage
from bot.commands.cards import Page, recall_pages
from bot.commands.forget import Forgetting, standing_for
from bot.commands.places import in_sight
from bot.commands.replies import Interaction, Refused, think
from bot.commands.since import parse_since, suggest_since
from bot.commands.text import escaped
from bot.commands.views import Pages
from bot.memory.recall import Recall
from bot.model import Memory, Recalled
from bot.policy import may_ask_about
from bot.storage.guild_configs import GuildConfigs
from bot.storage.observations import Observations

LONGEST_QUERY = 500
HEADING_UNITS = 1_200

OTHERS = "In this server I answer no questions about other members, only about yourself."
_NOTHING = (
    "I found nothing about that in what you can read here. Other words may help, or a wider `since`; "
    "and I only know channels that were switched on."
)
_NOTHING_IN_SIGHT = (
    "I found nothing about that in what you can read here. I remember no channel that you can read; an admin can start "
    "me with `/setup`."
)
_NOTHING_OBSERVED = "I found nothing about that, and I remember no channel yet; `/setup` has me begin."
_NOTHING_FOR_ALL = (
    "I found nothing about that in what everyone here can read. Other words may help, or a wider `since`; "
    "without `public` I search what you alone can read, too."
)


def recall_command(
    recall: Recall,
    visibility: MemberVisibility,
    forgetting: Forgetting,
    configs: GuildConfigs,
    observations: Observations,
    limit: int,
    clock: Callable[[], datetime],
) -> app_commands.Command[Any, ..., None]:
    """`/recall`, with at most `limit` memories."""

    @app_commands.command(
        name="recall", description="Find what was said here; only you see the answer, unless you make it public"
    )
    @app_commands.describe(
        query="What you want to know, in your own words",
        about="Only what this member said or is known of them; others than you only if this server allows it",
        channel="Only this channel and its threads",
        since="Only what was said since then: 24h, 7d, 4w or a date like 2026-05-01",
        explain="Show what each memory was found by",
        public="Post the answer here for everyone, from only what everyone here can read",
    )
    @app_commands.rename(channel="in")
    async def command(
        interaction: Interaction,
        query: app_commands.Range[str, 1, LONGEST_QUERY],
        about: discord.User | None = None,
        channel: Place | None = None,
        since: str | None = None,
        explain: bool = False,
        public: bool = False,
    ) -> None:
        def refuse_unless_allowed(press: Interaction) -> None:
            who = member(press)
            refuse_unless_asker(who, configs)
            if about and not may_ask_about(who.id, about.id, configs.of(who.guild.id).about_others):
                raise Refused(OTHERS)

        async def ask(press: Interaction) -> Recalled:
            refuse_unless_allowed(press)
            if public:
                visible = await visibility.public(asker.guild.id, stage(press))
            else:
                visible = await visibility.for_member(member(press))
            scope = scope_in(asker.guild.id, visible, channel, about.id if about else None, moment)
            return await recall.recall(query, scope, limit)

        async def nothing(press: Interaction) -> str:
            return _NOTHING_FOR_ALL if public else await unheard(press, visibility, observations) or _NOTHING

        with recall.attending():
            asker = member(interaction)
            refuse_unless_allowed(interaction)
            moment = parse_since(since, clock()) if since else None
            if public:
                stage(interaction)  # refused in private, and again at every turn
            answer = Answer(asker, ask, nothing, forgetting, explain, query if public else None)
            await answer.begin(interaction, public=public)

    @command.autocomplete("since")
    async def suggest(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return suggest_since(current, clock())

    return command


async def unheard(interaction: Interaction, visibility: MemberVisibility, observations: Observations) -> str | None:
    """What to say where nothing was found, if no channel that the asker can read is remembered."""
    asker = member(interaction)
    if manages(interaction) and not observations.active(asker.guild.id):
        return _NOTHING_OBSERVED
    seen = in_sight(observations, asker.guild, await visibility.for_member(asker))
    return None if seen else _NOTHING_IN_SIGHT


class Answer(Pages):
    """The pages of an answer, why each card is there, and a way to forget what stands on a page.

    `nothing` is what to say where nothing was found. `asked_aloud`: a question for all to see.
    """

    def __init__(
        self,
        asker: discord.abc.User,
        ask: Callable[[Interaction], Awaitable[Recalled]],
        nothing: Callable[[Interaction], Awaitable[str]],
        forgetting: Forgetting,
        explain: bool = False,
        asked_aloud: str | None = None,
    ) -> None:
        super().__init__(asker, self._answer)
        self._ask = ask
        self._explain = explain
        self._forgetting = forgetting
        self._asked: str | None = None
        self._heading: str | None = None
        self._nothing = nothing
        if asked_aloud:  # who did not ask is to see what was asked
            self._asked = self._heading = self.last_words = f"> {escaped(' '.join(asked_aloud.split()), HEADING_UNITS)}"
        self._memories: list[list[Memory]] = []  # by page, as last shown

    async def show(
        self,
        interaction: Interaction,
        content: str | None = None,
        *,
        embeds: Sequence[discord.Embed] = (),
        files: Sequence[discord.File] = (),
    ) -> None:
        await super().show(interaction, content or self._heading, embeds=embeds, files=files)

    async def _answer(self, interaction: Interaction) -> Sequence[Page] | str:
        recalled = await self._ask(interaction)
        if not recalled.hits:
            degraded = f"-# ⚠️ {recalled.degraded}" if recalled.degraded else None
            return "\n".join(filter(None, (self._asked, await self._nothing(interaction), degraded)))
        self.why.label = "Hide why" if self._explain else "Why?"
        pages = recall_pages(recalled, self._explain)
        hits = iter(recalled.hits)
        self._memories = [standing_for(islice(hits, len(page))) for page in pages]
        return pages

    @ui.button(style=discord.ButtonStyle.secondary)
    async def why(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await interaction.response.defer()
        self._explain = not self._explain
        await self.turn(interaction, self.at)

    @ui.button(label="Forget…", style=discord.ButtonStyle.secondary)
    async def forget(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await think(interaction)
        await self._forgetting.offer(interaction, self._memories[self.at])
