"""Catching up behind the real client: what was said while nobody listened arrives, once, wherever it was said."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
import structlog
from absence import NEVER, Absence, back, eventually
from watching import Town, contents

from bot.capture.catchup import Pace
from bot.capture.history import PAGE
from bot.errors import StorageUnavailable
from bot.model import Message, snowflake_time, utcnow
from bot.sandbox.discord import Channel, ChannelKind, Permission, Thread
from bot.sandbox.discord.entities import Json
from bot.storage.observations import Observation, Source

OFTEN = Pace(move=0.01, retry=0.01, hourly=NEVER)


async def unheard(town: Town, place: Channel | Thread, *contents: str) -> list[Json]:
    """Alice says this while nobody listens."""
    return [await town.server.say(place, town.alice, content, announce=False) for content in contents]


def numbered(count: int) -> list[str]:
    return [f"number {number}" for number in range(count)]


async def session_lost(town: Town, absence: Absence) -> None:
    """The session ends and another begins."""
    again = asyncio.create_task(absence.client.wait_for("ready"))
    await town.server.invalidate_session()
    await asyncio.wait_for(again, 10)
    await absence.client.settle()


def only(town: Town) -> Observation:
    """The one interval there is."""
    (one,) = town.observations.unread()
    return one


async def test_every_kind_of_place_is_read(town: Town) -> None:
    """Channels, threads, archived threads and posts are read through; private threads if switched on themselves."""
    world, alice, me = town.world, town.alice, town.world.bot
    forum = world.add_channel(town.guild, "ideas", kind=ChannelKind.FORUM)
    threads = [
        world.add_thread(town.general, "kettles", owner=alice),
        world.add_thread(town.general, "cups", owner=alice, archived=True),
        world.add_thread(town.general, "secret", owner=alice, private=True, members=[me]),
        world.add_thread(town.general, "old secret", owner=alice, private=True, members=[me], archived=True),
        world.add_post(forum, "a pot", town.bob, "a bigger pot"),
        world.add_thread(forum, "an old pot", owner=alice, archived=True),
    ]
    other = world.add_thread(town.general, "not observed", owner=alice, private=True, members=[me])
    await town.observe(town.general, forum, threads[2], threads[3])
    said = ["a bigger pot", *numbered(2 * PAGE + 30)]
    await unheard(town, town.general, *said[1:])
    for thread in (*threads, other):
        await unheard(town, thread, f"in {thread.name}")
    said += [f"in {thread.name}" for thread in threads]

    async with back(town) as absence:
        assert sorted(contents(await absence.held())) == sorted(said)


async def test_names_are_those_of_the_guild(town: Town) -> None:
    """History tells nobody's name in the guild; those known already are kept, for authors and for those mentioned."""
    await town.observe(town.general)
    town.world.update_member(town.guild, town.alice, nick="Ally")
    async with back(town) as absence:
        await town.until_held([await town.server.say(town.general, town.alice, "heard")])
    await unheard(town, town.general, f"I am <@{town.alice.id}>, not <@{town.bob.id}>")

    async with back(town) as absence:
        held = (await absence.held())[-1]
    assert held.line == "Ally: I am @Ally, not @Bob"


async def test_only_what_was_observed_and_allowed_is_kept(town: Town) -> None:
    """Each message counts by its own time: of the interval it was said in, and of its author's opt-outs."""
    await town.observe(town.general)
    start = town.clock.now
    town.clock.now = start + timedelta(hours=2)
    await town.consent.opt_out(town.guild.id, town.bob.id)
    town.clock.now = start + timedelta(hours=4)
    await town.observations.switch_off(town.guild.id, town.general.id)
    for hours in (-1, 1, 3, 5):
        for author in (town.alice, town.bob):
            said = f"{author.name} at {hours}"
            await town.server.say(town.general, author, said, at=start + timedelta(hours=hours), announce=False)

    async with back(town) as absence:
        assert contents(await absence.held()) == ["alice at 1", "bob at 1", "alice at 3"]
    assert town.observations.unread() == []


async def test_being_killed_between_pages_costs_nothing(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start goes on after the last page that was committed and noted, and everything arrives once."""
    await town.observe(town.general)
    said = await unheard(town, town.general, *numbered(3 * PAGE + 20))
    cut_off = asyncio.Event()
    async with back(town) as absence:
        commit = town.messages.capture_many

        async def capture_many(messages: Sequence[Message]) -> int:
            if messages[0].id > int(said[PAGE]["id"]):
                cut_off.set()
                await asyncio.Event().wait()
            return await commit(messages)

        with monkeypatch.context() as broken:
            broken.setattr(town.messages, "capture_many", capture_many)
            await asyncio.wait_for(cut_off.wait(), 10)
    assert [int(page["after"]) for page in absence.pages(town.general)][1:] == [
        int(said[count * PAGE - 1]["id"]) for count in (1, 2)
    ]

    town.server.calls.clear()
    async with back(town) as absence:
        assert contents(await absence.held()) == numbered(3 * PAGE + 20)
    assert int(absence.pages(town.general)[0]["after"]) == int(said[2 * PAGE - 1]["id"])


async def test_being_killed_before_the_cursor_moves_costs_a_repeat(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was committed but not noted is read again, and held once."""
    await town.observe(town.general)
    await unheard(town, town.general, *numbered(PAGE + 20))
    cut_off = asyncio.Event()
    async with back(town) as absence:

        async def move(*_: object) -> None:
            cut_off.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as broken:
            broken.setattr(absence.cursors, "move", move)
            await asyncio.wait_for(cut_off.wait(), 10)
            assert len(await absence.all()) == PAGE

    async with back(town) as absence:
        assert contents(await absence.held()) == numbered(PAGE + 20)


async def test_one_closed_channel_does_not_stop_the_others(town: Town) -> None:
    """A 403 is logged once and leaves the place behind until the next session; the others are read meanwhile."""
    channels = [town.world.add_channel(town.guild, name) for name in ("one", "two", "three")]
    await town.observe(*channels)
    for channel in channels:
        await unheard(town, channel, channel.name)
    town.server.fail_next("GET", f"/channels/{channels[1].id}/messages", 403, times=2)
    with structlog.testing.capture_logs() as logs:
        async with back(town) as absence, asyncio.timeout(10):
            await eventually(lambda: absence.catchup.behind() == 1)
            assert contents(await absence.all()) == ["one", "three"]
            await session_lost(town, absence)
            await eventually(lambda: len(absence.pages(channels[1])) == 2 and absence.catchup.behind() == 1)
            await session_lost(town, absence)
            assert contents(await absence.held()) == ["one", "two", "three"]
    refused = [entry for entry in logs if entry["event"] == "cannot_read"]
    assert [entry["place_id"] for entry in refused] == [channels[1].id]


async def test_an_outage_is_tried_again(town: Town) -> None:
    """5xx on a thread is asked again within the session, while the rest is read."""
    await town.observe(town.general)
    thread = town.world.add_thread(town.general, "thread", owner=town.alice)
    await unheard(town, town.general, "in the channel")
    await unheard(town, thread, "in the thread")
    town.server.fail_next("GET", f"/channels/{thread.id}/messages", 503, times=5)

    async with back(town) as absence:
        assert contents(await absence.held()) == ["in the channel", "in the thread"]
    assert len(town.server.gateway.identifies) == 1


async def test_without_read_message_history_nothing_counts_as_read(town: Town) -> None:
    """Discord answers with an empty list then; once the permission is back, the place is read."""
    await town.observe(town.general)
    town.world.deny(town.general, town.world.bot, Permission.READ_MESSAGE_HISTORY)
    await unheard(town, town.general, "while away")
    async with back(town, OFTEN) as absence:
        await town.server.say(town.general, town.alice, "heard")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(absence.catchup.caught_up(), 0.2)
        assert only(town).read_to is None

        town.world.allow(town.general, town.world.bot, Permission.READ_MESSAGE_HISTORY)
        assert contents(await absence.held()) == ["while away", "heard"]


async def test_a_moment_out_of_sight_is_made_good(town: Town) -> None:
    """What is said while the bot may not see the channel is read as soon as it may again, however soon that is."""
    await town.observe(town.general)
    async with back(town) as absence, asyncio.timeout(10):
        await absence.held()
        told = asyncio.create_task(absence.client.wait_for("guild_channel_update"))
        town.world.deny(town.general, town.guild, Permission.VIEW_CHANNEL)
        await told
        await absence.client.settle()
        said = await town.server.say(town.general, town.alice, "out of sight")
        town.world.allow(town.general, town.guild, Permission.VIEW_CHANNEL)
        await town.until_held([said])


async def test_without_the_content_intent_nothing_counts_as_read(town: Town) -> None:
    """Discord shows empty words then; they are not taken for messages that say nothing."""
    await town.observe(town.general)
    await unheard(town, town.general, "while away")
    privileged = town.world.application.privileged
    async with back(town) as absence:
        await absence.held()
        await unheard(town, town.general, "later")
        town.world.application.privileged = type(privileged)(0)
        absence.catchup.began()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(absence.catchup.caught_up(), 0.2)

        town.world.application.privileged = privileged
        absence.catchup.began()
        assert contents(await absence.held()) == ["while away", "later"]


async def test_a_resumed_session_needs_no_history(town: Town) -> None:
    """Discord replays what was missed; only a session that does not continue the one before is caught up."""
    await town.observe(town.general)
    async with back(town) as absence, asyncio.timeout(10):
        await absence.held()
        asked = len(absence.pages(town.general))
        resumed = asyncio.create_task(absence.client.wait_for("resumed"))
        town.server.refuse_gateway()
        await town.server.drop_connections()
        said = await town.server.say(town.general, town.alice, "replayed")
        town.server.refuse_gateway(False)
        await resumed
        await town.until_held([said])
        assert len(absence.pages(town.general)) == asked

        await unheard(town, town.general, "said between two sessions")
        await session_lost(town, absence)
        assert contents(await absence.held()) == ["replayed", "said between two sessions"]


async def test_a_refused_capture_is_caught_up(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the database refused is refused loudly, and read from history once the database is usable again."""
    await town.observe(town.general)
    async with back(town, OFTEN) as absence, asyncio.timeout(10):
        await absence.held()

        async def refuse(*_: object) -> None:
            raise StorageUnavailable

        with monkeypatch.context() as broken:
            broken.setattr(town.database, "transact", refuse)
            said = await town.server.say(town.general, town.alice, "to a full disk")
            await eventually(absence.catchup.behind)
            read_to = only(town).read_to or 0
            assert read_to < int(said["id"])
        assert contents(await absence.held()) == ["to a full disk"]
    assert town.observer.refused == 1


async def test_positions_move_with_what_is_heard(town: Town) -> None:
    """While nothing is behind, the position follows at a distance, so that the next start reads little."""
    town.clock.now = utcnow() - timedelta(hours=1)
    await town.observe(town.general)
    town.clock.now = utcnow() + timedelta(days=1)  # a host whose clock is ahead
    async with back(town, OFTEN) as absence, asyncio.timeout(10):
        await absence.held()
        said = await town.server.say(town.general, town.alice, "heard")
        await eventually(lambda: only(town).read_to)
    distance = snowflake_time(int(said["id"])) - snowflake_time(only(town).read_to)
    assert distance == timedelta(minutes=3)


async def test_what_would_expire_at_once_is_not_read(town: Town) -> None:
    """A live interval is read within the time raw text is kept; one opened afterwards from where the admin said."""
    start = utcnow() - timedelta(days=100)
    town.clock.now = start
    await town.observe(town.general)
    town.clock.now = utcnow()
    for days in (50, 10):
        at = utcnow() - timedelta(days=days)
        await town.server.say(town.general, town.alice, f"{days} days ago", at=at, announce=False)
    async with back(town) as absence:
        assert contents(await absence.held()) == ["10 days ago"]

        opened = await opened_since(town, start)
        progress = await absence.catchup.backfill(opened)
        assert contents(await absence.held()) == ["50 days ago", "10 days ago"]
    assert (progress.read, progress.kept, progress.places_done, progress.places) == (2, 1, 1, 1)


async def opened_since(town: Town, since: datetime) -> Observation:
    return await town.observations.open_interval(
        town.guild.id, town.general.id, since, utcnow(), town.alice.id, Source.BACKFILL
    )


async def test_a_backfill_reports_and_leaves_out_who_is_opted_out_now(town: Town) -> None:
    """Progress is told page by page; nothing of a member who is opted out now is kept, whenever they wrote."""
    await town.consent.opt_out(town.guild.id, town.bob.id)
    start = (utcnow() - timedelta(hours=30)).replace(microsecond=0)
    for number in range(PAGE + 50):
        author = town.bob if number % 3 == 0 else town.alice
        await town.server.say(town.general, author, author.name, at=start + timedelta(minutes=number), announce=False)
    reports = []
    async with back(town) as absence:
        opened = await opened_since(town, start)
        progress = await absence.catchup.backfill(opened, reports.append)

        assert {one.author_id for one in await absence.held()} == {town.alice.id}
    assert [(one.read, one.kept) for one in reports] == [(100, 66), (150, 100)]
    assert progress.reached == start + timedelta(minutes=149)
    assert town.observations.unread() == []


async def test_a_backfill_that_was_cut_off_goes_on_by_itself(town: Town) -> None:
    """Cancelled without an end, it is resumed by the next start; ended, it never is."""
    start = (utcnow() - timedelta(hours=30)).replace(microsecond=0)
    for number in range(PAGE + 50):
        at = start + timedelta(minutes=number)
        await town.server.say(town.general, town.alice, f"number {number}", at=at, announce=False)
    for _ in range(2):
        opened = await opened_since(town, start)
    async with back(town) as absence:
        reading = asyncio.create_task(absence.catchup.backfill(opened, lambda progress: reading.cancel()))
        await asyncio.wait({reading})
        assert reading.cancelled()
        await town.observations.truncate(opened.id, utcnow())
        await absence.held()

    assert contents(await absence.all()) == numbered(PAGE + 50)


async def test_a_channel_switched_off_while_it_is_read(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said from then on is not kept, and nothing further of the interval is ever read."""
    await town.observe(town.general)
    start = town.clock.now
    for minute in range(1, PAGE + 51):
        at = start + timedelta(minutes=minute)
        await town.server.say(town.general, town.alice, f"minute {minute}", at=at, announce=False)
    commit = town.messages.capture_many

    async def capture_many(messages: Sequence[Message]) -> int:
        town.clock.now = start + timedelta(minutes=PAGE + 20, seconds=-1)
        await town.observations.switch_off(town.guild.id, town.general.id)
        return await commit(messages)

    monkeypatch.setattr(town.messages, "capture_many", capture_many)
    async with back(town) as absence:
        assert len(await absence.held()) == PAGE + 19
    assert town.observations.unread() == []


async def test_opting_out_while_the_past_is_read(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the next page on nothing of the member is kept of an interval that was opened afterwards."""
    start = (utcnow() - timedelta(hours=30)).replace(microsecond=0)
    for number in range(PAGE + 50):
        at = start + timedelta(minutes=number)
        await town.server.say(town.general, town.bob, f"number {number}", at=at, announce=False)
    commit = town.messages.capture_many

    async def capture_many(messages: Sequence[Message]) -> int:
        await town.consent.opt_out(town.guild.id, town.bob.id)
        return await commit(messages)

    monkeypatch.setattr(town.messages, "capture_many", capture_many)
    async with back(town) as absence:
        progress = await absence.catchup.backfill(await opened_since(town, start))
    assert (progress.read, progress.kept) == (PAGE + 50, PAGE)


async def test_an_empty_page_is_not_believed_at_once(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is empty as soon as the permission is lost, before the gateway tells of it: the place is not read."""
    await town.observe(town.general)
    await unheard(town, town.general, "while away")
    async with back(town) as absence, asyncio.timeout(10):
        asked, ask = asyncio.Event(), absence.client.http.logs_from
        me, listeners = town.world.bot, town.world.listeners

        async def lose(*arguments: object, **anchor: object) -> object:
            town.world.listeners = []  # nobody is told
            town.world.deny(town.general, me, Permission.READ_MESSAGE_HISTORY)
            asked.set()
            return await ask(*arguments, **anchor)

        await absence.held()
        await unheard(town, town.general, "between two sessions")
        with monkeypatch.context() as losing:
            losing.setattr(absence.client.http, "logs_from", lose)
            await session_lost(town, absence)
            await asked.wait()
            await eventually(lambda: any(call.status == 403 for call in town.server.calls))
        assert absence.catchup.behind() == 1

        town.world.listeners = listeners
        town.world.allow(town.general, me, Permission.READ_MESSAGE_HISTORY)
        await session_lost(town, absence)
        assert contents(await absence.held()) == ["while away", "between two sessions"]


async def test_a_channel_switched_on_later_is_soon_complete(town: Town) -> None:
    """What is switched on in the middle of a session is read like the rest, and nothing is left behind."""
    async with back(town, OFTEN) as absence:
        await town.observe(town.general)
        assert absence.catchup.behind() == 1
        await unheard(town, town.general, "before it is noticed")
        assert contents(await absence.held()) == ["before it is noticed"]
