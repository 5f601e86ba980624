"""Health probes: `/livez` says the process runs, `/readyz` that it can do its job. `/metrics` is beside them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bot.errors import RecollectError
from bot.model import ServiceHealth


@dataclass(frozen=True, slots=True)
class Readiness:
    """Ready means the gateway and the database; other services only degrade the answers."""

    gateway: bool
    database: bool
    services: tuple[ServiceHealth, ...] = ()

    @property
    def ready(self) -> bool:
        return self.gateway and self.database


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave SIGTERM and SIGINT to the composition root, which drains everything in order."""
        yield


class HealthServer:
    """Serves the probes on `host:port`; port 0 takes any free one, see `port` once `serving`.

    `metrics` returns the page for Prometheus and its content type.
    """

    def __init__(
        self,
        host: str,
        port: int,
        readiness: Callable[[], Awaitable[Readiness]],
        metrics: Callable[[], Awaitable[tuple[bytes, str]]],
    ) -> None:
        self._readiness = readiness
        self._metrics = metrics
        self.host = host
        self.port = port

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer probes inside the block. Raises `RecollectError` when the port is taken."""
        answers = {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._metrics_page}
        app = Starlette(routes=[Route(path, answer) for path, answer in answers.items()])
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        server = _Server(config)
        with self._bind() as listener:
            self.port = listener.getsockname()[1]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(server.serve(sockets=[listener]), name="health")
                try:
                    yield
                finally:
                    server.should_exit = True

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        every = self.host == "::" and socket.has_dualstack_ipv6()
        try:
            return socket.create_server((self.host, self.port), family=family, backlog=64, dualstack_ipv6=every)
        except OSError as error:
            raise RecollectError(
                f"The health probes cannot listen on {self.host}:{self.port} ({error.strerror}); "
                "free the port or set web.port to another."
            ) from None

    async def _livez(self, _: Request) -> Response:
        return PlainTextResponse("ok")

    async def _readyz(self, _: Request) -> Response:
        state = await self._readiness()
        body = {
            "ready": state.ready,
            "gateway": state.gateway,
            "database": state.database,
            "services": {s.name: {"ok": s.ok, "detail": s.detail} for s in state.services},
        }
        return JSONResponse(body, status_code=200 if state.ready else 503)

    async def _metrics_page(self, _: Request) -> Response:
        body, content_type = await self._metrics()
        return Response(body, media_type=content_type)
