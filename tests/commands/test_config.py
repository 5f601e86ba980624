"""/config, as those who manage a server use it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from town import Town, cards, eventually

from bot.commands import news
from bot.errors import StorageUnavailable
from bot.model import utcnow
from bot.sandbox.discord import Answer, NotAllowed, Permission
from bot.storage.audit import Action


async def configured(town: Town, setting: str, **options: Any) -> Answer:
    return await town.use(town.admin, f"config set {setting}", **options)


async def changed(town: Town, answer: Answer) -> str:
    """What stands there once the second look is over, and members are told."""
    done = (await (await answer.click("Change it")).settled()).content
    await town.app.client.settle()
    return done


async def test_settings_that_lose_nothing_are_changed_at_once(town: Town) -> None:
    """Each is shown with whose it is, noted without a word of anybody's, and taken back to the default."""
    told = (await town.use(town.admin, "config show")).text
    assert "Facts about people**: noted from that person's own words only (default)" in told
    assert "Retention**: messages are kept for 30 days, facts until they are forgotten (default)" in told
    role = town.server.world.add_role(town.guild, "club", Permission.VIEW_CHANNEL)
    done = await configured(town, "person-facts", whose="none")
    assert (done.content, done.ephemeral) == ("Done. **Facts about people**: not noted.", True)
    await configured(town, "sensitive", things="keep")
    await configured(town, "about-others", allowed=True)
    await configured(town, "mentions", allowed=True)
    assert f"**Who may ask**: <@&{role.id}>." in (await configured(town, "askers", add=role)).content
    config = town.app.configs.of(town.guild.id)
    assert (config.person_facts, config.drop_sensitive, config.about_others) == ("none", False, True)
    assert (config.mentions, config.asker_roles) == (True, (role.id,))
    told = (await town.use(town.admin, "config show")).text
    assert "Facts about people**: not noted (this server's own)" in told
    assert "Nothing changes. **Mentions**: " in (await configured(town, "mentions", allowed=True)).content
    entries = await town.app.audit.entries(town.guild.id, 9)
    assert {entry.action for entry in entries} == {Action.CONFIGURED}
    assert entries[-1].details == {"name": "facts about people", "value": "not noted"}
    assert entries[0].details == {"name": "who may ask", "value": f"<@&{role.id}>"}

    await configured(town, "askers", remove=role)
    assert "everyone" in (await town.use(town.admin, "config show")).text
    reset = await town.use(town.admin, "config reset", setting="facts about people")
    assert reset.content == "Done. **Facts about people**: noted from that person's own words only."
    assert "no setting of its own" in (await town.use(town.admin, "config reset", setting="facts about people")).content
    assert "give `add`, `remove` or both" in (await configured(town, "askers")).content
    assert town.app.configs.own(town.guild.id) == {"drop_sensitive", "about_others", "mentions", "asker_roles"}


async def test_asking_members_first_is_told_where_i_listen(town: Town) -> None:
    """After a second look with numbers a notice with buttons stands in each observed channel, and the mode holds."""
    for place in (town.general, town.staff):
        await town.app.observations.switch_on(town.guild.id, place.id, town.admin.id)
    await town.app.consent.opt_in(town.guild.id, town.bob.id)
    asked = await configured(town, "consent", mode="opt_in")
    assert "1 member has agreed so far" in asked.content
    assert "What I hold of them stays; `/purge` removes it." in asked.content
    assert "The members of 2 observed channels are told there." in asked.content
    assert not town.app.consent.keeps_out(town.guild.id, town.ada.id)
    assert town.server.sent(town.general) == []
    assert "only members who agreed are remembered" in await changed(town, asked)
    assert [town.app.consent.keeps_out(town.guild.id, one.id) for one in (town.ada, town.bob)] == [True, False]
    await eventually(lambda: town.server.sent(town.general) and town.server.sent(town.staff))
    for place in (town.general, town.staff):
        [notice] = town.server.sent(place)
        assert "**From now on I ask first**" in notice.content
        assert notice.allowed_mentions == {"parse": []}
        assert (await (await town.server.click(town.admin, notice, "Remember me")).settled()).ephemeral

    undone = await town.use(town.admin, "config reset", setting="consent")
    assert "everyone who has not opted out, whether they agreed or not" in undone.content
    assert "everyone is remembered until they opt out" in await changed(town, undone)
    await eventually(lambda: len(town.server.sent(town.general)) == 2)
    assert "**From now on I remember what everyone writes here**" in town.server.sent(town.general)[-1].content
    assert town.server.sent(town.general)[-1].components == []


async def test_keeping_less_takes_a_second_look(town: Town) -> None:
    """It says how much goes; then it goes, new words are kept as long, and members are told."""
    await town.app.observations.switch_on(town.guild.id, town.general.id, town.admin.id)
    old = await town.says(town.ada, "My teapot is blue", at=utcnow() - timedelta(days=20))
    await town.knows("Ada has a blue teapot", old, about=town.ada)
    await town.says(town.ada, "My teapot is new")
    assert "give `messages`, `facts` or both" in (await configured(town, "retention")).content
    asked = await configured(town, "retention", facts=10)
    assert "0 messages and 1 fact are older than that already and go within the hour, for good." in asked.content
    kept = await (await asked.click("Cancel")).settled()
    assert kept.content == "Nothing was changed."
    asked = await configured(town, "retention", messages=7, facts=10)
    assert "messages are kept for 7 days, facts for 10 days" in await changed(town, asked)
    await eventually(lambda: town.server.sent(town.general))
    [notice] = town.server.sent(town.general)
    assert "**How long I keep what is said in this channel has changed.**" in notice.content
    assert "for 7 days, and the facts noted from them for 10 days" in notice.content
    expired = await town.app.retention.expire()
    assert (expired.messages, expired.facts) == (0, 1)
    assert "messages themselves for 7 days" in (await town.use(town.ada, "privacy status")).text
    longer = await configured(town, "retention", facts=0)
    assert "older than that" not in longer.content
    assert "The members of 1 observed channel are told there." in longer.content


async def test_trying_out_retention_makes_one_more_notice(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first change is told at once, further ones after a while and together, as it is in the end."""
    waiting, calm = [], asyncio.Event()

    async def wait(seconds: float) -> None:
        waiting.append(seconds)
        await calm.wait()

    monkeypatch.setattr(news, "sleep", wait)
    await town.app.observations.switch_on(town.guild.id, town.general.id, town.admin.id)
    for count, days in enumerate((7, 14, 21, 9)):
        await changed(town, await configured(town, "retention", messages=days))
        await eventually(lambda count=count: town.server.sent(town.general) and len(waiting) == count)
    assert all(0 < seconds <= news.CALM_SECONDS for seconds in waiting)
    [first] = town.server.sent(town.general)
    assert "for 7 days" in first.content
    calm.set()
    await eventually(lambda: not any(task.get_name() == "telling news" for task in asyncio.all_tasks()))
    _, last = town.server.sent(town.general)
    assert "for 9 days" in last.content


async def test_the_language_of_keyword_search(town: Town) -> None:
    """It is offered by name; a change says what it costs, and memories are found in it soon after."""
    offered = await town.server.autocomplete(town.admin, town.general, "config set language", "language", "ger")
    assert [choice["name"] for choice in offered] == ["German"]
    everything = await town.server.autocomplete(town.admin, town.general, "config set language", "language", "")
    assert (len(everything), everything[0]["name"]) == (25, "Several languages, or another")
    assert "I do not know that language" in (await configured(town, "language", language="Klingon")).content
    await town.says(town.ada, "Die Häuser sind gelb")
    assert "found nothing" in (await town.use(town.bob, "recall", query="Haus")).content
    asked = await configured(town, "language", language="German")
    for name in ("de", "Deutsch"):
        assert "**Language** - German." in (await configured(town, "language", language=name)).content
    assert (await configured(town, "language", language="none")).content.startswith(("Done.", "This would"))
    assert "I prepare 1 memory again in the background" in asked.content
    assert "Done. **Language**: German." in await changed(town, asked)
    assert await town.app.reconciler.run_once([town.guild.id]) == 1
    assert cards(await town.use(town.bob, "recall", query="Haus")) == ["Die Häuser sind gelb"]


async def test_only_managers_may(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discord hides the commands; the right is asked for, and again at the second look. What fails changes nothing."""
    with pytest.raises(NotAllowed):
        await town.server.slash(town.ada, town.general, "config show")
    town.unhide_commands()
    assert "You need the Manage Server permission" in (await town.use(town.ada, "config show")).content
    assert "Manage Server" in (await town.use(town.ada, "config set mentions", allowed=True)).content
    role = town.server.world.add_role(town.guild, "managers", Permission.MANAGE_GUILD)
    town.server.world.update_member(town.guild, town.bob, role_ids=[role.id])
    asked = await town.use(town.bob, "config set consent", mode="opt_in")
    town.server.world.update_member(town.guild, town.bob, role_ids=[])
    assert "You may not change this any more." in (await (await asked.click("Change it")).settled()).content
    assert town.app.consent.mode(town.guild.id) == "opt_out"

    async def full(*_: object) -> None:
        raise StorageUnavailable()

    monkeypatch.setattr(town.app.database, "transact", full)
    assert (await configured(town, "mentions", allowed=True)).content == str(StorageUnavailable())
    assert not town.app.configs.of(town.guild.id).mentions
