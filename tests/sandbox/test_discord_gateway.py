"""The gateway, as the real discord.py and a bare socket meet it."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import discord
import pytest
from discord_clients import LEAST, RecordingClient, point_discord_py_at, running

from bot.sandbox.discord import Channel, DiscordServer, Guild, Intent, Permission, User


@pytest.fixture(autouse=True)
def _discord_py(discord_server: DiscordServer, monkeypatch: pytest.MonkeyPatch) -> None:
    point_discord_py_at(discord_server, monkeypatch)


class Lab:
    """A guild with an owner and a channel."""

    def __init__(self, server: DiscordServer) -> None:
        self.server, self.world = server, server.world
        self.alice: User = self.world.add_user("alice", display_name="Alice")
        self.guild: Guild = self.world.add_guild(name="lab", owner=self.alice)
        self.general: Channel = self.world.add_channel(self.guild, "general")


@pytest.fixture
def lab(discord_server: DiscordServer) -> Lab:
    return Lab(discord_server)


class Socket:
    """A gateway client that does only what it is told."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, op: int, data: object) -> None:
        await self.socket.send_json({"op": op, "d": data})

    async def identify(self, server: DiscordServer, intents: int = LEAST.value, **changes: Any) -> None:
        await self.send(2, {"token": server.token, "intents": intents, "properties": {}} | changes)

    async def frame(self) -> dict[str, Any]:
        return json.loads(await self.socket.receive_str(timeout=5))

    async def event(self, name: str) -> dict[str, Any]:
        """The next event of that name; what comes before is skipped."""
        while (frame := await self.frame())["t"] != name:
            pass
        return frame["d"]

    async def close_code(self) -> int | None:
        while (await self.socket.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT:
            pass
        return self.socket.close_code


@asynccontextmanager
async def connected(server: DiscordServer) -> AsyncIterator[Socket]:
    async with aiohttp.ClientSession() as session, session.ws_connect(server.gateway_url) as socket:
        client = Socket(socket)
        assert (await client.frame())["op"] == 10
        yield client


async def test_a_client_becomes_ready_with_all_guilds(lab: Lab) -> None:
    """Guilds come with all channels, the threads the bot sees, and the bot as their only member."""
    hidden = lab.world.add_channel(lab.guild, "hidden", hidden_from_everyone=True)
    thread = lab.world.add_thread(lab.general, "chat", owner=lab.alice)
    lab.world.add_thread(lab.general, "old", owner=lab.alice, archived=True)
    lab.world.add_thread(lab.general, "secret", owner=lab.alice, private=True)
    lab.world.add_guild(name="other")
    async with running(RecordingClient(), lab.server) as client:
        assert {guild.name for guild in client.guilds} == {"lab", "other"}
        guild = client.get_guild(lab.guild.id)
        assert guild is not None
        assert {channel.id for channel in guild.channels} == {lab.general.id, hidden.id}
        assert [t.id for t in guild.threads] == [thread.id]
        assert [member.id for member in guild.members] == [lab.world.bot.id]
        assert guild.member_count == len(lab.guild.members)
        assert client.application_flags.gateway_message_content_limited


async def test_the_members_intent_gets_the_member_list(lab: Lab) -> None:
    """With the intent, discord.py asks for all members and becomes ready with them."""
    lab.world.application.privileged |= Intent.GUILD_MEMBERS
    lab.world.add_member(lab.guild, lab.world.add_user("bob"))
    intents = discord.Intents(guilds=True, members=True)
    async with running(RecordingClient(intents), lab.server) as client:
        assert {member.name for member in client.guilds[0].members} == {"alice", "bob", "recollect"}
        lab.world.update_member(lab.guild, lab.alice, nick="Al")
        assert (await client.hear("member_update")).nick is None
        assert client.guilds[0].get_member(lab.alice.id).nick == "Al"


async def test_a_message_lives_through_its_events(lab: Lab) -> None:
    """Said, edited, deleted, deleted with others: each is an event in full."""
    bob = lab.world.add_user("bob")
    lab.world.add_member(lab.guild, bob, nick="Bobby")
    async with running(RecordingClient(), lab.server) as client:
        first = await lab.server.say(lab.general, lab.alice, "tea at four?")
        await lab.server.say(lab.general, bob, f"yes <@{lab.alice.id}>", reply_to=first, attachments=["cake.png"])
        reply = await client.hear("message", 2)
        assert (reply.author.display_name, reply.content) == ("Bobby", f"yes <@{lab.alice.id}>")
        assert reply.type is discord.MessageType.reply
        assert reply.reference.resolved.content == "tea at four?"
        assert [user.name for user in reply.mentions] == ["alice"]
        assert [file.filename for file in reply.attachments] == ["cake.png"]
        await lab.server.edit(lab.general, first, "tea at five?")
        edited = await client.hear("raw_message_edit")
        assert (edited.message.content, edited.message.edited_at is not None) == ("tea at five?", True)
        await lab.server.delete(lab.general, first)
        assert (await client.hear("raw_message_delete")).message_id == int(first["id"])
        await lab.server.bulk_delete(lab.general, [reply])
        assert (await client.hear("raw_bulk_message_delete")).message_ids == {reply.id}
        assert len(lab.general.history) == 0


async def test_a_dropped_connection_is_resumed_and_misses_nothing(lab: Lab) -> None:
    """What happened meanwhile is replayed, in order and once."""
    async with running(RecordingClient(), lab.server) as client:
        await lab.server.say(lab.general, lab.alice, "before")
        await lab.server.drop_connections()
        await lab.server.say(lab.general, lab.alice, "while away")
        await client.hear("resumed")
        await lab.server.say(lab.general, lab.alice, "after")
        await client.hear("message", 3)
        assert [message.content for message in client.heard("message")] == ["before", "while away", "after"]
        assert len(lab.server.gateway.resumes) == 1
        assert len(lab.server.gateway.identifies) == 1


async def test_an_invalid_session_is_begun_anew_and_misses_events(lab: Lab) -> None:
    """What happened between the sessions is not replayed: only history has it."""
    async with running(RecordingClient(), lab.server) as client:
        await lab.server.invalidate_session()
        await lab.server.say(lab.general, lab.alice, "unheard")
        await client.hear("ready", 2)
        await lab.server.say(lab.general, lab.alice, "heard")
        await client.hear("message")
        assert [message.content for message in client.heard("message")] == ["heard"]
        assert len(lab.server.gateway.identifies) == 2


async def test_a_forgotten_session_cannot_be_resumed(lab: Lab) -> None:
    """A client that comes back too late is told so and identifies again."""
    async with running(RecordingClient(), lab.server) as client:
        lab.server.gateway.forget_sessions()
        await lab.server.drop_connections()
        await client.hear("ready", 2)
        assert (len(lab.server.gateway.resumes), len(lab.server.gateway.identifies)) == (1, 2)


async def test_a_request_to_reconnect_is_followed_by_a_resume(lab: Lab) -> None:
    """RECONNECT makes the client come back to the same session."""
    async with running(RecordingClient(), lab.server) as client:
        lab.server.gateway.ask_to_reconnect()
        await client.hear("resumed")
        assert len(lab.server.gateway.identifies) == 1


async def test_a_gateway_that_refuses_is_tried_again(lab: Lab) -> None:
    """During an outage sockets are refused; when it is over, the session goes on."""
    async with running(RecordingClient(), lab.server) as client:
        lab.server.refuse_gateway()
        await lab.server.drop_connections()
        await client.hear("disconnect", 2)
        lab.server.refuse_gateway(False)
        await client.hear("resumed")


async def test_a_silent_gateway_acknowledges_no_heartbeat(lab: Lab) -> None:
    """The socket stays open and nothing comes any more."""
    async with connected(lab.server) as client:
        await client.identify(lab.server)
        await client.event("GUILD_CREATE")
        lab.server.gateway.go_silent()
        await client.send(1, None)
        with pytest.raises(TimeoutError):
            await client.socket.receive(timeout=0.05)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"token": "wrong"}, 4004),
        ({"intents": "all"}, 4013),
        ({"intents": 1 << 40}, 4013),
        ({"intents": discord.Intents.all().value}, 4014),
    ],
    ids=["wrong token", "no intents", "unknown intents", "disallowed intents"],
)
async def test_a_bad_identify_is_refused(lab: Lab, changes: dict[str, Any], code: int) -> None:
    """Each mistake has its own close code."""
    async with connected(lab.server) as client:
        await client.identify(lab.server, **changes)
        assert await client.close_code() == code


async def test_message_content_must_be_switched_on(lab: Lab) -> None:
    """discord.py reports the missing privileged intent."""
    lab.world.application.privileged = Intent(0)
    with pytest.raises(discord.PrivilegedIntentsRequired):
        async with running(RecordingClient(), lab.server):
            pass


@pytest.mark.parametrize(
    ("frame", "code"),
    [("{", 4002), ('{"op": 8, "d": {}}', 4003), ('{"op": 6, "d": {"token": "wrong"}}', 4004)],
    ids=["no JSON", "not identified", "resumed with a wrong token"],
)
async def test_a_bad_frame_closes_the_socket(lab: Lab, frame: str, code: int) -> None:
    """What cannot be read or is not allowed yet ends the connection."""
    async with connected(lab.server) as client:
        await client.socket.send_str(frame)
        assert await client.close_code() == code


@pytest.mark.parametrize(("op", "code"), [(2, 4005), (42, 4001)], ids=["identified twice", "unknown opcode"])
async def test_a_bad_frame_after_identifying_closes_the_socket(lab: Lab, op: int, code: int) -> None:
    """A second IDENTIFY and an unknown opcode are refused."""
    async with connected(lab.server) as client:
        await client.identify(lab.server)
        await client.send(op, {"token": lab.server.token, "intents": 1})
        assert await client.close_code() == code


async def test_a_resume_from_the_future_is_refused(lab: Lab) -> None:
    """A sequence number that was never sent cannot be resumed from."""
    async with connected(lab.server) as client:
        await client.identify(lab.server)
        session = (await client.event("READY"))["session_id"]
        async with connected(lab.server) as other:
            await other.send(6, {"token": lab.server.token, "session_id": session, "seq": 99})
            assert await other.close_code() == 4007


async def test_a_session_moves_to_the_socket_that_resumes_it(lab: Lab) -> None:
    """The former socket is closed, events go to the new one."""
    async with connected(lab.server) as client:
        await client.identify(lab.server)
        session = (await client.event("READY"))["session_id"]
        await client.event("GUILD_CREATE")
        async with connected(lab.server) as other:
            await other.send(6, {"token": lab.server.token, "session_id": session, "seq": 2})
            await other.event("RESUMED")
            assert await client.close_code() == 4000
            await lab.server.say(lab.general, lab.alice, "here now")
            assert (await other.event("MESSAGE_CREATE"))["content"] == "here now"


async def test_a_client_that_says_goodbye_gives_its_session_up(lab: Lab) -> None:
    """Closing with 1000 ends the session, any other code leaves it to be resumed."""
    for code, left in ((1000, 0), (4000, 1)):
        async with connected(lab.server) as client:
            await client.identify(lab.server)
            await client.event("READY")
            await client.socket.close(code=code)
        async with asyncio.timeout(5):
            async with lab.server.gateway.changed:
                await lab.server.gateway.changed.wait_for(lambda: not lab.server.gateway.connections)
        assert len(lab.server.gateway.sessions) == left


async def test_zlib_stream_is_one_stream_in_order(lab: Lab) -> None:
    """Heartbeat acknowledgements and events pass the same compressor, each frame flushed."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{lab.server.gateway_url}?compress=zlib-stream") as socket,
    ):
        inflate, frames = zlib.decompressobj(), []

        async def read() -> dict[str, Any]:
            data = await socket.receive_bytes(timeout=5)
            assert data.endswith(b"\x00\x00\xff\xff")
            frames.append(json.loads(inflate.decompress(data)))
            return frames[-1]

        await read()
        await Socket(socket).identify(lab.server)
        while (await read())["t"] != "GUILD_CREATE":
            pass
        for number in range(20):
            await Socket(socket).send(1, number)
            await lab.server.say(lab.general, lab.alice, f"message {number}")
        while len([frame for frame in frames if frame["t"] == "MESSAGE_CREATE"]) < 20:
            await read()
        while len([frame for frame in frames if frame["op"] == 11]) < 20:
            await read()
        sequence = [frame["s"] for frame in frames if frame["op"] == 0]
        assert sequence == list(range(1, 23))


async def test_several_clients_hear_the_same(lab: Lab) -> None:
    """Each connection has a session of its own."""
    async with running(RecordingClient(), lab.server) as one, running(RecordingClient(), lab.server) as other:
        await lab.server.wait_ready(clients=2)
        await lab.server.say(lab.general, lab.alice, "hello both")
        assert (await one.hear("message")).content == (await other.hear("message")).content == "hello both"


async def test_only_what_the_bot_can_view_is_told(lab: Lab) -> None:
    """Messages in hidden channels and others' private threads never reach the bot."""
    hidden = lab.world.add_channel(lab.guild, "hidden", hidden_from_everyone=True)
    secret = lab.world.add_thread(lab.general, "secret", owner=lab.alice, private=True)
    shared = lab.world.add_thread(lab.general, "shared", owner=lab.alice, private=True, members=[lab.world.bot])
    async with running(RecordingClient(), lab.server) as client:
        for place in (hidden, secret, shared, lab.general):
            await lab.server.say(place, lab.alice, place.name)
        await client.hear("message", 2)
        assert [message.content for message in client.heard("message")] == ["shared", "general"]
        lab.world.allow(hidden, lab.world.bot, Permission.VIEW_CHANNEL)
        lab.world.add_thread_member(secret, lab.world.bot)
        for place in (hidden, secret):
            await lab.server.say(place, lab.alice, place.name)
        await client.hear("message", 4)
        assert [message.channel.id for message in client.heard("message")[2:]] == [hidden.id, secret.id]


async def test_without_the_intent_there_is_no_content(lab: Lab) -> None:
    """Words are withheld except the bot's own and those that mention it."""
    async with running(RecordingClient(discord.Intents(guilds=True, guild_messages=True)), lab.server) as client:
        await lab.server.say(lab.general, lab.alice, "private words", attachments=["plan.txt"])
        await lab.server.say(lab.general, lab.alice, f"<@{lab.world.bot.id}> hello")
        await client.hear("message", 2)
        withheld, shown = client.heard("message")
        assert (withheld.content, withheld.attachments) == ("", [])
        assert shown.content.endswith("hello")


async def test_without_the_messages_intent_there_are_no_messages(lab: Lab) -> None:
    """Events need their intent."""
    async with running(RecordingClient(discord.Intents(guilds=True)), lab.server) as client:
        await lab.server.say(lab.general, lab.alice, "hello")
        lab.world.update_channel(lab.general, topic="tea")
        await client.hear("guild_channel_update")
        assert client.heard("message") == []


async def test_changes_of_channels_roles_and_threads_reach_the_client(lab: Lab) -> None:
    """The client's picture follows the world's."""
    async with running(RecordingClient(), lab.server) as client:
        guild = client.guilds[0]
        channel = lab.world.add_channel(lab.guild, "news")
        await client.hear("guild_channel_create")
        role = lab.world.add_role(lab.guild, "crew", Permission.MANAGE_GUILD)
        assert (await client.hear("guild_role_create")).permissions.manage_guild
        lab.world.update_role(role, name="team")
        await client.hear("guild_role_update")
        assert guild.get_role(role.id).name == "team"
        lab.world.deny(channel, role, Permission.VIEW_CHANNEL)
        await client.hear("guild_channel_update")
        assert guild.get_channel(channel.id).overwrites_for(guild.get_role(role.id)).view_channel is False
        thread = lab.world.add_thread(channel, "talk", owner=lab.alice)
        assert (await client.hear("thread_create")).parent_id == channel.id
        lab.world.update_thread(thread, archived=True)
        await client.hear("raw_thread_update")
        await lab.server.say(thread, lab.alice, "it lives")
        await client.hear("message")
        assert guild.get_thread(thread.id) is not None
        lab.world.remove_thread(thread)
        assert (await client.hear("raw_thread_delete")).thread_id == thread.id
        lab.world.remove_role(role)
        await client.hear("guild_role_delete")
        lab.world.remove_channel(channel)
        assert (await client.hear("guild_channel_delete")).id == channel.id


async def test_a_channel_gained_comes_with_its_threads(lab: Lab) -> None:
    """When the bot may view a channel it could not, THREAD_LIST_SYNC names the threads in it."""
    hidden = lab.world.add_channel(lab.guild, "hidden", hidden_from_everyone=True)
    thread = lab.world.add_thread(hidden, "inner", owner=lab.alice)
    async with running(RecordingClient(), lab.server) as client:
        assert list(client.guilds[0].threads) == []
        role = lab.world.add_role(lab.guild, "inside")
        lab.world.allow(hidden, role, Permission.VIEW_CHANNEL)
        assert client.heard("thread_join") == []
        mine = lab.world.member(lab.guild, lab.world.bot)
        lab.world.update_member(lab.guild, lab.world.bot, role_ids=[*mine.role_ids, role.id])
        assert (await client.hear("thread_join")).id == thread.id


async def test_guilds_come_and_go(lab: Lab) -> None:
    """Joining, an outage, its end and leaving are four different things."""
    async with running(RecordingClient(), lab.server) as client:
        other = lab.world.add_guild(name="other")
        assert (await client.hear("guild_join")).name == "other"
        lab.world.set_unavailable(other)
        await client.hear("guild_unavailable")
        lab.world.set_unavailable(other, False)
        await client.hear("guild_available")
        lab.world.leave_guild(other)
        assert (await client.hear("guild_remove")).id == other.id
        lab.world.add_channel(other, "unseen")
        await lab.server.say(lab.general, lab.alice, "still here")
        await client.hear("message")
        assert client.heard("guild_channel_create") == []


async def test_leaving_a_private_thread_is_told(lab: Lab) -> None:
    """The bot hears that it was removed, and nothing after it."""
    secret = lab.world.add_thread(lab.general, "secret", owner=lab.alice, private=True, members=[lab.world.bot])
    async with running(RecordingClient(), lab.server) as client:
        lab.world.remove_thread_member(secret, lab.world.bot)
        assert (await client.hear("thread_remove")).id == secret.id
        await lab.server.say(secret, lab.alice, "are we alone?")
        await lab.server.say(lab.general, lab.alice, "yes")
        await client.hear("message")
        assert [message.content for message in client.heard("message")] == ["yes"]


async def test_single_members_are_found_without_the_members_intent(lab: Lab) -> None:
    """By id or the beginning of a name, as Discord allows."""
    async with running(RecordingClient(), lab.server) as client:
        guild = client.guilds[0]
        assert [m.id for m in await guild.query_members(user_ids=[lab.alice.id, 1])] == [lab.alice.id]
        assert [m.id for m in await guild.query_members("ali")] == [lab.alice.id]
