"""Group commit: who is written together, and what each caller hears."""

import asyncio
from collections.abc import Sequence

import pytest

from bot.errors import StorageUnavailable
from bot.storage.group import GroupCommit


class Log:
    """A write that records its groups, waits for permission and can be made to fail."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.failures: dict[str, Exception] = {}

    async def write(self, items: Sequence[str]) -> list[str]:
        await self.may_write.wait()
        for item in items:
            if item in self.failures:
                raise self.failures[item]
        self.groups.append(list(items))
        return [item.upper() for item in items]


@pytest.fixture
async def log() -> Log:
    return Log()


async def test_what_arrives_during_a_write_makes_the_next_group(log: Log) -> None:
    """The first item goes at once, alone; all that come while it is written go together, in order."""
    log.may_write.clear()
    group = GroupCommit(log.write)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(group.submit("a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        others = [tasks.create_task(group.submit(item)) for item in "bcd"]
        await asyncio.sleep(0)
        log.may_write.set()
    assert log.groups == [["a"], ["b", "c", "d"]]
    assert [first.result(), *(task.result() for task in others)] == ["A", "B", "C", "D"]


async def test_groups_have_a_limit(log: Log) -> None:
    """A burst is cut into groups of at most the limit."""
    group = GroupCommit(log.write, limit=4)
    await asyncio.gather(*(group.submit(item) for item in "abcdefghij"))
    assert log.groups == [list("abcd"), list("efgh"), list("ij")]


async def test_an_outage_is_told_to_the_whole_group(log: Log) -> None:
    """When nothing could be written every caller hears it, each by an exception of its own; later ones are written."""
    log.failures["b"] = StorageUnavailable("disk full")
    group = GroupCommit(log.write)
    errors = await asyncio.gather(*(group.submit(item) for item in "abc"), return_exceptions=True)
    assert [str(error) for error in errors] == ["disk full"] * 3
    assert len({id(error) for error in errors}) == 3
    assert await group.submit("d") == "D"
    assert log.groups == [["d"]]


async def test_one_bad_item_fails_alone(log: Log) -> None:
    """An item that cannot be written for its own sake does not take the others down with it."""
    log.failures["b"] = ValueError("bad")
    group = GroupCommit(log.write)
    results = await asyncio.gather(*(group.submit(item) for item in "abc"), return_exceptions=True)
    assert [results[0], results[2]] == ["A", "C"]
    assert isinstance(results[1], ValueError)
    assert log.groups == [["a"], ["c"]]


async def test_a_cancelled_caller_takes_nobody_along(log: Log) -> None:
    """Cancelling one caller neither stops the write nor loses its own or the others' items."""
    log.may_write.clear()
    group = GroupCommit(log.write)
    callers = [asyncio.create_task(group.submit(item)) for item in "abc"]
    await asyncio.sleep(0)
    callers[1].cancel()
    log.may_write.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert results[0::2] == ["A", "C"]
    assert isinstance(results[1], asyncio.CancelledError)
    assert log.groups == [["a", "b", "c"]]


async def test_flush_waits_for_everything_queued(log: Log) -> None:
    """Flushing returns when the queue is empty, at once if it is; nothing is left running."""
    group = GroupCommit(log.write, limit=1)
    await group.flush()
    callers = [asyncio.create_task(group.submit(item)) for item in "abc"]
    await asyncio.sleep(0)
    await group.flush()
    assert log.groups == [["a"], ["b"], ["c"]]
    assert await asyncio.gather(*callers) == ["A", "B", "C"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_writer_releases_its_callers(log: Log) -> None:
    """If the loop cancels the writing task, no caller waits for ever."""
    log.may_write.clear()
    group = GroupCommit(log.write, limit=1)
    callers = [asyncio.create_task(group.submit(item)) for item in "ab"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (writer,) = (task for task in asyncio.all_tasks() if task.get_name() == "group-commit")
    writer.cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    log.may_write.set()
    assert await group.submit("c") == "C"
