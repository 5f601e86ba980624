"""/ask: an answer in the language model's words, from what the asker may read now, with links to what it rests on."""

from collections.abc import Awaitable, Callable
from typing import Any, Self

import discord
from discord import app_commands, ui

from bot.commands.access import MemberVisibility, member, refuse_unless_asker, stage
from bot.commands.asking import Asking
from bot.commands.forget import Forgetting
from bot.commands.limits import Limit
from bot.commands.recall import HEADING_UNITS, LONGEST_QUERY, Answer, unheard
from bot.commands.replies import Interaction, show, think
from bot.commands.text import escaped
from bot.commands.views import OwnedView
from bot.memory.recall import Recall
from bot.model import Recalled, Scope
from bot.storage.guild_configs import GuildConfigs
from bot.storage.observations import Observations

_NOTHING = (
    "I found nothing about that in what you can read here. Other words may help; "
    "and I only know channels that were switched on."
)
_NOTHING_FOR_ALL = (
    "I found nothing about that in what everyone here can read. Other words may help; "
    "without `public` I search what you alone can read, too."
)


def ask_command(
    asking: Asking,
    recall: Recall,
    visibility: MemberVisibility,
    forgetting: Forgetting,
    configs: GuildConfigs,
    observations: Observations,
    limit: Limit,
    most_memories: int,
) -> app_commands.Command[Any, ..., None]:
    """`/ask`, which shows at most so many memories if there is no answer."""

    @app_commands.command(
        name="ask",
        description="Ask a question and get an answer with links; only you see it, unless you make it public",
    )
    @app_commands.describe(
        question="What you want to know, as a question in your own words",
        public="Post the answer here for everyone, from only what everyone here can read",
    )
    async def command(
        interaction: Interaction, question: app_commands.Range[str, 1, LONGEST_QUERY], public: bool = False
    ) -> None:
        async def scope(press: Interaction) -> Scope:
            refuse_unless_asker(member(press), configs)
            if public:
                return Scope(asker.guild.id, await visibility.public(asker.guild.id, stage(press)))
            return Scope(asker.guild.id, await visibility.for_member(member(press)))

        async def look(press: Interaction) -> Recalled:
            return await recall.recall(question, await scope(press), most_memories)

        async def progress(sentence: str | None, card: discord.Embed | None) -> None:
            text = "\n".join(filter(None, (heading, sentence)))
            await show(interaction, text or None, embeds=[card] if card else ())

        async def nothing(press: Interaction) -> str:
            return _NOTHING_FOR_ALL if public else await unheard(press, visibility, observations) or _NOTHING

        asker = member(interaction)
        refuse_unless_asker(asker, configs)
        if public:
            stage(interaction)  # refused in private, and again at every turn
        limit.take(asker.id)
        await think(interaction, public=public)
        heading = f"> {escaped(' '.join(question.split()), HEADING_UNITS)}" if public else None
        outcome = await asking.ask(question, lambda: scope(interaction), progress)
        if outcome.card:
            answered = Answered(asker, look, nothing, forgetting, heading)
            await answered.show(interaction, heading, embeds=[outcome.card])
        else:
            await Closest(asker, look, nothing, forgetting, heading, outcome.note).turn(interaction)

    return command


class Answered(OwnedView):
    """Below an answer, a way to all that was recalled for it, shown to the asker alone."""

    def __init__(
        self,
        asker: discord.abc.User,
        look: Callable[[Interaction], Awaitable[Recalled]],
        nothing: Callable[[Interaction], Awaitable[str]],
        forgetting: Forgetting,
        heading: str | None,
    ) -> None:
        super().__init__(asker)
        self._asker = asker
        self._look = look
        self._nothing = nothing
        self._forgetting = forgetting
        if heading:
            self.last_words = heading

    @ui.button(label="Memories", style=discord.ButtonStyle.secondary)
    async def memories(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await think(interaction)
        await Closest(self._asker, self._look, self._nothing, self._forgetting).turn(interaction)


class Closest(Answer):
    """What was recalled, instead of an answer; `note` says why there is none."""

    def __init__(
        self,
        asker: discord.abc.User,
        look: Callable[[Interaction], Awaitable[Recalled]],
        nothing: Callable[[Interaction], Awaitable[str]],
        forgetting: Forgetting,
        heading: str | None = None,
        note: str | None = None,
    ) -> None:
        super().__init__(asker, look, nothing, forgetting)
        self._heading = "\n".join(filter(None, (heading, note))) or None
        if heading:
            self.last_words = heading
        self._asked = heading
