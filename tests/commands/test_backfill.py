"""/backfill, as those who manage the server see it through."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import discord
import pytest
from past import LONG_AGO, Gate, born_long_ago, confirmed, done, held, intervals, old_channel, tearoom
from structlog.testing import capture_logs
from town import Town, connected, eventually

from bot.model import Message, utcnow
from bot.sandbox.discord import ChannelKind, DiscordServer, Permission
from bot.storage.messages import MessageStore
from bot.storage.observations import Source


async def test_what_was_said_before_is_read(town: Town) -> None:
    """A second look, a notice with the date, then the messages since then: no older ones, none twice."""
    channel = await tearoom(town, [60, 20, 10])
    await town.says(town.bob, "tea of today", channel)
    asked = await town.use(town.admin, "backfill", channel=channel, since="50d")
    assert asked.ephemeral
    assert "Its members are told there; nothing is kept of those who have opted out." in asked.content
    assert "Messages older than 30 days are kept for 30 days from now on" in asked.content
    assert town.server.sent(channel) == []
    told = await done(await asked.click("Read it"))
    [interval] = intervals(town.app, town.guild)
    since = f"<t:{int(interval.started_at.timestamp())}:f>"
    assert told.startswith(f"Done: 2 messages read, 2 kept of <#{channel.id}> since {since}.")
    assert asked.buttons == []
    [notice] = town.server.sent(channel)
    assert f"I now also remember what was said in this channel since {since}" in notice.content
    assert notice.allowed_mentions == {"parse": []}
    assert await held(town.app) == {"tea of today", "tea of 20 days ago", "tea of 10 days ago"}
    assert (interval.fetched, interval.by_user_id) == (True, town.admin.id)
    assert interval.ended_at == town.app.observations.active(town.guild.id)[0].started_at
    assert f"had me read <#{channel.id}> from {since} on" in (await town.use(town.admin, "audit")).text


async def test_as_far_back_as_words_are_kept_is_not_further(town: Town) -> None:
    """Nobody is told of older messages when there can be none."""
    asked = await town.use(town.admin, "backfill", channel=await tearoom(town, [60, 20]), since="30d")
    assert "Messages older than" not in asked.content


async def test_threads_are_read_and_opt_outs_hold(town: Town) -> None:
    """What was said below the channel counts too; of who has opted out by now nothing is kept."""
    channel = await tearoom(town, [10])
    with born_long_ago(town.server):
        thread = town.server.world.add_thread(channel, "teapots", owner=town.ada)
    await town.server.say(thread, town.ada, "a blue one", at=utcnow() - timedelta(days=5), announce=False)
    await town.server.say(channel, town.bob, "coffee", at=utcnow() - timedelta(days=5), announce=False)
    await town.app.consent.opt_out(town.guild.id, town.bob.id)
    assert (await done(await confirmed(town, channel, "30d"))).startswith("Done: 3 messages read, 2 kept")
    assert await held(town.app) == {"tea of 10 days ago", "a blue one"}


async def test_a_date_before_there_was_the_channel(town: Town) -> None:
    """It is read from its first day on."""
    channel = await tearoom(town, [99])
    assert (await done(await confirmed(town, channel, "2015-01-01"))).startswith("Done: 1 message read")
    [interval] = intervals(town.app, town.guild)
    assert abs(interval.started_at - (utcnow() - LONG_AGO)) < timedelta(minutes=5)


async def test_a_forum_is_read_post_by_post(town: Town) -> None:
    """The notice is a post of its own."""
    with born_long_ago(town.server):
        forum = town.server.world.add_channel(town.guild, "help", kind=ChannelKind.FORUM)
        post = town.server.world.add_thread(forum, "My teapot leaks", owner=town.ada)
    await town.server.say(post, town.ada, "It drips", at=utcnow() - timedelta(days=5), announce=False)
    await town.app.observations.switch_on(town.guild.id, forum.id, town.admin.id)
    await eventually(lambda: town.app.client.get_channel(forum.id))
    assert (await done(await confirmed(town, forum, "30d"))).startswith("Done: 1 message read, 1 kept")
    assert len([thread for thread in town.guild.threads_of(forum, archived=False) if town.server.sent(thread)]) == 1


async def test_progress_is_shown_and_can_be_cancelled(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer counts along; after Cancel what was read stays, and nothing further ever comes."""
    channel = await tearoom(town, [20, 10, 5])
    gate = Gate(monkeypatch, pages=1)
    asked = await confirmed(town, channel, "30d")
    shown = await asked.until(lambda answer: "1 message read, 1 kept, now at <t:" in answer.content)
    assert shown.content.startswith(f"Reading <#{channel.id}> from <t:")
    stopped = await shown.click("Cancel")
    assert (await done(stopped)).startswith("Stopped: 1 message read, 1 kept")
    assert stopped.buttons == []
    gate.open()
    [interval] = intervals(town.app, town.guild)
    assert interval.fetched
    assert await held(town.app) == {"tea of 20 days ago"}
    observed = town.app.observations.observed
    assert observed(town.guild.id, channel.id, utcnow() - timedelta(days=20, minutes=1))
    assert not observed(town.guild.id, channel.id, utcnow() - timedelta(days=5))


async def test_cancelled_while_a_page_is_being_kept(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the database has been handed counts as read, and lies within what is observed."""
    channel = await tearoom(town, [20, 10])
    Gate(monkeypatch, pages=1)
    keeping, go_on, capture = asyncio.Event(), asyncio.Event(), MessageStore.capture_many

    async def slow(store: MessageStore, messages: Sequence[Message]) -> int:
        keeping.set()
        await go_on.wait()
        return await capture(store, messages)

    monkeypatch.setattr(MessageStore, "capture_many", slow)
    shown = await (await confirmed(town, channel, "30d")).until(lambda answer: "Reading" in answer.content)
    await keeping.wait()
    stopped = await shown.click("Cancel")
    go_on.set()
    assert (await done(stopped)).startswith("Stopped: 1 message read, 1 kept")
    assert await held(town.app) == {"tea of 20 days ago"}
    assert town.app.observations.observed(town.guild.id, channel.id, utcnow() - timedelta(days=20, minutes=1))


async def test_cancelled_before_anything_was_read(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval is as good as never opened."""
    channel = await tearoom(town, [20])
    Gate(monkeypatch, pages=0)
    shown = await (await confirmed(town, channel, "30d")).until(lambda answer: "Reading" in answer.content)
    assert (await done(await shown.click("Cancel"))).startswith("Stopped: 0 messages read")
    [interval] = intervals(town.app, town.guild)
    assert interval.ended_at == interval.started_at


async def test_only_a_manager_cancels(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lost the right since they asked has lost the button, too."""
    channel = await tearoom(town, [20])
    gate = Gate(monkeypatch, pages=0)
    role = town.server.world.add_role(town.guild, "managers", Permission.MANAGE_GUILD)
    town.server.world.update_member(town.guild, town.bob, role_ids=[role.id])
    asked = await town.use(town.bob, "backfill", channel=channel, since="30d")
    shown = await (await asked.click("Read it")).until(lambda answer: "Reading" in answer.content)
    town.server.world.update_member(town.guild, town.bob, role_ids=[])
    refused = await (await shown.click("Cancel")).settled()
    assert refused.content == "You may not stop this any more."
    gate.open()
    assert (await done(shown)).startswith("Done")


async def test_a_second_one_is_told_of_the_first(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel is read by one at a time; whoever comes second sees how far it is, and may stop it."""
    channel = await tearoom(town, [20, 10])
    Gate(monkeypatch, pages=1)
    waiting = await town.use(town.admin, "backfill", channel=channel, since="40d")
    first = await confirmed(town, channel, "30d")
    await first.until(lambda answer: "1 message read" in answer.content)
    second = await town.use(town.admin, "backfill", channel=channel, since="50d")
    assert second.content.startswith(f"I am at it already. Reading <#{channel.id}> from")
    assert "1 message read" in second.content
    refused = await (await waiting.click("Read it")).settled()
    assert refused.content.startswith("I am at it already.")
    assert len(town.server.sent(channel)) == len(intervals(town.app, town.guild)) == 1
    assert (await done(await second.click("Cancel"))).startswith("Stopped: 1 message read")


async def test_a_late_press_on_cancel_tells_the_end(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The button of whoever came second outlives the reading."""
    channel = await tearoom(town, [20])
    gate = Gate(monkeypatch, pages=0)
    first = await confirmed(town, channel, "30d")
    await first.until(lambda answer: "Reading" in answer.content)
    second = await town.use(town.admin, "backfill", channel=channel, since="30d")
    gate.open()
    end = await done(first)
    assert await done(await second.click("Cancel")) == end


async def test_a_restart_in_the_middle(
    tmp_path: Path, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits is told; the next process reads the rest by itself, and nobody starts a second one meanwhile."""
    async with DiscordServer() as server:
        admin, ada = server.world.add_user("admin"), server.world.add_user("ada")
        guild = server.world.add_guild(name="tea club", owner=admin)
        server.world.add_member(guild, ada)
        channel = await old_channel(server, guild, ada, [20, 10, 5])
        gate = Gate(monkeypatch, pages=2)
        async with connected(server, tmp_path, sections) as app:
            await app.observations.switch_on(guild.id, channel.id, admin.id)
            asked = await (await server.slash(admin, channel, "backfill", channel=channel, since="30d")).settled()
            answer = await asked.click("Read it")
            await answer.until(lambda shown: "2 messages read" in shown.content)
        assert answer.content.startswith("I am being restarted")
        assert answer.buttons == []
        gate.allowed = asyncio.Semaphore(0)
        async with connected(server, tmp_path, sections) as app:
            assert await held(app) == {"tea of 20 days ago", "tea of 10 days ago"}
            catching_up = asyncio.create_task(app.catchup.run())
            again = await (await server.slash(admin, channel, "backfill", channel=channel, since="90d")).settled()
            assert "I have not finished reading the past" in again.content
            gate.open()
            await eventually(lambda: intervals(app, guild)[0].fetched)
            assert len(await held(app)) == 3
            catching_up.cancel()
            await asyncio.wait({catching_up})
        assert len(server.sent(channel)) == 1


async def test_reading_goes_on_when_the_answer_cannot_be_changed_any_more(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discord takes edits for 15 minutes. After that the log tells the end, and nothing has gone wrong."""
    channel = await tearoom(town, [20, 10])
    gate = Gate(monkeypatch, pages=1)
    answer = await confirmed(town, channel, "30d")
    await answer.until(lambda shown: "1 message read" in shown.content)
    monkeypatch.setattr(discord.Interaction, "is_expired", lambda self: True)
    edits = len([call for call in town.server.calls if call.method == "PATCH"])
    with capture_logs() as logs:
        gate.open()
        await eventually(lambda: intervals(town.app, town.guild)[0].fetched)
        await eventually(lambda: any(line["event"] == "backfill_finished" for line in logs))
    assert not [line for line in logs if line["log_level"] in ("warning", "error")]
    assert len([call for call in town.server.calls if call.method == "PATCH"]) <= edits + 1


async def test_an_answer_that_cannot_be_changed_stops_nothing(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether anybody can see it makes no difference."""
    channel = await tearoom(town, [20])
    asked = await town.use(town.admin, "backfill", channel=channel, since="30d")
    town.server.fail_next("PATCH", r"/webhooks/", 404, times=1000)
    await asked.click("Read it")
    await eventually(lambda: [one.fetched for one in intervals(town.app, town.guild)] == [True])
    assert await held(town.app) == {"tea of 20 days ago"}


async def test_what_discord_does_not_give_out_is_said(town: Town) -> None:
    """A channel that could not be read leaves the interval open, and the answer says so."""
    channel = await tearoom(town, [20])
    asked = await town.use(town.admin, "backfill", channel=channel, since="30d")
    town.server.fail_next("GET", rf"/channels/{channel.id}/messages", 403)
    told = await done(await asked.click("Read it"))
    assert told.startswith("I could not finish: 0 messages read, 0 kept")
    assert "1 place left. I try again by myself." in told
    assert not intervals(town.app, town.guild)[0].fetched


async def test_an_unforeseen_failure_is_logged(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The asker learns under which id."""

    async def broken(*_: object) -> None:
        raise ValueError

    channel = await tearoom(town, [20])
    monkeypatch.setattr(town.app.catchup, "backfill", broken)
    with capture_logs() as logs:
        answer = await confirmed(town, channel, "30d")
        await answer.until(lambda shown: shown.content.startswith("Something went wrong"))
    [line] = [line for line in logs if line["event"] == "interaction_failed"]
    assert line["error_id"] in answer.content
    assert "stays, and I try again by myself" in answer.content


async def test_switching_off_ends_the_reading(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off means off, for the past too: what is being read, and what was left to read after a restart."""
    channel = await tearoom(town, [20, 10])
    Gate(monkeypatch, pages=1)
    answer = await confirmed(town, channel, "30d")
    await answer.until(lambda shown: "1 message read" in shown.content)
    await town.use(town.admin, "observe off", channel=channel)
    assert (await done(answer)).startswith("Stopped: 1 message read")
    until = utcnow()
    left = await town.app.observations.open_interval(
        town.guild.id, channel.id, until - timedelta(days=9), until, town.admin.id, Source.BACKFILL
    )
    await town.app.observations.switch_on(town.guild.id, channel.id, town.admin.id)
    await town.use(town.admin, "observe off", channel=channel)
    assert town.app.observations.get(left.id) not in town.app.observations.unread()
