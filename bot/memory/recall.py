"""Recall: a question to the memories that answer it, best first, within what the asker may see.

One hop runs all four lists under the scope's filter; what was retracted is dropped; the scores are
fused, and what the question names (a speaker, a time) counts a little on top. Each memory of the
answer then stands once, with its evidence. When a service is down the answer is a lesser one and
says so, within about a second.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

import structlog

from bot.capture.redaction import redact
from bot.errors import EmbedderUnavailable, IndexMismatch, IndexUnavailable, QueryTooShort, QuotaExhausted, RecallPaused
from bot.memory import dates
from bot.memory.boosts import Asked, boosted
from bot.memory.collapse import collapse
from bot.memory.contradiction import contradicted
from bot.memory.embeddings import Embedder, TextsRefused
from bot.memory.fusion import ScoreList, fuse
from bot.memory.index import Key, ScoredPoint, Search, VectorIndex
from bot.memory.lexicon import Lexicon
from bot.memory.mem0_adapter import from_payload
from bot.memory.naming import Speakers, named, without
from bot.meters import Laps, Meters
from bot.model import Degraded, Memory, Recalled, Scope, utcnow
from bot.storage.breaker import QUOTA_PAUSE, Breaker
from bot.storage.keyword import KeywordSearch
from bot.storage.retraction import Retraction
from bot.telemetry import Outages

log = structlog.get_logger(__name__)

CANDIDATES = 30
MIN_SIMILARITY = 0.1
"""A cosine similarity below this is no match; mem0's own default threshold."""
MOST_CHARACTERS = 1000
_FEWEST_WORD_CHARACTERS = 2
_EMBEDDER_SECONDS = 1.5
_INDEX_SECONDS = 5.0
_SLOW_PAUSE = timedelta(seconds=30)
_AT_ONCE = 4
_GIVE_WAY_SECONDS = 0.25

# The lists of a recall by key: the name of each signal, the score of what a list leaves out, and its weight.
_SIGNALS: dict[Key, tuple[str, float | None, float]] = {
    Key.DENSE: ("dense", None, 1.0),
    Key.WINDOW: ("dense_window", None, 1.0),
    Key.BM25: ("bm25", 0.0, 0.5),
    Key.BM25_WINDOW: ("bm25_window", 0.0, 1.0),
}


class Recall:
    """Answers questions from the index, and from keyword search in SQL while the index is down.

    `doubt_index` is called when a search failed and it is not known if the whole index is down. While
    `paused` says so, nobody is answered.
    """

    def __init__(
        self,
        index: VectorIndex,
        embedder: Embedder | None,
        lexicon: Lexicon,
        speakers: Speakers,
        keyword: KeywordSearch,
        retraction: Retraction,
        embedder_breaker: Breaker,
        index_breaker: Breaker,
        doubt_index: Callable[[], None],
        clock: Callable[[], datetime] = utcnow,
        paused: Callable[[], bool] = lambda: False,
        meters: Meters | None = None,
    ) -> None:
        self._index = index
        self._embedder = embedder
        self._lexicon = lexicon
        self._speakers = speakers
        self._keyword = keyword
        self._retraction = retraction
        self._clock = clock
        self._embedder_breaker = embedder_breaker
        self._index_breaker = index_breaker
        self._doubt_index = doubt_index
        self._slow_until = clock()
        self._outages = Outages(log)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._meters = meters or Meters()
        self._asking = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.paused = paused

    async def recall(self, query: str, scope: Scope, limit: int) -> Recalled:
        """At most `limit` memories within the scope, best first.

        Raises `QueryTooShort` for a query without two letters or digits, `RecallPaused` while it cannot be
        known what was deleted on Discord, and `StorageUnavailable` when it cannot be known what was retracted.
        """
        with self.attending():
            laps, model = Laps(), self._model()
            recalled = await self._recall(query, scope, limit, laps)
            if self._model() != model:  # the index was switched to another's vectors meanwhile
                recalled = await self._recall(query, scope, limit, laps)
            self._meters.recalled(laps, recalled.degraded)
            return recalled

    def _model(self) -> tuple[str, str, int] | None:
        return (self._embedder.name, self._embedder.model, self._embedder.dimensions) if self._embedder else None

    @contextmanager
    def attending(self) -> Iterator[None]:
        """While somebody waits for an answer: see `quiet`. `recall` itself is such a time."""
        self._asking += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._asking -= 1
            if not self._asking:
                self._quiet.set()

    async def quiet(self) -> None:
        """Return once nobody waits for an answer, or after a moment: who has much to do gives way to who asks."""
        if self._asking:
            with suppress(TimeoutError):
                async with asyncio.timeout(_GIVE_WAY_SECONDS):
                    await self._quiet.wait()

    async def _recall(self, query: str, scope: Scope, limit: int, laps: Laps) -> Recalled:
        if self.paused():
            raise RecallPaused()
        query = _checked(query)
        if not scope.access_ids:
            return Recalled(())
        heard = await laps.of("sql", self._speakers.heard(scope.guild_id, scope.access_ids))
        bm25 = self._lexicon.of(scope.guild_id)
        names = named(query, heard, bm25.words)
        (vector, degraded), spans = await asyncio.gather(
            laps.of("embed", self._embed(query, without(query, [word for words in names.values() for word in words]))),
            asyncio.to_thread(dates.spans, query, self._clock(), bm25.language),
        )
        try:
            lists = await laps.of("search", self._search(scope, self._searches(scope.guild_id, query, vector)))
        except (IndexUnavailable, IndexMismatch):
            found = collapse(await laps.of("sql", self._keyword.search(query, scope, limit)))
            return Recalled(tuple(contradicted(found)), Degraded.INDEX_DOWN)
        memories, outdated = await laps.of("sql", self._shown(scope, lists.values()))
        asked = Asked(names.keys(), spans, self._clock())
        hits = collapse(boosted(fuse(_scored(lists, memories, outdated)), memories, asked))
        return Recalled(tuple(contradicted(hits[:limit])), degraded)

    def _searches(self, guild_id: int, query: str, vector: Sequence[float] | None) -> list[Search]:
        words = self._lexicon.query(guild_id, query)  # in microseconds
        found = [] if vector is None else [Search(key, vector, CANDIDATES) for key in (Key.DENSE, Key.WINDOW)]
        if words.indices:
            found += [Search(key, words, CANDIDATES) for key in (Key.BM25, Key.BM25_WINDOW)]
        return found

    async def _embed(self, query: str, nameless: str) -> tuple[Sequence[float] | None, Degraded | None]:
        """The query's vector, or why there is none. An embedder that failed or is slow is left alone for a while.

        It lies between those of the query with and without the names it speaks of: what is asked counts, and not
        only who it is about, which is half of what is said in any chat.
        """
        if self._embedder is None:
            return None, Degraded.NO_EMBEDDER
        texts = [query, nameless] if nameless != query and any(map(str.isalnum, nameless)) else [query]
        vectors = [self._embedder.known(text) for text in texts]
        if len(known := [vector for vector in vectors if vector is not None]) == len(texts):
            return _between(known), None
        if self._clock() < self._slow_until or not self._embedder_breaker.allows():
            return None, Degraded.EMBEDDER_DOWN
        try:
            await self._embedder.prepare()  # what the first question waits for is not the service
            async with asyncio.timeout(_EMBEDDER_SECONDS):
                found = await self._embedder.queries(texts)
        except TextsRefused:
            self._embedder_breaker.end_pause()  # it did answer; only to this question it has none
            return None, Degraded.EMBEDDER_DOWN
        except (EmbedderUnavailable, TimeoutError) as error:
            self._embedder_failed(error)
            return None, Degraded.EMBEDDER_DOWN
        self._embedder_breaker.succeeded()
        self._outages.over("embedder_slow")
        return _between(found), None

    def _embedder_failed(self, error: EmbedderUnavailable | TimeoutError) -> None:
        """What is too slow for an asker may still do for the indexer: only what keeps failing opens the breaker."""
        if isinstance(error, EmbedderUnavailable):
            self._embedder_breaker.failed(str(error), QUOTA_PAUSE if isinstance(error, QuotaExhausted) else timedelta())
        elif self._embedder_breaker.open:
            self._embedder_breaker.failed(f"The embedder did not answer a question within {_EMBEDDER_SECONDS} s.")
        else:
            self._slow_until = self._clock() + _SLOW_PAUSE
            self._outages.began("embedder_slow", f"no answer to a question within {_EMBEDDER_SECONDS} s")

    async def _search(self, scope: Scope, searches: Sequence[Search]) -> dict[Key, list[ScoredPoint]]:
        if not searches:
            return {}
        if self._index_breaker.open:
            raise IndexUnavailable(self._index_breaker.state.reason)
        async with self._turns:
            try:
                async with asyncio.timeout(_INDEX_SECONDS):
                    lists = await self._index.search(scope, searches)
            except (IndexUnavailable, TimeoutError) as error:
                reason = str(error) or f"no answer to a search within {_INDEX_SECONDS} s"
                self._outages.began("recalled_by_keyword_search", reason, guild_id=scope.guild_id)
                self._doubt_index()
                raise IndexUnavailable(reason) from None
        self._outages.over("recalled_by_keyword_search", guild_id=scope.guild_id)
        return {search.key: found for search, found in zip(searches, lists, strict=True)}

    async def _shown(self, scope: Scope, lists: Iterable[Sequence[ScoredPoint]]) -> tuple[dict[str, Memory], Set[str]]:
        """The memories found that may be shown, by id, with what their messages say now, and those with an old window.

        The index filters by scope already. The payload decides again, because other clients write
        there too, and so does what is held now: a retraction or an edit reaches the index later.
        """
        payloads = {point.id: point.payload for points in lists for point in points}
        found = [from_payload(id, payload) for id, payload in payloads.items()]
        standing = await self._retraction.standing(_within(scope, found))
        memories = {memory.id: memory for memory in _within(scope, standing.memories.values())}
        return memories, standing.outdated


def _within(scope: Scope, memories: Iterable[Memory | None]) -> list[Memory]:
    return [
        memory
        for memory in memories
        if memory and memory.guild_id == scope.guild_id and memory.access_id in scope.access_ids
    ]


def _checked(query: str) -> str:
    """The query without secrets, with single spaces, cut to size."""
    query = " ".join(redact(query).split())[:MOST_CHARACTERS]
    if len(re.findall(r"[^\W_]", query)) < _FEWEST_WORD_CHARACTERS:
        raise QueryTooShort()
    return query


def _between(vectors: Sequence[Sequence[float]]) -> Sequence[float]:
    """The sum of vectors; only its direction matters."""
    return vectors[0] if len(vectors) == 1 else list(map(sum, zip(*vectors, strict=True)))


def _scored(lists: dict[Key, list[ScoredPoint]], memories: dict[str, Memory], outdated: Set[str]) -> list[ScoreList]:
    """The lists to fuse. Nothing is found by an outdated window: words that are gone would tell that they were said."""
    scored = []
    current = memories.keys() - outdated
    for key, points in lists.items():
        signal, floor, weight = _SIGNALS[key]
        shown = current if key in (Key.WINDOW, Key.BM25_WINDOW) else memories
        scores = {point.id: point.score for point in points if point.id in shown}
        if floor is None:
            scores = {id: score for id, score in scores.items() if score >= MIN_SIMILARITY}
        scored.append(ScoreList(signal, scores, floor, weight))
    return scored
