"""/backfill and `/observe on` with `backfill`: what is asked for, and what is refused."""

import pytest
from past import LONG_AGO, born_long_ago, done, intervals, old_channel, tearoom
from town import Town, eventually

from bot.errors import StorageUnavailable
from bot.model import utcnow
from bot.sandbox.discord import NotAllowed, Permission


@pytest.mark.parametrize(
    ("since", "refusal"),
    [
        ("soon", "I read `since` as 24h, 7d, 4w, 1y or a date"),
        ("2101-01-01", "`since` lies in the future"),
    ],
)
async def test_a_since_that_cannot_be(town: Town, since: str, refusal: str) -> None:
    """What I read `since` as is said."""
    channel = await tearoom(town, [20])
    assert (await town.use(town.admin, "backfill", channel=channel, since=since)).content.startswith(refusal)


async def test_since_is_suggested(town: Town) -> None:
    """Both options offer the usual spans."""
    for path, option in (("backfill", "since"), ("observe on", "backfill")):
        choices = await town.server.autocomplete(town.admin, town.general, path, option, "", channel=town.general)
        assert choices[0] == {"name": "the last 24 hours", "value": "24h"}


async def test_a_channel_that_is_not_observed(town: Town) -> None:
    """First it is switched on; what is observed since then already needs no reading."""
    refused = await town.use(town.admin, "backfill", channel=town.general, since="7d")
    assert f"<#{town.general.id}> is not observed. Switch it on first" in refused.content
    await town.app.observations.switch_on(town.guild.id, town.general.id, town.admin.id, utcnow() - LONG_AGO)
    refused = await town.use(town.admin, "backfill", channel=town.general, since="7d")
    assert refused.content.startswith(f"I remember <#{town.general.id}> since <t:")


async def test_a_channel_out_of_reach(town: Town) -> None:
    """Whatever is in the way is named, also if it came in the way after the question."""
    channel = await tearoom(town, [20])
    asked = await town.use(town.admin, "backfill", channel=channel, since="30d")
    town.server.world.deny(channel, town.server.world.bot, Permission.READ_MESSAGE_HISTORY)
    told = (await town.use(town.admin, "backfill", channel=channel, since="30d")).content
    why = f"in <#{channel.id}> I lack Read Message History; allow it under the channel's Permissions."
    assert told == f"Nothing was read: {why}"
    assert (await (await asked.click("Read it")).settled()).content == told
    town.server.world.update_channel(channel, nsfw=True)
    assert "age-restricted" in (await town.use(town.admin, "backfill", channel=channel, since="30d")).content
    assert [*intervals(town.app, town.guild), *town.server.sent(channel)] == []


async def test_no_notice_no_reading(town: Town) -> None:
    """If Discord does not take the notice, the past stays closed."""
    channel = await tearoom(town, [20])
    asked = await town.use(town.admin, "backfill", channel=channel, since="30d")
    town.server.fail_next("POST", rf"/channels/{channel.id}/messages", 403)
    assert "I could not post the notice" in (await (await asked.click("Read it")).settled()).content
    assert intervals(town.app, town.guild) == []


async def test_a_notice_that_is_not_true_is_taken_back(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the database fails after the notice, the notice goes; with `/observe on` only what it says of the past."""

    async def locked(*_: object) -> None:
        raise StorageUnavailable()

    channel = await tearoom(town, [20])
    monkeypatch.setattr(town.app.observations, "open_interval", locked)
    asked = await town.use(town.admin, "backfill", channel=channel, since="30d")
    assert (await (await asked.click("Read it")).settled()).content == str(StorageUnavailable())
    assert town.server.sent(channel) == []
    asked = await town.use(town.admin, "observe on", channel=town.general, backfill="30d")
    assert (await (await asked.click("Switch on")).settled()).content == str(StorageUnavailable())
    [notice] = town.server.sent(town.general)
    assert "From now on I remember" in notice.content
    assert "said here since" not in notice.content


async def test_observe_on_takes_the_past_along(town: Town) -> None:
    """One question, one notice that tells both, and then both happen."""
    channel = await old_channel(town.server, town.guild, town.ada, [20, 10])
    await eventually(lambda: town.app.client.get_channel(channel.id))
    asked = await town.use(town.admin, "observe on", channel=channel, backfill="15d")
    assert f"I will read <#{channel.id}> from <t:" in asked.content
    assert asked.content.endswith("Switch it on?")
    assert (await done(await asked.click("Switch on"))).startswith("Done: 1 message read, 1 kept")
    [notice] = town.server.sent(channel)
    assert "From now on I remember what is said in this channel" in notice.content
    assert "I also read what was said here since <t:" in notice.content
    [live] = town.app.observations.active(town.guild.id)
    assert intervals(town.app, town.guild)[0].ended_at == live.started_at
    again = await town.use(town.admin, "observe on", channel=channel, backfill="20d")
    assert again.content.endswith("`/backfill` reads what was said before.")


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"retention": {}}, "stay."),
        ({"retention": {"facts_days": 60}}, "go 60 days after what they tell was said."),
    ],
)
async def test_how_long_the_past_is_kept_is_said(town: Town, told: str) -> None:
    """Messages count from when they are read, facts from when they were said."""
    channel = await tearoom(town, [50])
    asked = await town.use(town.admin, "backfill", channel=channel, since="55d")
    assert "older than 30 days are kept for 30 days from now on, like new ones" in asked.content
    assert asked.content.endswith(f"the facts noted from them {told}")


async def test_a_private_thread_goes_with_its_channel(town: Town) -> None:
    """Its intervals know the channel below which it is."""
    with born_long_ago(town.server):
        thread = town.server.world.add_thread(
            town.general, "secret", owner=town.admin, private=True, members=[town.server.world.bot]
        )
    asked = await town.use(town.admin, "observe on", channel=thread, backfill="30d")
    assert "hidden from @everyone" in asked.content
    assert (await done(await asked.click("Switch on"))).startswith("Done: 0 messages read")
    [live] = town.app.observations.active(town.guild.id)
    assert [live.parent_id, intervals(town.app, town.guild)[0].parent_id] == [town.general.id] * 2


async def test_the_right_is_looked_at_again_when_the_button_is_pressed(town: Town) -> None:
    """Who no longer manages the server has nothing read."""
    channel = await tearoom(town, [20])
    role = town.server.world.add_role(town.guild, "managers", Permission.MANAGE_GUILD)
    town.server.world.update_member(town.guild, town.bob, role_ids=[role.id])
    asked = await town.use(town.bob, "backfill", channel=channel, since="30d")
    town.server.world.update_member(town.guild, town.bob, role_ids=[])
    assert "any more" in (await (await asked.click("Read it")).settled()).content
    assert intervals(town.app, town.guild) == []


async def test_members_neither_see_nor_use_it(town: Town) -> None:
    """Discord hides the command; where an admin has shown it, the right is still asked for."""
    with pytest.raises(NotAllowed):
        await town.server.slash(town.ada, town.general, "backfill", channel=town.general, since="7d")
    town.unhide_commands()
    answer = await town.use(town.ada, "backfill", channel=town.general, since="7d")
    assert answer.content == "You need the Manage Server permission for this."
