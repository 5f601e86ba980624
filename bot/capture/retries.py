"""What Discord says once and the database refused: kept in memory and tried again until it is committed."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from bot.errors import StorageUnavailable

log = structlog.get_logger(__name__)

Write = Callable[[], Awaitable[object]]

_RETRY_AFTER = 5.0  # seconds


class Retries:
    """Repeats writes, oldest first; each must be one that can be repeated. The task lives only while there is work."""

    def __init__(self) -> None:
        self._owed: deque[Write] = deque()
        self._task: asyncio.Task[None] | None = None
        self._paying = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._owed)

    def add(self, write: Write) -> None:
        """Take over a write that raised `StorageUnavailable`."""
        self._owed.append(write)
        if self._task is None:
            self._task = asyncio.create_task(self._retry(), name="retries")

    async def close(self) -> None:
        """Try a last time. What is refused even then is lost with the process, and logged."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._pay()
        if self._owed:
            log.error("refused_for_good", changes=len(self._owed))
            self._owed.clear()

    async def _retry(self) -> None:
        try:
            while self._owed:
                await asyncio.sleep(_RETRY_AFTER)
                await self._pay()
        finally:
            self._task = None

    async def _pay(self) -> None:
        async with self._paying:
            while self._owed:
                try:
                    await self._owed[0]()
                except StorageUnavailable:
                    return
                except Exception as error:  # those behind it must not suffer for it
                    log.error("retry_failed", error=type(error).__name__)
                self._owed.popleft()
