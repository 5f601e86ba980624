"""/purge, as those who manage the server use it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from town import Town, cards

from bot.commands import purge
from bot.errors import IndexUnavailable, StorageUnavailable
from bot.model import Message, utcnow
from bot.sandbox.discord import Answer, NotAllowed, Permission, User
from bot.storage import purging
from bot.storage.audit import Action
from bot.storage.retraction import Retracted


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is shown after every step, and a step is one message."""
    monkeypatch.setattr(purge, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(purging, "STEP", 1)


async def done(asked: Answer) -> str:
    """Press Purge, and wait for the end."""
    pressed = await asked.click("Purge")
    await pressed.until(lambda answer: answer.content.startswith(("Purged", "Stopped", "You may", "I cannot")))
    assert pressed.buttons == []
    return pressed.content


async def noted(town: Town) -> list[dict[str, Any]]:
    """What the log says of purges, newest first."""
    entries = await town.app.audit.entries(town.guild.id, 9)
    return [dict(entry.details) for entry in entries if entry.action is Action.PURGED]


async def left(town: Town, *messages: Message) -> set[str]:
    return {one.content for one in (await town.app.messages.get(one.id for one in messages)).values()}


def moderator(town: Town) -> User:
    """Someone who manages the server and does not see #staff."""
    someone = town.server.world.add_user("moderator")
    role = town.server.world.add_role(town.guild, "moderators", Permission.MANAGE_GUILD)
    town.server.world.add_member(town.guild, someone, roles=[role])
    town.server.world.deny(town.staff, role, Permission.VIEW_CHANNEL)
    return someone


async def test_a_member_is_counted_confirmed_and_gone(town: Town) -> None:
    """Counts first and no words; then nothing of the member is left, is recalled, or comes back, but they may go on."""
    said = [await town.says(town.ada, f"My teapot number {number}") for number in range(3)]
    other = await town.says(town.bob, "Ada has a teapot")
    await town.knows("Ada owns three teapots", *said, about=town.ada)
    await town.knows("Ada has a teapot", other, about=town.ada)
    asked = await town.use(town.admin, "purge", member=town.ada)
    assert asked.ephemeral
    assert asked.content.startswith(f"This would purge 3 messages and 2 facts of <@{town.ada.id}>, for good")
    assert "teapot" not in asked.text
    assert await left(town, *said) == {one.content for one in said}
    assert await done(asked) == f"Purged: 3 messages and 2 facts of <@{town.ada.id}>."
    assert await noted(town) == [{"messages": 3, "facts": 2, "member": town.ada.id}]
    assert cards(await town.use(town.bob, "recall", query="teapot")) == ["Ada has a teapot"]
    assert not await town.app.messages.capture(said[0])
    assert town.app.consent.opted_out_since(town.guild.id, town.ada.id) is None
    assert await town.app.index.count(town.guild.id) == 1
    assert "purged 3 messages and 2 facts of" in (await town.use(town.admin, "audit")).text


async def test_channel_and_time_narrow_it(town: Town) -> None:
    """Only what was said there and then goes, its threads included; the rest stays."""
    thread = town.server.world.add_thread(town.general, "cups", owner=town.ada)
    week = utcnow() - timedelta(days=7)
    old = await town.says(town.ada, "old", at=week)
    older = await town.says(town.ada, "older", at=week - timedelta(days=30))
    new = await town.says(town.ada, "new")
    below = await town.says(town.bob, "below", place=thread, at=week)
    elsewhere = await town.says(town.bob, "elsewhere", place=town.staff, at=week)
    secret = town.server.world.add_thread(
        town.general, "secret", owner=town.admin, private=True, members=[town.server.world.bot]
    )
    await town.app.observations.switch_on(town.guild.id, secret.id, None, parent_id=town.general.id)
    hidden = await town.says(town.bob, "hidden", place=secret, at=week)
    asked = await town.use(town.admin, "purge", channel=town.general, since="30d", until="1d")
    assert asked.content.startswith(f"This would purge 3 messages and 0 facts in <#{town.general.id}> from <t:")
    assert "opt them out" not in asked.content
    assert (await done(asked)).startswith("Purged: 3 messages and 0 facts in")
    assert await left(town, old, older, new, below, elsewhere, hidden) == {"older", "new", "elsewhere"}
    [entry] = await noted(town)
    assert {*entry} == {"messages", "facts", "channel", "since", "until"}
    again = await town.use(town.admin, "purge", channel=town.general, since="30d", until="1d")
    assert again.content.startswith(f"I hold nothing in <#{town.general.id}> from <t:")
    assert again.content.endswith("that you can read.")


async def test_what_a_manager_cannot_read(town: Town) -> None:
    """A purge by time or channel leaves it alone; a member's goes with the member, uncounted and untold."""
    someone = moderator(town)
    here, hidden = await town.says(town.bob, "here"), await town.says(town.bob, "hidden", place=town.staff)
    await town.knows("Bob hides", hidden, about=town.bob)
    refused = await town.use(someone, "purge", channel=town.staff.id)
    assert "I hold nothing in" in refused.content
    asked = await town.use(someone, "purge", since="1d")
    assert "1 message and 0 facts" in asked.content
    assert (await done(asked)).startswith("Purged: 1 message and 0 facts from")
    assert await left(town, here, hidden) == {"hidden"}
    asked = await town.use(someone, "purge", member=town.bob)
    assert asked.content.startswith("This would purge 0 messages and 0 facts of")
    assert await done(asked) == f"Purged: 0 messages and 0 facts of <@{town.bob.id}>."
    assert await left(town, hidden) == set()
    assert await noted(town) == [
        {"messages": 0, "facts": 0, "member": town.bob.id},
        {"messages": 1, "facts": 0, "since": (await noted(town))[1]["since"]},
    ]


async def test_it_can_be_stopped(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is gone by then is told and noted, what is not stays; nobody but the asker stops it."""
    said = [await town.says(town.ada, f"{number}") for number in range(4)]
    held, delete = asyncio.Event(), town.app.retraction.messages_deleted

    async def slowly(*details: Any) -> Retracted:
        if len(await left(town, *said)) == 2:
            await held.wait()
        return await delete(*details)

    monkeypatch.setattr(town.app.retraction, "messages_deleted", slowly)
    asked = await town.use(town.admin, "purge", member=town.ada)
    pressed = await asked.click("Purge")
    await pressed.until(lambda answer: "2 messages and 0 facts gone so far" in answer.content)
    await pressed.click("Stop")
    held.set()
    await pressed.until(lambda answer: answer.content.startswith("Stopped"))
    told = f"Stopped: 3 messages and 0 facts of <@{town.ada.id}> are gone; the rest stays."
    assert [pressed.content, pressed.buttons] == [told, []]
    assert len(await left(town, *said)) == 1
    assert await noted(town) == [{"messages": 3, "facts": 0, "member": town.ada.id, "stopped": 1}]
    assert await town.app.messages.capture(await town.says(town.ada, "5")) is False  # it is held: nobody was buried


async def test_failures_in_the_middle(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the database what is gone is told and noted; without the index, that others' words may be left."""
    said = [await town.says(town.ada, f"{number}") for number in range(3)]
    delete = town.app.retraction.messages_deleted

    async def fail(*details: Any) -> Retracted:
        if len(await left(town, *said)) == 2:
            raise StorageUnavailable("The database is locked.")
        return await delete(*details)

    monkeypatch.setattr(town.app.retraction, "messages_deleted", fail)
    asked = await town.use(town.admin, "purge", member=town.ada)
    told = "I cannot read or save anything right now. 1 message and 0 facts are gone; run this again for the rest."
    assert await done(asked) == told
    assert await noted(town) == [{"messages": 1, "facts": 0, "member": town.ada.id, "stopped": 1}]
    monkeypatch.setattr(town.app.retraction, "messages_deleted", delete)

    async def down(*_: object, **__: object) -> None:
        raise IndexUnavailable("The memory index does not answer.")

    monkeypatch.setattr(town.app.index, "scroll", down)
    asked = await town.use(town.admin, "purge", member=town.ada)
    assert "2 messages and 0 facts" in asked.content
    assert "The memory index is down" in asked.content
    assert "The memory index is down" in await done(asked)


async def test_what_is_refused(town: Town) -> None:
    """Options that limit nothing, and people who may not, also by the time they press the button."""
    assert (await town.use(town.admin, "purge")).content.startswith("Say what to purge")
    backwards = await town.use(town.admin, "purge", since="1d", until="2d")
    assert backwards.content == "`since` must be earlier than `until`."
    assert "`until`" in (await town.use(town.admin, "purge", until="soon")).content
    offered = await town.server.autocomplete(town.admin, town.general, "purge", "since", "")
    assert [choice["value"] for choice in offered] == ["24h", "7d", "4w", "1y"]
    robot = town.server.world.add_user("robot", bot=True)
    town.server.world.add_member(town.guild, robot)
    of_a_bot = await town.use(town.admin, "purge", member=robot)
    assert of_a_bot.content.startswith("I remember nothing that bots say")
    assert of_a_bot.buttons == []
    said = await town.says(town.ada, "My teapot is blue")
    with pytest.raises(NotAllowed):
        await town.server.slash(town.bob, town.general, "purge", member=town.ada)
    town.unhide_commands()
    refused = await town.use(town.bob, "purge", member=town.ada)
    assert refused.content == "You need the Manage Server permission for this."
    someone = moderator(town)
    asked = await town.use(someone, "purge", member=town.ada)
    town.server.world.update_member(town.guild, someone, role_ids=[])
    assert await done(asked) == "You may not purge any more."
    assert await left(town, said) == {"My teapot is blue"}
    assert await noted(town) == []
