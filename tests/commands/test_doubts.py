"""The way from `/status` to what an admin decides about messages that are gone from Discord."""

import pytest
from town import Town, cards

from bot.model import Message
from bot.sandbox.discord import Answer, Channel, Permission


async def doubted(town: Town, *words: str, place: Channel | None = None) -> list[Message]:
    """Messages that are held, and that the catch-up did not find on Discord."""
    said = [await town.says(town.ada, text, place) for text in words]
    channel = place or town.general
    await town.app.doubts.put(town.guild.id, channel.id, [message.id for message in said], held=len(said) + 1)
    return said


async def review(town: Town) -> Answer:
    return await (await (await town.use(town.admin, "status")).click("Review…")).settled()


async def test_they_are_forgotten_if_the_admin_says_so(town: Town) -> None:
    """What is missing where is told without words; then it is gone, with the facts that rest on it."""
    said = await doubted(town, "My teapot is blue", "My cup is green")
    await town.knows("Ada has a blue teapot", said[0], about=town.ada)
    status = await town.use(town.admin, "status")
    assert "2 messages in 1 place are gone from Discord" in status.embeds[0]["fields"][-2]["value"]
    asked = await review(town)
    assert asked.ephemeral
    assert f"**2 messages in <#{town.general.id}> are gone from Discord**" in asked.content
    assert "when I looked for 3 messages there" in asked.content
    assert "teapot" not in asked.text
    done = await (await asked.click("Forget 2 messages")).settled()
    assert [done.content, done.buttons] == ["Forgotten: 2 messages and 1 fact.", []]
    assert "found nothing" in (await town.use(town.ada, "recall", query="teapot")).content
    assert (await town.use(town.admin, "status")).buttons == []
    noted = (await town.use(town.admin, "audit")).text
    assert f"had me forget 2 messages and 1 fact that were gone from <#{town.general.id}>" in noted


async def test_they_stay_if_the_admin_says_so(town: Town) -> None:
    """They are recalled as before, and never asked about again."""
    said = await doubted(town, "My teapot is blue", "My cup is green")
    done = await (await (await review(town)).click("They are fine")).settled()
    assert done.content == "Kept: 2 messages. I do not ask about them again."
    assert cards(await town.use(town.ada, "recall", query="teapot"))[0] == "My teapot is blue"
    assert await town.app.doubts.asked(town.general.id) == {message.id for message in said}
    assert (await town.use(town.admin, "status")).buttons == []


async def test_place_by_place(town: Town) -> None:
    """Each place is decided by itself, the one that has waited longest first."""
    await doubted(town, "My teapot is blue", "My cup is green")
    await doubted(town, "We raise the price of tea", "Not of coffee", "Nor of cake", place=town.staff)
    first = await review(town)
    second = await (await first.click("They are fine")).until(lambda answer: "Kept: 2" in answer.content)
    assert f"**3 messages in <#{town.staff.id}>" in second.content
    assert (await (await second.click("Forget 3 messages")).settled()).content == "Forgotten: 3 messages and 0 facts."


@pytest.mark.parametrize("button", ["Forget 2 messages", "They are fine"])
async def test_only_what_was_shown_is_decided(town: Town, button: str) -> None:
    """If more came to be in doubt since, the admin looks again."""
    await doubted(town, "My teapot is blue", "My cup is green")
    asked = await review(town)
    await doubted(town, "And my spoon is gone")
    again = await (await asked.click(button)).until(lambda answer: "changed meanwhile" in answer.content)
    assert "**3 messages in" in again.content
    assert len((await town.app.doubts.all(town.guild.id))[0].missing) == 3


async def test_somebody_else_decided_already(town: Town) -> None:
    """The other one's decision stands."""
    await doubted(town, "My teapot is blue", "My cup is green")
    asked, late = await review(town), await town.use(town.admin, "status")
    other = await review(town)
    await (await other.click("They are fine")).settled()
    assert (await (await asked.click("Forget 2 messages")).settled()).content == "This has changed meanwhile."
    assert (await (await late.click("Review…")).settled()).content == "Nothing is in doubt any more."
    assert cards(await town.use(town.ada, "recall", query="teapot"))[0] == "My teapot is blue"


async def test_the_right_is_looked_at_again(town: Town) -> None:
    """Who no longer manages the server decides nothing."""
    await doubted(town, "My teapot is blue", "My cup is green")
    role = town.server.world.add_role(town.guild, "managers", Permission.MANAGE_GUILD)
    town.server.world.update_member(town.guild, town.bob, role_ids=[role.id])
    asked = await (await (await town.use(town.bob, "status")).click("Review…")).settled()
    town.server.world.update_member(town.guild, town.bob, role_ids=[])
    refused = await (await asked.click("Forget 2 messages")).settled()
    assert "You may not decide this any more." in refused.text
    assert len(await town.app.doubts.all(town.guild.id)) == 1
