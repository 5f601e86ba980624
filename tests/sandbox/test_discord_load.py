"""The stand-in in its own process, and under load."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route
from discord_clients import RecordingClient, point_discord_py_at, running

from bot.sandbox.discord import DiscordServer
from bot.sandbox.discord.load import Crowd, burst, steady


async def test_a_burst_arrives_whole_and_in_order(
    discord_server: DiscordServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message once, spread over people and channels, and kept in history."""
    point_discord_py_at(discord_server, monkeypatch)
    crowd = Crowd(discord_server.world, channels=3, people=5)
    async with running(RecordingClient(), discord_server) as client:
        sent = await burst(discord_server, crowd, 500)
        await client.hear("message", 500)
        heard = client.heard("message")
        assert [message.id for message in heard] == sorted(message.id for message in heard)
        assert (heard[0].id, heard[-1].id, sent.messages) == (sent.first_id, sent.last_id, 500)
        assert {message.channel.id for message in heard} == {channel.id for channel in crowd.channels}
        assert len({message.author.id for message in heard}) == 5
        assert sum(len(channel.history) for channel in crowd.channels) == 500


async def test_a_steady_stream_says_when_each_message_was_sent(
    discord_server: DiscordServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as rate and duration make, each with the time of its sending."""
    point_discord_py_at(discord_server, monkeypatch)
    crowd = Crowd(discord_server.world)
    async with running(RecordingClient(), discord_server) as client:
        before = time.monotonic_ns()
        assert (await steady(discord_server, crowd, rate=200, seconds=0.1)).messages == 20
        await client.hear("message", 20)
        times = [int(message.nonce) for message in client.heard("message")]
        assert before <= times[0] and times == sorted(times) and times[-1] <= time.monotonic_ns()


class Process:
    """`python -m bot.sandbox.discord`, spoken to in lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(await asyncio.wait_for(self.process.stdout.readline(), 10))

    async def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        return await self.line()


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot.sandbox.discord", "--channels", "2"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    yield Process(process)
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_process_obeys_its_parent(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells where it listens, does what each line says and ends with its input."""
    listening = await process.line()
    assert len(listening["channel_ids"]) == 2
    monkeypatch.setattr(Route, "BASE", listening["api_url"])
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(listening["gateway_url"]))
    async with RecordingClient() as client:
        running = asyncio.create_task(client.start(listening["token"]))
        assert await process.do("wait_ready") == {"event": "wait_ready"}
        await client.hear("ready")
        assert (await process.do("burst", messages=50))["messages"] == 50
        assert (await process.do("steady", rate=1000, seconds=0.01))["messages"] == 10
        said = {"channel_id": listening["channel_ids"][0], "author_id": listening["user_ids"][0], "content": "hello"}
        assert (await process.do("say", **said))["message"]["content"] == "hello"
        assert (await client.hear("message", 61)).content == "hello"
        assert await process.do("drop") == {"event": "drop"}
        await client.hear("resumed")
        assert "not a command" in (await process.do("dance"))["error"]
        assert "nowhere known" in (await process.do("say", channel_id=1, author_id=2, content="hello"))["error"]
        await client.close()
        await running
