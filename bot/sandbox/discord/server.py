"""A Discord to talk to on 127.0.0.1: gateway and REST API over one world, with people to act in it."""

import json
from collections.abc import Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from bot.sandbox.discord import payloads, routes_channels, routes_files, routes_guilds, routes_interactions
from bot.sandbox.discord.acting import Acting
from bot.sandbox.discord.answers import Answer
from bot.sandbox.discord.entities import Attachment, Intent, Json, Message, Ref, Thread
from bot.sandbox.discord.events import Event
from bot.sandbox.discord.gateway import Gateway
from bot.sandbox.discord.interactions import Interactions
from bot.sandbox.discord.limits import REQUEST_BYTES
from bot.sandbox.discord.rest import API, WORLD, Call, Rest
from bot.sandbox.discord.world import World


class DiscordServer:
    """The stand-in. `async with DiscordServer() as server:` serves `server.api_url` and `server.gateway_url`.

    `world` holds and changes the state, `gateway` and `rest` take faults, and the methods here act as users.
    """

    def __init__(self, world: World | None = None, *, port: int = 0) -> None:
        self.world = world or World()
        self.gateway = Gateway(self.world)
        self.rest = Rest(self.world)
        self.interactions = Interactions(self.world, self.gateway.send)
        self.acting = Acting(self.world, self.interactions)
        api = web.Application(middlewares=[self.rest.around])
        api[WORLD] = self.world
        api[routes_interactions.INTERACTIONS] = self.interactions
        for module in (routes_channels, routes_guilds, routes_interactions):
            api.add_routes(module.routes)
        app = web.Application(client_max_size=REQUEST_BYTES)
        app[WORLD] = self.world
        app.add_routes(routes_files.routes)
        app.router.add_get("/gateway", self.gateway.handle)
        app.add_subapp(API, api)
        # The default of 60 s would wait for sockets that clients keep open.
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._port = port

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        self.world.cdn = f"http://127.0.0.1:{self._port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def api_url(self) -> str:
        """The base of the REST API, as in the setting `discord.api_url`."""
        return f"http://127.0.0.1:{self._port}{API}"

    @property
    def gateway_url(self) -> str:
        """The gateway, as in the setting `discord.gateway_url`."""
        return f"ws://127.0.0.1:{self._port}/gateway"

    @property
    def token(self) -> str:
        """The bot's token."""
        return self.world.application.token

    @property
    def calls(self) -> list[Call]:
        """All requests, oldest first."""
        return self.rest.calls

    # -- people talking

    async def say(
        self,
        place: Ref,
        author: Ref,
        content: str = "",
        *,
        reply_to: Ref | None = None,
        mentions: Iterable[Ref] | None = None,
        attachments: Iterable[Attachment | str] = (),
        at: datetime | None = None,
        announce: bool = True,
        **fields: Any,
    ) -> Json:
        """Someone says something; returns the message's payload. See `World.add_message`.

        As on Discord, an archived thread comes back when someone speaks in it.
        """
        there = self.world.place(place)
        if isinstance(there, Thread) and there.archived and announce and at is None:
            self.world.update_thread(there, archived=False)
        message = self.world.add_message(
            there,
            author,
            content,
            reply_to=reply_to,
            mentions=mentions,
            attachments=attachments,
            at=at,
            announce=announce,
            **fields,
        )
        return payloads.message_event(self.world, message)

    async def edit(self, place: Ref, message: Ref, content: str, *, announce: bool = True) -> Json:
        """The author edits a message; returns its payload."""
        found = self.world.message(place, message)
        self.world.edit_message(found, announce=announce, content=content)
        return payloads.message_event(self.world, found)

    async def delete(self, place: Ref, message: Ref, *, announce: bool = True) -> None:
        """A message is deleted."""
        self.world.remove_message(self.world.message(place, message), announce=announce)

    async def bulk_delete(self, place: Ref, messages: Iterable[Ref], *, announce: bool = True) -> None:
        """A moderator deletes many messages at once."""
        self.world.remove_messages(place, messages, announce=announce)

    def sent(self, place: Ref) -> list[Message]:
        """The messages the bot posted there, oldest first."""
        return [message for message in self.world.place(place).history if message.author is self.world.bot]

    # -- people using the bot

    async def slash(self, user: Ref, place: Ref, path: str, /, **options: Any) -> Answer:
        """Type a command (`"recall"`, `"observe on"`) with its options by name.

        Returns when the bot has responded or its time is over; `await answer.settled()` waits for the rest.
        Raises NotAllowed if the command is hidden from the user, LookupError if it or an option does not exist,
        ValueError if Discord would refuse an option's value.
        """
        return await self.acting.slash(user, place, path, options)

    async def autocomplete(
        self, user: Ref, place: Ref, path: str, option: str, typed: str, /, **options: Any
    ) -> list[Json]:
        """The choices offered while `typed` stands in an option; each has a `name` and a `value`."""
        return (await self.acting.autocomplete(user, place, path, option, typed, options)).choices

    async def user_command(self, user: Ref, place: Ref, name: str, target: Ref) -> Answer:
        """Choose a command from a user's context menu."""
        return await self.acting.user_command(user, place, name, target)

    async def message_command(self, user: Ref, place: Ref, name: str, target: Ref) -> Answer:
        """Choose a command from a message's context menu."""
        return await self.acting.message_command(user, place, name, target)

    async def click(self, user: Ref, message: Message, button: str) -> Answer:
        """Press a button of a message that is no answer (see `sent`); answers have their own `click`."""
        return await self.acting.click(user, message, button)

    # -- the gateway

    async def wait_ready(self, clients: int = 1) -> None:
        """Wait until so many clients are connected and have been sent all guilds."""
        async with self.gateway.changed:
            await self.gateway.changed.wait_for(lambda: len(self.gateway.live) >= clients)
        for connection in list(self.gateway.connections):
            await connection.flushed()

    async def dispatch(self, event: str, data: Json) -> None:
        """Send a raw event to every session, whatever its intents."""
        self.gateway.send(Event(event, data, Intent(0)))

    async def burst(self, messages: Iterable[Message]) -> None:
        """Send MESSAGE_CREATE for messages already kept, as fast as the sockets take them."""
        encoded = [json.dumps(payloads.message_event(self.world, message)) for message in messages]
        self.gateway.send_encoded("MESSAGE_CREATE", encoded)
        for session in self.gateway.live:
            if session.connection is not None:
                await session.connection.flushed()

    async def drop_connections(self, code: int = 4000) -> None:
        """Close every socket with a code; sessions can be resumed and miss nothing."""
        await self.gateway.drop(code)

    async def invalidate_session(self, *, resumable: bool = False) -> None:
        """Tell every client that its session is invalid."""
        self.gateway.invalidate(resumable=resumable)

    def refuse_gateway(self, refusing: bool = True) -> None:
        """Refuse new sockets, as in an outage, until called with False."""
        self.gateway.refusing = refusing

    def fail_next(self, method: str, path_pattern: str, status: int, *, times: int = 1, **how: Any) -> None:
        """Answer the next matching requests with an error. See `Rest.fail_next`."""
        self.rest.fail_next(method, path_pattern, status, times=times, **how)
