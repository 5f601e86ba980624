"""Group commit: what many callers want written becomes one transaction, and each waits for it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from bot.errors import StorageUnavailable

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Queues items and hands everything queued to `write`, one group at a time.

    Nothing lingers: the first item of an idle queue is written at once, and what arrives during
    its commit makes up the next group. The writing task lives only while there is work.
    """

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[Sequence[R]]], limit: int = 5000) -> None:
        self._write = write
        self._limit = limit
        self._queue: list[tuple[T, asyncio.Future[R]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Return the item's result once the transaction that holds it is committed.

        A cancelled caller does not take its item back. Raises what writing the item raised.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._drain(), name="group-commit")
        return await future

    async def flush(self) -> None:
        """Wait until nothing is queued."""
        while self._writer is not None:
            await asyncio.wait({self._writer})

    async def _drain(self) -> None:
        try:
            while self._queue:
                group, self._queue = self._queue[: self._limit], self._queue[self._limit :]
                await self._commit(group)
        finally:
            self._writer = None

    async def _commit(self, group: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._write([item for item, _ in group])
        except StorageUnavailable as error:
            for _, future in group:
                _fail(future, StorageUnavailable(str(error)))
        except asyncio.CancelledError:
            for _, future in (*group, *self._queue):
                future.cancel()
            self._queue.clear()
            raise
        except Exception as error:
            if len(group) == 1:
                _fail(group[0][1], error)
            else:  # one of them is at fault: the others must not suffer for it
                for one in group:
                    await self._commit([one])
        else:
            for (_, future), result in zip(group, results, strict=True):
                if not future.done():
                    future.set_result(result)


def _fail(future: asyncio.Future[R], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
