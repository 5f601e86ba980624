"""/setup, as those who manage the server go through it."""

from pathlib import Path
from typing import Any

import pytest
from town import Town, connected, eventually

from bot.commands.views import EXPIRED
from bot.errors import StorageUnavailable
from bot.sandbox.discord import Answer, Channel, ChannelKind, DiscordServer, NotAllowed, Permission, Role, User
from bot.storage.audit import Action

LAST = 5


def shown(answer: Answer) -> str:
    """The words of the step."""
    [card] = answer.embeds
    return f"{card['title']}\n{card['description']}"


def observed(town: Town) -> set[int]:
    return {one.channel_id for one in town.app.observations.active(town.guild.id)}


async def onward(answer: Answer, steps: int = 1) -> Answer:
    """Press Next so many times."""
    for _ in range(steps):
        answer = await (await answer.click("Next")).settled()
    return answer


async def chosen(answer: Answer, menu: str, *values: Any) -> Answer:
    return await (await answer.select(*values, menu=menu)).settled()


async def started(answer: Answer) -> Answer:
    """Press Start, and wait for the end."""
    pressed = await answer.click("Start")
    return await pressed.until(lambda one: bool(one.embeds) and one.content not in ("", "Setting up…"))


async def with_channels(town: Town, user: User, *channels: Channel) -> Answer:
    """The last step, with these channels chosen."""
    answer = await chosen(await town.use(user, "setup"), "Channels", *channels)
    return await onward(answer, LAST - 1)


@pytest.fixture
def tasters(town: Town) -> Role:
    """A role."""
    return town.server.world.add_role(town.guild, "tasters")


async def test_the_whole_way(town: Town, tasters: Role) -> None:
    """Channels, consent, retention, askers, summary: nothing changes before Start, and then all of it does."""
    forum = town.server.world.add_channel(town.guild, "help", kind=ChannelKind.FORUM)
    answer = await town.use(town.admin, "setup")
    assert answer.ephemeral
    assert shown(answer).startswith("Setup, step 1 of 5: Where I listen")
    assert [button.label for button in answer.buttons if button.disabled] == ["Back"]
    answer = await chosen(answer, "Channels", town.general, forum)
    answer = await onward(answer)
    assert "everyone is remembered until they opt out" in shown(answer)
    answer = await onward(await chosen(answer, "Whom I remember", "Only those who agreed"))
    assert "messages are kept for 30 days" in shown(answer)
    answer = await chosen(answer, "Messages", "Messages: 90 days")
    answer = await onward(await chosen(answer, "Facts", "Facts: 365 days"))
    answer = await chosen(answer, "Everyone may ask", tasters)
    answer = await onward(await chosen(answer, "Facts about people", "No facts about people"))
    told = shown(answer)
    assert f"**I listen in**: <#{town.general.id}> <#{forum.id}>, from now on" in told
    assert "only members who agreed are remembered" in told
    assert "messages are kept for 90 days, facts for 365 days" in told
    assert f"<@&{tasters.id}>" in told
    assert "not noted" in told
    assert "Nothing is done yet." in told
    before = town.app.configs.of(town.guild.id)
    assert [before.raw_days, observed(town), town.server.sent(town.general)] == [30, set(), []]

    done = await started(answer)
    assert done.content.startswith(f"Done. I remember <#{town.general.id}> <#{forum.id}> from now on")
    assert done.buttons == []
    assert {field["name"]: field["value"] for field in done.embeds[0]["fields"]}["Observed"].startswith("2 channels")
    assert observed(town) == {town.general.id, forum.id}
    config = town.app.configs.of(town.guild.id)
    assert [config.raw_days, config.facts_days] == [90, 365]
    assert [config.asker_roles, config.person_facts] == [(tasters.id,), "none"]
    assert town.app.consent.mode(town.guild.id) == "opt_in"
    [notice] = town.server.sent(town.general)
    assert "what those who agree say" in notice.content
    assert "90 days" in notice.content
    actions = [entry.action for entry in await town.app.audit.entries(town.guild.id, 99)]
    assert actions.count(Action.OBSERVED) == 2
    assert actions.count(Action.CONFIGURED) == 4


async def test_going_back_and_cancelling(town: Town) -> None:
    """What was chosen is still there after Back; Cancel leaves everything as it was."""
    answer = await chosen(await town.use(town.admin, "setup"), "Channels", town.general)
    answer = await onward(answer, 2)
    answer = await chosen(answer, "Messages", "Messages: 7 days")
    answer = await (await answer.click("Back")).settled()
    answer = await onward(answer)
    [days, _] = answer.selects
    assert [option.label for option in days.options if option.default] == ["Messages: 7 days"]
    answer = await onward(answer, 2)
    assert f"<#{town.general.id}>, from now on" in shown(answer)
    cancelled = await (await answer.click("Cancel")).settled()
    assert [cancelled.content, cancelled.embeds, cancelled.buttons] == ["Nothing was changed.", [], []]
    assert [observed(town), town.app.configs.of(town.guild.id).raw_days] == [set(), 30]
    assert await town.app.audit.entries(town.guild.id, 9) == []


async def test_again_it_shows_what_holds(town: Town) -> None:
    """Observed channels and present values are shown, also unusual ones; without a change nothing is changed."""
    await town.use(town.admin, "config set retention", messages=45)
    await town.use(town.admin, "observe on")
    noted = len(await town.app.audit.entries(town.guild.id, 99))
    answer = await town.use(town.admin, "setup")
    assert f"I remember already: <#{town.general.id}>" in shown(answer)
    answer = await onward(answer, 2)
    assert [o.label for o in answer.selects[0].options if o.default] == ["Messages: 45 days"]
    answer = await onward(answer, 2)
    assert f"no further channel; as before <#{town.general.id}>" in shown(answer)
    done = await started(answer)
    assert done.content == "Done."
    assert len(await town.app.audit.entries(town.guild.id, 99)) == noted
    assert len(town.server.sent(town.general)) == 1


async def test_channels_out_of_reach_are_named(town: Town) -> None:
    """What I lack is said when the channel is chosen; such a channel is left out, and a hidden one is pointed out."""
    deaf = town.server.world.add_channel(town.guild, "deaf")
    town.server.world.deny(deaf, town.server.world.bot, Permission.READ_MESSAGE_HISTORY)
    answer = await chosen(await town.use(town.admin, "setup"), "Channels", deaf, town.staff)
    reason = f"In <#{deaf.id}> I lack Read Message History; allow it under the channel's Permissions."
    assert f"{reason} I leave it out." in shown(answer)
    assert f"<#{town.staff.id}> is hidden from @everyone" in shown(answer)
    answer = await onward(answer, LAST - 1)
    assert f"**I listen in**: <#{town.staff.id}>, from now on" in shown(answer)
    done = await started(answer)
    assert f"- {reason}" in done.content
    assert observed(town) == {town.staff.id}


async def test_what_fails_is_named(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that cannot be told or written down is named, and the others are switched on all the same."""
    locked, other = (town.server.world.add_channel(town.guild, name) for name in ("locked", "other"))
    answer = await with_channels(town, town.admin, town.general, locked, other)
    switch_on = town.app.observations.switch_on

    async def fail(guild_id: int, channel_id: int, *details: Any) -> bool:
        if channel_id == locked.id:
            raise StorageUnavailable()
        return await switch_on(guild_id, channel_id, *details)

    monkeypatch.setattr(town.app.observations, "switch_on", fail)
    town.server.fail_next("POST", rf"/channels/{town.general.id}/messages", 403)
    done = await started(answer)
    assert f"I could not post the notice in <#{town.general.id}>" in done.content
    assert f"- <#{locked.id}>: {StorageUnavailable()}" in done.content
    assert [observed(town), town.server.sent(locked)] == [{other.id}, []]

    failed = await started(await with_channels(town, town.admin, locked))
    assert failed.content.startswith("Not switched on:\n- ")  # nothing is done
    answer = await onward(await chosen(await town.use(town.admin, "setup"), "Channels", locked), 2)
    answer = await onward(await chosen(answer, "Messages", "Messages: 7 days"), 2)
    assert (await started(answer)).content.startswith("The settings are changed.\nNot switched on:")


async def test_two_admins_at_once(town: Town) -> None:
    """Each channel gets one notice, and nobody takes back what the other changed meanwhile."""
    first = await with_channels(town, town.admin, town.general)
    role = town.server.world.add_role(town.guild, "managers", Permission.MANAGE_GUILD)
    town.server.world.update_member(town.guild, town.bob, role_ids=[role.id])
    second = await chosen(await town.use(town.bob, "setup"), "Channels", town.general)
    second = await chosen(await onward(second, 2), "Messages", "Messages: 7 days")
    await started(await onward(second, 2))
    done = await started(first)
    assert f"- <#{town.general.id}> is observed already." in done.content
    assert town.app.configs.of(town.guild.id).raw_days == 7
    assert len(town.server.sent(town.general)) == 1


async def test_only_managers_and_only_the_one_who_asked(town: Town) -> None:
    """Discord hides it, the right is asked for, and again at every press."""
    with pytest.raises(NotAllowed):
        await town.server.slash(town.ada, town.general, "setup")
    town.unhide_commands()
    assert (await town.use(town.ada, "setup")).content == "You need the Manage Server permission for this."
    role = town.server.world.add_role(town.guild, "managers", Permission.MANAGE_GUILD)
    town.server.world.update_member(town.guild, town.bob, role_ids=[role.id])
    answer = await with_channels(town, town.bob, town.general)
    town.server.world.update_member(town.guild, town.bob, role_ids=[])
    for button in ("Back", "Start"):
        refused = await (await answer.click(button)).settled()
        assert "You may not set me up any more." in refused.text
    assert observed(town) == set()


async def test_after_a_restart_it_has_expired(tmp_path: Path, sections: dict[str, Any]) -> None:
    """A new process knows nothing of a setup that was half done, changed nothing of it, and says so."""
    async with DiscordServer() as server:
        admin = server.world.add_user("admin")
        guild = server.world.add_guild(name="tea club", owner=admin)
        general = server.world.add_channel(guild, "general")
        async with connected(server, tmp_path, sections):
            answer = await (await server.slash(admin, general, "setup")).settled()
            answer = await chosen(answer, "Channels", general)
        async with connected(server, tmp_path, sections) as app:
            pressed = await (await answer.click("Next")).settled()
            assert EXPIRED in pressed.text
            assert app.observations.active(guild.id) == []


async def test_managers_of_an_empty_server_are_shown_the_way(town: Town) -> None:
    """While no channel is remembered, /status and a fruitless /recall name /setup; members are told who can use it."""
    assert "`/setup`" in (await town.use(town.admin, "status")).text
    assert "`/setup`" in (await town.use(town.admin, "recall", query="teapot")).content
    assert "an admin can start me with `/setup`." in (await town.use(town.ada, "recall", query="teapot")).content
    await town.use(town.admin, "observe on")
    await eventually(lambda: observed(town))
    assert "`/setup`" not in (await town.use(town.admin, "recall", query="teapot")).content


async def test_where_only_some_roles_may_ask(town: Town, tasters: Role) -> None:
    """Others are refused kindly, managers never are, and one's own memories stay open to everyone."""
    await town.says(town.ada, "My teapot is blue")
    await town.app.configs.change(town.guild.id, {"asker_roles": (tasters.id,)})
    for command, options in (("recall", {"query": "teapot"}), ("ask", {"question": "teapot?"}), ("catchup", {})):
        refused = await town.use(town.ada, command, **options)
        assert refused.content.startswith("In this server only some roles may ask me"), command
        assert refused.ephemeral
    assert (await town.use(town.admin, "recall", query="teapot")).embeds
    assert "Forget 1 memory?" in (await town.use(town.ada, "forget", query="teapot")).content
    assert (await town.use(town.ada, "privacy status")).embeds
    town.server.world.update_member(town.guild, town.ada, role_ids=[tasters.id])
    assert (await town.use(town.ada, "recall", query="teapot")).embeds


async def test_a_role_that_may_ask_and_is_deleted(town: Town, tasters: Role) -> None:
    """Nobody else may ask then, either; those who manage the server are told, and no menu offers what is gone."""
    await town.app.configs.change(town.guild.id, {"asker_roles": (tasters.id,)})
    assert "Needs a look" not in str((await town.use(town.admin, "status")).embeds)
    town.server.world.remove_role(tasters)
    guild = town.app.client.get_guild(town.guild.id)
    await eventually(lambda: guild and not guild.get_role(tasters.id))

    refused = await town.use(town.ada, "recall", query="teapot")
    assert refused.content.startswith("In this server only some roles may ask me")
    assert "A role that may ask me no longer exists, so only those who manage" in str(
        (await town.use(town.admin, "status")).embeds
    )
    assert "**Who may ask**: a role that no longer exists" in (await town.use(town.admin, "config show")).text
    step = await onward(await town.use(town.admin, "setup"), 3)
    assert "Now: a role that no longer exists may ask" in shown(step)
    assert str(tasters.id) not in str([message.components for message in step.messages])
    step = await onward(step)
    assert "**Who may ask**: a role that no longer exists" in shown(step)

    club = town.server.world.add_role(town.guild, "club")
    done = await town.use(town.admin, "config set askers", add=club)
    assert done.content == f"Done. **Who may ask**: <@&{club.id}>."
    assert "Needs a look" not in str((await town.use(town.admin, "status")).embeds)
