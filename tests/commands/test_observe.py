"""/observe, as those who manage the server use it."""

import asyncio
from typing import Any

import discord
import pytest
from town import Town, eventually

from bot.capture.convert import Observable
from bot.commands.notice import Notices
from bot.errors import StorageUnavailable
from bot.model import snowflake_time, utcnow
from bot.sandbox.discord import ChannelKind, NotAllowed, Permission


def observed(town: Town) -> set[int]:
    return {one.channel_id for one in town.app.observations.active(town.guild.id)}


async def test_switching_on_tells_the_channel(town: Town) -> None:
    """The notice names who sees the text and how to stay out, pings nobody, and then observation begins."""
    answer = await town.use(town.admin, "observe on", channel=town.general)
    assert answer.ephemeral
    assert f"I remember <#{town.general.id}> from now on" in answer.content
    [notice] = town.server.sent(town.general)
    assert "a language model that the operator of this bot runs" in notice.content
    assert "`/privacy opt-out`" in notice.content
    assert notice.allowed_mentions == {"parse": []}
    assert observed(town) == {town.general.id}
    assert snowflake_time(notice.id) == town.app.observations.active(town.guild.id)[0].started_at


async def test_without_a_name_it_is_the_channel_one_is_in(town: Town) -> None:
    """`/observe on` means here."""
    await town.use(town.admin, "observe on")
    assert observed(town) == {town.general.id}


async def test_a_second_time_there_is_no_second_notice(town: Town) -> None:
    """A channel that is on stays on."""
    await town.use(town.admin, "observe on")
    assert "is observed already, since <t:" in (await town.use(town.admin, "observe on")).content
    assert len(town.server.sent(town.general)) == 1


async def test_a_hidden_channel_asks_twice(town: Town) -> None:
    """A channel hidden from @everyone is switched on by a second press only."""
    asked = await town.use(town.admin, "observe on", channel=town.staff)
    assert "hidden from @everyone" in asked.content
    assert observed(town) == set()
    done = await (await asked.click("Switch on")).settled()
    assert "from now on" in done.content
    assert observed(town) == {town.staff.id}


async def test_a_hidden_channel_can_be_left_alone(town: Town) -> None:
    """Cancel posts and switches nothing."""
    asked = await town.use(town.admin, "observe on", channel=town.staff)
    assert (await (await asked.click("Cancel")).settled()).content == "Nothing was changed."
    assert [observed(town), town.server.sent(town.staff)] == [set(), []]


async def test_the_right_is_looked_at_again_when_the_button_is_pressed(town: Town) -> None:
    """Who no longer manages the server switches nothing on."""
    role = town.server.world.add_role(town.guild, "managers", Permission.MANAGE_GUILD)
    town.server.world.update_member(town.guild, town.bob, role_ids=[role.id])
    asked = await town.use(town.bob, "observe on", channel=town.staff)
    town.server.world.update_member(town.guild, town.bob, role_ids=[])
    assert "any more" in (await (await asked.click("Switch on")).settled()).content
    assert observed(town) == set()


async def test_a_private_thread_is_switched_on_by_itself(town: Town) -> None:
    """It asks twice, and its parent being observed does not cover it."""
    await town.use(town.admin, "observe on")
    thread = town.server.world.add_thread(
        town.general, "secret", owner=town.admin, private=True, members=[town.server.world.bot]
    )
    asked = await town.use(town.admin, "observe on", channel=thread)
    await (await asked.click("Switch on")).settled()
    assert observed(town) == {town.general.id, thread.id}
    assert len(town.server.sent(thread)) == 1


async def test_a_public_thread_comes_with_its_channel(town: Town) -> None:
    """It needs no switch of its own, and cannot be switched off by itself."""
    thread = town.server.world.add_thread(town.general, "teapots", owner=town.ada)
    await town.use(town.admin, "observe on", channel=town.general)
    covered = (await town.use(town.admin, "observe on", channel=thread)).content
    assert f"is observed already with <#{town.general.id}>" in covered
    refused = (await town.use(town.admin, "observe off", channel=thread)).content
    assert f"is observed with <#{town.general.id}>; switch that one off" in refused


async def test_a_forum_gets_its_notice_as_a_post(town: Town) -> None:
    """Nothing can be said in a forum itself, so the notice is a post in it."""
    forum = town.server.world.add_channel(town.guild, "help", kind=ChannelKind.FORUM)
    answer = await town.use(town.admin, "observe on", channel=forum)
    assert "from now on" in answer.content
    [post] = town.guild.threads_of(forum, archived=False)
    assert "`/privacy opt-out`" in town.server.sent(post)[0].content
    assert observed(town) == {forum.id}


async def test_announcement_channels_are_fine(town: Town) -> None:
    """What is announced is remembered like what is said."""
    news = town.server.world.add_channel(town.guild, "news", kind=ChannelKind.ANNOUNCEMENT)
    assert "from now on" in (await town.use(town.admin, "observe on", channel=news)).content


@pytest.mark.parametrize(
    ("lacking", "name"),
    [
        (Permission.VIEW_CHANNEL, "View Channel"),
        (Permission.READ_MESSAGE_HISTORY, "Read Message History"),
        (Permission.SEND_MESSAGES, "Send Messages"),
    ],
)
async def test_a_channel_out_of_reach_is_refused(town: Town, lacking: Permission, name: str) -> None:
    """What I lack is said by the name Discord gives it, and nothing is switched on."""
    town.server.world.deny(town.general, town.server.world.bot, lacking)
    answer = await town.use(town.admin, "observe on", channel=town.general)
    assert "not switched on" in answer.content
    assert name in answer.content
    assert observed(town) == set()


async def test_no_notice_no_observation(town: Town) -> None:
    """If Discord does not take the notice, the channel stays off and the answer says so."""
    town.server.fail_next("POST", rf"/channels/{town.general.id}/messages", 403)
    answer = await town.use(town.admin, "observe on")
    assert "It was not switched on: I could not post the notice" in answer.content
    assert observed(town) == set()


async def test_a_notice_that_is_not_true_is_taken_back(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the database fails after the notice, the notice goes."""

    async def locked(*_: object) -> None:
        raise StorageUnavailable()

    monkeypatch.setattr(town.app.observations, "switch_on", locked)
    answer = await town.use(town.admin, "observe on")
    assert answer.content == str(StorageUnavailable())
    assert town.server.sent(town.general) == []


async def test_age_restricted_channels_are_refused(town: Town) -> None:
    """They are left alone unless the settings allow them."""
    town.server.world.update_channel(town.general, nsfw=True)
    assert "age-restricted" in (await town.use(town.admin, "observe on")).content
    assert observed(town) == set()


class TestWithAgeRestrictedChannels:
    """The setting `discord.allow_age_restricted`."""

    @pytest.fixture
    def sections(self, sections: dict[str, Any]) -> dict[str, Any]:
        return sections | {"discord": {"allow_age_restricted": True}}

    async def test_they_are_observed_like_others(self, town: Town) -> None:
        """What the operator allows is allowed."""
        town.server.world.update_channel(town.general, nsfw=True)
        await town.use(town.admin, "observe on")
        assert observed(town) == {town.general.id}


async def test_switching_off_is_at_once_and_says_what_stays(town: Town) -> None:
    """What is held stays recallable."""
    await town.use(town.admin, "observe on")
    answer = await town.use(town.admin, "observe off")
    assert "What I hold of it stays" in answer.content
    assert not town.app.observations.observed(town.guild.id, town.general.id, utcnow())
    assert "is not observed" in (await town.use(town.admin, "observe off")).content


async def test_a_channel_of_the_settings_says_that_it_comes_back(town: Town) -> None:
    """The settings file wins at the next start, so it is named."""
    settings = town.app.settings.discord.model_copy(update={"observe": (town.general.id,)})
    town.app.settings.__dict__["discord"] = settings
    await town.app.observations.switch_on(town.guild.id, town.general.id, None)
    assert "by the settings" in (await town.use(town.admin, "observe list")).text
    assert "`discord.observe`" in (await town.use(town.admin, "observe off")).content


async def test_the_list_says_since_when_and_by_whom(town: Town) -> None:
    """An admin can tell who switched what on."""
    assert "No channel is observed" in (await town.use(town.admin, "observe list")).content
    await town.use(town.admin, "observe on")
    [card] = (await town.use(town.admin, "observe list")).embeds
    assert f"<#{town.general.id}> since <t:" in card["description"]
    assert f"switched on by <@{town.admin.id}>" in card["description"]


async def test_servers_do_not_wait_for_one_another(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """While Discord takes its time with the notice of one server, another switches a channel on."""
    gate, post = asyncio.Event(), Notices.post

    async def slow(notices: Notices, place: Observable, notice: str) -> discord.Message:
        if place.guild.id == town.guild.id:
            await gate.wait()
        return await post(notices, place, notice)

    monkeypatch.setattr(Notices, "post", slow)
    chess = town.server.world.add_guild(name="chess club", owner=town.bob)
    openings = town.server.world.add_channel(chess, "openings")
    await eventually(lambda: town.app.client.get_channel(openings.id))
    first = await town.server.slash(town.admin, town.general, "observe on")
    assert "I remember" in (await town.use(town.bob, "observe on", place=openings)).content
    gate.set()
    assert "I remember" in (await first.until(lambda answer: bool(answer.content))).content


async def test_a_long_list_has_pages(town: Town) -> None:
    """Every observed channel is listed, however many there are, for as long as one manages the server."""
    for number in range(60):
        channel = town.server.world.add_channel(town.guild, f"c{number}")
        await town.app.observations.switch_on(town.guild.id, channel.id, town.admin.id)
    answer = await town.use(town.admin, "observe list")
    first = answer.embeds[0]["description"].splitlines()
    second = (await (await answer.click("Next")).settled()).embeds[0]["description"].splitlines()
    assert len({*first, *second}) == 60
    role = town.server.world.add_role(town.guild, "managers", Permission.MANAGE_GUILD)
    town.server.world.update_member(town.guild, town.bob, role_ids=[role.id])
    answer = await town.use(town.bob, "observe list")
    town.server.world.update_member(town.guild, town.bob, role_ids=[])
    assert (await (await answer.click("Next")).settled()).followups[-1].content == "You may not see this any more."


async def test_members_neither_see_nor_use_it(town: Town) -> None:
    """Discord hides the command; where an admin has shown it, the right is still asked for."""
    with pytest.raises(NotAllowed):
        await town.server.slash(town.ada, town.general, "observe on")
    town.unhide_commands()
    for path in ("observe on", "observe off", "observe list"):
        answer = await town.use(town.ada, path)
        assert answer.content == "You need the Manage Server permission for this."
    assert observed(town) == set()
