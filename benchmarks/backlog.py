"""A backlog after a long outage of the language model: how fast it drains, and whether recall stays quick meanwhile.

The data folder of a `recollect run` process holds so many messages of one server in ten channels: captured, indexed
with all four keys (vectors as `recollect bench index` makes them), and waiting for facts. The stand-ins for Ollama,
which states three facts from each window at once, and for OpenAI are processes of their own; Discord's is in this one,
where a member asks /recall all the while, one question after the other. An admin's /flush begins the draining. It ends
when every message is extracted and every fact is in the index with its vectors.

`rate` is messages a second of our own overhead: the time the language model's stand-in took for its answers is not
counted; `rate_with_llm` counts it. `rss_growth_mb` is the bot's largest resident set over the one before the
draining; `own_growth_mb` leaves out the pages of mapped files, the index's, which the kernel takes back at will.
"""

import asyncio
import contextlib
import itertools
import re
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from _bot import Bot, stand_ins
from _index_data import texts, vectors
from _report import main, progress
from _stand_in import stand_in

from bot.memory.edge import EdgeIndex
from bot.memory.index import Key
from bot.memory.keys import DenseKeys, entry, point, sparse_keys
from bot.memory.lexicon import Lexicon
from bot.model import Mention, Message, message_memory, utcnow
from bot.sandbox.conversation import load
from bot.sandbox.discord import Channel, DiscordServer, Guild, User
from bot.settings import RecallSettings
from bot.settings_services import OpenAISettings
from bot.storage.database import FILE, Database
from bot.storage.messages import MessageStore
from bot.storage.observations import Observations

CHANNELS = 10
CHUNK = 2000
PACE = timedelta(seconds=6)  # between messages of the server: one a minute in each channel
PAUSE = 0.2  # seconds between an answer and the next question
WARM_UP = 10  # questions before and after the start's own work is done; the latter are the calm ones
LOOK = 0.2  # seconds
SLOWEST = 50.0  # messages a second; slower than this is given up
PATIENCE = 120.0
MB = 2**20

WAITING = "SELECT count(*) FROM message WHERE extraction IN ('waiting', 'leased')"
UNINDEXED = "SELECT count(*) FROM fact WHERE indexing <> 'complete'"
UNSETTLED = f"SELECT EXISTS ({WAITING.replace('count(*)', '1')}) OR EXISTS ({UNINDEXED.replace('count(*)', '1')})"


def run(messages: int) -> dict[str, float]:
    """Drain so many messages."""
    return asyncio.run(_run(messages))


async def _run(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with (
            DiscordServer() as discord,
            stand_in(Path(__file__).with_name("_backlog_llm.py")) as ollama,
            stand_in("-m", "bot.sandbox.openai") as openai,
        ):
            town = Town.build(discord)
            await fill(folder / "data", town, count)
            bot = await Bot.start(
                folder,
                **stand_ins(discord, ollama, openai),
                BOT_CAPTURE__RECHECK_MESSAGES="0",  # Discord's stand-in does not have these messages
            )
            try:
                return await _measure(bot, town, folder / "data" / FILE, ollama, count)
            finally:
                await bot.kill()


async def _measure(bot: Bot, town: "Town", database: Path, ollama: str, count: int) -> dict[str, float]:
    await bot.ready()
    process = psutil.Process(bot.process.pid)
    asking = Asking(town)
    for _ in range(WARM_UP):
        await asking.once()
    await bot.calm()
    asking.seconds.clear()
    for _ in range(WARM_UP):
        await asking.once()
    calm, asking.seconds = asking.seconds, []
    before, cpu = process.memory_info(), sum(process.cpu_times()[:2])
    peak, own = before.rss, _own(before)
    asked = asyncio.create_task(asking.forever())
    started = time.perf_counter()
    await town.discord.slash(town.owner, town.channels[0], "flush")
    for _ in range(int(count / SLOWEST / LOOK) + int(PATIENCE / LOOK)):
        now = process.memory_info()
        peak, own = max(peak, now.rss), max(own, _own(now))
        if asked.done() or await asyncio.to_thread(_settled, database):
            break
        await asyncio.sleep(LOOK)
    seconds = time.perf_counter() - started
    asked.cancel()
    await asyncio.wait([asked])
    if not asked.cancelled():
        asked.result()
    if not await asyncio.to_thread(_settled, database):
        raise RuntimeError(f"it did not drain within {seconds:.0f} s: {bot.events[-3:]}")
    async with aiohttp.ClientSession() as session, session.get(f"{ollama}/spent") as response:
        spent = await response.json()
    with contextlib.closing(_open(database)) as connection:
        [facts] = connection.execute("SELECT count(*) FROM fact").fetchone()
    return {
        "messages": count,
        "rate": round(count / (seconds - spent["seconds"])),
        "rate_with_llm": round(count / seconds),
        "rss_growth_mb": round((peak - before.rss) / MB, 1),
        "own_growth_mb": round((own - _own(before)) / MB, 1),
        "rss_before_mb": round(before.rss / MB, 1),
        "recall_p95_ms": _percentile(asking.seconds, 95),
        "recall_p50_ms": _percentile(asking.seconds, 50),
        "recall_calm_p95_ms": _percentile(calm, 95),
        "recalls": len(asking.seconds),
        "degraded": asking.degraded,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(sum(process.cpu_times()[:2]) - cpu, 1),
        "llm_seconds": round(spent["seconds"], 1),
        "llm_calls": spent["calls"],
        "facts": facts,
    }


@dataclass
class Town:
    """A server with ten channels, all observed."""

    discord: DiscordServer
    guild: Guild
    owner: User
    people: list[User]
    channels: list[Channel]
    told: Any = field(default_factory=load)

    @classmethod
    def build(cls, discord: DiscordServer) -> "Town":
        world, told = discord.world, load()
        people = [world.add_user(member.key, display_name=member.name) for member in told.members]
        guild = world.add_guild(name="backlog", owner=people[0])
        for user in people[1:]:
            world.add_member(guild, user)
        channels = [world.add_channel(guild, f"channel-{number}") for number in range(CHANNELS)]
        return cls(discord, guild, people[0], people, channels)

    def said(self, count: int) -> Iterator[Message]:
        """The bundled conversation over and over, one post in each channel in turn, the last one an hour ago."""
        members = {member.key: user for member, user in zip(self.told.members, self.people, strict=True)}
        start = utcnow() - timedelta(hours=1) - count * PACE
        rare = texts(count, 3, seed=5)
        for number, (post, words) in enumerate(zip(itertools.cycle(self.told.posts), rare, strict=False)):
            channel, author = self.channels[number % CHANNELS], members[post.author]
            said = re.sub(r"<@(\w+)>", lambda match: f"<@{members[match[1]].id}>", post.text)
            yield Message(
                id=self.discord.world.snowflake(start + number * PACE),
                guild_id=self.guild.id,
                channel_id=channel.id,
                access_id=channel.id,
                channel_name=channel.name,
                author_id=author.id,
                author_name=author.display_name,
                content=f"{said} {words}",
                created_at=start + number * PACE,
                mentions=tuple(Mention(members[key].id, members[key].display_name) for key in post.mentions),
            )


async def fill(folder: Path, town: Town, count: int) -> None:
    """Hold the messages, in SQL and in the index, as after the outage."""
    database = await Database.open(folder)
    observations = Observations(database)
    for channel in town.channels:
        await observations.switch_on(town.guild.id, channel.id, None)
    store, lexicon = MessageStore(database), Lexicon(lambda _: RecallSettings().language)
    index = EdgeIndex(folder / "index", OpenAISettings().dimensions)
    await index.open()
    said = town.said(count)
    for number, chunk in enumerate(iter(lambda: list(itertools.islice(said, CHUNK)), [])):
        await store.capture_many(chunk)
        entries = [entry(message_memory(one), (), True) for one in chunk]
        dense = _dense(len(chunk), number)
        keys = zip(entries, await sparse_keys(lexicon, entries), dense, strict=True)
        await index.upsert(town.guild.id, [point(*one) for one in keys])
        progress(f"{number * CHUNK + len(chunk):,} messages are held")
    async with database.write() as connection:
        await connection.exec_driver_sql("UPDATE message SET indexing = 'complete'")
        await connection.exec_driver_sql("UPDATE schedule SET since_attempt = 0")  # no batch begins by itself
    await index.close()
    await store.close()
    await database.close()


def _dense(count: int, seed: int) -> list[DenseKeys]:
    size = OpenAISettings().dimensions
    both = zip(vectors(count, size, 2 * seed).tolist(), vectors(count, size, 2 * seed + 1).tolist(), strict=True)
    return [{Key.DENSE: text, Key.WINDOW: window} for text, window in both]


@dataclass
class Asking:
    """A member who asks one question after the other; `seconds` each took from command to answer.

    `degraded` counts the answers by less than the whole recall, which are quicker.
    """

    town: Town
    seconds: list[float] = field(default_factory=list)
    degraded: int = 0

    def __post_init__(self) -> None:
        self._words = itertools.cycle(post.text[:60] for post in self.town.told.posts)
        self._number = itertools.count()

    async def once(self) -> None:
        query = f"{re.sub(r'<@.*?>', '', next(self._words))} w{next(self._number)}"
        place, user = self.town.channels[0], self.town.people[1]
        started = time.perf_counter()
        answer = await (await self.town.discord.slash(user, place, "recall", query=query)).settled(PATIENCE)
        self.seconds.append(time.perf_counter() - started)
        if not answer.embeds:
            raise RuntimeError(f"nothing was recalled: {answer!r}")
        self.degraded += any("⚠️" in embed["footer"]["text"] for embed in answer.embeds if "footer" in embed)

    async def forever(self) -> None:
        while True:
            await self.once()
            await asyncio.sleep(PAUSE)


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True)


def _settled(database: Path) -> bool:
    with contextlib.closing(_open(database)) as connection:
        [unsettled] = connection.execute(UNSETTLED).fetchone()
    return not unsettled


def _own(memory: Any) -> int:
    """Resident bytes that are not pages of a mapped file."""
    return int(memory.rss - memory.shared)


def _percentile(seconds: list[float], share: int) -> float:
    return round(statistics.quantiles(seconds, n=100)[share - 1] * 1000, 1)


if __name__ == "__main__":
    main(run, __doc__, messages=100_000)
