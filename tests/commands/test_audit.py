"""/audit, as those who manage the server read it."""

from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs
from town import Town

from bot.commands.audit import line
from bot.commands.text import jump_url
from bot.errors import StorageUnavailable
from bot.sandbox.discord import Answer, NotAllowed, Permission
from bot.storage.audit import Action, AuditEntry

WHEN = datetime(2026, 5, 1, 12, tzinfo=UTC)


def lines(answer: Answer) -> list[str]:
    """The entries on a page, without their times."""
    [card] = answer.embeds
    return [entry.partition(" ")[2] for entry in card["description"].splitlines()]


@pytest.mark.parametrize(
    ("action", "details", "told"),
    [
        (Action.FORGOT, {"of": 5}, "had me forget everything of them"),
        (Action.FORGOT, {}, "had me forget memories of their own"),
        (Action.FORGOT, {"messages": 2, "facts": 1}, "had me forget 2 messages and 1 fact"),
        (
            Action.FORGOT,
            {"messages": 2, "facts": 0, "channel": 7},
            "had me forget 2 messages and 0 facts that were gone from <#7>",
        ),
        (Action.CORRECTED, {"fact": "x"}, "corrected a fact"),
        (Action.REMEMBERED, {"message": 9}, "had me remember a message"),
        (
            Action.PURGED,
            {"messages": 1, "facts": 3, "member": 6, "channel": 7, "until": WHEN.isoformat(), "stopped": 1},
            "purged 1 message and 3 facts of <@6> in <#7> until <t:1777636800:f>, and stopped before it was all gone",
        ),
        (
            Action.PURGED,
            {"messages": 1, "facts": 3, "since": WHEN.isoformat()},
            "purged 1 message and 3 facts from <t:1777636800:f> on",
        ),
        (Action.CONFIGURED, {"name": "who may ask", "value": "everyone"}, "set who may ask: everyone"),
        (Action.OBSERVED, {"channel": 7}, "switched <#7> on"),
        (Action.UNOBSERVED, {"channel": 7}, "switched <#7> off"),
        (Action.BACKFILLED, {"channel": 7, "since": WHEN.isoformat()}, "had me read <#7> from <t:1777636800:f> on"),
        (Action.EXPORTED, {}, "exported what I hold of them"),
        (Action.OPTED_OUT, {}, "opted out"),
        (Action.OPTED_IN, {}, "opted in"),
    ],
)
def test_each_deed_is_told_in_words(action: Action, details: dict[str, int | str], told: str) -> None:
    """An entry says when, who and what, by mentions and counts."""
    assert line(AuditEntry(1, 2, WHEN, 5, action, details)) == f"<t:1777636800:R> <@5> {told}"


def test_the_bots_own_deeds_are_its_own() -> None:
    """What nobody in particular did was done by the bot."""
    assert line(AuditEntry(1, 2, WHEN, None, Action.OBSERVED, {"channel": 7})).endswith("I switched <#7> on")


async def test_what_was_done_is_read_newest_first(town: Town) -> None:
    """Everything that removes or changes something leaves a line, without counts of what is one's own, or words."""
    said = await town.says(town.ada, "My teapot is blue")
    cup = await town.says(town.ada, "The cup, too")
    saucer = await town.says(town.bob, "A saucer should be brown")
    await town.knows("Ada owns a blue teapot", said, about=town.ada)
    await town.use(town.admin, "observe on")
    await town.use(town.admin, "observe off")
    asked = await town.use(town.ada, "forget", query=jump_url(town.guild.id, town.general.id, cup.id))
    await (await asked.click("Forget")).settled()
    asked = await town.use(town.admin, "forget", query=jump_url(town.guild.id, town.general.id, saucer.id))
    await (await asked.click("Forget")).settled()
    asked = await town.use(town.ada, "privacy opt-out")
    sure = await (await asked.click("Forget my past…")).settled()
    await (await sure.click("Forget everything")).settled()
    await town.use(town.ada, "privacy opt-in")
    answer = await town.use(town.admin, "audit")
    assert answer.ephemeral
    assert lines(answer) == [
        f"<@{town.ada.id}> opted in",
        f"<@{town.ada.id}> had me forget everything of them",
        f"<@{town.ada.id}> opted out",
        f"<@{town.admin.id}> had me forget 1 message and 0 facts",
        f"<@{town.ada.id}> had me forget memories of their own",
        f"<@{town.admin.id}> switched <#{town.general.id}> off",
        f"<@{town.admin.id}> switched <#{town.general.id}> on",
    ]
    assert answer.buttons == []


async def test_pages_stand_still_while_entries_are_added(town: Town) -> None:
    """Older entries are found below those shown, whatever was added above them; and nobody else turns the pages."""
    for number in range(40):
        await town.app.audit.record(town.guild.id, town.admin.id, Action.CONFIGURED, name="n", value=number)
    first = await town.use(town.admin, "audit")
    assert [button.label for button in first.buttons if button.disabled] == ["Newer"]
    shown = lines(first)
    await town.app.audit.record(town.guild.id, town.admin.id, Action.OPTED_OUT)
    second = await (await first.click("Older")).settled()
    shown += lines(second)
    third = await (await second.click("Older")).settled()
    shown += lines(third)
    assert shown == [f"<@{town.admin.id}> set n: {number}" for number in reversed(range(40))]
    assert [button.label for button in third.buttons if button.disabled] == ["Older"]
    assert lines(await (await third.click("Newer")).settled()) == shown[15:30]


async def test_only_managers_read_it(town: Town) -> None:
    """Discord hides the command; the right is asked for, and again at each turn. Other servers' entries stay theirs."""
    await town.app.audit.record(99, town.admin.id, Action.OPTED_OUT)
    assert (await town.use(town.admin, "audit")).content == "Nobody has removed or changed anything yet."
    with pytest.raises(NotAllowed):
        await town.server.slash(town.ada, town.general, "audit")
    town.unhide_commands()
    assert (await town.use(town.ada, "audit")).content == "You need the Manage Server permission for this."
    role = town.server.world.add_role(town.guild, "managers", Permission.MANAGE_GUILD)
    town.server.world.update_member(town.guild, town.bob, role_ids=[role.id])
    for number in range(20):
        await town.app.audit.record(town.guild.id, town.admin.id, Action.CONFIGURED, name="n", value=number)
    pages = await town.use(town.bob, "audit")
    town.server.world.update_member(town.guild, town.bob, role_ids=[])
    turned = await (await pages.click("Older")).settled()
    assert "You may not read this any more." in turned.text


async def test_a_deed_stands_though_it_could_not_be_noted(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer says what was done; the log takes the entry."""

    async def full(*_: object, **__: object) -> None:
        raise StorageUnavailable()

    monkeypatch.setattr(town.app.audit, "record", full)
    with capture_logs() as logs:
        answer = await town.use(town.admin, "observe on")
    assert "from now on" in answer.content
    [entry] = [one for one in logs if one["event"] == "audit_not_recorded"]
    assert [entry["action"], entry["channel"]] == [Action.OBSERVED, town.general.id]
