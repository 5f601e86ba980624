"""Mentioning the bot asks it, where the guild wants that: answered there, from what everyone who sees it may read."""

import asyncio
import re
import traceback
from collections.abc import Iterable, Sequence

import discord
import structlog

from bot.capture.client import Client
from bot.capture.convert import asks, names
from bot.commands.access import refuse_unless_asker
from bot.commands.asking import Asking
from bot.commands.cards import PAGE_CARDS, recall_pages
from bot.commands.limits import Limit
from bot.commands.recall import LONGEST_QUERY
from bot.commands.replies import CUT_OFF, NO_PINGS, UNREACHABLE, Refused, explain
from bot.commands.text import escaped
from bot.errors import QueryTooShort, RecollectError
from bot.memory.recall import Recall
from bot.model import Scope, Visibility
from bot.storage.guild_configs import GuildConfigs

NAME_UNITS = 80

_LOOKING = "I am looking through what everyone here can read…"
_NOTHING = "I found nothing about that in what everyone here can read."
_NO_QUESTION = "Mention me with a question, for example: @{name} when is the fair?"
_NO_EMBEDS = "I need the Embed Links permission here to answer."

log = structlog.get_logger(__name__)


class Mentions:
    """Hears every message and answers those that ask the bot something. A refusal is told once, not at every try.

    `limit` is that of /ask.
    """

    def __init__(
        self,
        client: Client,
        asking: Asking,
        recall: Recall,
        visibility: Visibility,
        configs: GuildConfigs,
        limit: Limit,
    ) -> None:
        self._client = client
        self._asking = asking
        self._recall = recall
        self._visibility = visibility
        self._configs = configs
        self._limit = limit
        self._running: dict[int, asyncio.Task[None]] = {}  # by the message that asks
        self._told: set[int] = set()

    def heard(self, message: discord.Message) -> None:
        """Begin to answer a message, if it asks something."""
        guild, author = message.guild, message.author
        if guild is None or not isinstance(author, discord.Member):
            return
        if asks(message, guild.me.id, self._configs.of(guild.id).mentions):
            task = asyncio.create_task(self._answer(message, author), name="mention")
            self._running[message.id] = task
            task.add_done_callback(lambda _: self._running.pop(message.id, None))
            self._client.keep(task)

    def unsaid(self, message_ids: Iterable[int]) -> None:
        """Stop answering questions that were deleted."""
        for message_id in message_ids:
            if task := self._running.pop(message_id, None):
                task.cancel()

    async def _answer(self, message: discord.Message, author: discord.Member) -> None:
        try:
            if not await self._refused(message, author):
                await self._ask(message, author.guild, await _reply(message, _LOOKING))
        except UNREACHABLE as error:  # question or answer are gone, or the bot may not post there
            code = error.code if isinstance(error, discord.HTTPException) else None
            log.info("mention_unanswered", message_id=message.id, error=type(error).__name__, code=code)
        except Exception as error:  # its own words may quote the question
            stack = "".join(traceback.format_tb(error.__traceback__))
            log.error("mention_failed", message_id=message.id, error=type(error).__name__, stack=stack)

    async def _refused(self, message: discord.Message, author: discord.Member) -> bool:
        """Whether its author may not ask now; they are told once, until they may again."""
        try:
            self._admit(message, author)
        except Refused as refusal:
            if author.id not in self._told:
                self._told.add(author.id)
                await _reply(message, str(refusal))
            return True
        self._told.discard(author.id)
        return False

    def _admit(self, message: discord.Message, author: discord.Member) -> None:
        refuse_unless_asker(author, self._configs)
        if not message.channel.permissions_for(author.guild.me).embed_links:
            raise Refused(_NO_EMBEDS)
        self._limit.take(author.id)

    async def _ask(self, message: discord.Message, guild: discord.Guild, reply: discord.Message) -> None:
        """Make `reply` the answer; it is left as it is once its question is deleted."""
        try:
            await self._find(message, guild, reply)
        except asyncio.CancelledError:
            if message.id in self._running:  # not the question went, but the bot has to
                await _edit(reply, CUT_OFF)
            raise
        except QueryTooShort:
            await _edit(reply, _NO_QUESTION.format(name=escaped(guild.me.display_name, NAME_UNITS)))
        except RecollectError as error:
            await _edit(reply, explain(error))

    async def _find(self, message: discord.Message, guild: discord.Guild, reply: discord.Message) -> None:
        async def look() -> Scope:
            return Scope(guild.id, await self._visibility.public(guild.id, message.channel.id))

        async def show(sentence: str | None, card: discord.Embed | None) -> None:
            await _edit(reply, sentence, [card] if card else [])

        words = self._words(message)
        outcome = await self._asking.ask(words, look, show)
        if outcome.card:
            await show(None, outcome.card)
            return
        # Looked for again: a model that did not answer may have taken minutes.
        recalled = await self._recall.recall(words, await look(), PAGE_CARDS)
        if recalled.hits:
            await _edit(reply, outcome.note, recall_pages(recalled)[0])
        else:
            await _edit(reply, _NOTHING)

    def _words(self, message: discord.Message) -> str:
        """What is asked: without the bot's mention, others by their names."""
        words = message.content
        for mention in names(self._client.user.id) if self._client.user else ():
            words = words.replace(mention, " ")
        for user in message.mentions:
            words = re.sub(f"<@!?{user.id}>", user.display_name, words)
        return words.strip()[:LONGEST_QUERY]


async def _reply(message: discord.Message, sentence: str) -> discord.Message:
    return await message.reply(sentence, mention_author=False, allowed_mentions=NO_PINGS)


async def _edit(reply: discord.Message, sentence: str | None, embeds: Sequence[discord.Embed] = ()) -> None:
    await reply.edit(content=sentence, embeds=embeds, allowed_mentions=NO_PINGS)
