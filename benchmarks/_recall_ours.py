"""The shipped recall over a corpus: its turns as messages in a real database, indexer and index."""

import random
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from _embedders import Remembering
from _recall_data import Corpus
from _recall_metrics import DEPTH
from _recall_systems import Answer, Ranking

from bot.errors import RecollectError
from bot.memory.edge import EdgeIndex
from bot.memory.index import IndexPoint, ScoredPoint, Search
from bot.memory.indexer import Indexer
from bot.memory.lexicon import Lexicon
from bot.memory.naming import Speakers
from bot.memory.recall import Recall
from bot.model import DISCORD_EPOCH_MS, Memory, Message, Scope
from bot.settings import MemorySettings, RecallSettings
from bot.storage.breaker import Breaker
from bot.storage.database import Database
from bot.storage.facts import FactStore
from bot.storage.keyword import KeywordSearch
from bot.storage.messages import MessageStore
from bot.storage.names import Names
from bot.storage.reindex import Reindex
from bot.storage.retraction import Retraction, Standing
from bot.storage.rows import to_ms

GUILD = 1
ASKED_AFTER = timedelta(minutes=1)


class Recollect:
    """A recall over indexed turns. `recall` and `scope` are open for whoever wants to ask in other ways."""

    def __init__(
        self, recall: Recall, scope: Scope, turns: dict[int, str], embedder: Remembering, stages: "Stages"
    ) -> None:
        self.recall = recall
        self.scope = scope
        self._turns = turns
        self._embedder = embedder
        self._stages = stages

    async def ask(self, question: str) -> Answer:
        """Every turn a hit stands for, its own sources before those of its evidence, in the order of the hits."""
        self._stages.seconds.clear()
        self._embedder.seconds = 0.0
        started = time.perf_counter()
        found = await self.recall.recall(question, self.scope, DEPTH)
        took = time.perf_counter() - started
        if found.degraded:
            raise RecollectError(f"A question was answered by less than the whole recall: {found.degraded}.")
        scores: dict[str, float] = {}
        for hit in found.hits:
            for source in (source for memory in (hit.memory, *hit.evidence) for source in memory.sources):
                scores.setdefault(self._turns[source], hit.score)
        stages = {"embed": self._embedder.seconds, "search": 0.0, "sql": 0.0, **self._stages.seconds}
        ranking: Ranking = list(scores.items())
        return Answer(ranking, took, {**stages, "rest": took - sum(stages.values())})


@asynccontextmanager
async def recollect(
    corpus: Corpus, embedder: Remembering, folder: Path, importance: random.Random | None = None
) -> AsyncIterator[Recollect]:
    """Take in a corpus as the bot would, into `folder`. With `importance`, each memory is of a random one."""
    messages = messages_of(corpus)
    clock = Clock(messages[-1].created_at + ASKED_AFTER)
    stages = Stages()
    async with AsyncExitStack() as opened:
        database = await Database.open(folder)
        opened.push_async_callback(database.close)
        index = MeasuredIndex(folder / "index", embedder.dimensions, stages, importance)
        opened.push_async_callback(index.close)
        store = MessageStore(database, clock)
        opened.push_async_callback(store.close)
        retraction = MeasuredRetraction(database, clock, stages)
        lexicon = Lexicon(lambda _: RecallSettings().language)
        breakers = Breaker("embedder", clock=clock), Breaker("index", clock=clock)
        indexer = Indexer(
            store,
            FactStore(database, clock),
            retraction,
            Reindex(database),
            index,
            embedder,
            lexicon,
            MemorySettings().embed_messages,
            MemorySettings().index_interval,
            *breakers,
            clock,
        )
        await store.capture_many(messages)
        await indexer.drain()
        if await store.to_index(1, embedding=True):
            raise RecollectError("Not every message got its vectors.")
        recall = Recall(
            index,
            embedder,
            lexicon,
            Speakers(Names(database)),
            KeywordSearch(database),
            retraction,
            *breakers,
            lambda: None,
            clock,
        )
        scope = Scope(GUILD, frozenset(message.access_id for message in messages))
        turns = {message.id: turn.id for message, turn in zip(messages, corpus.turns, strict=True)}
        yield Recollect(recall, scope, turns, embedder, stages)


def messages_of(corpus: Corpus) -> list[Message]:
    """The turns as messages of one guild, a conversation a channel; in each, people have ids of their own."""
    channels: dict[str, int] = {}
    people: dict[tuple[str, str], int] = {}
    messages = []
    for turn in corpus.turns:
        channel = channels.setdefault(turn.conversation, len(channels) + 1)
        author = people.setdefault((turn.conversation, turn.speaker), 1000 + len(people))
        messages.append(
            Message(
                id=((to_ms(turn.at) - DISCORD_EPOCH_MS) << 22) + channel,
                guild_id=GUILD,
                channel_id=channel,
                access_id=channel,
                channel_name=turn.conversation,
                author_id=author,
                author_name=turn.speaker,
                content=turn.text,
                created_at=turn.at,
            )
        )
    return messages


class Clock:
    """A clock set to another time than ours."""

    def __init__(self, now: datetime) -> None:
        self._set = now
        self._at = time.monotonic()

    def __call__(self) -> datetime:
        return self._set + timedelta(seconds=time.monotonic() - self._at)


class Stages:
    """Seconds spent in the stages of one answer."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measured(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started


class MeasuredIndex(EdgeIndex):
    """The embedded index with a stopwatch; with `importance`, each point gets a random one."""

    def __init__(self, folder: Path, dimensions: int, stages: Stages, importance: random.Random | None) -> None:
        super().__init__(folder, dimensions)
        self._stages = stages
        self._importance = importance

    async def search(self, scope: Scope, searches: Sequence[Search]) -> list[list[ScoredPoint]]:
        with self._stages.measured("search"):
            return await super().search(scope, searches)

    async def upsert(self, guild_id: int | None, points: Sequence[IndexPoint]) -> None:
        if (drawn := self._importance) is not None:
            points = [replace(one, payload={**one.payload, "importance": drawn.random()}) for one in points]
        await super().upsert(guild_id, points)


class MeasuredRetraction(Retraction):
    """The look into the database with a stopwatch."""

    def __init__(self, database: Database, clock: Clock, stages: Stages) -> None:
        super().__init__(database, clock)
        self._stages = stages

    async def standing(self, memories: Iterable[Memory]) -> Standing:
        with self._stages.measured("sql"):
            return await super().standing(memories)
