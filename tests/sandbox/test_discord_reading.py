"""Who may read what, by cases worked out by hand: the judge of the leak tests is judged here."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.sandbox.discord import ChannelKind, Guild, World
from bot.sandbox.discord.permissions import P
from bot.sandbox.discord.reading import readable_by_all_who_view

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
READ = P.VIEW_CHANNEL | P.READ_MESSAGE_HISTORY


@pytest.fixture
def world() -> World:
    return World(clock=lambda: NOW)


@pytest.fixture
def guild(world: World) -> Guild:
    return world.add_guild(name="lab", everyone=READ | P.CONNECT)


def test_channels_and_private_threads_are_readable_and_nothing_else_is(world: World, guild: Guild) -> None:
    """Categories hold no words, a public thread goes with its channel, a private one is for those in it."""
    alice, bob = (world.add_member(guild, world.add_user(name)).user for name in ("alice", "bob"))
    world.add_channel(guild, "category", kind=ChannelKind.CATEGORY)
    general = world.add_channel(guild, "general")
    world.add_thread(general, "public", owner=alice)
    private = world.add_thread(general, "private", owner=alice, private=True)
    assert world.readable(alice, guild) == {general.id, private.id}
    assert world.readable(bob, guild) == {general.id}
    assert world.readable(world.add_user("stranger"), guild) == frozenset()


@pytest.mark.parametrize("kind", [ChannelKind.VOICE, ChannelKind.STAGE])
def test_the_chat_of_a_voice_channel_takes_connect(world: World, guild: Guild, kind: ChannelKind) -> None:
    """It closes with Connect, and with a timeout, which leaves viewing and reading only."""
    alice, bob = (world.add_member(guild, world.add_user(name)).user for name in ("alice", "bob"))
    voice = world.add_channel(guild, "voice", kind=kind)
    assert world.may_read(alice, voice)
    world.update_member(guild, bob, timed_out_until=NOW + timedelta(minutes=1))
    assert not world.may_read(bob, voice)
    world.deny(voice, guild, P.CONNECT)
    assert not world.may_read(alice, voice)


def test_all_who_view_a_channel_are_more_than_those_there_are(world: World, guild: Guild) -> None:
    """A role that closes a channel counts before anybody has it, and so does an overwrite for one who left."""
    here, closed, left, voice, adult = (
        world.add_channel(guild, "here"),
        world.add_channel(guild, "closed"),
        world.add_channel(guild, "left"),
        world.add_channel(guild, "voice", kind=ChannelKind.VOICE),
        world.add_channel(guild, "adult", nsfw=True),
    )
    assert readable_by_all_who_view(here, NOW) == {here.id, closed.id, left.id}
    world.deny(closed, world.add_role(guild, "newcomers"), P.VIEW_CHANNEL)
    world.deny(left, world.add_user("gone"), P.READ_MESSAGE_HISTORY)
    assert readable_by_all_who_view(here, NOW) == {here.id}
    assert readable_by_all_who_view(adult, NOW) == {here.id, adult.id}
    assert voice.id not in readable_by_all_who_view(voice, NOW)  # one in a timeout views it, and reads nothing there


def test_who_is_let_into_a_hidden_channel_reads_what_everyone_does(world: World, guild: Guild) -> None:
    """A channel for one role is read by all who view it, another role's channel is not."""
    crew, staff = world.add_role(guild, "crew"), world.add_role(guild, "staff")
    deck, office = (world.add_channel(guild, name, hidden_from_everyone=True) for name in ("deck", "office"))
    world.allow(deck, crew, P.VIEW_CHANNEL)
    world.allow(office, staff, P.VIEW_CHANNEL)
    mess = world.add_channel(guild, "mess")
    assert readable_by_all_who_view(deck, NOW) == {deck.id, mess.id}
    assert readable_by_all_who_view(mess, NOW) == {mess.id}
    world.deny(deck, staff, P.READ_MESSAGE_HISTORY)
    assert readable_by_all_who_view(deck, NOW) == {mess.id}  # somebody may be of the crew and of the staff


def test_a_private_thread_is_read_by_all_who_are_in_it(world: World, guild: Guild) -> None:
    """And by nobody else, be they in another thread of the same channel."""
    general = world.add_channel(guild, "general")
    one, two = (world.add_thread(general, name, owner=guild.owner_id, private=True) for name in ("one", "two"))
    assert readable_by_all_who_view(one, NOW) == {general.id, one.id}
    assert readable_by_all_who_view(two, NOW) == {general.id, two.id}
    assert readable_by_all_who_view(general, NOW) == {general.id}
