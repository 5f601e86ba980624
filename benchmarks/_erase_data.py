"""A data folder in which one member said most of what is held: messages with their windows, facts, all four keys."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from _index_data import texts, vectors
from _report import progress

from bot.memory.edge import EdgeIndex
from bot.memory.index import Key
from bot.memory.keys import DenseKeys, Entry, entry, point, sparse_keys
from bot.memory.lexicon import Lexicon
from bot.model import Fact, FactKind, Message, fact_memory, memory_id, message_memory, utcnow
from bot.sandbox.discord import Channel, DiscordServer, Guild, User
from bot.settings import RecallSettings
from bot.settings_services import OpenAISettings
from bot.storage.database import Database
from bot.storage.facts import FactStore
from bot.storage.messages import MessageStore
from bot.storage.observations import Observations
from bot.storage.queue import ExtractionQueue

CHANNELS = 10
PEOPLE = 5  # beside the member
FACT_EACH = 20  # messages
MARK = "wensleydale"  # a word the member alone says, each time
_CHUNK = 2000
_PACE = timedelta(seconds=6)  # between messages of the server: one a minute in each channel
_WORDS = 12


@dataclass
class Town:
    """A server with ten channels, all observed, where `member` talks with `others`."""

    discord: DiscordServer
    guild: Guild
    member: User
    others: list[User]
    channels: list[Channel]

    @classmethod
    def build(cls, discord: DiscordServer) -> "Town":
        world = discord.world
        member, *others = [world.add_user(f"person-{number}") for number in range(PEOPLE + 1)]
        guild = world.add_guild(name="erase", owner=others[0])
        for user in (member, *others[1:]):
            world.add_member(guild, user)
        channels = [world.add_channel(guild, f"channel-{number}") for number in range(CHANNELS)]
        return cls(discord, guild, member, others, channels)

    def said(self, own: int, others: int) -> Iterator[Message]:
        """One message in each channel in turn, those of the others evenly among the member's, the last an hour ago."""
        count = own + others
        start = utcnow() - timedelta(hours=1) - count * _PACE
        speakers = itertools.cycle(self.others)
        for number, words in enumerate(texts(count, _WORDS, seed=5)):
            is_others = (number + 1) * others // count > number * others // count
            author = next(speakers) if is_others else self.member
            channel = self.channels[number % CHANNELS]
            at = start + number * _PACE
            yield Message(
                id=self.discord.world.snowflake(at),
                guild_id=self.guild.id,
                channel_id=channel.id,
                access_id=channel.id,
                channel_name=channel.name,
                author_id=author.id,
                author_name=author.display_name,
                content=words if is_others else f"{words} {MARK}",
                created_at=at,
            )

    def learnt(self, chunk: Sequence[Message]) -> list[Fact]:
        """Facts from each twenty messages, by turns: about the member, by the member, about another by that one."""
        facts = []
        for number, start in enumerate(range(0, len(chunk) - FACT_EACH + 1, FACT_EACH)):
            here = [one for one in chunk[start : start + FACT_EACH] if one.channel_id == chunk[start].channel_id]
            own = [one for one in here if one.author_id == self.member.id]
            theirs = [one for one in chunk[start : start + FACT_EACH] if one.author_id != self.member.id]
            if number % 4 == 3 and theirs:
                facts.append(_fact(theirs[:1], theirs[0].author_id, theirs[0].author_name))
            elif number % 4 == 2 and theirs:
                facts.append(_fact(theirs[:1], self.member.id, self.member.display_name))  # a claim of another
            elif own:
                about = (self.member.id, self.member.display_name) if number % 4 else (None, "SERVER")
                facts.append(_fact(own, *about))
        return facts


def _fact(sources: Sequence[Message], subject_id: int | None, subject_name: str) -> Fact:
    newest, ids = sources[-1], tuple(one.id for one in sources)
    text = f"{subject_name} said {sources[0].content}"
    return Fact(
        id=memory_id(newest.guild_id, newest.channel_id, subject_id, ids, text),
        guild_id=newest.guild_id,
        channel_id=newest.channel_id,
        access_id=newest.access_id,
        channel_name=newest.channel_name,
        subject_id=subject_id,
        subject_name=subject_name,
        text=text,
        kind=FactKind.KNOWLEDGE,
        speaker_ids=tuple({one.author_id for one in sources}),
        speaker_name=newest.author_name,
        sources=ids,
        confidence=0.9,
        importance=0.5,
        said_at=newest.created_at,
    )


async def fill(folder: Path, town: Town, own: int, others: int) -> None:
    """Hold so many messages of the member and of the others, and facts: extracted and indexed as the bot does it."""
    database = await Database.open(folder)
    observations = Observations(database)
    for channel in town.channels:
        await observations.switch_on(town.guild.id, channel.id, None)
    store, facts, queue = MessageStore(database), FactStore(database), ExtractionQueue(database)
    index, lexicon = (
        EdgeIndex(folder / "index", OpenAISettings().dimensions),
        Lexicon(lambda _: RecallSettings().language),
    )
    await index.open()
    seeds = itertools.count()

    async def indexed(entries: Sequence[Entry]) -> None:
        dense = await asyncio.to_thread(_dense, len(entries), next(seeds))
        keys = zip(entries, await sparse_keys(lexicon, entries), dense, strict=True)
        await index.upsert(town.guild.id, [point(*one) for one in keys])

    said, held = town.said(own, others), 0
    for chunk in iter(lambda: list(itertools.islice(said, _CHUNK)), []):
        await store.capture_many(chunk)
        taken = await queue.take([one.id for one in chunk], timedelta(minutes=5))
        await queue.commit(taken.lease, town.learnt(chunk))
        while batch := await store.to_index(_CHUNK, embedding=True):
            around = await store.around([one.id for one in batch])
            await indexed([entry(message_memory(one), around.get(one.id, ()), True) for one in batch])
            await store.mark_indexed(batch, complete=True)
        while learnt := await facts.to_index(_CHUNK, embedding=True):
            sources = await store.get({source for one in learnt for source in one.sources})
            await indexed([entry(fact_memory(one), [sources[id] for id in one.sources], True) for one in learnt])
            await facts.mark_indexed(learnt, complete=True)
        held += len(chunk)
        progress(f"{held:,} messages are held")
    await index.close()
    await store.close()
    await database.close()


def _dense(count: int, seed: int) -> list[DenseKeys]:
    size = OpenAISettings().dimensions
    both = zip(vectors(count, size, 2 * seed).tolist(), vectors(count, size, 2 * seed + 1).tolist(), strict=True)
    return [{Key.DENSE: text, Key.WINDOW: window} for text, window in both]
