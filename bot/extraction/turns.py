"""Who asks the language model when: people who wait for an answer go before extraction, which can wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Lets `at_once` questions of people through at a time, and one of extraction while no person asks.

    Within each the first come is the first served. What extraction has begun to ask is not taken back: a server that
    answers one at a time keeps the person's question for after it.
    """

    def __init__(self, at_once: int = 1) -> None:
        self._questions = asyncio.Semaphore(at_once)
        self._extraction = asyncio.Lock()
        self._asking = 0  # people, those who wait included
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def taken(self) -> bool:
        """Whether a person who asked now would wait for others."""
        return self._questions.locked()

    @asynccontextmanager
    async def question(self) -> AsyncIterator[None]:
        """The turn of a person's question, from when it is asked to the end of its answer."""
        self._asking += 1
        self._quiet.clear()
        try:
            async with self._questions:
                yield
        finally:
            self._asking -= 1
            if not self._asking:
                self._quiet.set()

    @asynccontextmanager
    async def extraction(self) -> AsyncIterator[None]:
        """The turn of one question of extraction."""
        async with self._extraction:
            while self._asking:
                await self._quiet.wait()
            yield
