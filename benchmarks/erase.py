"""Erase-me: how long it takes until nothing is left of a member who said most of what a server holds.

The data folder of a `recollect run` process holds so many memories of one member (messages, and a fact to every twenty
of them) among others' messages in the same ten channels, indexed with all four keys. The member uses /forget
everything; meanwhile the others talk on, and one of them asks /recall all the while.

`seconds` is from the press of the confirming button to the bot's answer and until SQL holds nothing of the member and
the index is told to hold nothing, `answer_seconds` to the answer alone. `left` counts what there still is in SQL,
full-text search and index, and what recall finds, after the bot has ended; `others_lost` what else is gone.
"""

import asyncio
import contextlib
import itertools
import json
import sqlite3
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from _bot import Bot, stand_ins
from _erase_data import FACT_EACH, MARK, Town, fill
from _report import main, progress
from _stand_in import stand_in

from bot.memory.edge import EdgeIndex
from bot.sandbox.discord import DiscordServer
from bot.settings_services import OpenAISettings
from bot.storage.database import FILE

PATIENCE = 300.0  # seconds
LOOK = 0.1
PAUSE = 0.2  # between an answer and the next question, and between messages

OF_MEMBER = (
    "SELECT count(*) FROM message WHERE guild_id = :guild AND author_id = :member",
    "SELECT count(*) FROM fact WHERE guild_id = :guild AND subject_id = :member",
    "SELECT count(*) FROM fact_source WHERE author_id = :member",
)
REMAINS = (
    *OF_MEMBER,
    "SELECT count(*) FROM surrounding WHERE near_id NOT IN (SELECT id FROM message)",
    "SELECT count(*) FROM message_fts WHERE message_fts MATCH :mark",
    "SELECT count(*) FROM fact_fts WHERE fact_fts MATCH :mark",
    "SELECT count(*) FROM message_fts_docsize WHERE id NOT IN (SELECT id FROM message)",
    "SELECT count(*) FROM fact_fts_docsize WHERE id NOT IN (SELECT seq FROM fact)",
)
WAITING = ("SELECT count(*) FROM removal", "SELECT count(*) FROM erasure")


def run(memories: int, others: int) -> dict[str, float]:
    """Erase so many memories of one member among so many messages of others."""
    return asyncio.run(_run(memories, others))


async def _run(memories: int, others: int) -> dict[str, float]:
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        discord = await opened.enter_async_context(DiscordServer())
        ollama = await opened.enter_async_context(stand_in("-m", "bot.sandbox.ollama"))
        openai = await opened.enter_async_context(stand_in("-m", "bot.sandbox.openai"))
        town = Town.build(discord)
        await fill(folder / "data", town, memories * FACT_EACH // (FACT_EACH + 1), others)
        before = Held.read(folder / "data", town)
        bot = await Bot.start(
            folder,
            **stand_ins(discord, ollama, openai),
            BOT_CAPTURE__RECHECK_MESSAGES="0",  # Discord's stand-in does not have these messages
        )
        try:
            await bot.ready()
            await bot.calm()
            measured = await _measure(town, folder / "data" / FILE)
            await bot.terminate()
        finally:
            await bot.kill()
        verdict = await _verdict(folder / "data", town, before)
        return verdict | measured | {"left": verdict["left"] + measured.pop("recalled")}


async def _measure(town: Town, database: Path) -> dict[str, float]:
    """Forget the member while the others talk and ask; what that took."""
    beside = Beside(town)
    going_on = [asyncio.create_task(beside.ask()), asyncio.create_task(beside.talk())]
    asked = await (await town.discord.slash(town.member, town.channels[0], "forget", everything=True)).settled(PATIENCE)
    await beside.at_it.wait()
    started = time.perf_counter()
    pressed = await asked.click("Forget everything")
    answer = await pressed.settled(PATIENCE)
    answered = time.perf_counter() - started
    await _erased(database, town)  # only now: to count all the while takes a core, which the bot could use
    seconds = time.perf_counter() - started
    for task in going_on:
        task.cancel()
    ended = await asyncio.gather(*going_on, return_exceptions=True)
    if broken := [one for one in ended if not isinstance(one, asyncio.CancelledError)]:
        raise RuntimeError(f"not everything went on meanwhile: {broken}")
    progress(answer.content)
    recalled = 0
    for user in (town.member, town.others[1]):
        found = await (await town.discord.slash(user, town.channels[0], "recall", query=MARK)).settled(PATIENCE)
        recalled += sum(
            MARK in json.dumps(card) or town.member.display_name in json.dumps(card) for card in found.embeds
        )
    return {
        "seconds": round(seconds, 2),
        "answer_seconds": round(answered, 2),
        "recalled": recalled,
        "recall_max_ms": round(max(beside.seconds) * 1000),
        "recalls": len(beside.seconds),
        "said_meanwhile": beside.said,
    }


async def _erased(database: Path, town: Town) -> None:
    """Wait until SQL holds nothing of the member, nor anything that the index is still to be told to remove."""
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(_count, database, town, (*OF_MEMBER, *WAITING)):  # noqa: ASYNC110  (in a file)
            await asyncio.sleep(LOOK)


@dataclass
class Beside:
    """What others do meanwhile; `seconds` each of their questions took."""

    town: Town
    seconds: list[float] = field(default_factory=list)
    said: int = 0
    at_it: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self) -> None:
        for number in itertools.count():
            started = time.perf_counter()
            asker, place = self.town.others[1], self.town.channels[0]
            answer = await self.town.discord.slash(asker, place, "recall", query=f"w1 w{number}")
            await answer.settled(PATIENCE)
            self.seconds.append(time.perf_counter() - started)
            self.at_it.set()
            await asyncio.sleep(PAUSE)

    async def talk(self) -> None:
        for number in itertools.count():
            place, speaker = (some[number % len(some)] for some in (self.town.channels, self.town.others))
            await self.town.discord.say(place, speaker, f"and w{number} again")
            self.said += 1
            await asyncio.sleep(PAUSE)


@dataclass(frozen=True)
class Held:
    """The ids of all that is held and is not the member's."""

    messages: frozenset[int]
    facts: frozenset[str]
    of_member: int

    @classmethod
    def read(cls, folder: Path, town: Town) -> "Held":
        with contextlib.closing(_open(folder / FILE)) as connection:
            member = {"member": town.member.id}
            messages = connection.execute("SELECT id FROM message WHERE author_id <> :member", member).fetchall()
            theirs = "SELECT fact_id FROM fact_source WHERE author_id = :member"
            kept = f"SELECT id FROM fact WHERE subject_id IS NOT :member AND id NOT IN ({theirs})"  # noqa: S608  (ours)
            facts = connection.execute(kept, member).fetchall()
            [held] = connection.execute(
                "SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM fact)"
            ).fetchone()
        found = cls(frozenset(id for (id,) in messages), frozenset(id for (id,) in facts), 0)
        return cls(found.messages, found.facts, held - len(found.messages) - len(found.facts))


async def _verdict(folder: Path, town: Town, before: Held) -> dict[str, float]:
    """What is left of the member in the folder of a bot that has ended, and what is not left of the others."""
    after = Held.read(folder, town)
    index = EdgeIndex(folder / "index", OpenAISettings().dimensions)
    await index.open()
    indexed: set[str | int] = set()
    in_index, page = 0, None
    while True:
        points, page = await index.scroll(town.guild.id, page)
        for one in points:
            theirs = one.payload["user_id"] == str(town.member.id) or town.member.id in one.payload["speaker_ids"]
            in_index += theirs or MARK in json.dumps(one.payload)
            indexed.add(one.id if one.payload["kind"] == "fact" else one.payload["sources"][0])
        if page is None:
            break
    await index.close()
    kept = before.messages | before.facts
    return {
        "memories": before.of_member,
        "others": len(kept),
        "left": _count(folder / FILE, town, REMAINS) + in_index,
        "others_lost": len(kept - (after.messages | after.facts)) + len(kept - indexed),
    }


def _count(database: Path, town: Town, queries: tuple[str, ...]) -> int:
    with contextlib.closing(_open(database)) as connection:
        values = {"guild": town.guild.id, "member": town.member.id, "mark": MARK}
        return sum(connection.execute(query, values).fetchone()[0] for query in queries)


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True)


if __name__ == "__main__":
    main(run, __doc__, memories=100_000, others=20_000)
