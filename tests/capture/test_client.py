"""The client's connection: what it asks for, what it says when refused, how it comes and goes."""

import asyncio

import discord
import pytest
import structlog
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route
from watching import Town, notice

from bot.capture.client import Client
from bot.capture.convert import Observable
from bot.capture.gateway import use_addresses
from bot.errors import DiscordLoginError, StorageUnavailable
from bot.sandbox.discord import ChannelKind, Intent, Permission
from bot.settings import DiscordSettings


async def test_it_asks_for_the_least(town: Town) -> None:
    """Guilds, their messages and the messages' content are all it wants to hear, and no members."""
    async with town.watched() as client:
        (identified,) = town.server.gateway.identifies

        assert identified["intents"] == Intent.GUILDS | Intent.GUILD_MESSAGES | Intent.MESSAGE_CONTENT
        assert list(client.cached_messages) == []
        assert [member.id for guild in client.guilds for member in guild.members] == [town.world.bot.id]


async def test_it_pings_nobody(town: Town) -> None:
    """Whatever it posts, mentions in it notify no one."""
    async with town.watched() as client:
        await client.get_channel(town.general.id).send(f"@everyone <@{town.alice.id}>")

        (sent,) = town.server.sent(town.general)
        assert sent.allowed_mentions == {"parse": []}


@pytest.mark.parametrize(("token", "says"), [("", "There is no Discord token"), ("wrong", "refused the bot's token")])
async def test_a_missing_or_wrong_token_is_explained(town: Town, token: str, says: str) -> None:
    """Without a token Discord accepts it ends with one sentence that says where to put one."""
    with pytest.raises(DiscordLoginError, match=rf"{says}.*DISCORD_TOKEN"):
        await town.client().serve(token)


async def test_a_missing_intent_is_explained(town: Town) -> None:
    """If the intent is off in the developer portal it ends with one sentence that says where to switch it on."""
    town.world.application.privileged = Intent(0)

    with pytest.raises(DiscordLoginError, match="switch on Message Content Intent"):
        await town.client().serve(town.server.token)


@pytest.mark.parametrize(("code", "says"), [(4004, "refused the bot's token"), (4011, "for good.*4011")])
async def test_a_refusal_later_on_is_explained(town: Town, code: int, says: str) -> None:
    """A token reset while the bot runs ends it like a wrong one, and every final code is named."""
    client = town.client()
    serving = asyncio.create_task(client.serve(town.server.token))
    await asyncio.wait_for(client.ready.wait(), 5)
    await town.server.drop_connections(code)

    with pytest.raises(DiscordLoginError, match=says):
        await serving


async def test_it_waits_for_a_discord_that_is_down(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an API nor a gateway that is out of order at the start ends it."""
    gateway_failed = asyncio.Event()

    def delay(_: object) -> float:
        gateway_failed.set()
        return 0.0

    monkeypatch.setattr(discord.client.ExponentialBackoff, "delay", delay)
    town.server.fail_next("GET", "/users/@me", 503, times=2)
    town.server.refuse_gateway()
    client = town.client()
    serving = asyncio.create_task(client.serve(town.server.token))
    async with asyncio.timeout(10):
        await gateway_failed.wait()
        town.server.refuse_gateway(False)
        await client.ready.wait()
    await client.close()
    await serving


async def test_ready_follows_the_connection(town: Town) -> None:
    """`ready` is cleared when the gateway is lost and set when it is back, by a resume or a new session."""
    async with town.watched() as client, asyncio.timeout(10):
        lost = asyncio.create_task(client.wait_for("disconnect"))
        town.server.refuse_gateway()
        await town.server.drop_connections()
        await lost
        await client.settle()
        assert not client.ready.is_set()

        town.server.refuse_gateway(False)
        await client.ready.wait()

        again = asyncio.create_task(client.wait_for("ready"))
        await town.server.invalidate_session()
        await again
        assert client.ready.is_set()
        assert len(town.server.gateway.identifies) == 2


async def test_commands_are_registered_at_login(town: Town) -> None:
    """The attached tree is synchronised once."""
    client = town.client()
    client.tree = app_commands.CommandTree(client)

    @client.tree.command(description="Say hello")
    async def hello(interaction: discord.Interaction) -> None: ...

    serving = asyncio.create_task(client.serve(town.server.token))
    await asyncio.wait_for(client.ready.wait(), 5)
    await client.close()
    await serving

    assert [command["name"] for command in town.world.application.commands[None]] == ["hello"]


async def test_closing_waits_for_events_being_handled(town: Town) -> None:
    """A message that arrived before the end is committed before `close` returns."""
    await town.observe(town.general)
    async with town.watched() as client:
        arrived = asyncio.create_task(client.wait_for("message"))
        async with town.database.write():
            said = await town.server.say(town.general, town.alice, "last words")
            await arrived
            closing = asyncio.create_task(client.close())
            await asyncio.sleep(0)
        await closing

    assert await town.messages.holds(int(said["id"]))


async def test_channels_of_the_settings_are_switched_on(town: Town) -> None:
    """Channels, forums and threads named in the settings are observed once the bot is ready, from the notice on."""
    forum = town.world.add_channel(town.guild, "ideas", kind=ChannelKind.FORUM)
    thread = town.world.add_thread(town.general, "thread", owner=town.alice)
    ids = [town.general.id, forum.id, thread.id]
    client = town.client(observe=ids)
    announced = {}

    async def announce(place: Observable) -> discord.Message:
        assert not town.observer.observes(place)
        announced[place.id] = await notice(place)
        return announced[place.id]

    client.announce = announce
    serving = asyncio.create_task(client.serve(town.server.token))
    await asyncio.wait_for(client.ready.wait(), 5)
    await client.settle()
    await client.close()
    await serving

    active = town.observations.active(town.guild.id)
    assert {one.channel_id: one.started_at for one in active} == {id: announced[id].created_at for id in ids}
    assert {one.by_user_id for one in active} == {None}


async def test_channels_of_the_settings_it_cannot_observe_are_named(town: Town) -> None:
    """One that is hidden from the bot, age-restricted, a category or unknown is left out and logged."""
    hidden = town.world.add_channel(town.guild, "hidden")
    town.world.deny(hidden, town.guild, Permission.VIEW_CHANNEL)
    town.world.deny(hidden, town.world.bot, Permission.VIEW_CHANNEL)
    silent = town.world.add_channel(town.guild, "silent")
    town.world.deny(silent, town.world.bot, Permission.SEND_MESSAGES)
    adult = town.world.add_channel(town.guild, "adult", nsfw=True)
    category = town.world.add_channel(town.guild, "category", kind=ChannelKind.CATEGORY)
    ids = [hidden.id, silent.id, adult.id, category.id, 12345]
    with structlog.testing.capture_logs() as logs:
        async with town.watched(observe=[*ids, town.general.id]) as client:
            await client.settle()

    assert [one.channel_id for one in town.observations.active(town.guild.id)] == [town.general.id]
    reasons = {entry["channel_id"]: entry["reason"] for entry in logs if entry["event"] == "cannot_observe"}
    assert set(reasons) == set(ids)
    assert reasons[silent.id] == "the bot lacks Send Messages there"


async def test_without_its_notice_a_channel_of_the_settings_stays_off(town: Town) -> None:
    """If the notice cannot be posted nothing is observed; it is tried again when the next session begins."""
    with structlog.testing.capture_logs() as logs:
        client = town.client(observe=[town.general.id])
        client.announce = lambda _: client.get_partial_messageable(1).send("to nobody")
        async with town.at_work(client), asyncio.timeout(10):
            await client.settle()
            assert town.observations.active(town.guild.id) == []

            client.announce = notice
            again = asyncio.create_task(client.wait_for("ready"))
            await town.server.invalidate_session()
            await again
            await client.settle()
            assert [one.channel_id for one in town.observations.active(town.guild.id)] == [town.general.id]
    assert [entry["channel_id"] for entry in logs if entry["event"] == "cannot_observe"] == [town.general.id]


async def test_a_notice_that_would_not_be_true_is_taken_back(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the database locked a channel of the settings is not observed, and the next session tries again."""

    async def refuse(*_: object, **__: object) -> bool:
        raise StorageUnavailable

    with monkeypatch.context() as broken:
        broken.setattr(town.observations, "switch_on", refuse)
        async with town.watched(observe=[town.general.id]) as client:
            await client.settle()
            assert town.server.sent(town.general) == []
            broken.undo()
            again = asyncio.create_task(client.wait_for("ready"))
            await town.server.invalidate_session()
            await asyncio.wait_for(again, 10)
            await client.settle()

    assert len(town.server.sent(town.general)) == 1
    assert [one.channel_id for one in town.observations.active(town.guild.id)] == [town.general.id]


async def test_a_channel_of_the_settings_waits_for_its_guild(town: Town) -> None:
    """If the guild has an outage at the start, its channel is switched on when it is back."""
    town.world.set_unavailable(town.guild)
    async with town.watched(observe=[town.general.id]) as client:
        await client.settle()
        assert town.observations.active(town.guild.id) == []

        back = asyncio.create_task(client.wait_for("guild_available"))
        town.world.set_unavailable(town.guild, False)
        await asyncio.wait_for(back, 5)
        await client.settle()

        assert [one.channel_id for one in town.observations.active(town.guild.id)] == [town.general.id]


async def test_an_admin_may_switch_off_what_the_settings_switched_on(town: Town) -> None:
    """A new session does not switch it on again; only a new start does."""
    async with town.watched(observe=[town.general.id]) as client:
        await client.settle()
        await town.observations.switch_off(town.guild.id, town.general.id)
        again = asyncio.create_task(client.wait_for("ready"))
        await town.server.invalidate_session()
        await asyncio.wait_for(again, 10)
        await client.settle()

        assert town.observations.active(town.guild.id) == []


def test_discords_own_addresses_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the default settings discord.py keeps its own addresses."""
    monkeypatch.setattr(Route, "BASE", "left alone")
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", "left alone")

    use_addresses(DiscordSettings())

    assert (Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY) == ("left alone", "left alone")


@pytest.mark.parametrize(("gateway", "waits"), [("ws://127.0.0.1:1/", False), (DiscordSettings().gateway_url, True)])
async def test_identifying_anew_is_paced_for_discord_only(
    town: Town, monkeypatch: pytest.MonkeyPatch, gateway: str, waits: bool
) -> None:
    """Discord allows one IDENTIFY in five seconds; a stand-in does not care."""
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    town.client()
    client = Client(DiscordSettings(gateway_url=gateway), town.observer)
    monkeypatch.setattr(discord.client.asyncio, "sleep", sleep)
    await client.before_identify_hook(None, initial=False)

    assert slept == ([5.0] if waits else [])
