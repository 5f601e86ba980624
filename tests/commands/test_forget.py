"""/forget, as members use it."""

import asyncio
from dataclasses import replace

import pytest
from town import Town, cards

from bot.errors import IndexUnavailable, StorageUnavailable
from bot.model import utcnow
from bot.sandbox.discord import Permission
from bot.storage.audit import Action

NOTHING = "I found nothing like that which you may forget."


def link(town: Town, message_id: int) -> str:
    return f"https://discord.com/channels/{town.guild.id}/{town.general.id}/{message_id}"


async def test_a_member_picks_confirms_and_it_is_gone(town: Town) -> None:
    """Only one's own memories are offered; after the confirmation no answer holds them."""
    said = await town.says(town.ada, "My teapot is in the blue cupboard")
    await town.says(town.bob, "A teapot should be brown")
    fact = await town.knows("Ada keeps her teapot in the blue cupboard", said, about=town.ada)
    answer = await town.use(town.ada, "forget", query="teapot")
    assert answer.ephemeral
    [menu] = answer.selects
    assert {option.label for option in menu.options} == {said.content, fact.text}
    asked = await (await answer.select(said.content)).settled()
    assert "Forget 1 memory?" in asked.content
    assert cards(asked) == [said.content]
    done = await (await asked.click("Forget")).settled()
    assert done.content == "Forgotten: 1 message and 1 fact."
    assert [done.embeds, done.buttons] == [[], []]
    assert cards(await town.use(town.bob, "recall", query="teapot cupboard")) == ["A teapot should be brown"]
    assert await town.app.messages.get([said.id]) == {}
    assert await town.app.facts.get([fact.id]) == {}
    assert await town.app.index.count(town.guild.id) == 1


async def test_several_are_picked_at_once(town: Town) -> None:
    """The menu takes more than one."""
    for number in range(3):
        await town.says(town.ada, f"teapot number {number}")
    answer = await town.use(town.ada, "forget", query="teapot")
    asked = await (await answer.select("teapot number 0", "teapot number 2")).settled()
    assert "Forget 2 memories?" in asked.content
    assert (await (await asked.click("Forget")).settled()).content == "Forgotten: 2 messages and 0 facts."
    assert cards(await town.use(town.ada, "recall", query="teapot")) == ["teapot number 1"]


async def test_the_menu_holds_what_discord_allows(town: Town) -> None:
    """Of many matches twenty-five are offered, each in a line of at most a hundred characters."""
    for number in range(30):
        await town.says(town.ada, f"{number} teapots " + "🫖" * 300)
    answer = await town.use(town.ada, "forget", query="teapots")
    [menu] = answer.selects
    assert len(menu.options) == 25
    assert "More than 25 memories match" in answer.content


async def test_cancelling_changes_nothing(town: Town) -> None:
    """No is an answer."""
    await town.says(town.ada, "My teapot is blue")
    asked = await town.use(town.ada, "forget", query="teapot")
    assert (await (await asked.click("Cancel")).settled()).content == "Nothing was changed."
    assert cards(await town.use(town.ada, "recall", query="teapot")) == ["My teapot is blue"]


async def test_a_button_pressed_twice_at_once_acts_once(town: Town) -> None:
    """The second press, on its way before the first was heard of, changes nothing and says nothing."""
    await town.says(town.ada, "My teapot is blue")
    asked = await town.use(town.ada, "forget", everything=True)
    first, second = await asyncio.gather(*[asked.click("Forget everything") for _ in range(2)])
    assert (await first.settled()).content == "Forgotten: 1 message and 0 facts."
    assert second.deferred
    assert second.followups == []
    assert [one.action for one in await town.app.audit.entries(town.guild.id, 9)] == [Action.FORGOT]


async def test_others_memories_are_not_offered(town: Town) -> None:
    """A member cannot make me forget what somebody else said."""
    said = await town.says(town.bob, "A teapot should be brown")
    assert (await town.use(town.ada, "forget", query="teapot")).content == NOTHING
    assert (await town.use(town.ada, "forget", query=link(town, said.id))).content == NOTHING


async def test_ones_own_is_found_below_fifty_better_matches_of_others(town: Town) -> None:
    """However much others said that matches better, what one may forget is offered."""
    for number in range(60):
        await town.types(town.bob, f"teapot {number}")
    await town.says(town.ada, "Somewhere behind the biscuits and the sugar there must still be my old brown teapot")
    asked = await town.use(town.ada, "forget", query="teapot")
    assert cards(asked) == ["Somewhere behind the biscuits and the sugar there must still be my old brown teapot"]


async def test_what_is_picked_is_read_again(town: Town) -> None:
    """Between the menu and the question words may change, go, or move out of sight."""
    changed = await town.says(town.ada, "My teapot is blue")
    gone = await town.says(town.ada, "My teapot is round")
    answer = await town.use(town.ada, "forget", query="teapot")
    again = await town.use(town.ada, "forget", query="teapot")
    await town.app.messages.capture(replace(changed, content="My teapot is green", edited_at=utcnow()))
    await town.app.retraction.messages_deleted(town.guild.id, [gone.id])
    asked = await (await answer.select("My teapot is blue", "My teapot is round")).settled()
    assert cards(asked) == ["My teapot is green"]
    none = await (await again.select("My teapot is round")).settled()
    assert none.content == "What you picked is gone by now, or no longer yours to forget."


async def test_what_stood_on_an_answer_is_read_again(town: Town) -> None:
    """An answer's Forget… does not show a fact again whose channel is out of sight by now."""
    said = await town.says(town.bob, "Ada spilled the tea")
    await town.knows("Ada spilled the tea", said, about=town.ada)
    answer = await town.use(town.ada, "recall", query="spilled")
    town.server.world.deny(town.general, town.ada, Permission.VIEW_CHANNEL)
    pressed = await (await answer.click("Forget…")).settled()
    assert [pressed.content, cards(pressed)] == [NOTHING, []]


async def test_a_fact_withdrawn_by_an_edit_is_not_shown_again(town: Town) -> None:
    """The fact has left SQL and index without a trace; no menu of before brings its words back."""
    said = await town.says(town.ada, "My teapot is blue")
    fact = await town.knows("Ada owns a blue teapot", said, about=town.ada)
    answer = await town.use(town.ada, "forget", query="teapot")
    await town.app.messages.capture(replace(said, content="My teapot is green", edited_at=utcnow()))
    await town.app.indexer.drain()
    asked = await (await answer.select(fact.text)).settled()
    assert asked.content == "What you picked is gone by now, or no longer yours to forget."


async def test_the_newest_twenty_five_facts_are_suggested(town: Town) -> None:
    """Before a word is typed there are as many suggestions as Discord takes, newest first, of what can be read."""
    said = [await town.types(town.ada, f"cup {number}") for number in range(30)]
    for number, message in enumerate(said):
        await town.learns(f"Ada owns cup {number}", message, about=town.ada)
    for number in range(30):
        hidden = await town.types(town.bob, f"broken {number}", place=town.staff)
        await town.learns(f"Ada broke cup {number}", hidden, about=town.ada)
    await town.app.indexer.drain()
    offered = await town.server.autocomplete(town.ada, town.general, "forget", "query", "")
    assert [choice["name"] for choice in offered] == [f"Ada owns cup {number}" for number in range(29, 4, -1)]


async def test_everything_while_the_index_is_down_says_what_may_be_left(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What other programs wrote about a member is in the index alone; nobody is told that it went if it did not."""
    await town.says(town.ada, "I take milk in my tea")

    async def down(*_: object, **__: object) -> None:
        raise IndexUnavailable("The memory index does not answer.")

    monkeypatch.setattr(town.app.index, "scroll", down)
    asked = await town.use(town.ada, "forget", everything=True)
    done = await (await asked.click("Forget everything")).settled()
    assert done.content == (
        "Forgotten: 1 message and 0 facts. The memory index is down, so whatever other programs wrote into it about "
        "you is still there; run this again when it is back."
    )


async def test_a_manager_may_forget_what_they_see(town: Town) -> None:
    """Manage Server reaches every memory of the channels one can read, and no further."""
    moderator = town.server.world.add_user("moderator")
    role = town.server.world.add_role(town.guild, "moderators", Permission.MANAGE_GUILD)
    town.server.world.add_member(town.guild, moderator, roles=[role])
    town.server.world.deny(town.staff, role, Permission.VIEW_CHANNEL)
    await town.says(town.bob, "A teapot should be brown")
    secret = await town.says(town.bob, "The staff teapot is broken", place=town.staff)
    asked = await town.use(moderator, "forget", query="teapot")
    assert cards(asked) == ["A teapot should be brown"]
    assert (await (await asked.click("Forget")).settled()).content == "Forgotten: 1 message and 0 facts."
    assert (await town.use(moderator, "forget", query=link(town, secret.id))).content == NOTHING


async def test_rights_are_looked_at_again_when_the_button_is_pressed(town: Town) -> None:
    """Who loses Manage Server between question and answer can forget only what is their own."""
    moderator = town.server.world.add_user("moderator")
    role = town.server.world.add_role(town.guild, "moderators", Permission.MANAGE_GUILD)
    town.server.world.add_member(town.guild, moderator, roles=[role])
    brown = await town.says(town.bob, "A teapot should be brown")
    await town.says(moderator, "My teapot is green")
    answer = await town.use(moderator, "forget", query="teapot")
    both = await (await answer.select("A teapot should be brown", "My teapot is green")).settled()
    again = await town.use(moderator, "forget", query=link(town, brown.id))
    town.server.world.update_member(town.guild, moderator, role_ids=[])
    refused = await (await again.click("Forget")).settled()
    assert refused.content == "You may not forget these any more."
    partly = await (await both.click("Forget")).settled()
    assert partly.content == "Forgotten: 1 message and 0 facts. 1 you may not forget any more."
    assert cards(await town.use(town.bob, "recall", query="teapot")) == ["A teapot should be brown"]


async def test_what_went_meanwhile_is_not_counted(town: Town) -> None:
    """The report says what this press removed."""
    said = await town.says(town.ada, "My teapot is blue")
    asked = await town.use(town.ada, "forget", query="teapot")
    await town.app.retraction.messages_deleted(town.guild.id, [said.id])
    assert "nothing left to forget" in (await (await asked.click("Forget")).settled()).content


async def test_by_the_link_of_a_message(town: Town) -> None:
    """A message link names the message and the facts that rest on it."""
    said = await town.says(town.ada, "My teapot is blue")
    await town.knows("Ada's teapot is blue", said, about=town.ada)
    answer = await town.use(town.ada, "forget", query=link(town, said.id))
    [menu] = answer.selects
    assert {option.label for option in menu.options} == {"My teapot is blue", "Ada's teapot is blue"}
    without_preview = await town.use(town.ada, "forget", query=f"<{link(town, said.id)}>")
    assert len(without_preview.selects[0].options) == 2


async def test_by_a_suggestion(town: Town) -> None:
    """While typing, one's own memories are suggested: facts first, then what matches; each names one memory."""
    said = await town.says(town.ada, "My teapot is blue")
    await town.says(town.bob, "Bob's teapot is brown")
    await town.knows("Ada's teapot is blue", said, about=town.ada)
    offered = await town.server.autocomplete(town.ada, town.general, "forget", "query", "")
    assert [choice["name"] for choice in offered] == ["Ada's teapot is blue"]
    asked = await town.use(town.ada, "forget", query=offered[0]["value"])
    assert cards(asked) == ["Ada's teapot is blue"]
    offered = await town.server.autocomplete(town.ada, town.general, "forget", "query", "teapot")
    assert {choice["name"] for choice in offered} == {"Ada's teapot is blue", "My teapot is blue"}
    by_link = next(choice["value"] for choice in offered if choice["name"] == "My teapot is blue")
    assert by_link == link(town, said.id)


async def test_a_fact_from_a_channel_out_of_sight_is_not_shown(town: Town) -> None:
    """What others said about someone behind closed doors is not shown to them by way of forgetting."""
    said = await town.says(town.bob, "Ada spilled the tea", place=town.staff)
    fact = await town.knows("Ada spilled the tea", said, about=town.ada)
    assert await town.server.autocomplete(town.ada, town.general, "forget", "query", "") == []
    assert (await town.use(town.ada, "forget", query=fact.id)).content == NOTHING


async def test_everything_about_me(town: Town) -> None:
    """Asked once more, then every message and fact of the member is gone, out of sight channels included."""
    said = await town.says(town.ada, "I take milk in my tea")
    await town.knows("Ada takes milk", said, about=town.ada)
    about = await town.says(town.bob, "Ada spilled the tea", place=town.staff)
    await town.knows("Ada spilled the tea", about, about=town.ada)
    asked = await town.use(town.ada, "forget", everything=True)
    assert "Forget everything about you?" in asked.content
    done = await (await asked.click("Forget everything")).settled()
    assert done.content == "Forgotten: 1 message and 1 fact."  # of the other she is not to know
    assert await town.app.facts.about(town.guild.id, town.ada.id) == []
    assert cards(await town.use(town.bob, "recall", query="tea milk Ada")) == ["Ada spilled the tea"]


async def test_what_rests_on_ones_words_out_of_sight_goes_untold(town: Town) -> None:
    """Who lost a channel may forget what they said there, and learns nothing of what others made of it."""
    said = await town.says(town.bob, "I broke the teapot", place=town.staff)
    reply = await town.says(town.admin, "That was the third one", place=town.staff)
    await town.knows("Bob broke three teapots", said, reply, about=town.bob)
    town.server.world.deny(town.staff, town.bob, Permission.VIEW_CHANNEL)
    asked = await town.use(town.bob, "forget", query=link(town, said.id))
    assert cards(asked) == ["I broke the teapot"]
    done = await (await asked.click("Forget")).settled()
    assert done.content == "Forgotten: 1 message and 0 facts."
    assert await town.app.facts.about(town.guild.id, town.bob.id) == []


async def test_a_member_forgets_from_an_answer(town: Town) -> None:
    """Each page of an answer offers to forget what stands on it and is the asker's."""
    await town.says(town.ada, "My teapot is blue")
    await town.says(town.bob, "A teapot should be brown")
    answer = await town.use(town.ada, "recall", query="teapot")
    asked = await (await answer.click("Forget…")).settled()
    assert asked.ephemeral
    assert cards(asked) == ["My teapot is blue"]
    assert (await (await asked.click("Forget")).settled()).content == "Forgotten: 1 message and 0 facts."
    assert len(answer.embeds) == 2


async def test_saying_nothing_is_explained(town: Town) -> None:
    """Without a query there is nothing to look for."""
    assert "Say what to forget" in (await town.use(town.ada, "forget")).content
    assert "Say what to forget" in (await town.use(town.ada, "forget", query="  ")).content


async def test_a_failing_database_is_told_and_nothing_is_claimed(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer takes the place of the buttons and says why it did not happen."""
    await town.says(town.ada, "My teapot is blue")
    asked = await town.use(town.ada, "forget", query="teapot")

    async def locked(*_: object) -> None:
        raise StorageUnavailable()

    monkeypatch.setattr(town.app.retraction, "messages_deleted", locked)
    monkeypatch.setattr(town.app.keyword, "search", locked)
    failed = await (await asked.click("Forget")).settled()
    assert [failed.content, failed.buttons] == [str(StorageUnavailable()), []]
    assert await town.server.autocomplete(town.ada, town.general, "forget", "query", "teapot") == []
