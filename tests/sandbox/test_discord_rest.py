"""The REST API, through discord.py's own calls and, for what it would not send, through plain HTTP."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import discord
import pytest
from discord_clients import RecordingClient, point_discord_py_at, running

from bot.sandbox.discord import Channel, ChannelKind, DiscordServer, Guild, Intent, Permission, User

MARCH = datetime(2025, 3, 1, tzinfo=UTC)


class Lab:
    """A guild with a channel, and the client that is in it."""

    def __init__(self, server: DiscordServer) -> None:
        self.server, self.world = server, server.world
        self.alice: User = self.world.add_user("alice")
        self.guild: Guild = self.world.add_guild(name="lab", owner=self.alice)
        self.general: Channel = self.world.add_channel(self.guild, "general")
        self.client = RecordingClient()

    def channel(self, channel: Channel) -> Any:
        """The channel as discord.py knows it."""
        return self.client.get_channel(channel.id)

    def deny_bot(self, channel: Channel, permission: Permission) -> None:
        self.world.deny(channel, self.world.bot, permission)

    async def request(self, method: str, path: str, **how: Any) -> tuple[int, Any]:
        """A plain request with the bot's token: status and JSON."""
        headers = {"Authorization": f"Bot {self.server.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, f"{self.server.api_url}{path}", **how) as response,
        ):
            return response.status, await response.json() if response.content_type == "application/json" else None


@pytest.fixture
async def lab(discord_server: DiscordServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    point_discord_py_at(discord_server, monkeypatch)
    lab = Lab(discord_server)
    async with running(lab.client, discord_server):
        yield lab


async def test_a_wrong_token_is_refused(lab: Lab) -> None:
    """discord.py reports a failed login."""
    async with RecordingClient() as stranger:
        with pytest.raises(discord.LoginFailure):
            await stranger.login("wrong")


async def test_history_is_paged_to_its_end_from_both_sides(lab: Lab) -> None:
    """Every message comes once, oldest or newest first, also when history was written out of order."""
    for number in range(250):
        at = MARCH + timedelta(minutes=(number * 7) % 250)
        await lab.server.say(lab.general, lab.alice, f"{(number * 7) % 250}", at=at, announce=False)
    channel = lab.channel(lab.general)
    forwards = [
        m.content async for m in channel.history(limit=None, oldest_first=True, after=MARCH - timedelta(days=1))
    ]
    backwards = [m.content async for m in channel.history(limit=None)]
    assert forwards == [str(number) for number in range(250)]
    assert backwards == forwards[::-1]
    (middle,) = [m async for m in channel.history(limit=1, before=MARCH + timedelta(minutes=100))]
    assert (middle.content, middle.created_at) == ("99", MARCH + timedelta(minutes=99))
    around = [m.content async for m in channel.history(limit=5, around=middle)]
    assert sorted(around, key=int) == ["97", "98", "99", "100", "101"]


async def test_a_page_after_an_anchor_holds_the_oldest_of_them_newest_first(lab: Lab) -> None:
    """The order Discord uses, which is not the order one would guess."""
    ids = [
        (await lab.server.say(lab.general, lab.alice, str(n), at=MARCH + timedelta(minutes=n)))["id"] for n in range(9)
    ]
    path = f"/channels/{lab.general.id}/messages"
    _, page = await lab.request("GET", path, params={"after": ids[2], "limit": 3})
    assert [message["content"] for message in page] == ["5", "4", "3"]
    _, page = await lab.request("GET", path, params={"before": ids[4], "limit": 2})
    assert [message["content"] for message in page] == ["3", "2"]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"after": "x"}, {"after": 1, "before": 2}])
async def test_a_bad_history_query_is_refused(lab: Lab, query: dict[str, str]) -> None:
    """Limits from 1 to 100, snowflakes, one anchor."""
    status, body = await lab.request("GET", f"/channels/{lab.general.id}/messages", params=query)
    assert (status, body["code"]) == (400, 50035)


async def test_history_without_the_permission_is_empty_and_no_error(lab: Lab) -> None:
    """Without Read Message History a bot is told there is nothing; without View Channel it is refused."""
    message = await lab.server.say(lab.general, lab.alice, "hello")
    channel = lab.channel(lab.general)
    lab.deny_bot(lab.general, Permission.READ_MESSAGE_HISTORY)
    assert [m async for m in channel.history()] == []
    with pytest.raises(discord.Forbidden, match="50013"):
        await channel.fetch_message(int(message["id"]))
    lab.deny_bot(lab.general, Permission.VIEW_CHANNEL)
    with pytest.raises(discord.Forbidden, match="50001"):
        [m async for m in channel.history()]
    with pytest.raises(discord.Forbidden, match="50001"):
        await lab.client.fetch_channel(lab.general.id)


async def test_history_hides_content_from_an_application_that_may_not_read_it(lab: Lab) -> None:
    """The privileged intent rules over REST too."""
    await lab.server.say(lab.general, lab.alice, "words")
    lab.world.application.privileged = Intent(0)
    assert [m.content async for m in lab.channel(lab.general).history()] == [""]


async def test_what_does_not_exist_is_not_found(lab: Lab) -> None:
    """Each kind of thing has its own code."""
    for path, code in (
        ("/channels/1", 10003),
        (f"/channels/{lab.general.id}/messages/1", 10008),
        ("/guilds/1", 10004),
        (f"/guilds/{lab.guild.id}/members/1", 10007),
        ("/users/1", 10013),
        ("/applications/1/commands", 10002),
        ("/nothing", 0),
    ):
        status, body = await lab.request("GET", path)
        assert (status, body["code"]) == (404, code), path
    assert (await lab.request("DELETE", "/users/@me"))[0] == 405


async def test_the_bot_speaks_edits_and_deletes(lab: Lab) -> None:
    """Its messages are kept with what it allowed them to ping, and come back as events."""
    channel = lab.channel(lab.general)
    nobody = discord.AllowedMentions.none()
    said = await channel.send(f"<@{lab.alice.id}> @everyone", allowed_mentions=nobody, embed=discord.Embed(title="Tea"))
    (kept,) = lab.server.sent(lab.general)
    assert (kept.id, kept.mention_ids, kept.mentions_everyone) == (said.id, [], False)
    assert kept.allowed_mentions == {"parse": []}
    assert kept.embeds[0]["title"] == "Tea"
    assert (await lab.client.hear("message")).id == said.id
    loud = await channel.send(f"<@{lab.alice.id}> @everyone", reference=said)
    kept = lab.server.sent(lab.general)[-1]
    assert (kept.mention_ids, kept.mentions_everyone, kept.reply_to) == ([lab.alice.id], True, said.id)
    await loud.edit(content="quieter")
    assert kept.content == "quieter"
    await loud.delete()
    assert [m.id for m in lab.server.sent(lab.general)] == [said.id]


async def test_the_bot_may_do_only_what_its_permissions_say(lab: Lab) -> None:
    """Sending, embedding, replying, and touching others' messages each need something."""
    channel = lab.channel(lab.general)
    theirs = await channel.fetch_message(int((await lab.server.say(lab.general, lab.alice, "mine"))["id"]))
    with pytest.raises(discord.Forbidden, match="50013"):
        await theirs.delete()
    with pytest.raises(discord.Forbidden, match="50005"):
        await theirs.edit(content="yours")
    lab.deny_bot(lab.general, Permission.EMBED_LINKS)
    with pytest.raises(discord.Forbidden, match="50013"):
        await channel.send(embed=discord.Embed(title="x"))
    lab.deny_bot(lab.general, Permission.READ_MESSAGE_HISTORY)
    with pytest.raises(discord.Forbidden, match="160002"):
        await channel.send("x", reference=theirs)
    lab.deny_bot(lab.general, Permission.SEND_MESSAGES)
    with pytest.raises(discord.Forbidden, match="50013"):
        await channel.send("x")


async def test_many_messages_are_deleted_at_once_if_young_enough(lab: Lab) -> None:
    """Bulk deletion needs Manage Messages, at least two messages, and none older than two weeks."""
    channel = lab.channel(lab.general)
    young = [discord.Object(int((await lab.server.say(lab.general, lab.alice, "x"))["id"])) for _ in range(2)]
    old = discord.Object(int((await lab.server.say(lab.general, lab.alice, "x", at=MARCH))["id"]))
    with pytest.raises(discord.Forbidden):
        await channel.delete_messages(young)
    lab.world.allow(lab.general, lab.world.bot, Permission.MANAGE_MESSAGES)
    with pytest.raises(discord.HTTPException, match="50034"):
        await channel.delete_messages([old, *young])
    await channel.delete_messages(young)
    assert len(lab.general.history) == 1


async def test_guilds_members_and_channels_are_fetched(lab: Lab) -> None:
    """What the gateway leaves out can be asked for."""
    crew = lab.world.add_role(lab.guild, "crew")
    bob = lab.world.add_user("bob")
    lab.world.add_member(lab.guild, bob, nick="Bobby", roles=[crew])
    lab.world.add_channel(lab.guild, "ideas", kind=ChannelKind.FORUM, nsfw=True)
    guild = await lab.client.fetch_guild(lab.guild.id)
    member = await guild.fetch_member(bob.id)
    assert (member.nick, [role.id for role in member.roles]) == ("Bobby", [lab.guild.id, crew.id])
    assert guild.approximate_member_count == 3
    ideas = (await guild.fetch_channels())[-1]
    assert (type(ideas), ideas.nsfw) == (discord.ForumChannel, True)
    assert [role.name for role in await guild.fetch_roles()] == ["@everyone", "recollect", "crew"]
    assert (await lab.client.fetch_user(bob.id)).name == "bob"
    assert [guild.id async for guild in lab.client.fetch_guilds()] == [lab.guild.id]


async def test_the_member_list_needs_its_intent(lab: Lab) -> None:
    """Listing members over REST is privileged."""
    path = f"/guilds/{lab.guild.id}/members"
    assert (await lab.request("GET", path))[0] == 403
    lab.world.application.privileged |= Intent.GUILD_MEMBERS
    _, members = await lab.request("GET", path, params={"limit": 10})
    assert [member["user"]["username"] for member in members] == ["recollect", "alice"]


async def test_a_guild_without_the_bot_is_closed_to_it(lab: Lab) -> None:
    """Its existence is known, its content is not."""
    other = lab.world.add_guild(name="other", with_bot=False)
    with pytest.raises(discord.Forbidden):
        await lab.client.fetch_guild(other.id)


async def test_threads_are_listed_by_state_and_visibility(lab: Lab) -> None:
    """Active, archived public, archived private (Manage Threads), and archived private ones the bot joined."""
    bot = lab.world.bot
    active = lab.world.add_thread(lab.general, "active", owner=lab.alice)
    lab.world.add_thread(lab.general, "others' secret", owner=lab.alice, private=True)
    public = [
        lab.world.add_thread(lab.general, f"old {n}", owner=lab.alice, archived=True, at=MARCH + timedelta(days=n))
        for n in range(5)
    ]
    private = lab.world.add_thread(lab.general, "old secret", owner=lab.alice, private=True, archived=True)
    joined = lab.world.add_thread(lab.general, "ours", owner=lab.alice, private=True, archived=True, members=[bot])
    channel = lab.channel(lab.general)
    assert [t.id for t in await channel.guild.active_threads()] == [active.id]
    archived = [t.id async for t in channel.archived_threads(limit=None)]
    assert archived == [thread.id for thread in reversed(public)]
    _, page = await lab.request("GET", f"/channels/{channel.id}/threads/archived/public", params={"limit": 2})
    assert (len(page["threads"]), page["has_more"]) == (2, True)
    before = {"before": public[2].archive_changed_at.isoformat()}
    _, page = await lab.request("GET", f"/channels/{channel.id}/threads/archived/public", params=before)
    assert [thread["name"] for thread in page["threads"]] == ["old 1", "old 0"]
    assert [t.id async for t in channel.archived_threads(private=True, joined=True)] == [joined.id]
    with pytest.raises(discord.Forbidden):
        [t async for t in channel.archived_threads(private=True)]
    lab.world.allow(lab.general, bot, Permission.MANAGE_THREADS)
    assert {t.id async for t in channel.archived_threads(private=True)} == {private.id, joined.id}


async def test_the_members_of_a_thread_are_listed(lab: Lab) -> None:
    """Joining and leaving change the list; a channel has none."""
    bob = lab.world.add_user("bob")
    created = lab.world.add_thread(lab.general, "chat", owner=lab.alice, members=[bob])
    await lab.client.hear("thread_create")
    thread = lab.channel(lab.general).get_thread(created.id)
    assert {m.id for m in await thread.fetch_members()} == {lab.alice.id, bob.id}
    await thread.join()
    assert (await thread.fetch_member(lab.world.bot.id)).id == lab.world.bot.id
    await thread.leave()
    with pytest.raises(discord.NotFound):
        await thread.fetch_member(lab.world.bot.id)
    assert (await lab.request("GET", f"/channels/{lab.general.id}/thread-members"))[0] == 400


async def test_a_forum_post_shares_its_id_with_its_first_message(lab: Lab) -> None:
    """The post is a thread, its starter the first message in it."""
    forum = lab.world.add_channel(lab.guild, "ideas", kind=ChannelKind.FORUM)
    post = lab.world.add_post(forum, "Quieter kettle", lab.alice, "Mine whistles.")
    message = await lab.client.hear("message")
    assert (message.id, message.channel.id, message.channel.parent_id) == (post.id, post.id, forum.id)


async def test_the_bot_starts_a_forum_post(lab: Lab) -> None:
    """In forums only; typing is acknowledged everywhere."""
    forum = lab.world.add_channel(lab.guild, "ideas", kind=ChannelKind.FORUM)
    await lab.client.hear("guild_channel_create")
    post, message = await lab.channel(forum).create_thread(name="Notice", content="We are watching.")
    assert post.id == message.id == lab.server.sent(post)[0].id
    path = f"/channels/{lab.general.id}"
    assert (await lab.request("POST", f"{path}/threads", json={"name": "x", "message": {"content": "x"}}))[0] == 400
    assert (await lab.request("POST", f"{path}/typing"))[0] == 204


async def test_the_gateways_address_is_told(lab: Lab) -> None:
    """Clients that ask for it get the stand-in's own."""
    for path in ("/gateway", "/gateway/bot"):
        assert (await lab.request("GET", path))[1]["url"] == lab.server.gateway_url


async def test_speaking_in_an_archived_thread_brings_it_back(lab: Lab) -> None:
    """Unless it is locked."""
    thread = lab.world.add_thread(lab.general, "old", owner=lab.alice, archived=True)
    lab.world.update_thread(thread, locked=True)
    channel = await lab.client.fetch_channel(thread.id)
    with pytest.raises(discord.HTTPException, match="50083"):
        await channel.send("hello?")
    lab.world.update_thread(thread, locked=False)
    await channel.send("hello!")
    assert not thread.archived


async def test_a_scripted_rate_limit_is_waited_out(lab: Lab) -> None:
    """discord.py tries again after a 429, here and everywhere."""
    lab.server.fail_next("POST", r"/channels/\d+/messages", 429, retry_after=0.01)
    lab.server.fail_next("GET", r"/users/\d+", 429, retry_after=0.01, everywhere=True)
    await lab.channel(lab.general).send("patience")
    await lab.client.fetch_user(lab.alice.id)
    assert [call.status for call in lab.server.calls][-4:] == [429, 200, 429, 200]


async def test_a_scripted_fault_strikes_as_often_as_asked(lab: Lab) -> None:
    """Other paths are spared, and so is the request after the last fault."""
    lab.server.fail_next("GET", "/guilds/", 503, times=2)
    for _ in range(2):
        with pytest.raises(discord.DiscordServerError):
            await lab.client.fetch_guild(lab.guild.id)
        await lab.client.fetch_user(lab.alice.id)
    assert await lab.client.fetch_guild(lab.guild.id)


async def test_an_enforced_limit_refuses_the_request_too_many(lab: Lab) -> None:
    """What is left counts down; a client that does not heed it is refused until the window ends."""
    lab.server.rest.limit("GET", "/users/", requests=2, per=60)
    path = f"/users/{lab.alice.id}"
    assert [(await lab.request("GET", path))[0] for _ in range(3)] == [200, 200, 429]
    assert (await lab.request("GET", f"/users/{lab.world.bot.id}"))[0] == 200


async def test_latency_delays_every_answer(lab: Lab) -> None:
    """A request takes as long as asked; others go on meanwhile."""
    lab.server.rest.latency = timedelta(seconds=30)
    slow = asyncio.create_task(lab.request("GET", "/users/@me"))
    done, _ = await asyncio.wait([slow], timeout=0.1)
    assert not done
    await lab.server.say(lab.general, lab.alice, "meanwhile")
    await lab.client.hear("message")
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)


async def test_every_request_is_logged_with_its_body(lab: Lab) -> None:
    """Path, query, JSON and status."""
    await lab.channel(lab.general).send("hello")
    call = lab.server.calls[-1]
    assert (call.method, call.path, call.status) == ("POST", f"/channels/{lab.general.id}/messages", 200)
    assert call.body["content"] == "hello"


async def test_broken_json_is_refused(lab: Lab) -> None:
    """The body must be JSON."""
    status, body = await lab.request("POST", f"/channels/{lab.general.id}/messages", data="{")
    assert (status, body["code"]) == (400, 50109)


async def test_commands_keep_their_ids_when_replaced(lab: Lab) -> None:
    """A command of the same name is the same command; guild commands are kept apart."""
    path = f"/applications/{lab.world.application.id}/commands"
    one, two = {"name": "one", "description": "first"}, {"name": "two", "description": "second"}
    _, before = await lab.request("PUT", path, json=[one])
    _, after = await lab.request("PUT", path, json=[one, two])
    assert after[0]["id"] == before[0]["id"]
    assert (await lab.request("GET", path))[1] == after
    guild_path = f"/applications/{lab.world.application.id}/guilds/{lab.guild.id}/commands"
    assert (await lab.request("GET", guild_path))[1] == []
    _, commands = await lab.request("PUT", guild_path, json=[two])
    assert commands[0]["guild_id"] == str(lab.guild.id)
