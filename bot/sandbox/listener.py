"""What every HTTP stand-in does alike: listen on 127.0.0.1, go away, and come back on the same port."""

import argparse
import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler

_MOST_BYTES = 64 * 2**20  # of a request's body


class Listener:
    """`async with` a subclass: it answers `routes()` until the block ends.

    `stop` refuses connections and drops the open ones; `start` listens again, on the same port.
    Port 0 takes any free one.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, or will listen again."""
        return f"http://127.0.0.1:{self._port}"

    def routes(self) -> Iterable[web.RouteDef]:
        """What it answers."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after `stop`, on the same port as before."""
        app = web.Application(client_max_size=_MOST_BYTES, middlewares=[_unheard])
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections and drop the open ones."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def serve_alone(name: str, make: Callable[[int], Listener]) -> None:
    """The main function of a stand-in for `name` that runs by itself: on `--port`, until interrupted."""

    async def serve(port: int) -> None:
        async with make(port) as server:
            print(f"{name} stand-in at {server.url}", flush=True)
            await asyncio.Event().wait()

    parser = argparse.ArgumentParser(description=f"A stand-in for {name}'s embeddings API.")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0 takes any free one")
    until_interrupted(serve(parser.parse_args().port))


def until_interrupted(serving: Coroutine[Any, Any, None]) -> None:
    """Run a stand-in until Ctrl-C; a port that it cannot have is one sentence on stderr and exit code 1."""
    try:
        asyncio.run(serving)
    except KeyboardInterrupt:
        return
    except (OSError, OverflowError) as error:
        raise SystemExit(f"It cannot listen there: name another --port ({error}).") from None


@web.middleware
async def _unheard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whoever leaves before the end of what they ask or hear is no error of ours."""
    try:
        return await handler(request)
    except ConnectionResetError:
        return web.Response()
