"""What turning messages into facts costs: LLM calls, prompt tokens and embedding requests per 1,000 messages.

Ours: the messages of one guild come in at their own pace, spread over ten channels, through the shipped store,
batch worker and indexer, under a clock that the benchmark moves in steps of the index interval until nothing waits.
mem0's own `add(infer=True)` gets the same messages, each with its speaker's name, one by one and in windows of 50 of
a channel. Both ask the same stand-ins, which count tokens alike; for ours the schema of a call counts, too.

--data DIR replays chat logs with lines `[hh:mm] <name> words`, one file a channel, all begun at once. Without it the
bundled conversation is told over and over, at the pace of those logs, within half an hour.
"""

import asyncio
import itertools
import logging
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from _irc import GUILD, START, files, log, message
from _replay import Clock, steps
from _report import main, progress
from pydantic import SecretStr

from bot.extraction.ollama import OllamaLLM
from bot.extraction.worker import BatchWorker
from bot.memory.edge import EdgeIndex
from bot.memory.embeddings import OpenAIEmbedder
from bot.memory.indexer import Indexer
from bot.memory.lexicon import Lexicon
from bot.model import Mention, Message
from bot.sandbox import conversation
from bot.sandbox.ollama import MODEL, OllamaServer
from bot.sandbox.openai import OpenAIServer
from bot.settings import BatchSettings, LogSettings, MemorySettings, RecallSettings, Settings
from bot.settings_services import OllamaSettings, OpenAISettings
from bot.storage.breaker import Breaker
from bot.storage.database import Database
from bot.storage.facts import FactStore
from bot.storage.guild_configs import GuildConfigs
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue
from bot.storage.reindex import Reindex
from bot.storage.retraction import Retraction
from bot.telemetry import configure_logging

CHANNELS = 10
MEM0_WINDOW = 50
BUSY_SPELL = timedelta(minutes=30)


def run(messages: int, data: str) -> dict[str, Any]:
    """Measure with so many messages; `data` is a folder of chat logs, or empty."""
    configure_logging(LogSettings(level="error"))
    channels = logs(Path(data), messages) if data else bundled(messages)
    talk = sorted(itertools.chain.from_iterable(channels), key=lambda message: message.created_at)
    # Ids are snowflakes: in the order of time over all channels.
    renamed = {message.id: number for number, message in enumerate(talk, 1)}
    talk = [replace(m, id=renamed[m.id], reply_to=renamed.get(m.reply_to or 0)) for m in talk]
    progress(f"{len(talk)} messages of {sum(len(m.text) for m in talk) / len(talk):.0f} characters")
    return asyncio.run(_run(talk))


async def _run(talk: list[Message]) -> dict[str, Any]:
    ours = await measure_ours(talk)
    progress(f"ours: {ours}")
    windows = await measure_mem0(windows_of(talk, MEM0_WINDOW))
    progress(f"mem0, windows of {MEM0_WINDOW}: {windows}")
    singly = await measure_mem0([[message] for message in talk])
    progress(f"mem0, message by message: {singly}")
    per_thousand = 1000 / len(talk)
    return {
        "messages": len(talk),
        **ours.scaled(per_thousand),
        "mem0_per_message": singly.scaled(per_thousand),
        f"mem0_window_{MEM0_WINDOW}": windows.scaled(per_thousand),
        "token_ratio": round(windows.prompt_tokens / ours.prompt_tokens, 2),
    }


@dataclass(frozen=True)
class Cost:
    """What the stand-ins counted."""

    calls: int
    prompt_tokens: int
    embed_requests: int
    facts: int

    def scaled(self, factor: float) -> dict[str, int]:
        """The figures for another number of messages."""
        return {name: round(value * factor) for name, value in vars(self).items()}


async def measure_ours(talk: list[Message]) -> Cost:
    """Tell the talk at its own pace, and wait until everything is extracted and indexed."""
    memory = MemorySettings()
    clock = Clock(talk[0].created_at)
    async with OllamaServer() as ollama, OpenAIServer() as openai:
        with tempfile.TemporaryDirectory() as folder:
            database = await Database.open(Path(folder))
            messages, queue = MessageStore(database, clock), ExtractionQueue(database, clock)
            embedder = OpenAIEmbedder(OpenAISettings(api_key=SecretStr("sk-stand-in"), base_url=openai.url))
            index = EdgeIndex(Path(folder) / "index", embedder.dimensions)
            await index.open()
            indexer = Indexer(
                messages,
                FactStore(database, clock),
                Retraction(database, clock),
                Reindex(database),
                index,
                embedder,
                Lexicon(lambda _: RecallSettings().language),
                memory.embed_messages,
                memory.index_interval,
                Breaker("OpenAI", clock=clock),
                Breaker("Qdrant", clock=clock),
                clock,
            )
            llm = OllamaLLM(OllamaSettings(url=ollama.url))
            breaker = Breaker(llm.name, clock=clock)
            worker = BatchWorker(
                queue,
                llm,
                breaker,
                BatchSettings(),
                GuildConfigs(database, Settings()),
                clock,
                indexer.wake,
            )
            for clock.now, said in steps(talk, memory.index_interval):
                await messages.capture_many(said)
                await worker.run_due()
                await indexer.drain()
                if not said and (await messages.stats(GUILD)).waiting == 0:
                    break
            stats = await messages.stats(GUILD)
            if stats.waiting or stats.not_indexed or stats.dead:
                raise RuntimeError(f"not everything went through: {stats}")
            await llm.close()
            await embedder.close()
            await index.close()
            await messages.close()
            await database.close()
        return Cost(ollama.calls, ollama.prompt_tokens, openai.requests, stats.facts)


async def measure_mem0(windows: Iterable[list[Message]]) -> Cost:
    """Give each window to mem0's `add`, as mem0 comes, with the LLM and the embedder we use."""
    async with OllamaServer() as ollama, OpenAIServer() as openai:
        # What mem0 puts into the prompt goes over the default context; counted is what it asked.
        stored = await asyncio.to_thread(add_all, list(windows), ollama.url, openai.url)
        return Cost(ollama.calls, ollama.prompt_tokens, openai.requests, stored)


def add_all(windows: list[list[Message]], ollama: str, openai: str) -> int:
    """The number of memories mem0 says it added."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(MEM0_DIR=folder, HF_HUB_OFFLINE="1")
        logging.getLogger("mem0").setLevel(logging.ERROR)
        import mem0

        access = {"api_key": "sk-stand-in", "openai_base_url": openai, "model": "text-embedding-3-small"}
        memory = mem0.Memory.from_config(
            {
                "llm": {"provider": "ollama", "config": {"model": MODEL, "ollama_base_url": ollama}},
                "embedder": {"provider": "openai", "config": access},
                "vector_store": {"provider": "qdrant", "config": {"path": f"{folder}/qdrant"}},
                "history_db_path": ":memory:",
            }
        )
        stored = 0
        for window in windows:
            said = [{"role": "user", "content": message.line} for message in window]
            scope = {"agent_id": str(GUILD), "run_id": str(window[0].channel_id)}
            stored += len(memory.add(said, user_id="SERVER", **scope)["results"])
        memory.vector_store.client.close()
        return stored


def windows_of(talk: list[Message], size: int) -> Iterator[list[Message]]:
    """Consecutive messages of a channel, `size` at a time."""
    for channel in sorted({one.channel_id for one in talk}):
        said = [one for one in talk if one.channel_id == channel]
        yield from (said[begin : begin + size] for begin in range(0, len(said), size))


def logs(folder: Path, messages: int) -> list[list[Message]]:
    """The first messages of ten log files, each a channel that begins at START."""
    return [
        [said for _, said in itertools.islice(log(file, channel), -(-messages // CHANNELS))]
        for channel, file in enumerate(files(folder)[:CHANNELS], 1)
    ]


def bundled(messages: int) -> list[list[Message]]:
    """The bundled week, told in ten channels over and over, a hundred messages of each within an hour."""
    told = conversation.load()
    people = {member.key: (id, member.name) for id, member in enumerate(told.members, 1)}
    channels = []
    count = -(-messages // CHANNELS)
    for channel in range(1, CHANNELS + 1):
        # Each channel begins at another place of the week.
        posts = itertools.islice(itertools.cycle(told.posts), channel * 31, channel * 31 + count)
        place_of: dict[str, int] = {}
        said = []
        for number, post in enumerate(posts, 1):
            author, name = people[post.author]
            words = re.sub(r"<@(\w+)>", lambda m: f"<@{people[m[1]][0]}>", post.text)
            one = message(channel, number, author, name, words, START + BUSY_SPELL * number / count)
            reply_to = place_of.get(post.reply_to or "")
            place_of[post.key] = one.id
            said.append(replace(one, reply_to=reply_to, mentions=tuple(Mention(*people[k]) for k in post.mentions)))
        channels.append(said)
    return channels


if __name__ == "__main__":
    main(run, __doc__, messages=1000, data="")
