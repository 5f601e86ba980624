"""Discord's gateway (https://discord.com/developers/docs/events/gateway): sessions, resuming, compression, faults."""

import asyncio
import json
from collections.abc import Iterable

from aiohttp import WSMsgType, web

from bot.sandbox.discord import payloads
from bot.sandbox.discord.connection import Connection, Session
from bot.sandbox.discord.entities import PRIVILEGED, Guild, Intent, Json, id_of
from bot.sandbox.discord.events import Event, event_of, is_for
from bot.sandbox.discord.state import Change, State

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME, RECONNECT, REQUEST_MEMBERS = 0, 1, 2, 3, 4, 6, 7, 8
INVALID_SESSION, HELLO, HEARTBEAT_ACK = 9, 10, 11
UNKNOWN_ERROR, UNKNOWN_OPCODE, DECODE_ERROR, NOT_AUTHENTICATED, AUTHENTICATION_FAILED = 4000, 4001, 4002, 4003, 4004
ALREADY_AUTHENTICATED, INVALID_SEQUENCE, INVALID_INTENTS, DISALLOWED_INTENTS = 4005, 4007, 4013, 4014
KNOWN_INTENTS = (1 << 26) - 1


class Gateway:
    """All connections to one world. `identifies` and `resumes` keep what clients sent, for tests to look at."""

    def __init__(self, world: State) -> None:
        self.world = world
        self.refusing = False
        self.heartbeat_interval_ms = 41_250
        self.identifies: list[Json] = []
        self.resumes: list[Json] = []
        self.connections: set[Connection] = set()
        self.sessions: dict[str, Session] = {}
        self.changed = asyncio.Condition()
        world.listeners.append(self.publish)

    @property
    def live(self) -> list[Session]:
        """The sessions someone is connected to."""
        return [session for session in self.sessions.values() if session.connection is not None]

    # -- events

    def publish(self, change: Change) -> None:
        """A change of the world becomes an event for every session that may see it."""
        if self.sessions and (event := event_of(self.world, change)):
            self.send(event)

    def send(self, event: Event) -> None:
        """Dispatch one event to the sessions it is for."""
        encoded: dict[bool, str] = {}
        for session in self.sessions.values():
            if is_for(self.world, event, session.intents):
                whole = event.readable or Intent.MESSAGE_CONTENT in session.intents
                if whole not in encoded:
                    encoded[whole] = json.dumps(event.data if whole else payloads.without_content(event.data))
                session.dispatch(event.name, encoded[whole])

    def send_encoded(self, name: str, encoded: Iterable[str]) -> None:
        """Dispatch events encoded beforehand to every live session, unfiltered: the load path."""
        for data in encoded:
            for session in self.live:
                session.dispatch(name, data)

    # -- faults

    async def drop(self, code: int = UNKNOWN_ERROR) -> None:
        """Close every socket; sessions can be resumed."""
        dropped = list(self.connections)
        for connection in dropped:
            connection.close(code)
        for connection in dropped:
            await connection.closed.wait()

    def invalidate(self, *, resumable: bool = False) -> None:
        """Send INVALID_SESSION. Unless resumable, the sessions are gone and their events with them."""
        for connection in self.connections:
            connection.put_op(INVALID_SESSION, resumable)
            if connection.session is not None and not resumable:
                self._forget(connection.session)

    def forget_sessions(self) -> None:
        """Nothing can be resumed any more; whoever tries is told so."""
        for session in list(self.sessions.values()):
            self._forget(session)

    def ask_to_reconnect(self) -> None:
        """Send RECONNECT."""
        for connection in self.connections:
            connection.put_op(RECONNECT)

    def go_silent(self) -> None:
        """Keep the sockets open and send nothing more on them, not even heartbeat acknowledgements."""
        for connection in self.connections:
            connection.silent = True

    def _forget(self, session: Session) -> None:
        del self.sessions[session.id]
        if session.connection is not None:
            session.connection.session = None

    # -- connections

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The life of one socket."""
        if self.refusing:
            return web.Response(status=503)
        socket = web.WebSocketResponse(max_msg_size=0, timeout=1.0)
        await socket.prepare(request)
        connection = Connection(socket, request.query.get("compress"))
        self.connections.add(connection)
        writer = asyncio.create_task(connection.write())
        try:
            connection.put_op(HELLO, {"heartbeat_interval": self.heartbeat_interval_ms})
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._receive(connection, message.data, request)
        finally:
            self.connections.discard(connection)
            self._detach(connection)
            if not connection.closing:
                writer.cancel()
            await asyncio.wait([writer])
            connection.closed.set()
            await self._notify()
            if not writer.cancelled():
                writer.result()
        return socket

    def _detach(self, connection: Connection) -> None:
        session = connection.session
        if session is not None and session.connection is connection:
            session.connection = None
            # A client that closes with 1000 or 1001 gives its session up; any other end leaves it resumable.
            if not connection.closing and connection.socket.close_code in (1000, 1001):
                del self.sessions[session.id]

    async def _receive(self, connection: Connection, text: str, request: web.Request) -> None:
        try:
            frame = json.loads(text)
            op, data = frame["op"], frame.get("d")
        except (ValueError, KeyError, TypeError):
            connection.close(DECODE_ERROR)
            return
        if op == HEARTBEAT:
            connection.put_op(HEARTBEAT_ACK)
        elif op == IDENTIFY:
            await self._identify(connection, data, request)
        elif op == RESUME:
            await self._resume(connection, data)
        elif connection.session is None:
            connection.close(NOT_AUTHENTICATED)
        elif op == REQUEST_MEMBERS:
            self._send_members(connection.session, data)
        elif op not in (PRESENCE, VOICE):
            connection.close(UNKNOWN_OPCODE)

    async def _identify(self, connection: Connection, data: Json, request: web.Request) -> None:
        self.identifies.append(data)
        if refusal := self._refusal(connection, data):
            connection.close(refusal)
            return
        world = self.world
        session = Session(f"session-{world.snowflake()}", Intent(data["intents"]), connection=connection)
        connection.session = session
        self.sessions[session.id] = session
        guilds = [guild for guild in world.guilds.values() if world.bot.id in guild.members]
        ready = {
            "v": 10,
            "user": payloads.user(world.bot),
            "session_id": session.id,
            "resume_gateway_url": f"ws://{request.host}/gateway",
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "application": {
                "id": str(world.application.id),
                "flags": payloads.application_flags(world.application),
            },
        }
        session.dispatch("READY", json.dumps(ready))
        for guild in guilds:
            if not guild.unavailable:
                session.dispatch("GUILD_CREATE", json.dumps(payloads.guild_event(world, guild)))
        await self._notify()

    def _refusal(self, connection: Connection, data: Json) -> int | None:
        if connection.session is not None:
            return ALREADY_AUTHENTICATED
        if data.get("token") != self.world.application.token:
            return AUTHENTICATION_FAILED
        intents = data.get("intents")
        if not isinstance(intents, int) or intents & ~KNOWN_INTENTS:
            return INVALID_INTENTS
        return DISALLOWED_INTENTS if intents & PRIVILEGED & ~self.world.application.privileged else None

    async def _resume(self, connection: Connection, data: Json) -> None:
        self.resumes.append(data)
        if data.get("token") != self.world.application.token:
            connection.close(AUTHENTICATION_FAILED)
            return
        session = self.sessions.get(str(data.get("session_id")))
        if session is None:
            connection.put_op(INVALID_SESSION, False)
            return
        missed = session.since(data["seq"])
        if missed is None:
            connection.close(INVALID_SEQUENCE)
            return
        if session.connection is not None:
            session.connection.session = None
            session.connection.close(UNKNOWN_ERROR)
        connection.session, session.connection = session, connection
        for frame in missed:
            connection.put(frame)
        session.dispatch("RESUMED", "{}")
        await self._notify()

    def _send_members(self, session: Session, data: Json) -> None:
        """Answer REQUEST_GUILD_MEMBERS; the whole list needs the members intent, single ids do not."""
        guild: Guild = self.world.guilds[id_of(data["guild_id"])]
        everyone = "user_ids" not in data and not data.get("query")
        if everyone and Intent.GUILD_MEMBERS not in session.intents:
            return
        asked = {int(user_id) for user_id in _as_list(data.get("user_ids", []))}
        query = str(data.get("query", "")).casefold()
        found = [
            member
            for member in guild.members.values()
            if (member.user.id in asked if asked else member.user.name.casefold().startswith(query))
        ]
        chunk = {
            "guild_id": str(guild.id),
            "members": [payloads.member(member) for member in found],
            "chunk_index": 0,
            "chunk_count": 1,
            "not_found": [str(user_id) for user_id in asked - set(guild.members)],
            "nonce": data.get("nonce"),
        }
        session.dispatch("GUILD_MEMBERS_CHUNK", json.dumps(chunk))

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()


def _as_list(value: object) -> list[str]:
    return list(value) if isinstance(value, list) else [str(value)]
