"""Putting a backup's points into an empty index: those whose record is still held, and those of other mem0 clients."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from bot.memory.index import IndexPoint, Key, VectorIndex
from bot.memory.mem0_adapter import from_payload
from bot.model import Memory, MemoryKind, Report, kept_fact_id, memory_id
from bot.storage.archive import Archive, Wanted
from bot.storage.retraction import Retraction
from bot.upkeep.archives import Manifest
from bot.upkeep.points import unpack
from bot.upkeep.threads import in_thread

_PAGE = 64
_WINDOW_KEYS = {Key.WINDOW, Key.BM25_WINDOW}


async def load(
    zipped: zipfile.ZipFile,
    manifest: Manifest,
    archive: Archive,
    retraction: Retraction,
    index: VectorIndex,
    report: Report,
) -> int:
    """Load what is in the zip; how many points. Records that get none go back to be indexed."""
    loaded, done = 0, 0
    await archive.begin_loading()
    for name, guild_id in manifest.parts_of_index.items():
        with zipped.open(name) as part:
            points = unpack(part)
            while page := await in_thread(_page, points):
                kept = await _kept(page, archive, retraction)
                await index.upsert(guild_id, kept)
                loaded += len(kept)
                done += len(page)
                report("Loading the index", done, manifest.points)
    await archive.end_loading()
    return loaded


def _page(points: Iterator[IndexPoint]) -> list[IndexPoint]:
    return list(islice(points, _PAGE))


async def _kept(page: Sequence[IndexPoint], archive: Archive, retraction: Retraction) -> list[IndexPoint]:
    """The points that may come back. Keys of a window that has changed are left to be made anew."""
    memories = {one.id: memory for one in page if (memory := from_payload(one.id, one.payload))}
    said = {memory.sources[0] for memory in memories.values() if _is_message(memory)}
    facts = {id for id, memory in memories.items() if not _is_message(memory)}
    gone = await retraction.retracted(memories.values())
    wanted = await archive.arrived(said, facts)
    kept = []
    for one in page:
        memory = memories.get(one.id)
        if memory is None:  # of another client, and nobody's yet
            kept.append(one)
        elif one.id not in gone and _has_record(memory, wanted):
            record = memory.sources[0] if _is_message(memory) else memory.id
            kept.append(_without_window(one) if record in wanted.stale else one)
    return kept


def _is_message(memory: Memory) -> bool:
    return memory.kind is MemoryKind.MESSAGE and bool(memory.sources)


def _has_record(memory: Memory, wanted: Wanted) -> bool:
    """Whether the memory's record is held, or it never had one: another client wrote it."""
    guild_id, channel_id = memory.guild_id, memory.channel_id
    if _is_message(memory):
        author_id = wanted.messages.get(memory.sources[0])
        return memory.id == memory_id(guild_id, channel_id, author_id, memory.sources)
    drawn = memory_id(guild_id, channel_id, memory.subject_id, memory.sources, memory.text)
    kept = kept_fact_id(memory_id(guild_id, channel_id, memory.subject_id, memory.sources))
    return memory.id in wanted.facts or not (memory.corrected or memory.id in (drawn, kept))


def _without_window(point: IndexPoint) -> IndexPoint:
    return replace(
        point,
        dense={key: vector for key, vector in point.dense.items() if key not in _WINDOW_KEYS},
        sparse={key: words for key, words in point.sparse.items() if key not in _WINDOW_KEYS},
    )
