"""Moving an index: every memory with its keys from one port to another, and the proof that each arrived.

Guild by guild and page by page in id order; a checkpoint follows each page that the target has acknowledged. At the
end every memory of the source is read once more, its hash compared with that of the target's, and what is missing or
different is written again. So a checkpoint saves time and nothing else: what counts is what the target holds.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from bot.errors import IndexUnavailable, RecollectError
from bot.memory.checkpoint import Checkpoint, Progress, name_of
from bot.memory.index import IndexPoint, VectorIndex
from bot.memory.likeness import Likeness, likeness
from bot.model import Report

PAGE = 128
_STEP = 32  # points of the target in memory at once: Python's numbers take eight times what they take on disk


@dataclass(slots=True)
class Migrated:
    """So many memories of so many guilds are in the target as they are in the source.

    Of them `copied` were written by this run; of `rounded`, a vector differs in its last bits. `removed` were copied
    by a run before this one, and are in the source no more. Comparing took so many seconds of this run.
    """

    guilds: int = 0
    memories: int = 0
    copied: int = 0
    rounded: int = 0
    removed: int = 0
    comparing_seconds: float = 0.0


class Source(Protocol):
    """What is asked of the index that is read; see `VectorIndex`."""

    async def counts(self) -> dict[int | None, int]: ...

    async def scroll(
        self, guild_id: int | None, after: str | None = None, limit: int = 256, keys: bool = False
    ) -> tuple[list[IndexPoint], str | None]: ...

    async def retrieve(self, guild_id: int | None, ids: Sequence[str], keys: bool = False) -> list[IndexPoint]: ...


class Migration:
    """Makes `target` hold what `source` holds, which nobody else writes to meanwhile.

    With `into`, the target may hold other points, which stay; its own of the same ids are replaced.
    """

    def __init__(
        self, source: Source, target: VectorIndex, checkpoint: Checkpoint, into: bool = False, page: int = PAGE
    ) -> None:
        self._source = source
        self._target = target
        self._checkpoint = checkpoint
        self._into = into
        self._page = page
        self._progress = Progress()
        self._done = Migrated()

    async def run(self, report: Report) -> Migrated:
        """Copy what is still to be copied, and compare everything.

        Raises `RecollectError`: the target holds other points, does not answer, or does not keep what it is given.
        The next run goes on where this one ended, however it ended.
        """
        try:
            return await self._run(report)
        except IndexUnavailable as error:
            raise RecollectError(f"{error} Repeat the command later: it goes on where it stopped.") from error
        except OSError as error:
            raise RecollectError(f"{self._checkpoint.path} cannot be written ({error.strerror or error}).") from error

    async def _run(self, report: Report) -> Migrated:
        counts = await self._source.counts()
        total = sum(counts.values())
        if not self._into:
            self._progress = self._resumed({name_of(guild_id): n for guild_id, n in await self._held()})
            copied = sum(self._progress.copied.values())
            for guild_id in _in_order(counts):
                copied = await self._copy(guild_id, copied, total, report)
        began = time.monotonic()
        for guild_id in _in_order(counts):
            await self._compare(guild_id, counts[guild_id], total, report)
        if not self._into:
            for guild_id, _ in await self._held():
                if guild_id not in counts:
                    await self._prune(guild_id)
        self._done.comparing_seconds = time.monotonic() - began
        self._done.guilds = len(counts.keys() - {None})
        await asyncio.to_thread(self._checkpoint.remove)
        return self._done

    async def _held(self) -> Collection[tuple[int | None, int]]:
        return (await self._target.counts()).items()

    def _resumed(self, held: Mapping[str, int]) -> Progress:
        """Where to go on. The target must be empty, or hold what the checkpoint says and at most one page more."""
        progress = self._checkpoint.load()
        if progress is not None and held and all(_fits(name, progress, held) for name in {*held, *progress.copied}):
            return progress
        if held:
            raise RecollectError(
                f"The target holds {sum(held.values()):,} memories that no unfinished migration brought there: name an "
                "empty target, or add --into to keep them beside the others."
            )
        return Progress()

    async def _copy(self, guild_id: int | None, copied: int, total: int, report: Report) -> int:
        """Copy a guild, or the rest of it, unseen: nothing is there yet. How many are copied of all guilds."""
        name, progress = name_of(guild_id), self._progress
        if name in progress.finished:
            return copied
        if progress.at != name:
            progress.after = None
        await self._enter(name)
        async with aclosing(self._pages(guild_id, progress.after)) as pages:
            async for page, after in pages:
                await self._target.upsert(guild_id, page)
                progress.copied[name] = progress.copied.get(name, 0) + len(page)
                progress.after = after
                if after is None:
                    progress.finished.append(name)
                await self._save()
                self._done.copied += len(page)
                copied += len(page)
                report("Copying", copied, max(copied, total))
        return copied

    async def _compare(self, guild_id: int | None, count: int, total: int, report: Report) -> None:
        """Compare a guild's memories one by one; what is missing or different is written, and compared again."""
        name, seen = name_of(guild_id), 0
        async with aclosing(self._pages(guild_id)) as pages:
            async for page, _ in pages:
                wrong, missing = await self._wrong(guild_id, page)
                if wrong:
                    await self._enter(name)
                    await self._target.upsert(guild_id, wrong)
                    self._progress.copied[name] = self._progress.copied.get(name, 0) + missing
                    await self._save()
                    self._done.copied += len(wrong)
                    await self._expect(guild_id, wrong)
                seen += len(page)
                self._done.memories += len(page)
                report("Comparing", self._done.memories, max(self._done.memories, total))
        if seen != count:
            raise RecollectError(f"The source changes: it had {count:,} memories of {_whose(guild_id)}, now {seen:,}.")
        if not self._into and await self._target.count(guild_id) != count:
            await self._prune(guild_id)

    async def _expect(self, guild_id: int | None, points: Sequence[IndexPoint]) -> None:
        wrong, _ = await self._wrong(guild_id, points, again=True)
        if wrong:
            raise RecollectError(
                f"The target does not keep {len(wrong):,} memories of {_whose(guild_id)} as they are, {wrong[0].id} "
                "among them: its collection lacks some of their vectors, or holds them in fewer bits."
            )

    async def _wrong(
        self, guild_id: int | None, page: Sequence[IndexPoint], again: bool = False
    ) -> tuple[list[IndexPoint], int]:
        """Those of the source's points that the target has not, or not like this, and how many it has not."""
        wrong, missing = [], 0
        for start in range(0, len(page), _STEP):
            step = page[start : start + _STEP]
            held = {one.id: one for one in await self._target.retrieve(guild_id, [p.id for p in step], keys=True)}
            found = await asyncio.to_thread(_likenesses, step, held)
            if not again:
                self._done.rounded += found.count(Likeness.ROUNDED)
            wrong += [point for point, how in zip(step, found, strict=True) if how is Likeness.OTHER]
            missing += len(step) - len(held)
        return wrong, missing

    async def _prune(self, guild_id: int | None) -> None:
        """Remove what was copied of a guild before and is in the source no more."""
        name, after = name_of(guild_id), None
        await self._enter(name)
        while True:
            page, after = await self._target.scroll(guild_id, after, self._page)
            ids = {point.id for point in page}
            gone = ids - {point.id for point in await self._source.retrieve(guild_id, list(ids))}
            if gone:
                self._progress.copied[name] = self._progress.copied.get(name, 0) - len(gone)
                await self._save()
                await self._target.delete(guild_id, list(gone))
                self._done.removed += len(gone)
            if after is None:
                return

    async def _pages(
        self, guild_id: int | None, after: str | None = None
    ) -> AsyncGenerator[tuple[list[IndexPoint], str | None]]:
        """The source's points from `after` on, and where the next page begins. It is read while this one is written."""
        reading = asyncio.ensure_future(self._source.scroll(guild_id, after, self._page, keys=True))
        try:
            while True:
                page, after = await reading
                if after is not None:
                    reading = asyncio.ensure_future(self._source.scroll(guild_id, after, self._page, keys=True))
                yield page, after
                if after is None:
                    return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _enter(self, name: str) -> None:
        """Say whose points come next, before the first of them is written."""
        if self._progress.at != name:
            self._progress.at = name
            await self._save()

    async def _save(self) -> None:
        if not self._into:
            await asyncio.to_thread(self._checkpoint.save, self._progress)


def _likenesses(ours: Sequence[IndexPoint], theirs: Mapping[str, IndexPoint]) -> list[Likeness]:
    return [likeness(point, theirs.get(point.id)) for point in ours]


def _fits(name: str, progress: Progress, held: Mapping[str, int]) -> bool:
    more = held.get(name, 0) - progress.copied.get(name, 0)
    return 0 <= more <= (PAGE if progress.at == name else 0)


def _in_order(guild_ids: Collection[int | None]) -> list[int | None]:
    return sorted(guild_ids, key=lambda guild_id: (guild_id is None, guild_id or 0))


def _whose(guild_id: int | None) -> str:
    return "no server" if guild_id is None else f"server {guild_id}"
