"""The bundled conversation's people in the stand-in Discord."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.sandbox.community import Community, StoryClock
from bot.sandbox.conversation import load
from bot.sandbox.discord import Permission, Thread, World
from bot.sandbox.discord.permissions import guild_permissions

START = datetime(2026, 4, 27, 8, 0, tzinfo=UTC)


@pytest.fixture
def world() -> World:
    return World(clock=StoryClock(START))


@pytest.fixture
def community(world: World) -> Community:
    return Community(world, load(), StoryClock(START))


def test_the_clock_runs_and_only_goes_forward() -> None:
    """It starts where it is told to, moves on by itself, and cannot be put back."""
    clock = StoryClock(START)
    assert START <= clock() < START + timedelta(minutes=1)
    clock.forward_to(START + timedelta(hours=5))
    clock.forward_to(START + timedelta(hours=2))
    assert START + timedelta(hours=5) <= clock() < START + timedelta(hours=5, minutes=1)


def test_everyone_sees_what_the_conversation_says_they_see(world: World, community: Community) -> None:
    """The stand-in's permissions agree with the conversation's readers, and the bot sees every channel."""
    for channel in community.conversation.channels:
        if channel.parent is None:
            place = community.places[channel.key]
            seeing = {key for key, user in community.users.items() if world.may_read(user, place)}
            assert seeing == channel.readers
            assert world.may_read(world.bot, place)


def test_organisers_manage_the_server(community: Community) -> None:
    """Those and nobody else may switch channels on."""
    managers = {
        key
        for key, user in community.users.items()
        if Permission.MANAGE_GUILD in guild_permissions(community.guild, community.guild.members[user.id])
    }
    assert managers == {member.key for member in community.conversation.members if member.organiser}


def test_everything_is_said_where_when_and_by_whom_it_was_written(world: World, community: Community) -> None:
    """Messages keep their order, carry their time in their id, answer each other and mention people by id."""
    for post in community.conversation.posts:
        message = community.say(post)
        assert message.at == START + timedelta(minutes=post.at)
        assert message.author is community.users[post.author]
        assert world.message(message.place, message) is message
        assert message.mention_ids == [community.users[key].id for key in post.mentions]
        if post.reply_to:
            assert message.reply_to == community.messages[post.reply_to].id
        assert community.link(post.key) == (
            f"https://discord.com/channels/{community.guild.id}/{message.place.id}/{message.id}"
        )
    for place in community.places.values():
        ids = [message.id for message in place.history]
        assert ids == sorted(ids)
    threads = {place.name for place in community.places.values() if isinstance(place, Thread)}
    assert threads == {channel.name for channel in community.conversation.channels if channel.parent}


def test_what_a_text_links_to_is_what_was_said(community: Community) -> None:
    """Links become messages again, each once and in the text's order; what leads elsewhere is left out."""
    first, second = (community.say(post) for post in community.conversation.posts[:2])
    links = [community.link(post.key) for post in community.conversation.posts[:2]]
    text = f"[1]({links[1]}) and {links[0]}, {links[1]}, https://discord.com/channels/1/2/3"
    assert community.linked(text) == [second, first]


def test_secrets_are_what_a_private_channel_holds(world: World, community: Community) -> None:
    """Exactly what the conversation says where some do not listen."""
    for post in community.conversation.posts:
        community.say(post)
    hidden = [post.text for post in community.conversation.posts if post.channel == "organisers"]
    assert [message.content for message in community.secrets] == hidden
    assert not world.may_read(community.users["klaus"], community.private_place)
