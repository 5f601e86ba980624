"""/catchup: what happened while one was away: the busiest conversations at once, then by topic in the model's words."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import discord
from discord import app_commands

from bot.commands.access import MemberVisibility, Place, manages, member, refuse_unless_asker
from bot.commands.cited import cited_text
from bot.commands.limits import Limit
from bot.commands.replies import Interaction, Refused, show, think
from bot.commands.since import parse_since, suggest_since
from bot.commands.streaming import streamed
from bot.commands.text import ago, counted, dated, escaped, jump_url
from bot.errors import AnswerRejected, LLMUnavailable, RecallPaused
from bot.extraction.questions import Questions
from bot.memory.answering import read
from bot.memory.digest import MOST_TALKS, Question, Talk, busiest, question, topics
from bot.memory.recall import Recall
from bot.model import Message, Scope
from bot.settings import AskSettings
from bot.storage.guild_configs import GuildConfigs
from bot.storage.observations import Observations
from bot.storage.spoken import Said, Spoken

LONGEST = timedelta(days=7)
USUAL = timedelta(hours=24)
JUST_NOW = timedelta(minutes=1)
SPANS = ("1h", "24h", "3d", "7d")
MOST_MESSAGES = 1_000
LINE_UNITS = 200
NAME_UNITS = 40
WORDS_UNITS = 3_600  # of the 4,096 of an embed's description; the heading needs the rest

_AT_MOST = f"in the last {LONGEST.days} days, the most I look back"
_USUALLY = f"in the last {USUAL // timedelta(hours=1)} hours"
WRITING = "The language model is putting this into words…"
_BUSIEST = "So these are the busiest conversations."
_USELESS = "The language model gave no usable answer."
_CHANGED = "Some of it was changed or taken back meanwhile; these are the busiest conversations as they are now."
_NO_URLS: frozenset[str] = frozenset()  # the numbers lead to the messages in which they stand
_OBSERVE = "I do not watch this place yet; `/observe on` changes that."


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to catch up on; `since` is None where their own last message is to tell."""

    place: discord.abc.Snowflake
    access_id: int  # whose visibility decides who may read it
    asker: discord.Member
    since: datetime | None
    now: datetime

    def scope(self, visible: frozenset[int]) -> Scope:
        """A channel covers its public threads and forum posts; a thread is one place. Nothing, if it is hidden."""
        thread = self.place.id if _is_thread(self.place) else None
        return Scope(self.asker.guild.id, visible & {self.access_id}, channel_id=thread)

    def begin(self, own_last: datetime | None) -> datetime:
        """From when on to read."""
        if self.since is not None:
            start = self.since
        elif own_last is None or self._just_now(own_last):
            start = self.now - USUAL
        else:
            start = own_last
        return max(start, self.now - LONGEST)

    def when(self, said: Said) -> str:
        """The same in words."""
        if self.since is not None:
            return f"since {dated(self.since)}" if self.since >= said.since else _AT_MOST
        if said.own_last is None:
            return f"{_USUALLY} (I hold no message of yours there)"
        if self._just_now(said.own_last):
            return f"{_USUALLY} (you wrote there a moment ago)"
        if said.own_last < said.since:
            return f"{_AT_MOST} (your last message there is older)"
        return f"since your last message there, {ago(said.own_last)}"

    def _just_now(self, own_last: datetime) -> bool:
        return own_last > self.now - JUST_NOW


@dataclass(frozen=True, slots=True)
class Digest:
    """What is shown without a language model: who said how much when, and how it began.

    `readable` says whether the asker may read the place at all.
    """

    asked: Asked
    readable: bool
    said: Said
    talks: Sequence[Talk]

    @property
    def nothing(self) -> str:
        """What to say when there was nothing; true as well of a place where I do not listen."""
        return (
            f"I know of nothing new in <#{self.asked.place.id}> {self.asked.when(self.said)}. "
            "I hear only the channels that were switched on."
        )

    @property
    def heading(self) -> str:
        """Where and since when, and how much there was."""
        amount = _amount([one for talk in self.talks for one in talk.messages])
        cut_off = f"; only the newest {MOST_MESSAGES:,} are looked at" if self.said.cut else ""
        return f"**<#{self.asked.place.id}> {self.asked.when(self.said)}**: {amount}{cut_off}."

    def card(self, words: str | None = None, note: str | None = None) -> discord.Embed:
        """These words or else the busiest conversations, under the heading."""
        embed = discord.Embed(
            colour=discord.Colour.blurple(), description=f"{self.heading}\n\n{words or self._busiest()}"
        )
        return embed.set_footer(text=note)

    def _busiest(self) -> str:
        parts = [self._told(talk) for talk in self.talks[:MOST_TALKS]]
        if (left := len(self.talks) - MOST_TALKS) > 0:
            parts.append(f"…and {counted(left, 'smaller conversation')}.")
        return "\n\n".join(parts)

    def _told(self, talk: Talk) -> str:
        opening = talk.opening
        where = [f"<#{opening.channel_id}>"] if opening.channel_id != self.asked.place.id else []
        origin = [_amount(talk.messages), *where, ago(opening.created_at), f"[Jump to the start]({link_to(opening)})"]
        line = escaped(" ".join(opening.text.split()), LINE_UNITS)
        return f"{' · '.join(origin)}\n> {escaped(opening.author_name, NAME_UNITS)}: {line}"


class CatchUps:
    """Reads what was said, shows it, and has the language model put it into words."""

    def __init__(
        self,
        spoken: Spoken,
        recall: Recall,
        visibility: MemberVisibility,
        observations: Observations,
        questions: Questions,
        limit: Limit,
        settings: AskSettings,
    ) -> None:
        self._spoken = spoken
        self._recall = recall
        self._visibility = visibility
        self._observations = observations
        self._questions = questions
        self._limit = limit
        self._settings = settings

    async def answer(self, interaction: Interaction, asked: Asked) -> None:
        """Show the digest, then the model's words in its place; without these it stays, and says why.

        Raises `RecallPaused` while it cannot be known what was deleted on Discord.
        """
        digest = await self._read(asked)
        await self._show(interaction, digest, WRITING)
        if not digest.talks:
            return
        told = await asyncio.to_thread(question, digest.talks[:MOST_TALKS], self._settings.context_tokens)
        try:
            self._limit.take(asked.asker.id)
            card = await self._in_words(interaction, digest, told)
        except (Refused, LLMUnavailable) as error:
            card = digest.card(note=f"⚠️ {error} {_BUSIEST}")
        except AnswerRejected:
            card = digest.card(note=f"⚠️ {_USELESS} {_BUSIEST}")
        shown = [*told.lines, *(talk.opening for talk in digest.talks)]
        standing = await self._spoken.standing(shown)
        if len(standing) == len(shown) and (await self._scope(asked)).access_ids:
            await show(interaction, embeds=[card])
        else:
            await self._show(interaction, await self._read(asked), _CHANGED)

    async def _show(self, interaction: Interaction, digest: Digest, note: str) -> None:
        if digest.talks:
            await show(interaction, embeds=[digest.card(note=note)])
        else:
            await show(interaction, digest.nothing + self._hint(interaction, digest))

    def _hint(self, interaction: Interaction, digest: Digest) -> str:
        """What to tell a manager who can do something about it. Of a place they cannot read it says nothing."""
        place = digest.asked.place
        observed = {one.channel_id for one in self._observations.active(digest.asked.asker.guild.id)}
        unwatched = observed.isdisjoint({place.id, digest.asked.access_id})
        return f" {_OBSERVE}" if unwatched and digest.readable and manages(interaction) else ""

    async def _read(self, asked: Asked) -> Digest:
        """What can be shown now."""
        with self._recall.attending():
            if self._recall.paused():
                raise RecallPaused()
            scope = await self._scope(asked)
            said = await self._spoken.since(scope, asked.asker.id, asked.begin, MOST_MESSAGES)
            talks = await asyncio.to_thread(busiest, said.messages, asked.place.id, asked.asker.id)
            return Digest(asked, bool(scope.access_ids), said, talks)

    async def _scope(self, asked: Asked) -> Scope:
        """What of the place the asker may read now."""
        return asked.scope(await self._visibility.for_member(asked.asker))

    async def _in_words(self, interaction: Interaction, digest: Digest, told: Question) -> discord.Embed:
        """Show the model's words as they come; the card with all of them.

        Raises `LLMUnavailable`, and `AnswerRejected` for words that rest on nothing.
        """
        links = [link_to(one) for one in told.lines]

        def card(text: str, note: str | None = None) -> discord.Embed | None:
            answer = read(topics(text), len(links))
            return digest.card(cited_text(answer.parts, links, _NO_URLS, WORDS_UNITS), note) if answer.cited else None

        async def progress(text: str) -> bool:
            if so_far := card(text, WRITING):
                await show(interaction, embeds=[so_far])
            return so_far is not None

        words = await streamed(self._questions, told.system, told.prompt, self._settings.answer_tokens, progress)
        if not (finished := card(words)):
            raise AnswerRejected()
        return finished


def catchup_command(
    catch_ups: CatchUps, configs: GuildConfigs, clock: Callable[[], datetime]
) -> app_commands.Command[Any, ..., None]:
    """`/catchup [channel] [since]`."""

    @app_commands.command(description="What happened here since your last message, by topic; only you see the answer")
    @app_commands.describe(
        channel="Another channel, forum or thread than this one",
        since="From when on, instead of your last message: 24h, 7d or a date like 2026-05-01; at most 7 days",
    )
    async def catchup(interaction: Interaction, channel: Place | None = None, since: str | None = None) -> None:
        asker, now = member(interaction), clock()
        refuse_unless_asker(asker, configs)
        moment = parse_since(since, now) if since else None
        place = channel or interaction.channel
        if place is None:
            raise Refused("I cannot tell where you are; name a channel.")
        await think(interaction)
        await catch_ups.answer(interaction, Asked(place, _access_id(place), asker, moment, now))

    @catchup.autocomplete("since")
    async def suggest(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return suggest_since(current, clock(), SPANS)

    return catchup


def link_to(message: Message) -> str:
    """The link that opens a message."""
    return jump_url(message.guild_id, message.channel_id, message.id)


def _access_id(place: Any) -> int:
    """A public thread's or forum post's is its parent's, as in `capture.convert`, whatever form a place comes in."""
    inside = _is_thread(place) and place.type is not discord.ChannelType.private_thread
    return int(place.parent_id if inside else place.id)


def _is_thread(place: object) -> bool:
    return isinstance(place, discord.Thread | app_commands.AppCommandThread)


def _amount(messages: Sequence[Message]) -> str:
    people = len({message.author_id for message in messages})
    return f"{counted(len(messages), 'message')} by {counted(people, 'person', 'people')}"
