"""What the bot costs when nothing happens: seconds until ready, and memory after a batch and a recall.

`recollect run` is a process of its own with default settings, an embedder included; the stand-ins for
Discord, Ollama and OpenAI live in this one. Ready is the first 200 from /readyz, counted from the start
of the process. Memory is the resident set once a batch made facts of a hundred messages and a recall
found some of them. Both are medians of a few runs, each on an empty data folder, with the bot's bytecode in place
as an installation leaves it.
"""

import asyncio
import compileall
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from _bot import Bot
from _report import main, progress

from bot.model import utcnow
from bot.sandbox.community import Community, StoryClock
from bot.sandbox.conversation import load
from bot.sandbox.discord import DiscordServer
from bot.sandbox.ollama import OllamaServer
from bot.sandbox.openai import OpenAIServer

PACKAGE = Path(__file__).parents[1] / "bot"
MESSAGES = 100
PATIENCE = 60.0  # seconds for any step
LOOK = 0.01  # seconds between looks at /readyz
MB = 2**20


@dataclass(frozen=True, slots=True)
class Cost:
    """One run: seconds, and resident bytes when ready and at the end."""

    ready_s: float
    rss_when_ready: int
    rss: int


def run(runs: int) -> dict[str, float]:
    """Measure so many times."""
    compileall.compile_dir(PACKAGE, quiet=1)
    costs = []
    for number in range(1, runs + 1):
        costs.append(asyncio.run(_run()))
        progress(f"run {number}: ready in {costs[-1].ready_s:.2f} s, {costs[-1].rss / MB:.0f} MB")
    return {
        "rss_mb": round(statistics.median(cost.rss for cost in costs) / MB, 1),
        "ready_s": round(statistics.median(cost.ready_s for cost in costs), 2),
        "rss_when_ready_mb": round(statistics.median(cost.rss_when_ready for cost in costs) / MB, 1),
    }


async def _run() -> Cost:
    async with (
        asyncio.timeout(4 * PATIENCE),
        DiscordServer() as discord,
        OllamaServer() as ollama,
        OpenAIServer() as openai,
    ):
        community = Community(discord.world, load(), StoryClock(utcnow()))
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            bot = await Bot.start(
                Path(folder),
                DISCORD_TOKEN=discord.token,
                BOT_DISCORD__API_URL=discord.api_url,
                BOT_DISCORD__GATEWAY_URL=discord.gateway_url,
                OLLAMA_BASE_URL=ollama.url,
                OPENAI_API_KEY="sandbox-key",
                BOT_OPENAI__BASE_URL=openai.url,
            )
            try:
                process = psutil.Process(bot.process.pid)
                await bot.ready(LOOK)
                ready_s = time.perf_counter() - started
                rss_when_ready = process.memory_info().rss
                await _batch_and_recall(discord, community)
                return Cost(ready_s, rss_when_ready, process.memory_info().rss)
            finally:
                await bot.terminate()


async def _batch_and_recall(discord: DiscordServer, community: Community) -> None:
    """A channel is switched on, people talk, a batch runs, and somebody asks until the answer is there."""
    place = community.places["general"]
    posts = [post for post in community.conversation.posts if post.channel == "general"][:MESSAGES]
    await (await discord.slash(community.owner, place, "observe on", channel=place)).settled()
    for post in posts:
        await discord.say(place, community.users[post.author], post.text)
    read = 0
    for _ in range(int(PATIENCE)):
        answer = await (await discord.slash(community.owner, place, "flush")).settled(PATIENCE)
        read += _leading_number(answer.content)
        if read >= len(posts):
            break
        await asyncio.sleep(1)
    for _ in range(int(PATIENCE)):
        answer = await (
            await discord.slash(community.owner, place, "recall", query="what is Mika allergic to?")
        ).settled()
        if answer.embeds:
            return
        await asyncio.sleep(1)
    raise RuntimeError(f"no answer came: {read} of {len(posts)} messages were read, and {answer!r}")


def _leading_number(sentence: str) -> int:
    first = sentence.split(" ")[0].replace(",", "")
    return int(first) if first.isdigit() else 0


if __name__ == "__main__":
    main(run, __doc__, runs=3)
