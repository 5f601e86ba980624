"""The connection to Discord: least intents, nothing cached that is not needed, events handed to the observer."""

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Set
from contextlib import suppress
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

from bot.capture.convert import Observable
from bot.capture.observer import Observer
from bot.capture.visibility import missing_permissions
from bot.errors import DiscordLoginError, StorageUnavailable
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


class Client(discord.Client):
    """A discord.py client that asks for guilds, their messages and the messages' content, and nothing else.

    `ready` is set while the gateway is connected. Two things are attached before `serve`: `tree`, the
    commands Discord is told about, and `announce`, which posts the notice in a channel that the
    settings name; without it none of these is switched on. `began` and `available` hear of every session
    that does not continue the one before, and of every guild that comes or comes back.
    """

    def __init__(self, settings: DiscordSettings, observer: Observer) -> None:
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
        self._observer = observer
        self._switched_on: set[int] = set()
        self._problems: dict[int, str] = {}
        self._switching = asyncio.Lock()
        self._handling: set[asyncio.Task[None]] = set()
        self._answering: dict[asyncio.Task[Any], Apology] = {}
        self._lasting: set[asyncio.Task[None]] = set()
        self.ready = asyncio.Event()
        self.tree: app_commands.CommandTree | None = None
        self.announce: Callable[[Observable], Awaitable[discord.Message]] | None = None
        self.began: Callable[[], None] = lambda: None
        self.available: Callable[[int], None] = lambda guild_id: None

    async def serve(self, token: str) -> None:
        """Log in and handle events until `close` is called, through every loss of the connection.

        Discord being out of reach, at the start or later, is waited out. Raises `DiscordLoginError`,
        saying what to do, if Discord refuses the token or the intents.
        """
        if not token:
            raise DiscordLoginError(NOT_CONFIGURED)
        if not token.isascii() or any(map(str.isspace, token)):  # no header could carry it
            raise DiscordLoginError(NOT_ACCEPTED)
        try:
            async for attempt in stamina.retry_context(self._out_of_reach, attempts=None, timeout=None, wait_max=60):
                if attempt.num == 2:
                    log.warning("discord_unreachable", api=self._settings.api_url)
                with attempt:
                    await self._log_in_and_connect(token)
        except discord.LoginFailure:
            raise DiscordLoginError(NOT_ACCEPTED) from None
        except discord.PrivilegedIntentsRequired:
            raise DiscordLoginError(NOT_PERMITTED) from None
        except discord.ConnectionClosed as closed:
            known = {_AUTHENTICATION_FAILED: NOT_ACCEPTED}
            raise DiscordLoginError(known.get(closed.code, f"Discord refused the bot for good: {closed}.")) from None
        finally:
            await self.close()

    async def _log_in_and_connect(self, token: str) -> None:
        await self.http.close()  # the session of an attempt before
        self.http.connector = discord.utils.MISSING
        await self.login(token)
        await self.connect()

    def _out_of_reach(self, error: Exception) -> bool:
        if isinstance(error, AttributeError):
            return self.ws is None  # discord.py 2.7 reconnects a lost socket, but trips if there never was one
        if isinstance(error, discord.HTTPException):
            return error.status == HTTPStatus.TOO_MANY_REQUESTS or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return isinstance(error, OSError | aiohttp.ClientError)

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
        await self._observer.close()

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

    async def on_ready(self) -> None:
        self.ready.set()
        log.info("ready", guilds=len(self.guilds))
        self.began()
        await self._observe_configured(self._settings.observe)

    async def on_resumed(self) -> None:
        self.ready.set()
        log.info("resumed")

    async def on_disconnect(self) -> None:
        if self.ready.is_set() and not self.is_closed():
            log.warning("disconnected")
        self.ready.clear()

    async def on_guild_available(self, guild: discord.Guild) -> None:
        self.available(guild.id)
        await self._observe_configured(id for id in self._settings.observe if guild.get_channel_or_thread(id))

    on_guild_join = on_guild_available

    async def on_message(self, message: discord.Message) -> None:
        await self._observer.message(message)

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        await self._observer.edited(payload.message)

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        await self._deleted(payload.guild_id, payload.channel_id, {payload.message_id})

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        await self._deleted(payload.guild_id, payload.channel_id, payload.message_ids)

    async def _deleted(self, guild_id: int | None, channel_id: int, message_ids: set[int]) -> None:
        if guild_id is not None:
            place = self.get_channel(channel_id) or discord.Object(channel_id)
            await self._observer.deleted(guild_id, place, message_ids)

    async def _observe_configured(self, channel_ids: Iterable[int]) -> None:
        """Switch on channels named in the settings, each once in the life of the process.

        So an admin's `/observe off` holds until the next start. Where something is in the way it is
        said once, and tried again when a session begins or the guild comes back.
        """
        async with self._switching:  # lest a guild that comes back meanwhile be told twice
            for channel_id in set(channel_ids) - self._switched_on:
                problem = await self._observe(self.get_channel(channel_id))
                if problem is None:
                    self._switched_on.add(channel_id)
                elif problem != self._problems.get(channel_id):
                    self._problems[channel_id] = problem
                    log.warning("cannot_observe", channel_id=channel_id, reason=problem)

    async def _observe(self, place: object) -> str | None:
        """Post the notice, and only if it stands begin to observe; what is in the way, if anything."""
        if not isinstance(place, Observable):
            return "the bot sees no text channel, forum or thread of this id"
        if self._observer.observes(place):
            return None
        if not self._observer.may_observe(place):
            return "the channel is age-restricted"
        if missing := missing_permissions(place):
            return f"the bot lacks {' and '.join(missing)} there"
        if self.announce is None:
            return "there is no notice to post"
        try:
            notice = await self.announce(place)
        except discord.HTTPException as error:
            return f"the notice could not be posted: {error}"
        try:
            await self._observer.observe(place, notice.created_at)
        except StorageUnavailable as error:
            with suppress(discord.HTTPException):
                await notice.delete()  # it would not be true
            return str(error)
        log.info("observing", guild_id=place.guild.id, channel_id=place.id)
        return None


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
