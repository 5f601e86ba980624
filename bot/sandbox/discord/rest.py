"""The HTTP side: authorisation, scripted faults, rate limits and a log around the routes of the API."""

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from bot.sandbox.discord.entities import Place
from bot.sandbox.discord.errors import ApiError, missing_access, missing_permissions, too_large, unauthorized, unknown
from bot.sandbox.discord.permissions import P, Permission
from bot.sandbox.discord.uploads import Files, read_form
from bot.sandbox.discord.world import World

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
API = "/api/v10"
WORLD = web.AppKey("world", World)
_IDS = re.compile(r"\d{15,}")
# Routes whose secret is in the path.
_TOKEN_IN_PATH = re.compile(r"/(interactions|webhooks)/")


@dataclass(slots=True)
class Call:
    """One request: the path without the API's prefix, the body if it was JSON, and the answer's status."""

    method: str
    path: str
    query: dict[str, str]
    body: Any = None
    status: int = 0


@dataclass(slots=True)
class Fault:
    """A scripted answer for requests that match, `times` times."""

    method: str
    pattern: re.Pattern[str]
    status: int
    times: int
    retry_after: float
    everywhere: bool


@dataclass(slots=True)
class Limit:
    """A real rate limit: so many requests a window for each path that matches."""

    method: str
    pattern: re.Pattern[str]
    requests: int
    per: float
    windows: dict[str, tuple[float, int]] = field(default_factory=dict)

    def spend(self, path: str, now: float) -> tuple[int, float]:
        """Count a request; returns how many are left (negative: too many) and the seconds to the reset."""
        ends, used = self.windows.get(path, (0.0, 0))
        if now >= ends:
            ends, used = now + self.per, 0
        self.windows[path] = ends, used + 1
        return self.requests - used - 1, ends - now


CALL = web.RequestKey("call", Call)


class Rest:
    """What surrounds every route. `calls` is the log of requests, oldest first."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls: list[Call] = []
        self.latency = timedelta(0)
        self._faults: list[Fault] = []
        self._limits: list[Limit] = []

    def fail_next(
        self,
        method: str,
        path_pattern: str,
        status: int,
        *,
        times: int = 1,
        retry_after: float = 0.01,
        everywhere: bool = False,
    ) -> None:
        """Answer the next matching requests with this status.

        `path_pattern` is a regular expression looked for in the path. A 429 carries `retry_after` seconds and,
        with `everywhere`, is the global limit.
        """
        self._faults.append(Fault(method, re.compile(path_pattern), status, times, retry_after, everywhere))

    def limit(self, method: str, path_pattern: str, *, requests: int, per: float) -> None:
        """Enforce a rate limit of `requests` in `per` seconds on each matching path."""
        self._limits.append(Limit(method, re.compile(path_pattern), requests, per))

    @web.middleware
    async def around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Log, delay, limit, fail as scripted, authorise; turn errors into Discord's JSON."""
        path = request.path.removeprefix(API)
        call = Call(request.method, path, dict(request.query))
        self.calls.append(call)
        request[CALL] = call
        if self.latency:
            await asyncio.sleep(self.latency.total_seconds())
        headers, refusal = self._spend(request.method, path)
        response: web.StreamResponse
        try:
            response = refusal or self._interrupted(request.method, path) or await self._answer(request, handler)
        except ApiError as error:
            response = reply(error.body, error.status)
        call.status = response.status
        response.headers.update(headers)
        response.headers["Date"] = format_datetime(self.world.clock(), usegmt=True)
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        authorization = request.headers.get("Authorization")
        if not _TOKEN_IN_PATH.search(request.path) and authorization != f"Bot {self.world.application.token}":
            raise unauthorized()
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            raise too_large() from None
        except web.HTTPNotFound:
            raise ApiError(404, 0, "404: Not Found") from None
        except web.HTTPMethodNotAllowed:
            raise ApiError(405, 0, "405: Method Not Allowed") from None

    def _interrupted(self, method: str, path: str) -> web.Response | None:
        for fault in self._faults:
            if fault.times and fault.method == method and fault.pattern.search(path):
                fault.times -= 1
                if fault.status == 429:
                    return too_many(fault.retry_after, everywhere=fault.everywhere)
                return reply({"message": f"{fault.status}: scripted", "code": 0}, fault.status)
        return None

    def _spend(self, method: str, path: str) -> tuple[dict[str, str], web.Response | None]:
        """Count a request: the headers that tell what is left, and the refusal if nothing is."""
        allowed, left, reset_after, refusal = 50, 49, 1.0, None
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            if limit.method == method and limit.pattern.search(path):
                allowed = limit.requests
                left, reset_after = limit.spend(path, now)
                refusal = too_many(reset_after) if left < 0 else None
        headers = {
            "X-RateLimit-Limit": str(allowed),
            "X-RateLimit-Remaining": str(max(left, 0)),
            "X-RateLimit-Reset": f"{self.world.clock().timestamp() + reset_after:.3f}",
            "X-RateLimit-Reset-After": f"{reset_after:.3f}",
            "X-RateLimit-Bucket": hashlib.sha256(f"{method} {_IDS.sub('id', path)}".encode()).hexdigest()[:32],
        }
        return headers, refusal


def reply(data: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON. discord.py parses a body only if the content type is exactly this, without a charset."""
    return web.Response(body=json.dumps(data).encode(), status=status, headers=headers, content_type="application/json")


def too_many(retry_after: float, *, everywhere: bool = False) -> web.Response:
    """A 429; without a Via header discord.py takes it for a ban by Cloudflare."""
    headers = {"Via": "1.1 sandbox", "Retry-After": f"{retry_after:.3f}"}
    body = {"message": "You are being rate limited.", "retry_after": retry_after, "global": everywhere}
    return reply(body, 429, headers)


async def read_body(request: web.Request) -> Any:
    """The JSON body; kept for the log."""
    return (await read_message(request))[0]


async def read_message(request: web.Request) -> tuple[Any, Files]:
    """The JSON body and the files sent with it, if any; the body is kept for the log."""
    files: Files = {}
    try:
        if request.content_type.startswith("multipart/"):
            body, files = await read_form(request, request.app[WORLD])
        else:
            body = await request.json() if request.can_read_body else {}
    except ValueError:
        raise ApiError(400, 50109, "The request body contains invalid JSON.") from None
    request[CALL].body = body
    return body, files


def place_in(request: web.Request, needed: Permission = P.VIEW_CHANNEL, key: str = "channel") -> Place:
    """The channel or thread of the path; 404 if there is none, 403 if the bot may not view it or lacks `needed`."""
    world = request.app[WORLD]
    try:
        place = world.place(request.match_info[key])
    except KeyError:
        raise unknown("Channel") from None
    permissions = world.permissions_at(world.bot, place)
    if P.VIEW_CHANNEL not in permissions:
        raise missing_access()
    if needed not in permissions:
        raise missing_permissions()
    return place
