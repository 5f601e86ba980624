"""Finding what was deleted or edited while nobody listened, and never taking silence for a deletion."""

import asyncio
from datetime import timedelta

import pytest
import structlog
from absence import NEVER, Absence, back
from watching import Town, contents

from bot.capture import recheck
from bot.capture.catchup import Pace
from bot.capture.history import Unreadable
from bot.capture.recheck import Rechecked
from bot.model import utcnow
from bot.sandbox.discord import Channel, ChannelKind, Intent, Permission, Thread
from bot.sandbox.discord.entities import Json


async def heard(town: Town, place: Channel | Thread, count: int) -> list[Json]:
    """What Alice said in the past, held by now."""
    said = [
        await town.server.say(place, town.alice, f"{place.name} {number}", announce=False) for number in range(count)
    ]
    async with back(town) as absence:
        await absence.held()
    return said


async def deleted(town: Town, place: Channel | Thread, *payloads: Json) -> None:
    """These disappear while nobody listens."""
    for payload in payloads:
        await town.server.delete(place, payload, announce=False)


async def rechecked(town: Town, absence: Absence) -> Rechecked:
    """Compare everything held once more; what was found."""
    found = [Rechecked()]
    await absence.catchup.recheck(town.guild.id, found.append)
    return found[-1]


async def test_deletions_while_away_are_found(town: Town) -> None:
    """In channels, threads and posts: messages between others, the first, the last, and a place's only one."""
    forum = town.world.add_channel(town.guild, "ideas", kind=ChannelKind.FORUM)
    await town.observe(town.general, forum)
    thread = town.world.add_thread(town.general, "thread", owner=town.alice, archived=True)
    post = town.world.add_thread(forum, "post", owner=town.alice)
    said = await heard(town, town.general, 250)
    threaded = await heard(town, thread, 6)
    posted = await heard(town, post, 1)
    gone = [said[0], said[100], said[249], threaded[3], posted[0]]
    await deleted(town, town.general, *gone[:3])
    await deleted(town, thread, gone[3])
    await deleted(town, post, gone[4])

    async with back(town) as absence:
        found = await rechecked(town, absence)
        held = {message.id for message in await absence.all()}
    assert held == {int(one["id"]) for one in (*said, *threaded, *posted)} - {int(one["id"]) for one in gone}
    assert await town.tombstones() == {int(one["id"]) for one in gone}
    assert found.places_done == found.places


async def test_the_catch_up_looks_for_deletions_by_itself(town: Town) -> None:
    """The latest messages are compared as soon as a session has caught up, the others in later passes."""
    await town.observe(town.general)
    said = await heard(town, town.general, 30)
    await deleted(town, town.general, said[1], said[20])
    async with back(town, Pace(move=NEVER, retry=NEVER, hourly=0.01), messages=12) as absence:
        buried = [await town.tombstones()]

        async def all_found() -> None:
            while len(buried[-1]) < 2:
                buried.append(await town.tombstones())

        await asyncio.wait_for(all_found(), 10)
        await absence.held()
    assert [{int(said[20]["id"])}, {int(said[1]["id"]), int(said[20]["id"])}] == [
        ids for ids, before in zip(buried[1:], buried, strict=False) if ids != before
    ]


async def test_a_pass_goes_over_so_many_places(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of threads are not asked for at once, and those that Discord refuses do not keep others waiting."""
    places = [town.world.add_channel(town.guild, f"channel {number}") for number in range(5)]
    await town.observe(*places)
    for place in places:
        await heard(town, place, 1)
    for place in places[-2:]:  # the latest, which are first
        town.world.deny(place, town.guild, Permission.READ_MESSAGE_HISTORY)
    monkeypatch.setattr(recheck, "_PLACES_A_PASS", 2)
    async with back(town, messages=10) as absence:
        sweep = recheck.Sweep(town.guild.id)
        done = []
        for _ in range(3):
            assert await absence.comparison.keep_on(sweep)
            done.append(set(sweep.done))
    first = {place.id for place in places[:3]}
    assert [len(ids) for ids in done] == [0, 2, 3]
    assert done[-1] == first


async def test_edits_while_away_are_found(town: Town) -> None:
    """New words replace the held ones; a link preview changes nothing, and what may not be kept is retracted."""
    await town.observe(town.general)
    said = await heard(town, town.general, 10)
    town.clock.now = utcnow() - timedelta(milliseconds=2)
    await town.server.edit(town.general, said[3], "other words", announce=False)
    preview = town.world.message(town.general, said[4])
    town.world.edit_message(preview, embeds=[{"title": "a page"}], announce=False)
    await town.observations.switch_off(town.guild.id, town.general.id)
    async with back(town) as absence:
        assert (await rechecked(town, absence)).edited == 1
        held = contents(await absence.all())
    assert held == [f"general {number}" for number in range(10) if number != 3]


async def test_edited_words_replace_the_held_ones(town: Town) -> None:
    """The newest content wins, however long ago it was written."""
    await town.observe(town.general)
    said = await heard(town, town.general, 10)
    await town.server.edit(town.general, said[3], "other words", announce=False)
    async with back(town) as absence:
        assert (await rechecked(town, absence)).edited == 1
        held = await absence.all()
    assert [message.content for message in held if message.revision] == ["other words"]
    assert len(held) == 10


@pytest.mark.parametrize("lost", [Permission.READ_MESSAGE_HISTORY, Permission.VIEW_CHANNEL])
async def test_a_lost_permission_forgets_nothing(town: Town, lost: Permission) -> None:
    """What the bot may not see is not gone: the channel is left out, and the rest is compared."""
    other = town.world.add_channel(town.guild, "other")
    await town.observe(town.general, other)
    await heard(town, town.general, 5)
    said = await heard(town, other, 10)
    town.world.deny(town.general, town.guild, lost)
    town.world.deny(town.general, town.world.bot, lost)
    await deleted(town, other, said[4])
    with structlog.testing.capture_logs() as logs:
        async with back(town) as absence:
            await rechecked(town, absence)
            assert len(await absence.all()) == 14
    assert {entry["place_id"] for entry in logs if entry["event"] == "cannot_recheck"} == {town.general.id}


async def test_a_permission_lost_while_reading_forgets_nothing(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty page that comes with the loss of the permission is not believed."""
    await town.observe(town.general)
    await heard(town, town.general, 5)
    async with back(town) as absence:
        await rechecked(town, absence)
        told = asyncio.create_task(absence.client.wait_for("guild_channel_update"))
        around = absence.client.http.logs_from

        async def lose(*arguments: object, **anchor: object) -> object:
            town.world.deny(town.general, town.world.bot, Permission.READ_MESSAGE_HISTORY)
            await told
            return await around(*arguments, **anchor)

        monkeypatch.setattr(absence.client.http, "logs_from", lose)
        await rechecked(town, absence)
        assert len(await absence.all()) == 5
        assert await absence.doubts.all() == []


async def test_deletions_out_of_sight_are_found(town: Town) -> None:
    """In one session: as soon as the bot may see the channel again, what is held of it is compared."""
    await town.observe(town.general)
    said = await heard(town, town.general, 5)
    async with back(town, Pace(move=0.01, retry=0.01, hourly=NEVER), messages=10) as absence, asyncio.timeout(10):
        await absence.held()
        told = asyncio.create_task(absence.client.wait_for("guild_channel_update"))
        town.world.deny(town.general, town.guild, Permission.VIEW_CHANNEL)
        await told
        await absence.client.settle()
        await town.server.delete(town.general, said[2])
        town.world.allow(town.general, town.guild, Permission.VIEW_CHANNEL)
        held = await absence.all()
        while len(held) == 5:
            held = await absence.all()
    assert [message.id for message in held] == [int(one["id"]) for one in said if one is not said[2]]


async def test_without_the_content_intent_nothing_is_compared(town: Town) -> None:
    """Empty words are no edit, and a comparison that cannot be made to its end says so."""
    await town.observe(town.general)
    said = await heard(town, town.general, 5)
    await town.server.edit(town.general, said[1], "other words", announce=False)
    async with back(town) as absence:
        await rechecked(town, absence)
        await town.server.edit(town.general, said[2], "more words", announce=False)
        await deleted(town, town.general, said[3])
        town.world.application.privileged = Intent(0)
        with pytest.raises(Unreadable, match="Message Content Intent"):
            await rechecked(town, absence)
        held = contents(await absence.all())
    assert held == ["general 0", "other words", "general 2", "general 3", "general 4"]


async def test_many_deletions_are_doubted(town: Town) -> None:
    """Over a fifth missing: nothing is removed, an admin is asked; what they say is fine is not asked about again."""
    await town.observe(town.general)
    said = await heard(town, town.general, 10)
    await deleted(town, town.general, *said[2:5])
    missing = tuple(int(one["id"]) for one in said[2:5])
    async with back(town) as absence:
        found = await rechecked(town, absence)
        (doubt,) = await absence.doubts.all(town.guild.id)
        assert (doubt.place_id, doubt.missing, doubt.held) == (town.general.id, missing, 10)
        assert len(await absence.all()) == 10
        await rechecked(town, absence)
        assert [one.missing for one in await absence.doubts.all()] == [missing]

        assert await absence.doubts.resolve(town.general.id, keep=True) == missing
        await deleted(town, town.general, said[7])
        await rechecked(town, absence)
        assert await absence.doubts.all() == []
        assert len(await absence.all()) == 9
    assert found.doubted <= 3


async def test_deleted_places_are_forgotten(town: Town) -> None:
    """A channel goes with its threads, private ones included; a thread goes alone. Only Discord's word counts."""
    world, alice = town.world, town.alice
    other = world.add_channel(town.guild, "other")
    private = world.add_thread(other, "secret", owner=alice, private=True, members=[world.bot])
    public = world.add_thread(other, "public", owner=alice, archived=True)
    thread = world.add_thread(town.general, "thread", owner=alice, archived=True)
    await town.observe(town.general, other)
    await town.observations.switch_on(town.guild.id, private.id, alice.id, parent_id=other.id)
    for place in (other, private, public, thread, town.general):
        await heard(town, place, 2)
    async with back(town) as absence:
        await absence.held()
        town.world.listeners, listeners = [], town.world.listeners  # nobody is told
        world.remove_thread(thread)
        world.remove_channel(other)
        town.world.listeners = listeners
    async with back(town) as absence:
        await rechecked(town, absence)
        held = contents(await absence.held())
        active = [one.channel_id for one in town.observations.active(town.guild.id)]
    assert held == ["general 0", "general 1"]
    assert active == [town.general.id]


async def test_an_outage_of_the_guild_is_no_deletion(town: Town) -> None:
    """While the guild is unavailable nothing can be compared, and that is said."""
    await town.observe(town.general)
    await heard(town, town.general, 5)
    async with back(town) as absence:
        await absence.held()
        gone = asyncio.create_task(absence.client.wait_for("guild_unavailable"))
        town.world.set_unavailable(town.guild)
        await asyncio.wait_for(gone, 5)
        with pytest.raises(Unreadable, match="not available"):
            await rechecked(town, absence)
        assert len(await absence.all()) == 5
