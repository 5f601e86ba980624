"""Keeping house with other mem0 clients that write to the same collection.

A mem0 `update` keeps a point's payload but only its unnamed vector (and `bm25`, if that client can
make it); a mem0 `add` knows none of our payload keys. Recall sees a memory by its keys and payload,
so the reconciler finds such points and completes them. It also makes the words' keys of a guild anew when its
language has changed.

A mem0 client's edit of one of our memories changes the index and not the record in SQL: the index
is what people edit there. It stands until the record itself changes and is indexed again; keyword
search, which answers while the index is down, still knows the record's own words.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from traceback import format_tb
from typing import Any

import structlog

from bot.errors import EmbedderUnavailable, IndexUnavailable, RecollectError, ServiceUnavailable
from bot.memory.embeddings import Embedder
from bot.memory.entries import entries_of
from bot.memory.index import IndexPoint, VectorIndex
from bot.memory.keys import KEYS_FOR, KEYS_IN, DenseKeys, Entry, dense_keys, sparse_keys, stamped
from bot.memory.lexicon import Lexicon
from bot.memory.mem0_adapter import from_payload, to_payload
from bot.model import Memory, MemoryKind
from bot.storage.messages import MessageStore
from bot.storage.retraction import Retraction

log = structlog.get_logger(__name__)

PAGE = 256
EVERY = timedelta(hours=1)
_PASSES = 3
# What mem0 wrote about the text itself is left as it is.
_MEM0_KEYS = frozenset({"data", "hash", "created_at", "updated_at", "text_lemmatized", "user_id"})


class Reconciler:
    """Rebuilds the keys of points other clients wrote, and maps those that belong to no channel yet.

    `lock` is the indexer's: held around every write to the index. Points that do not say in which language their
    words' keys are made are in the `former_language`. `give_way` is awaited before each page.
    """

    def __init__(
        self,
        index: VectorIndex,
        embedder: Embedder | None,
        lexicon: Lexicon,
        messages: MessageStore,
        retraction: Retraction,
        embed_messages: bool,
        lock: asyncio.Lock,
        former_language: str,
        give_way: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._index = index
        self._embedder = embedder
        self._lexicon = lexicon
        self._messages = messages
        self._retraction = retraction
        self._embed_messages = embed_messages
        self._lock = lock
        self._former_language = former_language
        self._give_way = give_way
        self._woken = asyncio.Event()
        self.working = asyncio.Lock()  # held from reading a page's vectors until they are written

    def wake(self) -> None:
        """Have `run` begin anew at once: a guild's language has changed."""
        self._woken.set()

    async def run(self, guild_ids: Callable[[], Awaitable[Iterable[int]]], every: timedelta = EVERY) -> None:
        """Complete what other clients wrote, now and then. What they wrote badly must not stop the bot."""
        while True:
            self._woken.clear()
            try:
                await self.run_once(await guild_ids())
            except ServiceUnavailable as error:
                log.info("reconcile_postponed", reason=str(error))
            except RecollectError:
                raise
            except Exception as error:
                log.error("reconcile_failed", error=type(error).__name__, stack="".join(format_tb(error.__traceback__)))
            with suppress(TimeoutError):
                async with asyncio.timeout(every.total_seconds()):
                    await self._woken.wait()

    async def run_once(self, guild_ids: Iterable[int]) -> int:
        """Complete these guilds' points that another client added or changed; how many.

        A point that names its guild and channel is seen by those who may view that channel. A guild
        whose part of the index is broken is passed over. Raises `ServiceUnavailable`; what is left
        waits for the next run. While the embedder is down, keys for keyword search are rebuilt at once
        and vectors with a later run.
        """
        rebuilt = 0
        for guild_id in guild_ids:
            try:
                rebuilt += await self._reconcile(guild_id)
            except IndexUnavailable as error:
                await self._index.ping()  # raises if it is the whole index
                log.error("guild_not_reconciled", guild_id=guild_id, reason=str(error))
        if rebuilt:
            log.info("keys_rebuilt", points=rebuilt)
        return rebuilt

    async def adopt(self, guild_id: int, channel_id: int, access_id: int) -> int:
        """Give the memories that name no guild, or this one but no channel, to a channel; how many.

        `access_id` decides who may see them from now on. Raises `ServiceUnavailable`; it can be repeated.
        """
        adopted = 0
        async with self.working:
            for place in (None, guild_id):
                async for _, points in self._pages(place, keys=True):
                    mapped = [(one, memory) for one in points if (memory := _adoptable(one, guild_id, channel_id))]
                    adopted += await self._rebuild(
                        place, [(one, replace(memory, access_id=access_id)) for one, memory in mapped]
                    )
        return adopted

    async def _reconcile(self, guild_id: int) -> int:
        rebuilt = 0
        survey = await self._survey(guild_id)
        for start in survey.stale_pages:
            async with self.working:
                points, _ = await self._index.scroll(guild_id, start, PAGE, keys=True)
                stale = [(one, survey.place(memory, one)) for one in points if (memory := _stale(one))]
                rebuilt += await self._rebuild(guild_id, stale)
        return rebuilt + await self._translate(guild_id, survey)

    async def _translate(self, guild_id: int, survey: "_Survey") -> int:
        """Make the words' keys anew that are in another language than the guild's; how many. Vectors stay."""
        translated = 0
        for _ in range(_PASSES):  # what came or changed meanwhile is found by the next
            language = self._lexicon.of(guild_id).language
            self._lexicon.holds(guild_id, frozenset().union(*survey.languages.values()))
            pages = [start for start, found in survey.languages.items() if found - {language}]
            if not pages:
                break
            for start in pages:
                await self._quiet()
                translated += await self._translate_page(guild_id, start, language)
            survey = await self._survey(guild_id)
        return translated

    async def _translate_page(self, guild_id: int, start: str | None, language: str) -> int:
        points, _ = await self._index.scroll(guild_id, start, PAGE)
        found = {
            one.id: (one, memory)
            for one in points
            if self._language(one) != language and _stale(one) is None and (memory := from_payload(one.id, one.payload))
        }
        entries = await entries_of(self._messages, [memory for _, memory in found.values()], self._embed_messages)
        words = dict(zip(found, await sparse_keys(self._lexicon, entries), strict=True))
        async with self._lock:
            now, _ = await self._index.scroll(guild_id, start, PAGE, keys=True)  # its vectors may have come meanwhile
            forgotten = await self._retraction.retracted(memory for _, memory in found.values())
            kept = [
                replace(one, payload={**one.payload, KEYS_IN: words[one.id].language}, sparse=words[one.id].keys)
                for one in now
                if one.id in found and one.id not in forgotten and one.payload == found[one.id][0].payload
            ]
            await self._index.upsert(guild_id, kept)
        return len(kept)

    def _language(self, point: IndexPoint) -> str:
        """In which language the words' keys of a point are made."""
        return str(point.payload.get(KEYS_IN, self._former_language))

    async def _survey(self, guild_id: int) -> "_Survey":
        """Read a guild's payloads, which are small beside its keys."""
        survey = _Survey({}, [], {})
        async for start, points in self._pages(guild_id):
            for one in points:
                channel = str(one.payload.get("run_id"))
                if channel not in survey.channels and "access_id" in one.payload:  # a memory takes time to read
                    if memory := from_payload(one.id, one.payload):
                        survey.channels[channel] = memory
            survey.languages[start] = frozenset(self._language(one) for one in points if KEYS_FOR in one.payload)
            if any(map(_stale, points)):
                survey.stale_pages.append(start)
        return survey

    async def _pages(self, place: int | None, keys: bool = False) -> AsyncIterator[tuple[str | None, list[IndexPoint]]]:
        """Every page of a guild's points, and where it starts."""
        start: str | None = None
        while True:
            await self._quiet()
            points, following = await self._index.scroll(place, start, PAGE, keys)
            yield start, points
            if following is None:
                return
            start = following

    async def _quiet(self) -> None:
        """Let whoever waits for an answer go first."""
        if self._give_way is not None:
            await self._give_way()

    async def _rebuild(self, place: int | None, found: Sequence[tuple[IndexPoint, Memory]]) -> int:
        """Write points read from `place` anew with all their keys, where their memories belong; how many.

        A point changed since it was read is left for the next run. One that was forgotten, and that
        a client put back which had read it before, goes for good.
        """
        if not found:
            return 0
        entries = await entries_of(self._messages, [memory for _, memory in found], self._embed_messages)
        words = await sparse_keys(self._lexicon, entries)
        dense = await self._dense(entries)
        rebuilt = {
            old.id: IndexPoint(
                old.id,
                _payload(old, one.memory, made.language, complete=new is not None),
                {**old.dense, **(new or {})},
                made.keys,
            )
            for (old, _), one, made, new in zip(found, entries, words, dense, strict=True)
        }
        guild_id = found[0][1].guild_id
        async with self._lock:
            now = {one.id: one.payload for one in await self._index.retrieve(place, list(rebuilt))}
            same = [old for old, _ in found if now.get(old.id) == old.payload]
            forgotten = await self._retraction.retracted(memory for _, memory in found)
            kept = [rebuilt[old.id] for old in same if old.id not in forgotten]
            await self._index.upsert(guild_id, kept)
            await self._index.delete(place, [id for id in forgotten if id in now])
            if place != guild_id:
                await self._index.delete(place, [one.id for one in kept])
        return len(kept)

    async def _dense(self, entries: Sequence[Entry]) -> list[DenseKeys | None]:
        """Each entry's dense keys: none where it is to have none, None while the embedder is down."""
        keys: list[DenseKeys | None] = [{} for _ in entries]
        if self._embedder is None:
            return keys
        to_embed = [n for n, one in enumerate(entries) if self._embed_messages or one.memory.kind is MemoryKind.FACT]
        try:
            made: Sequence[DenseKeys | None] = await dense_keys(self._embedder, [entries[n] for n in to_embed])
        except EmbedderUnavailable as error:
            log.warning("rebuilt_by_keywords_only", reason=str(error))
            made = [None] * len(to_embed)
        for n, new in zip(to_embed, made, strict=True):
            keys[n] = new
        return keys


@dataclass(frozen=True, slots=True)
class _Survey:
    """What a look at a guild's payloads told.

    `channels` holds one memory of each channel, by its id, which knows its name and who may see it, and
    `stale_pages` where pages with stale points start. `languages` are those of the words' keys by where the page
    starts.
    """

    channels: dict[str, Memory]
    stale_pages: list[str | None]
    languages: dict[str | None, frozenset[str]]

    def place(self, memory: Memory, point: IndexPoint) -> Memory:
        """The memory as its channel is known; of an unknown channel only the id can be asked for permission."""
        known = self.channels.get(str(memory.channel_id))
        if known is None or "access_id" in point.payload:
            return memory
        return replace(memory, access_id=known.access_id, channel_name=known.channel_name)


def _stale(point: IndexPoint) -> Memory | None:
    """The memory of a point whose keys were not made for its payload as it is now."""
    if point.payload.get(KEYS_FOR) is not None and point.payload[KEYS_FOR] == point.payload.get("updated_at"):
        return None
    return from_payload(point.id, point.payload)


def _adoptable(point: IndexPoint, guild_id: int, channel_id: int) -> Memory | None:
    """The memory an unmapped point would be in this channel; None for one that has its place or makes no sense."""
    if from_payload(point.id, point.payload) is not None:
        return None
    return from_payload(point.id, {**point.payload, "agent_id": str(guild_id), "run_id": str(channel_id)})


def _payload(point: IndexPoint, memory: Memory, language: str, complete: bool) -> dict[str, Any]:
    """The point's payload with our keys beside whatever another client put there."""
    ours = {key: value for key, value in to_payload(memory).items() if key not in _MEM0_KEYS}
    payload = {**point.payload, **ours}
    return stamped(payload, language) if complete else payload
