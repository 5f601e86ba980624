"""The side door of a running bot for its owner: a unix socket in the data folder, one operation a connection.

JSON lines. The client asks {"do": name, "with": {…}}; the bot answers with any number of
{"progress": {"what": …, "done": n, "total": m | null}} and at last {"result": {…}} or {"error": "a sentence"}.
Only one operation of a name runs at a time, and it is cancelled when its client leaves or the bot stops.
"""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import structlog

from bot.errors import NotRunning, RecollectError, ServiceUnavailable
from bot.model import Report

SOCKET = "control.sock"
Operation = Callable[[Mapping[str, Any], Report], Awaitable[dict[str, Any]]]
"""What the bot can be asked to do: arguments and progress reports in, the result out, all of it JSON."""

_REPORT_EVERY = 0.1  # seconds
_MOST_UNREAD = 2**16  # bytes: a client that does not read gets no more progress
_LONGEST_LINE = 2**26

R = TypeVar("R")
log = structlog.get_logger(__name__)


class ControlServer:
    """Carries out `operations` for whoever owns the socket's file."""

    def __init__(self, path: Path, operations: Mapping[str, Operation]) -> None:
        self._path = path
        self._operations = operations
        self._running: set[str] = set()
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled; where there can be no socket, say so once and return."""
        listener = self._bind()
        if listener is None:
            return
        try:
            async with asyncio.TaskGroup() as tasks:

                def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    if self.listening.is_set():
                        attending = tasks.create_task(self._attend(reader, writer), name="control")
                        attending.add_done_callback(lambda _: writer.close())
                    else:
                        writer.close()

                server = await asyncio.start_unix_server(attend, sock=listener, limit=_LONGEST_LINE)
                self.listening.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    self.listening.clear()
                    server.close()
        finally:
            self._path.unlink(missing_ok=True)

    def _bind(self) -> socket.socket | None:
        """A socket only its owner may use: nobody can connect before it listens, and by then its mode is set."""
        family = getattr(socket, "AF_UNIX", None)
        if family is None:
            log.warning("control_unavailable", reason="this platform has no unix sockets")
            return None
        listener = socket.socket(family)
        try:
            self._path.unlink(missing_ok=True)  # of a process that was killed: we hold the folder
            listener.bind(str(self._path))
            os.chmod(self._path, 0o600)
        except OSError as error:
            listener.close()
            log.warning("control_unavailable", path=str(self._path), reason=error.strerror or str(error))
            return None
        return listener

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its request to its answer."""
        with suppress(ConnectionError):  # the client left, and there is nobody to tell
            _send(writer, await self._answer(reader, writer))
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, Any]:
        try:
            request = json.loads(await reader.readline())
            name, arguments = request["do"], dict(request["with"])
            operation = self._operations[name]
        except (ValueError, KeyError, TypeError):
            return {"error": "The running bot does not know this command: it is of another version, restart it."}
        if name in self._running:
            return {"error": f"The bot is at this already ({name}): wait until it is done."}
        self._running.add(name)
        log.info("operation_started", operation=name)
        try:
            result = await _while_connected(operation(arguments, _reporting_to(writer)), reader)
        except RecollectError as error:
            log.info("operation_failed", operation=name, reason=str(error))
            return {"error": str(error), "unavailable": isinstance(error, ServiceUnavailable)}
        except (asyncio.CancelledError, ConnectionError):
            log.info("operation_cancelled", operation=name)
            raise
        except Exception:
            log.exception("operation_failed", operation=name)
            return {"error": str(RecollectError())}
        finally:
            self._running.discard(name)
        log.info("operation_finished", operation=name)
        return {"result": result}


async def _while_connected(work: Awaitable[R], reader: asyncio.StreamReader) -> R:
    """The work's result; raises `ConnectionResetError` and cancels it when the client leaves first."""
    working = asyncio.ensure_future(work)
    left = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({working, left}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ConnectionResetError
        return working.result()
    finally:
        working.cancel()
        left.cancel()
        await asyncio.wait({working, left})


def _reporting_to(writer: asyncio.StreamWriter) -> Report:
    last: tuple[str, float] = "", 0.0

    def report(what: str, done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if what == last[0] and now - last[1] < _REPORT_EVERY and done != total:
            return
        if not writer.is_closing() and writer.transport.get_write_buffer_size() < _MOST_UNREAD:
            last = what, now
            _send(writer, {"progress": {"what": what, "done": done, "total": total}})

    return report


async def call(path: Path, name: str, arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Have the bot behind the socket carry out an operation; being cancelled cancels it there.

    Raises `NotRunning` if no bot listens there, and `RecollectError` with the bot's sentence if it could not.
    """
    async with _connected(path) as (reader, writer):
        _send(writer, {"do": name, "with": arguments})
        with suppress(ConnectionError):
            await writer.drain()
            while (line := await reader.readline()).endswith(b"\n"):  # else the bot was killed
                answer = json.loads(line)
                if progress := answer.get("progress"):
                    report(progress["what"], progress["done"], progress["total"])
                elif "error" in answer:
                    raise (ServiceUnavailable if answer.get("unavailable") else RecollectError)(answer["error"])
                else:
                    result: dict[str, Any] = answer["result"]
                    return result
        raise RecollectError("The bot stopped before this was done: start it again, then repeat the command.")


@asynccontextmanager
async def _connected(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=_LONGEST_LINE)
    except PermissionError:
        raise RecollectError(f"Only the user who runs the bot may use {path}.") from None
    except (AttributeError, OSError):  # none there, nobody behind it, or a path too long for a socket
        raise NotRunning() from None
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def _send(writer: asyncio.StreamWriter, line: Mapping[str, Any]) -> None:
    writer.write(json.dumps(line).encode() + b"\n")
