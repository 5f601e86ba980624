"""What the gateway may send and how Discord may fail without ending the process."""

import asyncio

import discord
import pytest
import structlog
from watching import Town

EVENTS = ["READY", "MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE", "GUILD_CREATE", "CHANNEL_DELETE", "NEWS"]


@pytest.mark.parametrize("kind", EVENTS)
async def test_a_malformed_event_ends_nothing(town: Town, kind: str) -> None:
    """An event without its data is logged, and the messages after it are captured."""
    await town.observe(town.general)
    with structlog.testing.capture_logs() as logs:
        async with town.watched() as client, asyncio.timeout(10):
            again = asyncio.create_task(client.wait_for("ready"))
            await town.server.dispatch(kind, {})
            if kind == "READY":  # it leaves no session to go on with
                await again
            again.cancel()
            await town.until_held([await town.server.say(town.general, town.alice, "afterwards")])
    kinds = {entry["kind"] for entry in logs if entry["event"] == "event_malformed"}
    assert kinds == set() if kind in ("READY", "NEWS") else {kind}


@pytest.mark.parametrize("frame", ["{}", "[]", "nonsense", '{"op": 0, "t": null, "d": null}'])
async def test_a_frame_without_sense_ends_nothing(town: Town, frame: str) -> None:
    """Whatever arrives on the socket, the bot goes on, in a new session if need be."""
    await town.observe(town.general)
    async with town.watched() as client, asyncio.timeout(10):
        again = asyncio.create_task(client.wait_for("ready"))
        for connection in town.server.gateway.connections:
            connection.put(frame)
        if frame in ("[]", "nonsense"):
            await again
        again.cancel()
        await town.until_held([await town.server.say(town.general, town.alice, "afterwards")])


async def test_the_cause_of_an_outage_is_logged(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as long as it stays the same: what kind of error, and the status if there is one."""
    monkeypatch.setattr(discord.client.ExponentialBackoff, "delay", lambda _: 0.0)
    town.server.fail_next("GET", "/users/@me", 503, times=2)
    with structlog.testing.capture_logs() as logs:
        async with town.watched():
            pass
    assert [entry["error"] for entry in logs if entry["event"] == "discord_unreachable"] == ["DiscordServerError 503"]
