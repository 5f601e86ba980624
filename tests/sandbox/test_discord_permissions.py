"""The permission algorithm, by cases worked out by hand from Discord's documentation."""

from datetime import UTC, datetime, timedelta
from random import Random

import discord
import pytest
from discord_clients import RecordingClient, point_discord_py_at, running

from bot.sandbox.discord import ChannelKind, DiscordServer, Member, Permission, World
from bot.sandbox.discord.entities import Overwrite
from bot.sandbox.discord.permissions import ALL, EVERYONE, NONE, P

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
READ = P.VIEW_CHANNEL | P.READ_MESSAGE_HISTORY


@pytest.fixture
def world() -> World:
    return World(clock=lambda: NOW)


def test_everyones_permissions_and_those_of_all_roles_add_up(world: World) -> None:
    """The base is @everyone's permissions or-ed with every role's."""
    guild = world.add_guild(name="lab", everyone=P.VIEW_CHANNEL)
    roles = [
        world.add_role(guild, "readers", P.READ_MESSAGE_HISTORY),
        world.add_role(guild, "writers", P.SEND_MESSAGES),
    ]
    member = world.add_member(guild, world.add_user("alice"), roles=roles)
    channel = world.add_channel(guild, "general")
    assert world.permissions(member.user, channel) == READ | P.SEND_MESSAGES


def test_who_is_no_member_may_nothing(world: World) -> None:
    """Permissions come with membership."""
    channel = world.add_channel(world.add_guild(name="lab"), "general")
    assert world.permissions(world.add_user("stranger"), channel) == NONE


def test_the_owner_may_everything_whatever_overwrites_say(world: World) -> None:
    """Overwrites do not touch the guild's owner."""
    owner = world.add_user("owner")
    guild = world.add_guild(name="lab", owner=owner)
    channel = world.add_channel(guild, "general", hidden_from_everyone=True)
    world.deny(channel, owner, ALL)
    assert world.permissions(owner, channel) == ALL


def test_administrators_may_everything_whatever_overwrites_say(world: World) -> None:
    """Administrator bypasses overwrites."""
    guild = world.add_guild(name="lab")
    admin = world.add_member(guild, world.add_user("admin"), roles=[world.add_role(guild, "admins", P.ADMINISTRATOR)])
    channel = world.add_channel(guild, "general", hidden_from_everyone=True)
    world.deny(channel, admin, P.SEND_MESSAGES)
    assert world.permissions(admin.user, channel) == ALL


def test_a_role_is_let_into_a_channel_hidden_from_everyone(world: World) -> None:
    """@everyone's denial comes first, the role's permission after it."""
    guild = world.add_guild(name="lab", everyone=READ)
    crew = world.add_role(guild, "crew")
    inside = world.add_member(guild, world.add_user("inside"), roles=[crew])
    outside = world.add_member(guild, world.add_user("outside"))
    channel = world.add_channel(guild, "crew-only", hidden_from_everyone=True)
    world.allow(channel, crew, P.VIEW_CHANNEL)
    assert world.permissions(inside.user, channel) == READ
    assert world.permissions(outside.user, channel) == NONE


def test_one_roles_permission_beats_another_roles_denial(world: World) -> None:
    """Denials of all roles are applied before permissions of all roles, whatever their positions."""
    guild = world.add_guild(name="lab", everyone=READ)
    low, high = world.add_role(guild, "low"), world.add_role(guild, "high")
    member = world.add_member(guild, world.add_user("alice"), roles=[low, high])
    channel = world.add_channel(guild, "general")
    world.allow(channel, low, P.VIEW_CHANNEL)
    world.deny(channel, high, P.VIEW_CHANNEL)
    assert world.may_read(member.user, channel)


def test_a_members_own_overwrite_comes_last(world: World) -> None:
    """A denial for one member beats the permission of their role."""
    guild = world.add_guild(name="lab", everyone=READ)
    crew = world.add_role(guild, "crew")
    member = world.add_member(guild, world.add_user("alice"), roles=[crew])
    channel = world.add_channel(guild, "general")
    world.allow(channel, crew, READ)
    world.deny(channel, member, P.READ_MESSAGE_HISTORY)
    assert world.permissions(member.user, channel) == P.VIEW_CHANNEL
    assert not world.may_read(member.user, channel)


def test_without_view_channel_there_is_nothing(world: World) -> None:
    """Denying View Channel implicitly denies all else."""
    guild = world.add_guild(name="lab", everyone=READ | P.SEND_MESSAGES)
    member = world.add_member(guild, world.add_user("alice"))
    channel = world.add_channel(guild, "general")
    world.deny(channel, guild, P.VIEW_CHANNEL)
    assert world.permissions(member.user, channel) == NONE


def test_without_sending_there_is_no_embedding_or_mentioning(world: World) -> None:
    """Denying Send Messages implicitly denies what only a message can do."""
    guild = world.add_guild(name="lab", everyone=EVERYONE | P.MENTION_EVERYONE)
    member = world.add_member(guild, world.add_user("alice"))
    channel = world.add_channel(guild, "general")
    world.deny(channel, guild, P.SEND_MESSAGES)
    left = world.permissions(member.user, channel)
    assert not left & (P.SEND_MESSAGES | P.EMBED_LINKS | P.ATTACH_FILES | P.MENTION_EVERYONE)
    assert READ in left


def test_a_timeout_leaves_viewing_and_reading_until_it_ends(world: World) -> None:
    """A timed out member may look on; afterwards all is as before."""
    guild = world.add_guild(name="lab")
    member = world.add_member(guild, world.add_user("alice"))
    channel = world.add_channel(guild, "general")
    before = world.permissions(member.user, channel)
    world.update_member(guild, member.user, timed_out_until=NOW + timedelta(minutes=5))
    assert world.permissions(member.user, channel) == READ
    world.clock = lambda: NOW + timedelta(minutes=5)
    assert world.permissions(member.user, channel) == before


def test_administrators_and_the_owner_are_exempt_from_timeouts(world: World) -> None:
    """A timeout does nothing to them."""
    owner = world.add_user("owner")
    guild = world.add_guild(name="lab", owner=owner)
    admin = world.add_member(guild, world.add_user("admin"), roles=[world.add_role(guild, "admins", P.ADMINISTRATOR)])
    channel = world.add_channel(guild, "general")
    for user in (owner, admin.user):
        world.update_member(guild, user, timed_out_until=NOW + timedelta(days=1))
        assert world.permissions(user, channel) == ALL


def test_a_public_thread_follows_its_channel(world: World) -> None:
    """Threads have no overwrites of their own, and speaking in them is a permission of its own."""
    guild = world.add_guild(name="lab", everyone=EVERYONE & ~P.SEND_MESSAGES_IN_THREADS)
    crew = world.add_role(guild, "crew")
    inside = world.add_member(guild, world.add_user("inside"), roles=[crew]).user
    outside = world.add_member(guild, world.add_user("outside")).user
    channel = world.add_channel(guild, "crew-only", hidden_from_everyone=True)
    world.allow(channel, crew, P.VIEW_CHANNEL)
    thread = world.add_thread(channel, "plans", owner=inside)
    assert world.may_read(inside, thread)
    assert not world.may_read(outside, thread)
    assert P.EMBED_LINKS not in world.permissions(inside, thread)
    assert P.EMBED_LINKS in world.permissions(inside, channel)


def test_a_private_thread_is_for_its_members_and_those_who_manage_threads(world: World) -> None:
    """Seeing the channel is not enough; being a member of the thread without the channel is not either."""
    guild = world.add_guild(name="lab")
    users = {name: world.add_user(name) for name in ("starter", "guest", "onlooker", "moderator", "banished")}
    moderators = world.add_role(guild, "moderators", P.MANAGE_THREADS)
    for name, user in users.items():
        world.add_member(guild, user, roles=[moderators] if name == "moderator" else [])
    channel = world.add_channel(guild, "general")
    world.deny(channel, users["banished"], P.VIEW_CHANNEL)
    thread = world.add_thread(
        channel, "secret", owner=users["starter"], private=True, members=[users["guest"], users["banished"]]
    )
    assert {name for name, user in users.items() if world.may_read(user, thread)} == {"starter", "guest", "moderator"}
    world.remove_thread_member(thread, users["guest"])
    assert not world.may_read(users["guest"], thread)


def test_a_channel_starts_with_its_categorys_overwrites_and_keeps_its_own(world: World) -> None:
    """A category gives a copy when the channel is made; what changes there later does not reach the channel."""
    guild = world.add_guild(name="lab")
    member = world.add_member(guild, world.add_user("alice"))
    category = world.add_channel(guild, "staff", kind=ChannelKind.CATEGORY, hidden_from_everyone=True)
    channel = world.add_channel(guild, "plans", category=category)
    assert not world.may_read(member.user, channel)
    world.allow(category, guild, P.VIEW_CHANNEL)
    assert not world.may_read(member.user, channel)


def test_a_removed_role_takes_its_permissions_with_it(world: World) -> None:
    """What a deleted role allowed is gone."""
    guild = world.add_guild(name="lab", everyone=NONE)
    crew = world.add_role(guild, "crew", READ)
    member = world.add_member(guild, world.add_user("alice"), roles=[crew])
    channel = world.add_channel(guild, "general")
    assert world.may_read(member.user, channel)
    world.remove_role(crew)
    assert world.permissions(member.user, channel) == NONE


async def test_discord_py_comes_to_the_same_result(
    discord_server: DiscordServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In random channels, members may what discord.py's own implementation says they may."""
    point_discord_py_at(discord_server, monkeypatch)
    world, random = discord_server.world, Random(7)
    flags = [P.VIEW_CHANNEL, P.READ_MESSAGE_HISTORY, P.SEND_MESSAGES, P.EMBED_LINKS, P.MANAGE_THREADS]
    judged = Permission(sum(flags))

    def some() -> Permission:
        return Permission(sum(flag for flag in flags if random.random() < 0.5))

    guild = world.add_guild(name="lab", everyone=some())
    roles = [world.add_role(guild, f"role-{n}", some()) for n in range(5)]
    roles.append(world.add_role(guild, "admins", P.ADMINISTRATOR))
    members: list[Member] = []
    for number in range(12):
        mine = random.sample(roles[:-1], k=random.randint(0, 3)) if number else [roles[-1]]
        members.append(world.add_member(guild, world.add_user(f"user-{number}"), roles=mine))
    members[1].timed_out_until = world.clock() + timedelta(hours=1)
    for number in range(12):
        channel = world.add_channel(guild, f"channel-{number}")
        for target in (guild.id, *(role.id for role in random.sample(roles, k=3))):
            channel.overwrites[target] = Overwrite(False, *_disjoint(some(), some()))
        for member in random.sample(members, k=4):
            channel.overwrites[member.user.id] = Overwrite(True, *_disjoint(some(), some()))
    async with running(RecordingClient(), discord_server) as client:
        there = client.get_guild(guild.id)
        assert there is not None
        for member in members:
            theirs = await there.fetch_member(member.user.id)
            for channel in there.channels:
                expected = discord.Permissions(channel.permissions_for(theirs).value & int(judged))
                assert int(world.permissions(member.user, channel) & judged) == expected.value


def _disjoint(allow: Permission, deny: Permission) -> tuple[Permission, Permission]:
    return allow, deny & ~allow
