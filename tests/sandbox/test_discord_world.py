"""The state on its own: ids that carry time, history in any order, changes that are told."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.model import snowflake_time
from bot.sandbox.discord import MessageKind, World

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def world() -> World:
    return World(clock=lambda: NOW)


def test_ids_carry_the_chosen_time_and_are_unique(world: World) -> None:
    """Also when many things happen in one millisecond."""
    then = NOW - timedelta(days=400)
    ids = [world.snowflake(then) for _ in range(100)] + [world.snowflake() for _ in range(100)]
    assert len(set(ids)) == 200
    assert {snowflake_time(number) for number in ids[:100]} == {then}
    assert {snowflake_time(number) for number in ids[100:]} == {NOW}


def test_ids_of_now_rise_even_when_the_clock_goes_back(world: World) -> None:
    """The gateway's order and the ids' order are one."""
    first = world.snowflake()
    world.clock = lambda: NOW - timedelta(hours=1)
    assert world.snowflake() > first


def test_messages_of_the_past_find_their_place(world: World) -> None:
    """History is ordered by id, whatever order it was written in."""
    alice = world.add_user("alice")
    channel = world.add_channel(world.add_guild(name="lab", owner=alice), "general")
    for hours in (2, 5, 1, 4, 3):
        world.add_message(channel, alice, str(hours), at=NOW - timedelta(hours=hours))
    assert [message.content for message in channel.history] == ["5", "4", "3", "2", "1"]
    assert [message.content for message in channel.history.page(2)] == ["1", "2"]


def test_things_are_named_by_themselves_their_ids_or_their_payloads(world: World) -> None:
    """A test uses whatever it has at hand."""
    alice = world.add_user("alice")
    guild = world.add_guild(name="lab", owner=alice)
    channel = world.add_channel(str(guild.id), "general")
    message = world.add_message({"id": str(channel.id)}, alice.id, "hello")
    assert world.message(channel.id, str(message.id)) is message
    with pytest.raises(KeyError):
        world.message(channel, 1)


def test_a_misspelt_field_is_an_error(world: World) -> None:
    """Changes to fields that do not exist are not lost silently."""
    channel = world.add_channel(world.add_guild(name="lab"), "general")
    with pytest.raises(AttributeError, match="Channel has no nfsw"):
        world.update_channel(channel, nfsw=True)


def test_a_system_message_is_no_ordinary_one(world: World) -> None:
    """Any field of a message can be given."""
    alice = world.add_user("alice")
    channel = world.add_channel(world.add_guild(name="lab", owner=alice), "general")
    message = world.add_message(channel, alice, kind=MessageKind.JOINED, webhook_id=7)
    assert (message.kind, message.webhook_id) == (MessageKind.JOINED, 7)


def test_a_link_preview_is_no_edit(world: World) -> None:
    """Embeds that arrive later leave the time of the last edit alone; new words do not."""
    alice = world.add_user("alice")
    channel = world.add_channel(world.add_guild(name="lab", owner=alice), "general")
    message = world.add_message(channel, alice, "https://example.org")
    world.edit_message(message, embeds=[{"title": "Example"}])
    assert message.edited_at is None
    world.edit_message(message, content=f"<@{alice.id}>")
    assert (message.edited_at, message.mention_ids) == (NOW, [alice.id])


def test_a_removed_channel_takes_its_threads_with_it(world: World) -> None:
    """Archived ones too."""
    alice = world.add_user("alice")
    guild = world.add_guild(name="lab", owner=alice)
    channel, other = world.add_channel(guild, "general"), world.add_channel(guild, "other")
    for archived in (False, True):
        world.add_thread(channel, "inside", owner=alice, archived=archived)
    kept = world.add_thread(other, "outside", owner=alice)
    world.remove_channel(channel)
    assert list(guild.threads) == [kept.id]
    with pytest.raises(KeyError):
        world.place(channel)


def test_a_thread_started_from_a_message_has_its_id(world: World) -> None:
    """As on Discord."""
    alice = world.add_user("alice")
    channel = world.add_channel(world.add_guild(name="lab", owner=alice), "general")
    starter = world.add_message(channel, alice, "who wants tea?")
    thread = world.add_thread(channel, "tea", owner=alice, starter=starter)
    assert thread.id == starter.id
    assert world.place(thread) is thread
