"""The cables between the bot and the services it needs, each of which can be cut or disturbed.

Faults happen below the protocols, so they are the same for every service: HTTP, a stream of tokens or a
websocket. What the bot sees is what it would see of a dead host, a firewall, a broken proxy or a bad line.
"""

import asyncio
import contextlib
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 2**16
_SLOW = 0.25  # seconds that each chunk of bytes takes on a slow line
_PAGE = b"<html><body><h1>Bad gateway</h1></body></html>"
_NOISE = bytes(range(256)) * 4


class Fault(StrEnum):
    """How a service is away."""

    REFUSE = "refuse"
    HANG = "hang"
    ERROR = "500"
    GARBAGE = "garbage"
    SLOW = "slow"


class Wire:
    """`async with Wire(url) as wire:` passes bytes between `wire.port` and the service at `url`.

    `garbage` is the status of the page a client is shown instead of an answer while the fault lasts.
    """

    def __init__(self, url: str, garbage: int = 200) -> None:
        parts = urlsplit(url)
        self._upstream = parts.hostname or "", parts.port or 0
        self._garbage = garbage
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.fault: Fault | None = None
        self.port = 0

    def through(self, url: str) -> str:
        """The same address, reached through the wire."""
        parts = urlsplit(url)
        return parts._replace(netloc=f"{parts.hostname}:{self.port}").geturl()

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def disturb(self, fault: Fault) -> None:
        """Begin a fault. A line that hangs or is slow stays connected; the others break open connections."""
        self.fault = fault
        if fault is Fault.HANG:
            self._flowing.clear()
        elif fault is not Fault.SLOW:
            if fault is Fault.REFUSE:
                await self._close()
            self._break(_NOISE if fault is Fault.GARBAGE else b"")

    async def mend(self) -> None:
        """End the fault; what was held up flows on."""
        self.fault = None
        self._flowing.set()
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _break(self, last_words: bytes) -> None:
        for writer in self._open:
            if last_words and not writer.is_closing():
                writer.write(last_words)
                writer.close()
            else:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if self.fault in (Fault.ERROR, Fault.GARBAGE):
                    await self._mislead(reader, writer, 500 if self.fault is Fault.ERROR else self._garbage)
                else:
                    await self._connect(reader, writer)
        except asyncio.CancelledError:
            return  # the end of the run; Python 3.11 would log a cancelled handler as a failed one
        finally:
            self._open.discard(writer)
            self._serving.discard(task)
            writer.transport.abort()

    async def _mislead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int) -> None:
        self._open.discard(writer)
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status} Anything\r\nContent-Type: text/html\r\nContent-Length: {len(_PAGE)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + _PAGE)
        await writer.drain()
        writer.write_eof()
        await reader.read()  # until the client has closed: an earlier reset would take the page with it

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(*self._upstream)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, downstream))
                pumps.create_task(self._pump(upstream, writer))
        except* OSError:
            pass  # one end is gone, and so is the other then
        finally:
            downstream.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            await self._flowing.wait()
            if self.fault is Fault.SLOW:
                await asyncio.sleep(_SLOW)
            target.write(data)
            await target.drain()
        target.close()
