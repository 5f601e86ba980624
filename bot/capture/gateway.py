"""The connection to Discord: logged in and kept up through every outage, and left without cutting anybody off."""

import asyncio
import sys
import traceback
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Set
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

import aiohttp
import discord
import stamina
import structlog
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.errors import DiscordLoginError
from bot.settings import DiscordSettings

log = structlog.get_logger(__name__)

Apology = Callable[[], Awaitable[None]]

NOT_CONFIGURED = (
    "There is no Discord token: put the bot's token (discord.com/developers/applications → Bot → Reset Token)"
    " into DISCORD_TOKEN or a secret file of that name."
)
NOT_ACCEPTED = (
    "Discord refused the bot's token: copy a new one (discord.com/developers/applications → Bot → Reset Token)"
    " into DISCORD_TOKEN or the secret file of that name."
)
NOT_PERMITTED = (
    "Discord refused the intents: switch on Message Content Intent for the bot"
    " (discord.com/developers/applications → Bot → Privileged Gateway Intents)."
)

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
_AUTHENTICATION_FAILED = 4004


# What discord.py 2.7 raises over a frame that makes no sense, and (the first) when it never got a socket at all.
_TRIPPED = (AttributeError, LookupError, TypeError, ValueError, zlib.error)

_DISCORD = DiscordSettings()
_ANSWERS = 5.0  # seconds that commands have to finish before the connection is closed
_FAREWELL = 10.0  # seconds that handlers have to finish once it is
_CLEANING_UP = 1.0  # seconds for those cancelled then


def use_addresses(settings: DiscordSettings) -> None:
    """Point discord.py at the API and gateway of the settings, for the whole process.

    discord.py keeps both as class attributes and offers no argument for them. Settings that name
    Discord's own addresses change nothing.
    """
    if settings.api_url != _DISCORD.api_url:
        Route.BASE = settings.api_url
    if settings.gateway_url != _DISCORD.gateway_url:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.gateway_url)


class Connection(discord.Client):
    """A discord.py client that asks for guilds, their messages and the messages' content, and nothing else.

    `ready` is set while the gateway is connected. `tree` is attached before `serve`: the commands
    Discord is told about.
    """

    def __init__(self, settings: DiscordSettings) -> None:
        intents = discord.Intents(guilds=True, guild_messages=True, message_content=True)
        super().__init__(
            intents=intents,
            max_messages=None,  # a cached message shows the words of a later edit
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            allowed_mentions=discord.AllowedMentions.none(),
            guild_ready_timeout=0.1,  # nothing is chunked: a guild that comes later is simply handled then
        )
        self._settings = settings
        self._handling: set[asyncio.Task[None]] = set()
        self._answering: dict[asyncio.Task[Any], Apology] = {}
        self._lasting: set[asyncio.Task[None]] = set()
        self._trouble = ""
        self.ready = asyncio.Event()
        self.tree: app_commands.CommandTree | None = None
        for event, parse in self._connection.parsers.items():
            self._connection.parsers[event] = partial(_parse, event, parse)

    async def serve(self, token: str) -> None:
        """Log in and handle events until `close` is called, through every loss of the connection.

        Discord being out of reach, at the start or later, is waited out. Raises `DiscordLoginError`,
        saying what to do, if Discord refuses the token or the intents, or if it is not Discord who answers.
        """
        if not token:
            raise DiscordLoginError(NOT_CONFIGURED)
        if not token.isascii() or any(map(str.isspace, token)):  # no header could carry it
            raise DiscordLoginError(NOT_ACCEPTED)
        try:
            async for attempt in stamina.retry_context(self._out_of_reach, attempts=None, timeout=None, wait_max=60):
                with attempt:
                    await self._log_in_and_connect(token)
        except discord.LoginFailure:
            raise DiscordLoginError(NOT_ACCEPTED) from None
        except discord.PrivilegedIntentsRequired:
            raise DiscordLoginError(NOT_PERMITTED) from None
        except discord.ConnectionClosed as closed:
            known = {_AUTHENTICATION_FAILED: NOT_ACCEPTED}
            raise DiscordLoginError(known.get(closed.code, f"Discord refused the bot for good: {closed}.")) from None
        except discord.HTTPException as error:
            where = f"{self._settings.api_url} does not answer as Discord does (HTTP {error.status})"
            raise DiscordLoginError(f"{where}: correct discord.api_url, or look at what stands in between.") from None
        finally:
            await self.close()

    async def _log_in_and_connect(self, token: str) -> None:
        self.ready.clear()
        if self.ws is not None and not self.ws.socket.closed:  # of an attempt before, like the session
            await self.ws.close()
        await self.http.close()
        self.http.connector = discord.utils.MISSING
        await self.login(token)
        await self.connect()

    def _out_of_reach(self, error: Exception) -> bool:
        """Whether it makes sense to try again; what is in the way is said once."""
        status = error.status if isinstance(error, discord.HTTPException) else None
        if status is not None:
            passing = status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        else:
            passing = isinstance(error, (OSError, aiohttp.ClientError, *_TRIPPED))
        trouble = f"{type(error).__name__} {status or ''}".strip()
        if passing and trouble != self._trouble:
            self._trouble = trouble
            log.warning("discord_unreachable", api=self._settings.api_url, error=trouble)
        return passing

    async def close(self) -> None:
        """Let commands at work finish and answer, leave Discord, then let handlers of events received finish.

        Those that take too long are cancelled, so that none is left to meet closed rooms; who waits for
        a command's answer is told.
        """
        await _stop(self._lasting)
        apologies = dict(self._answering)
        late = await _finish(apologies.keys(), _ANSWERS)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLEANING_UP):
                await asyncio.gather(*(apologies[task]() for task in late))
        await super().close()
        await _finish(self._answering.keys() | self._handling, _FAREWELL)

    def own(self, task: asyncio.Task[Any], apology: Apology) -> None:
        """Have `close` wait for a command's or a button's task, which discord.py only starts.

        `apology` answers in its place if it has to be cut off; it must not raise.
        """
        self._answering[task] = apology
        task.add_done_callback(lambda done: self._answering.pop(done, None))

    def keep(self, task: asyncio.Task[None]) -> None:
        """Have `close` begin by cancelling a task that works for long; it has a second to say so."""
        self._lasting.add(task)
        task.add_done_callback(self._lasting.discard)

    async def settle(self) -> None:
        """Wait until the events received so far are handled."""
        if handlers := self._handling - {asyncio.current_task()}:
            await asyncio.wait(handlers)

    async def setup_hook(self) -> None:
        """Tell Discord which commands there are."""
        if self.tree is not None:
            await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Wait before identifying anew, as Discord demands; a stand-in does not."""
        if self._settings.gateway_url == _DISCORD.gateway_url:
            await super().before_identify_hook(shard_id, initial=initial)

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Begin to handle an event; those discord.py still has after `close` find nobody to handle them."""
        if not self.is_closed():
            super().dispatch(event, *args, **kwargs)

    def _schedule_event(
        self, coro: Callable[..., Coroutine[Any, Any, Any]], event_name: str, *args: Any, **kwargs: Any
    ) -> asyncio.Task[None]:
        """Own the handlers' tasks, which discord.py only starts."""
        handler: asyncio.Task[None] = super()._schedule_event(coro, event_name, *args, **kwargs)
        self._handling.add(handler)
        handler.add_done_callback(self._handling.discard)
        return handler

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """Log an exception of a handler: its kind and where it came from, since its text may quote a message."""
        error = sys.exception()
        stack = "".join(traceback.format_tb(error.__traceback__)) if error else ""
        log.error("handler_failed", handler=event_method, error=type(error).__name__, stack=stack)


def _parse(event: str, parse: Callable[[Any], object], data: Any) -> None:
    """Take in an event's data; one that is malformed must not end the connection."""
    try:
        parse(data)
    except Exception as error:
        log.error("event_malformed", kind=event, error=type(error).__name__)


async def _finish(tasks: Set[asyncio.Task[Any]], seconds: float) -> set[asyncio.Task[Any]]:
    """Wait for tasks other than this one, and cancel those that take longer; which these were."""
    others = tasks - {asyncio.current_task()}
    if not others:
        return set()
    _, late = await asyncio.wait(others, timeout=seconds)
    if late:
        log.warning("handlers_cut_off", count=len(late))
        await _stop(late)
    return late


async def _stop(tasks: Set[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and give them a moment to clean up."""
    stopping = set(tasks)
    for task in stopping:
        task.cancel()
    if stopping:
        await asyncio.wait(stopping, timeout=_CLEANING_UP)
