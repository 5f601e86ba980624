"""One client's socket, and the session it may resume on another."""

import asyncio
import json
import zlib
from collections import deque
from dataclasses import dataclass, field

from aiohttp import ClientConnectionResetError, web

from bot.sandbox.discord.entities import Intent

REPLAYED_AT_MOST = 10_000


@dataclass(slots=True, eq=False)
class Session:
    """What a client may resume: its sequence, and the latest events by sequence number."""

    id: str
    intents: Intent
    sequence: int = 0
    backlog: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=REPLAYED_AT_MOST))
    connection: "Connection | None" = None

    def dispatch(self, name: str, encoded: str) -> None:
        """Number an event, keep it for a resume and send it if someone listens."""
        self.sequence += 1
        frame = f'{{"op":0,"t":"{name}","s":{self.sequence},"d":{encoded}}}'
        self.backlog.append((self.sequence, frame))
        if self.connection is not None:
            self.connection.put(frame)

    def since(self, sequence: int) -> list[str] | None:
        """The frames after a sequence number, or None when they are no longer all there."""
        first_kept = self.backlog[0][0] if self.backlog else self.sequence + 1
        if not first_kept - 1 <= sequence <= self.sequence:
            return None
        return [frame for number, frame in self.backlog if number > sequence]


class Connection:
    """One socket. All frames pass one queue and one compressor, so that they leave in order."""

    def __init__(self, socket: web.WebSocketResponse, compression: str | None) -> None:
        self.socket = socket
        self.session: Session | None = None
        self.closed = asyncio.Event()
        self.silent = False
        self.closing = False
        # A client that asks for a compression not spoken here (zstd-stream) gets text frames, which all accept.
        self._deflate = zlib.compressobj(level=1) if compression == "zlib-stream" else None
        self._outgoing: asyncio.Queue[str | int] = asyncio.Queue()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, frame: str) -> None:
        """Queue a frame, unless the connection plays dead."""
        if not self.silent:
            self._idle.clear()
            self._outgoing.put_nowait(frame)

    def put_op(self, op: int, data: object = None) -> None:
        """Queue a frame that is no event."""
        self.put(json.dumps({"op": op, "d": data, "s": None, "t": None}))

    def close(self, code: int) -> None:
        """Close the socket after what is queued."""
        self._outgoing.put_nowait(code)

    async def flushed(self) -> None:
        """Wait until everything queued has been written, or can be no more."""
        await self._idle.wait()

    async def write(self) -> None:
        """Write what is queued until the socket closes."""
        try:
            while not self.closing:
                item = await self._outgoing.get()
                if isinstance(item, int):
                    self.closing = True
                    await self.socket.close(code=item)
                else:
                    await self._send(item)
                if self._outgoing.empty():
                    self._idle.set()
        except ClientConnectionResetError:
            self.closing = True  # the client is gone; what is queued waits in its session
        finally:
            self.silent = True
            self._idle.set()

    async def _send(self, frame: str) -> None:
        if self._deflate is None:
            await self.socket.send_str(frame)
        else:
            data = self._deflate.compress(frame.encode()) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
            await self.socket.send_bytes(data)
