"""The control socket, by the client that the command line uses."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.errors import LLMUnreachable, NotRunning, RecollectError, ServiceUnavailable
from bot.model import Report
from bot.web.control import SOCKET, ControlServer, Operation, call


def ignore(what: str, done: int, total: int | None) -> None:
    """A report nobody reads."""


class Slow:
    """An operation that waits until it is let go, and knows whether it was cancelled."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.free = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, _: Mapping[str, Any], report: Report) -> dict[str, Any]:
        self.started.set()
        report("waiting", 0, None)
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return {}


@asynccontextmanager
async def serving(path: Path, **operations: Operation) -> AsyncIterator[asyncio.Task[None]]:
    """A server at work, once it listens."""
    server = ControlServer(path, operations)
    running = asyncio.create_task(server.run())
    try:
        await server.listening.wait()
        yield running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def double(arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Twice the number, with progress."""
    for done in range(3):
        report("doubling", done + 1, 3)
    return {"twice": arguments["number"] * 2}


async def test_an_operation_reports_and_answers(tmp_path: Path) -> None:
    """The caller gets the last report of what was done, and the result."""
    reports: list[tuple[str, int, int | None]] = []
    async with serving(tmp_path / SOCKET, double=double):
        answer = await call(tmp_path / SOCKET, "double", {"number": 21}, lambda *report: reports.append(report))
    assert answer == {"twice": 42}
    assert reports[-1] == ("doubling", 3, 3)


async def test_a_request_may_be_long(tmp_path: Path) -> None:
    """As one is that names the files of a large import."""
    files = [f"/exports/a folder/channel {n}.json" for n in range(10_000)]

    async def count(arguments: Mapping[str, Any], _: Report) -> dict[str, Any]:
        return {"files": len(arguments["files"])}

    async with serving(tmp_path / SOCKET, count=count):
        assert await call(tmp_path / SOCKET, "count", {"files": files}, ignore) == {"files": 10_000}


async def test_an_answer_that_is_cut_short_is_no_answer(tmp_path: Path) -> None:
    """A bot that is killed while it writes a line has not done what it was asked for."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"progress": {"wh')
        writer.close()

    server = await asyncio.start_unix_server(answer, tmp_path / SOCKET)
    async with server:
        with pytest.raises(RecollectError, match="stopped before this was done"):
            await call(tmp_path / SOCKET, "double", {"number": 21}, ignore)


async def test_only_the_owner_may_connect(tmp_path: Path) -> None:
    """The socket's file has mode 0600 while the bot runs and is gone afterwards."""
    async with serving(tmp_path / SOCKET, double=double):
        assert stat.S_IMODE(os.stat(tmp_path / SOCKET).st_mode) == 0o600
    assert not (tmp_path / SOCKET).exists()


async def test_a_foreseen_failure_is_the_bots_sentence(tmp_path: Path) -> None:
    """What the operation raises is what the caller raises."""

    async def fail(_: Mapping[str, Any], __: Report) -> dict[str, Any]:
        raise RecollectError("The moon is full.")

    async def down(_: Mapping[str, Any], __: Report) -> dict[str, Any]:
        raise LLMUnreachable("The moon is down.")

    async with serving(tmp_path / SOCKET, fail=fail, down=down):
        with pytest.raises(RecollectError, match="The moon is full"):
            await call(tmp_path / SOCKET, "fail", {}, ignore)
        with pytest.raises(ServiceUnavailable, match="The moon is down"):
            await call(tmp_path / SOCKET, "down", {}, ignore)


async def test_an_unforeseen_failure_is_logged_and_others_go_on(tmp_path: Path) -> None:
    """A bug in one operation is one sentence for the caller, a traceback in the log, and the end of nothing else."""

    async def fail(_: Mapping[str, Any], __: Report) -> dict[str, Any]:
        raise ZeroDivisionError

    async with serving(tmp_path / SOCKET, fail=fail, double=double):
        with capture_logs() as logs, pytest.raises(RecollectError, match="the log has the cause"):
            await call(tmp_path / SOCKET, "fail", {}, ignore)
        assert [event["operation"] for event in logs if event["log_level"] == "error"] == ["fail"]
        assert await call(tmp_path / SOCKET, "double", {"number": 1}, ignore) == {"twice": 2}


async def test_the_log_holds_no_arguments(tmp_path: Path) -> None:
    """Names of operations are logged, what they were asked with is not."""
    async with serving(tmp_path / SOCKET, double=double):
        with capture_logs() as logs:
            await call(tmp_path / SOCKET, "double", {"number": "canary"}, ignore)
    assert logs
    assert "canary" not in json.dumps(logs)


async def test_a_client_that_leaves_stops_its_operation(tmp_path: Path) -> None:
    """Ctrl-C at the command line cancels the operation in the bot, which can be asked again at once."""
    slow = Slow()
    async with serving(tmp_path / SOCKET, slow=slow):
        asking = asyncio.create_task(call(tmp_path / SOCKET, "slow", {}, ignore))
        await slow.started.wait()
        asking.cancel()
        await asyncio.wait({asking})
        await slow.cancelled.wait()
        slow.free.set()
        assert await call(tmp_path / SOCKET, "slow", {}, ignore) == {}


async def test_one_operation_of_a_name_at_a_time(tmp_path: Path) -> None:
    """A second backup is refused with a sentence while the first goes on; another operation is not."""
    slow = Slow()
    async with serving(tmp_path / SOCKET, slow=slow, double=double):
        first = asyncio.create_task(call(tmp_path / SOCKET, "slow", {}, ignore))
        await slow.started.wait()
        with pytest.raises(RecollectError, match="at this already"):
            await call(tmp_path / SOCKET, "slow", {}, ignore)
        assert await call(tmp_path / SOCKET, "double", {"number": 1}, ignore) == {"twice": 2}
        slow.free.set()
        assert await first == {}


async def test_the_end_of_the_bot_ends_its_operations(tmp_path: Path) -> None:
    """Who waits for a bot that stops is told so, and a client that never asked holds nothing up."""
    slow = Slow()
    async with serving(tmp_path / SOCKET, slow=slow) as server:
        _, idle = await asyncio.open_unix_connection(tmp_path / SOCKET)
        asking = asyncio.create_task(call(tmp_path / SOCKET, "slow", {}, ignore))
        await slow.started.wait()
        server.cancel()
        with pytest.raises(RecollectError, match="stopped before"):
            await asking
        assert slow.cancelled.is_set()
        idle.close()


async def test_a_socket_a_crash_left_behind_is_replaced(tmp_path: Path) -> None:
    """The file of a killed bot is in nobody's way: callers see that no bot runs, the next bot takes its place."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / SOCKET))
    with pytest.raises(NotRunning):
        await call(tmp_path / SOCKET, "double", {"number": 1}, ignore)
    async with serving(tmp_path / SOCKET, double=double):
        assert await call(tmp_path / SOCKET, "double", {"number": 1}, ignore) == {"twice": 2}


async def test_a_path_too_long_for_a_socket_is_said_once(tmp_path: Path) -> None:
    """The bot goes on without a control socket, and commands see no bot."""
    path = tmp_path / ("deep" * 30) / SOCKET
    path.parent.mkdir()
    with capture_logs() as logs:
        await ControlServer(path, {"double": double}).run()
    assert [event["event"] for event in logs] == ["control_unavailable"]
    with pytest.raises(NotRunning):
        await call(path, "double", {"number": 1}, ignore)


async def test_a_platform_without_unix_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There too the bot goes on, and commands see no bot."""
    monkeypatch.delattr(socket, "AF_UNIX")
    monkeypatch.delattr(asyncio, "open_unix_connection")
    with capture_logs() as logs:
        await ControlServer(tmp_path / SOCKET, {}).run()
    assert [event["event"] for event in logs] == ["control_unavailable"]
    with pytest.raises(NotRunning):
        await call(tmp_path / SOCKET, "double", {}, ignore)


@pytest.mark.parametrize("request_line", [b"{\n", b"[]\n", b'{"do": "unknown", "with": {}}\n', b"x" * 100_000 + b"\n"])
async def test_a_request_that_makes_no_sense_is_refused(tmp_path: Path, request_line: bytes) -> None:
    """Broken JSON, another shape, an unknown operation or an endless line: one sentence."""
    async with serving(tmp_path / SOCKET, double=double):
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
        writer.write(request_line)
        assert "another version" in json.loads(await reader.readline())["error"]
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_does_not_read_gets_no_flood(tmp_path: Path) -> None:
    """Reports to a stopped client are left out, so that they never fill the bot's memory."""

    async def talk(_: Mapping[str, Any], report: Report) -> dict[str, Any]:
        for number in range(50_000):
            report(f"step {number}", 0, None)
        return {"held": "nothing"}

    async with serving(tmp_path / SOCKET, talk=talk):
        reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
        writer.write(b'{"do": "talk", "with": {}}\n')
        lines = (await reader.read()).splitlines()
        assert json.loads(lines[-1]) == {"result": {"held": "nothing"}}
        assert len(lines) < 25_000
        writer.close()
        await writer.wait_closed()
