"""Many members at once: how soon each hears from the bot while the server talks on.

A `recollect run` process on a server of ten channels, with stand-ins for Discord (in this process, where the members
are), Ollama and OpenAI (processes of their own). Five hundred messages a second arrive without end, and all members
use a command at the same moment, by turns different ones; the next round begins when everybody has an answer.

`p95_first_answer_ms` is from the member's press to the bot's first response, which shows in Discord; `p95_settled_ms`
to the words of the answer. `unanswered` counts those who heard nothing within Discord's three seconds, or no words
within a minute.
"""

import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _bot import Bot, stand_ins
from _report import main, progress
from _stand_in import stand_in

from bot.sandbox.discord import Answer, Channel, DiscordServer, User
from bot.sandbox.discord.load import Crowd, steady

CHANNELS = 10
RATE = 500  # messages a second
PATIENCE = 60.0  # seconds


@dataclass(frozen=True)
class Use:
    """A command as a member types it."""

    path: str
    options: Callable[[int], dict[str, Any]] = lambda number: {}


COMMANDS = (
    Use("recall", lambda number: {"query": f"what did we say about the market, part {number}?"}),
    Use("ask", lambda number: {"question": f"who brings the tables, number {number}?"}),
    Use("catchup"),
    Use("memory mine"),
    Use("privacy status"),
    Use("privacy policy"),
    Use("forget", lambda number: {"query": f"tables {number}"}),
    Use("recall", lambda number: {"query": f"spring fair {number}", "explain": True}),
)


def run(members: int, rounds: int = 5) -> dict[str, Any]:
    """So many members, each with one command a round."""
    return asyncio.run(_run(members, rounds))


async def _run(members: int, rounds: int) -> dict[str, Any]:
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        discord = await opened.enter_async_context(DiscordServer())
        crowd = Crowd(discord.world, channels=CHANNELS, people=members)
        bot = await opened.enter_async_context(_bot(folder, discord, crowd, opened))
        talk = asyncio.create_task(_talk(discord, crowd))
        try:
            pressed = Pressed(discord)
            await pressed.all_at_once(crowd.people[: len(COMMANDS)], crowd.channels)  # the first of each kind
            pressed = Pressed(discord)
            for number in range(rounds):
                await pressed.all_at_once(crowd.people, crowd.channels)
                progress(f"round {number + 1}/{rounds}: {pressed.slowest()}")
        finally:
            talk.cancel()
            await asyncio.wait([talk])
        if not bot.running:
            raise RuntimeError(f"the bot ended: {bot.noise[-3:] or bot.events[-3:]}")
    return pressed.figures()


@dataclass
class Pressed:
    """What members pressed, and how long they waited, in seconds."""

    discord: DiscordServer
    first: list[float] = field(default_factory=list)
    settled: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    unanswered: int = 0
    count: int = 0

    async def all_at_once(self, members: list[User], places: list[Channel]) -> None:
        async with asyncio.TaskGroup() as group:
            for member in members:
                use = COMMANDS[self.count % len(COMMANDS)]
                place = places[self.count % len(places)]
                group.create_task(self._press(member, place, use, self.count))
                self.count += 1

    async def _press(self, member: User, place: Channel, use: Use, number: int) -> None:
        started = time.perf_counter()
        answer: Answer = await self.discord.slash(member, place, use.path, **use.options(number))
        if answer.timed_out:
            self.unanswered += 1
            return
        self.first.append(time.perf_counter() - started)
        try:
            await answer.settled(PATIENCE)
        except TimeoutError:
            self.unanswered += 1
        else:
            self.settled[use.path].append(time.perf_counter() - started)

    def slowest(self) -> str:
        return f"first answers after at most {max(self.first):.2f} s"

    def figures(self) -> dict[str, Any]:
        return {
            "commands": self.count,
            "unanswered": self.unanswered,
            "p50_first_answer_ms": _percentile(self.first, 50),
            "p95_first_answer_ms": _percentile(self.first, 95),
            "p95_settled_ms": _percentile([one for many in self.settled.values() for one in many], 95),
            "settled_p95_ms": {path: _percentile(many, 95) for path, many in sorted(self.settled.items())},
        }


@asynccontextmanager
async def _bot(folder: Path, discord: DiscordServer, crowd: Crowd, opened: AsyncExitStack) -> AsyncIterator[Bot]:
    """The bot, observing every channel of the crowd, with some talk held and indexed."""
    ollama = await opened.enter_async_context(stand_in("-m", "bot.sandbox.ollama"))
    openai = await opened.enter_async_context(stand_in("-m", "bot.sandbox.openai"))
    bot = await Bot.start(
        folder,
        **stand_ins(discord, ollama, openai),
        BOT_DISCORD__OBSERVE=",".join(str(channel.id) for channel in crowd.channels),
    )
    try:
        await bot.ready()
        yield bot
    finally:
        await bot.kill()


async def _talk(discord: DiscordServer, crowd: Crowd) -> None:
    while True:
        await steady(discord, crowd, RATE, 60)


def _percentile(seconds: list[float], share: int) -> float:
    return round(statistics.quantiles(seconds, n=100)[share - 1] * 1000, 1)


if __name__ == "__main__":
    main(run, __doc__, members=200)
