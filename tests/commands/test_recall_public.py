"""/recall with `public`: an answer for all to see, of what all who see it may read."""

from datetime import timedelta

import pytest
from town import Town, cards, eventually

from bot.commands.views import OwnedView
from bot.model import utcnow
from bot.sandbox.discord import Permission

NOTHING = "I found nothing about that in what everyone here can read."
REFUSED = "You may not post here, so I cannot answer for everyone to see; ask without `public`."


async def test_everyone_sees_the_question_and_the_answer(town: Town) -> None:
    """It is posted where it was asked, under the question, and pings and formats nothing."""
    await town.says(town.ada, "The teapot is blue")
    answer = await town.use(town.bob, "recall", query="@everyone which *teapot*?", public=True)
    assert not answer.ephemeral
    assert cards(answer) == ["The teapot is blue"]
    assert answer.content == "> @\u200beveryone which \\*teapot\\*?"
    assert town.server.sent(town.general) == [answer.message]


async def test_it_shows_nothing_that_only_some_may_read(town: Town) -> None:
    """Whoever asks: in an open channel only what is open to all, in a hidden one also what was said there."""
    await town.says(town.ada, "an open teapot")
    await town.says(town.bob, "a hidden teapot", place=town.staff)
    for asker in (town.bob, town.admin):
        assert cards(await town.use(asker, "recall", query="teapot", public=True)) == ["an open teapot"]
        assert len(cards(await town.use(asker, "recall", query="teapot"))) == 2
    in_hidden = await town.use(town.bob, "recall", place=town.staff, query="teapot", public=True)
    assert sorted(cards(in_hidden)) == ["a hidden teapot", "an open teapot"]


async def test_naming_a_hidden_channel_finds_as_little_as_an_unknown_word(town: Town) -> None:
    """Nobody learns that there is something to find."""
    await town.says(town.bob, "a hidden teapot", place=town.staff)
    for options in ({"query": "teapot"}, {"query": "teapot", "in": town.staff}, {"query": "teapot", "about": town.bob}):
        answer = await town.use(town.bob, "recall", public=True, **options)
        assert answer.content.startswith(f"> teapot\n{NOTHING}")
        assert not answer.embeds


async def test_a_private_thread_is_recalled_aloud_only_inside(town: Town) -> None:
    """In its channel and in other threads it stays unmentioned."""
    world = town.server.world
    inside = world.add_thread(town.general, "inside", owner=town.ada, private=True, members=[town.bob, world.bot])
    beside = world.add_thread(town.general, "beside", owner=town.ada, private=True, members=[town.bob, world.bot])
    await town.app.observations.switch_on(town.guild.id, inside.id, town.admin.id)
    await town.says(town.ada, "a teapot among us", place=inside)
    await town.says(town.ada, "a teapot in the channel")
    for place in (town.general, beside):
        answer = await town.use(town.bob, "recall", place=place, query="teapot", public=True)
        assert cards(answer) == ["a teapot in the channel"]
    answer = await town.use(town.bob, "recall", place=inside, query="teapot", public=True)
    assert sorted(cards(answer)) == ["a teapot among us", "a teapot in the channel"]


async def test_one_may_ask_aloud_about_oneself_only(town: Town) -> None:
    """The same rule as in private, answered in private."""
    await town.says(town.ada, "I take milk in my tea")
    await town.says(town.bob, "I take no milk")
    mine = await town.use(town.ada, "recall", query="milk", about=town.ada, public=True)
    assert cards(mine) == ["I take milk in my tea"]
    other = await town.use(town.bob, "recall", query="milk", about=town.ada, public=True)
    assert other.ephemeral
    assert "about other members" in other.content


async def test_who_may_not_post_is_answered_in_private(town: Town) -> None:
    """Nobody speaks through the bot where they may not speak themselves: muted, or in a locked thread."""
    await town.says(town.ada, "a teapot")
    thread = town.server.world.add_thread(town.general, "teapots", owner=town.ada)
    assert cards(await town.use(town.bob, "recall", place=thread, query="teapot", public=True))
    town.server.world.update_thread(thread, locked=True)
    locked = await town.use(town.bob, "recall", place=thread, query="teapot", public=True)
    town.server.world.deny(town.general, town.bob, Permission.SEND_MESSAGES)
    muted = await town.use(town.bob, "recall", query="teapot", public=True)
    assert [(answer.content, answer.ephemeral) for answer in (locked, muted)] == [(REFUSED, True)] * 2
    assert cards(await town.use(town.bob, "recall", query="teapot")) == ["a teapot"]


async def test_its_pages_are_the_askers_to_turn(town: Town) -> None:
    """Others see the buttons, and are told that these are not for them."""
    for number in range(7):
        await town.says(town.ada, f"teapot number {number}")
    answer = await town.use(town.bob, "recall", query="teapot", public=True)
    assert answer.message
    before = cards(answer)
    pressed = await (await town.server.click(town.ada, answer.message, "Next")).settled()
    assert (pressed.content, pressed.ephemeral) == ("Only the person who asked can use this.", True)
    assert cards(answer) == before
    turned = await (await answer.click("Next")).settled()
    assert len(cards(turned)) == 2
    assert turned.content == "> teapot"


async def test_every_turn_looks_again(town: Town) -> None:
    """A channel closed to one role between two pages is in no later page, and a muted asker turns none."""
    open_channel = town.server.world.add_channel(town.guild, "open")
    newcomers = town.server.world.add_role(town.guild, "newcomers")
    for number in range(7):
        await town.says(town.ada, f"teapot number {number}", place=open_channel)
    await town.says(town.ada, "teapot here")
    answer = await town.use(town.bob, "recall", query="teapot", public=True)
    assert len(cards(answer)) == 5
    town.server.world.deny(open_channel, newcomers, Permission.VIEW_CHANNEL)
    assert cards(await (await answer.click("Next")).settled()) == ["teapot here"]

    town.server.world.allow(open_channel, newcomers, Permission.VIEW_CHANNEL)
    again = await town.use(town.bob, "recall", query="teapot", public=True)
    shown = cards(again)
    town.server.world.deny(town.general, town.bob, Permission.SEND_MESSAGES)
    refused = await (await again.click("Next")).settled()
    assert [message.content for message in refused.followups] == [REFUSED]
    assert cards(again) == shown


async def test_forgetting_from_it_is_between_the_asker_and_the_bot(town: Town) -> None:
    """What one may forget is offered to oneself alone."""
    await town.says(town.bob, "my teapot")
    answer = await town.use(town.bob, "recall", query="teapot", public=True)
    asked = await (await answer.click("Forget…")).settled()
    assert asked.ephemeral
    assert "Forget 1 memory?" in asked.content


async def test_it_outlasts_its_buttons(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Question and answer stay where everyone has seen them."""
    await town.says(town.ada, "one teapot", at=utcnow() - timedelta(days=1))
    monkeypatch.setattr(OwnedView, "lifetime", 0.05)
    answer = await town.use(town.bob, "recall", query="teapot", public=True)
    await eventually(lambda: not answer.buttons)
    assert [answer.content, cards(answer)] == ["> teapot", ["one teapot"]]
