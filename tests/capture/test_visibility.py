"""Who may read what: the shipped answer against expectations made by hand, on the real client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from watching import Town

from bot.capture.visibility import DiscordVisibility
from bot.model import utcnow
from bot.sandbox.discord import Channel, ChannelKind, Permission, Thread, User

VIEW, HISTORY, MANAGE_THREADS = Permission.VIEW_CHANNEL, Permission.READ_MESSAGE_HISTORY, Permission.MANAGE_THREADS


class Seconds:
    """A monotonic clock that tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Sight:
    """A town with channels of every kind, watched, and the shipped visibility of it."""

    def __init__(self, town: Town) -> None:
        world, guild = town.world, town.guild
        self.town, self.seconds = town, Seconds()
        self.helpers = world.add_role(guild, "helpers")
        self.muted = world.add_role(guild, "muted")
        self.admins = world.add_role(guild, "admins", Permission.ADMINISTRATOR)
        self.people: dict[str, User] = {"owner": town.alice, "member": town.bob}
        for name, roles in {
            "helper": [self.helpers],
            "muted helper": [self.helpers, self.muted],
            "admin": [self.admins],
            "timed out": [],
            "invited": [],
        }.items():
            self.people[name] = world.add_user(name)
            world.add_member(guild, self.people[name], roles=roles)
        world.update_member(guild, self.people["timed out"], timed_out_until=utcnow() + timedelta(hours=1))
        self.people["stranger"] = world.add_user("stranger")

        self.channels: dict[str, Channel] = {"general": town.general}
        for name in ("staff", "helpers only", "not for muted", "announcements", "no history", "by invitation"):
            kind = ChannelKind.ANNOUNCEMENT if name == "announcements" else ChannelKind.TEXT
            self.channels[name] = world.add_channel(guild, name, kind=kind)
        self.channels["forum"] = world.add_channel(guild, "forum", kind=ChannelKind.FORUM)
        world.add_channel(guild, "a category", kind=ChannelKind.CATEGORY)
        for name in ("staff", "helpers only", "by invitation"):
            world.deny(self.channels[name], guild, VIEW)
            world.allow(self.channels[name], world.bot, VIEW)
        world.allow(self.channels["helpers only"], self.helpers, VIEW)
        world.deny(self.channels["not for muted"], self.muted, VIEW)
        world.deny(self.channels["no history"], guild, HISTORY)
        world.allow(self.channels["by invitation"], self.people["invited"], VIEW)

    def names(self, access_ids: frozenset[int]) -> set[str]:
        """The channels' names instead of their ids."""
        by_id = {channel.id: name for name, channel in self.channels.items()}
        return {by_id.get(id, str(id)) for id in access_ids}

    async def of(self, name: str) -> set[str]:
        """What this person sees, by name."""
        return self.names(await self.visibility.visible(self.town.guild.id, self.people[name].id))

    async def sees(self, name: str, thread: Thread) -> bool:
        """Whether this person may read the thread."""
        return thread.id in await self.visibility.visible(self.town.guild.id, self.people[name].id)

    async def aloud(self, place: Channel | Thread) -> set[str]:
        """What may be shown to all who see this place, by name."""
        return self.names(await self.visibility.public(self.town.guild.id, place.id))

    async def after(self, change: Callable[[], object], event: str = "guild_channel_update") -> None:
        """Change something, and wait until the client knows."""
        known = asyncio.create_task(self.client.wait_for(event))
        await asyncio.sleep(0)
        change()
        await asyncio.wait_for(known, 5)

    def private_thread(self, parent: str, members: list[str], archived: bool = False) -> Thread:
        """A private thread of the owner's, with the bot in it."""
        invited = [self.town.world.bot, *(self.people[name] for name in members)]
        return self.town.world.add_thread(
            self.channels[parent], "private", owner=self.town.alice, private=True, members=invited, archived=archived
        )


@pytest.fixture
async def sight(town: Town) -> AsyncIterator[Sight]:
    """The town in sight of a connected client."""
    sight = Sight(town)
    async with town.watched() as client:
        sight.client = client
        sight.visibility = DiscordVisibility(client, town.observations, sight.seconds)
        yield sight


OPEN = {"general", "not for muted", "announcements", "forum"}
EVERYTHING = OPEN | {"staff", "helpers only", "no history", "by invitation"}


@pytest.mark.parametrize(
    ("person", "sees"),
    [
        ("owner", EVERYTHING),
        ("admin", EVERYTHING),
        ("member", OPEN),
        ("helper", OPEN | {"helpers only"}),
        ("muted helper", OPEN - {"not for muted"} | {"helpers only"}),
        ("invited", OPEN | {"by invitation"}),
        ("timed out", OPEN),
        ("stranger", set()),
    ],
)
async def test_what_each_person_sees(sight: Sight, person: str, sees: set[str]) -> None:
    """View Channel and Read Message History, from roles and overwrites, decide; nothing else does."""
    assert await sight.of(person) == sees


async def test_it_is_the_present_that_counts(sight: Sight) -> None:
    """A role given or taken, an overwrite changed or a member gone shows at once."""
    world, guild, bob = sight.town.world, sight.town.guild, sight.town.bob
    world.update_member(guild, bob, role_ids=[sight.helpers.id])
    assert await sight.of("member") == OPEN | {"helpers only"}

    changed = asyncio.create_task(sight.client.wait_for("guild_channel_update"))
    world.deny(sight.channels["helpers only"], sight.helpers, VIEW)
    await asyncio.wait_for(changed, 5)
    assert await sight.of("member") == OPEN

    world.remove_member(guild, bob)
    assert await sight.of("member") == set()


async def test_private_threads_are_for_their_members(sight: Sight) -> None:
    """Of an observed private thread only its members and those who manage threads know."""
    thread = sight.private_thread("general", ["member"])
    unobserved = sight.private_thread("general", ["member"])
    await sight.town.observe(thread)

    assert [name for name in sight.people if await sight.sees(name, thread)] == ["owner", "member", "admin"]
    assert not await sight.sees("member", unobserved)


async def test_memories_of_a_thread_stay_when_it_is_switched_off(sight: Sight) -> None:
    """Its members may still read what was captured while it was observed."""
    thread = sight.private_thread("general", ["member"])
    await sight.town.observe(thread)
    await sight.town.observations.switch_off(sight.town.guild.id, thread.id)

    assert await sight.sees("member", thread)


async def test_archived_private_threads_keep_their_members(sight: Sight) -> None:
    """discord.py forgets archived threads; who is in them is asked of Discord."""
    thread = sight.private_thread("general", ["member"], archived=True)
    await sight.town.observe(thread)

    assert await sight.sees("member", thread)
    assert not await sight.sees("helper", thread)


async def test_a_thread_is_hidden_with_its_channel(sight: Sight) -> None:
    """Being a member of a private thread is worth nothing without the right to read its channel."""
    thread = sight.private_thread("helpers only", ["member", "helper"])
    await sight.town.observe(thread)

    assert await sight.sees("helper", thread)
    assert not await sight.sees("member", thread)


async def test_managing_threads_needs_the_channel_as_well(sight: Sight) -> None:
    """Manage Threads opens the private threads of channels one may read, no others."""
    world, guild = sight.town.world, sight.town.guild
    world.allow(sight.channels["general"], sight.people["invited"], MANAGE_THREADS)
    world.allow(sight.channels["staff"], sight.people["invited"], MANAGE_THREADS)
    changed = asyncio.create_task(sight.client.wait_for("guild_channel_update", check=lambda _, c: c.name == "staff"))
    open_one, closed_one = sight.private_thread("general", []), sight.private_thread("staff", [])
    await sight.town.observe(open_one, closed_one)
    await asyncio.wait_for(changed, 5)

    assert await sight.sees("invited", open_one)
    assert not await sight.sees("invited", closed_one)
    assert guild.id == open_one.guild.id


async def test_public_threads_have_no_entry_of_their_own(sight: Sight) -> None:
    """A public thread or forum post is covered by its parent, observed by itself or not, archived or not."""
    active = sight.town.world.add_thread(sight.channels["general"], "active", owner=sight.town.alice)
    archived = sight.town.world.add_thread(sight.channels["general"], "old", owner=sight.town.alice, archived=True)
    await sight.town.observe(active, archived)

    assert await sight.of("member") == OPEN


async def test_who_leaves_a_thread_loses_it_at_once(sight: Sight) -> None:
    """Discord is asked at every recall whether a member is still in: nobody hears of it otherwise."""
    thread = sight.private_thread("general", ["member"])
    await sight.town.observe(thread)
    assert await sight.sees("member", thread)

    sight.town.world.remove_thread_member(thread, sight.town.bob)
    assert not await sight.sees("member", thread)


async def test_a_refusal_is_remembered_for_a_moment(sight: Sight) -> None:
    """Repeated recalls of someone outside do not ask Discord each time, and who is let in soon sees it."""
    thread = sight.private_thread("general", [])
    await sight.town.observe(thread)
    asked = f"/channels/{thread.id}/thread-members/{sight.town.bob.id}"

    assert not await sight.sees("member", thread) and not await sight.sees("member", thread)
    assert [call.path for call in sight.town.server.calls].count(asked) == 1

    sight.town.world.add_thread_member(thread, sight.town.bob)
    sight.seconds.now += 16
    assert await sight.sees("member", thread)


async def test_deleted_places_are_asked_about_once(sight: Sight) -> None:
    """A channel or thread that is gone stays gone: no recall after the first spends a request on it."""
    channel = sight.town.world.add_channel(sight.town.guild, "short-lived")
    thread = sight.private_thread("general", ["member"])
    await sight.town.observe(channel, thread)
    gone = asyncio.create_task(sight.client.wait_for("guild_channel_delete"))
    sight.town.world.remove_thread(thread)
    sight.town.world.remove_channel(channel)
    await asyncio.wait_for(gone, 5)

    for _ in range(2):
        sight.seconds.now += 60
        assert await sight.of("member") == OPEN
    asked = [
        call.path for call in sight.town.server.calls if str(channel.id) in call.path or str(thread.id) in call.path
    ]
    assert sorted(asked) == sorted([f"/channels/{channel.id}", f"/channels/{thread.id}"])


async def test_doubt_closes(sight: Sight, monkeypatch: pytest.MonkeyPatch) -> None:
    """When Discord fails or does not answer, what it was asked about stays hidden, and only that."""
    server, bob = sight.town.server, sight.town.bob
    thread, gone = sight.private_thread("general", ["member"]), sight.private_thread("general", ["member"])
    await sight.town.observe(thread, gone)
    sight.town.world.remove_thread(gone)

    server.fail_next("GET", "/thread-members/", 503)
    assert await sight.of("member") == OPEN
    server.fail_next("GET", "/members/", 503)
    assert await sight.of("member") == set()
    monkeypatch.setattr("bot.capture.visibility._PATIENCE", 0.05)
    server.rest.latency = timedelta(seconds=1)
    assert await sight.visibility.visible(sight.town.guild.id, bob.id) == frozenset()


FOR_ALL = {"general", "announcements", "forum"}


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("general", FOR_ALL),
        ("forum", FOR_ALL),
        ("staff", FOR_ALL | {"staff"}),
        ("helpers only", FOR_ALL | {"helpers only"}),
        ("not for muted", FOR_ALL | {"not for muted"}),
        ("no history", FOR_ALL),
    ],
)
async def test_what_may_be_said_aloud(sight: Sight, place: str, shown: set[str]) -> None:
    """The place itself, unless some see it without its history, and what is open to all; nothing closed to anyone."""
    assert await sight.aloud(sight.channels[place]) == shown


async def test_whoever_is_let_in_with_the_history_may_hear_it(sight: Sight) -> None:
    """A channel hidden with its history is heard by those who were let in, as long as all of them got both."""
    world, guild, channel = sight.town.world, sight.town.guild, sight.channels["by invitation"]
    world.deny(channel, guild, HISTORY)
    world.allow(channel, world.bot, HISTORY)
    await sight.after(lambda: world.allow(channel, sight.helpers, VIEW | HISTORY))
    assert await sight.aloud(channel) == FOR_ALL  # one member is let in without the history

    await sight.after(lambda: world.allow(channel, sight.people["invited"], HISTORY))
    assert await sight.aloud(channel) == FOR_ALL | {"by invitation"}


async def test_a_thread_is_as_public_as_it_is(sight: Sight) -> None:
    """A public thread goes with its channel; a private one is for itself, and adds nothing elsewhere."""
    world, alice = sight.town.world, sight.town.alice
    public = world.add_thread(sight.channels["staff"], "public", owner=alice)
    private = sight.private_thread("general", ["member"])
    await sight.after(lambda: world.add_thread(sight.channels["general"], "last", owner=alice), "thread_create")
    await sight.town.observe(private)

    assert await sight.aloud(public) == FOR_ALL | {"staff"}
    assert await sight.aloud(private) == FOR_ALL | {str(private.id)}
    assert await sight.aloud(sight.channels["general"]) == FOR_ALL


async def test_nothing_is_said_aloud_where_it_is_not_clear_who_listens(sight: Sight) -> None:
    """An unknown channel, one of another guild, a guild unknown or away: nothing."""
    town = sight.town
    elsewhere = town.world.add_guild(name="elsewhere", owner=town.alice)
    other = town.world.add_channel(elsewhere, "other")
    await sight.after(lambda: town.world.add_channel(elsewhere, "last"), "guild_channel_create")
    public = sight.visibility.public
    assert await public(elsewhere.id, other.id)
    for guild_id, channel_id in ((town.guild.id, other.id), (town.guild.id, 1), (1, town.general.id)):
        assert await public(guild_id, channel_id) == frozenset()

    await sight.after(lambda: town.world.set_unavailable(town.guild), "guild_unavailable")
    assert await public(town.guild.id, town.general.id) == frozenset()


async def test_unknown_and_unavailable_guilds_show_nothing(sight: Sight) -> None:
    """A guild the bot is not in, or one with an outage, has nothing to show to anyone."""
    elsewhere = sight.town.world.add_guild(name="elsewhere", owner=sight.town.alice, with_bot=False)
    assert await sight.visibility.visible(elsewhere.id, sight.town.alice.id) == frozenset()

    lost = asyncio.create_task(sight.client.wait_for("guild_unavailable"))
    sight.town.world.set_unavailable(sight.town.guild)
    await asyncio.wait_for(lost, 5)
    assert await sight.of("owner") == set()


@pytest.mark.parametrize(("connect", "sees"), [(Permission.CONNECT, True), (Permission(0), False)])
async def test_the_chat_of_a_voice_channel_takes_connect(sight: Sight, connect: Permission, sees: bool) -> None:
    """One who may view a voice channel but not join it cannot read what is written in it."""
    world, guild = sight.town.world, sight.town.guild
    voice = world.add_channel(guild, "voice", kind=ChannelKind.VOICE)
    await sight.after(lambda: world.allow(voice, guild, connect))

    assert (str(voice.id) in await sight.of("member")) is sees
