"""Who asks the language model when."""

import asyncio
from contextlib import AbstractAsyncContextManager

from bot.extraction.turns import Turns


class Caller:
    """Takes a turn and keeps it until told to end it."""

    def __init__(self, turn: AbstractAsyncContextManager[None]) -> None:
        self.turn = turn
        self.end = asyncio.Event()
        self.has_turn = False
        self.task = asyncio.create_task(self._take())

    async def _take(self) -> None:
        async with self.turn:
            self.has_turn = True
            await self.end.wait()
        self.has_turn = False

    async def finish(self) -> None:
        self.end.set()
        await self.task
        await settle()


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_so_many_questions_have_their_turn_at_once() -> None:
    """The next one waits, first come, first served."""
    turns = Turns(at_once=2)
    callers = [Caller(turns.question()) for _ in range(4)]
    await settle()
    assert [caller.has_turn for caller in callers] == [True, True, False, False]
    assert turns.taken
    await callers[1].finish()
    assert [caller.has_turn for caller in callers] == [True, False, True, False]
    for caller in callers:
        await caller.finish()
    assert not turns.taken


async def test_a_question_goes_before_extraction_that_waits() -> None:
    """Extraction goes on with what it began, and then waits until nobody asks or waits."""
    turns = Turns(at_once=1)
    begun, waiting = Caller(turns.extraction()), Caller(turns.extraction())
    await settle()
    assert (begun.has_turn, waiting.has_turn) == (True, False)
    first, second = Caller(turns.question()), Caller(turns.question())
    await settle()
    assert first.has_turn  # the server queues it behind the call under way
    await begun.finish()
    assert not waiting.has_turn
    await first.finish()
    assert (second.has_turn, waiting.has_turn) == (True, False)
    await second.finish()
    assert waiting.has_turn
    await waiting.finish()


async def test_who_gives_up_waiting_keeps_nobody_waiting() -> None:
    """A cancelled question or extraction leaves its place to the next."""
    turns = Turns(at_once=1)
    answered, impatient = Caller(turns.question()), Caller(turns.question())
    gone, extraction = Caller(turns.extraction()), Caller(turns.extraction())
    await settle()
    impatient.task.cancel()
    gone.task.cancel()
    await asyncio.gather(impatient.task, gone.task, return_exceptions=True)
    await answered.finish()
    assert extraction.has_turn
    await extraction.finish()
