"""The lock around every write to the index, which can be closed to everyone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from bot.errors import IndexClosed


class WriteLock(asyncio.Lock):
    """Held by one writer at a time. While it is `closed`, whoever asks for it is told so, in that sentence."""

    closed: str | None = None

    async def acquire(self) -> Literal[True]:
        """Raises `IndexClosed`, also for who waited when it was closed."""
        await super().acquire()
        if self.closed:
            self.release()
            raise IndexClosed(self.closed)
        return True

    @asynccontextmanager
    async def closing(self, reason: str, then: str) -> AsyncIterator[None]:
        """Once the write that goes on has ended, closed; what is done meanwhile closes it for good, unless it fails.

        Raises `IndexClosed` if it is closed already.
        """
        async with self:
            self.closed = reason
        try:
            yield
        except BaseException:
            self.closed = None
            raise
        self.closed = then
