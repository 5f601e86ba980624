"""/memory mine, fix and timeline, as members use them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from town import Town, cards, eventually

from bot.errors import StorageUnavailable
from bot.sandbox.discord import Answer, NotAllowed
from bot.storage.audit import Action

LABEL = "What is right"
GONE = "I do not hold that any more, so there is nothing left to correct."
OTHERS = "In this server I answer no questions about other members, only about yourself."


async def pressed(answer: Answer, button: str) -> Answer:
    return await (await answer.click(button)).settled()


def forms(town: Town) -> dict[str, Any]:
    """The forms that the client waits for."""
    found: dict[str, Any] = town.app.client._connection._view_store._modals
    return found


async def sent(town: Town, form: Answer, words: str) -> Answer:
    """A form filled in, which nobody does before the client has heard that it is open."""
    await eventually(lambda: forms(town))
    return await (await form.submit({LABEL: words})).settled()


async def test_one_turns_the_pages_of_ones_own_memories(town: Town) -> None:
    """Five a page, newest first; words of one's own wherever they stand, and nothing that is others'."""
    hidden = await town.says(town.ada, "Said among the staff", place=town.staff)
    for number in range(6):
        await town.says(town.ada, f"teapot {number}")
    said = await town.says(town.bob, "Ada likes green tea, I think")
    await town.knows("Ada likes green tea", said, about=town.ada)
    spied = await town.says(town.bob, "Ada broke a cup", place=town.staff)
    await town.knows("Ada broke a cup", spied, about=town.ada)
    first = await town.use(town.ada, "memory mine")
    assert first.ephemeral
    assert cards(first) == ["Ada likes green tea", "teapot 5", "teapot 4", "teapot 3", "teapot 2"]
    assert first.embeds[-1]["footer"]["text"] == "Page 1 · newest first"
    with pytest.raises(NotAllowed):
        await first.click("Back")
    second = await pressed(first, "Next")
    assert cards(second) == ["teapot 1", "teapot 0", hidden.content]
    with pytest.raises(NotAllowed):
        await second.click("Next")
    # Each turn reads anew: of what was forgotten meanwhile nothing is shown, and a page that is empty now is left.
    await town.app.retraction.messages_deleted(town.guild.id, [said.id, hidden.id])
    back = await pressed(second, "Back")
    assert cards(back) == ["teapot 5", "teapot 4", "teapot 3", "teapot 2", "teapot 1"]
    last = await pressed(back, "Next")
    assert cards(last) == ["teapot 0"]
    await town.app.retraction.member_forgotten(town.guild.id, town.ada.id)
    assert (await pressed(last, "Back")).content == "I hold nothing of you."


async def test_narrowed_by_kind_place_and_time(town: Town) -> None:
    """Each option leaves out what it says."""
    thread = town.server.world.add_thread(town.general, "pots", owner=town.ada)
    old = await town.says(town.ada, "An old teapot", at=town.app.clock() - timedelta(days=10))
    await town.says(town.ada, "A teapot in a thread", place=thread)
    await town.says(town.bob, "A teapot of Bob's")
    staff = await town.says(town.ada, "A teapot of the staff", place=town.staff)
    await town.knows("Ada likes old teapots", old, about=town.ada)
    await town.knows("The staff has a teapot", staff)

    async def found(**options: Any) -> list[str]:
        return cards(await town.use(town.ada, "memory mine", **options))

    assert await found(kind="messages") == ["A teapot of the staff", "A teapot in a thread", "An old teapot"]
    assert await found(kind="facts") == ["The staff has a teapot", "Ada likes old teapots"]
    assert await found(kind="decision") == ["The staff has a teapot"]
    assert await found(channel=thread) == ["A teapot in a thread"]
    here = ["A teapot in a thread", "Ada likes old teapots", "An old teapot"]
    assert sorted(await found(channel=town.general)) == here
    assert await found(since="7d", kind="messages") == ["A teapot of the staff", "A teapot in a thread"]
    nothing = await town.use(town.ada, "memory mine", kind="skill")
    assert [nothing.content, nothing.buttons] == ["I hold nothing like that.", []]


async def test_about_somebody_else_only_what_the_server_allows_and_the_asker_can_read(town: Town) -> None:
    """Refused by default, also at the next turn once it is not allowed any more; there is nothing to correct."""
    assert (await town.use(town.ada, "memory mine", about=town.bob)).content == OTHERS
    await town.app.configs.change(town.guild.id, {"about_others": True})
    for number in range(5):
        await town.says(town.bob, f"Black tea {number}")
    said = await town.says(town.bob, "I like black tea")
    await town.knows("Bob likes black tea", said, about=town.bob)
    secret = await town.says(town.bob, "I like the secret tea", place=town.staff)
    await town.knows("Bob likes the secret tea", secret, about=town.bob)
    answer = await town.use(town.ada, "memory mine", about=town.bob)
    assert "What I hold of bob, of what you can read" in answer.content
    assert sorted(cards(answer)) == ["Black tea 2", "Black tea 3", "Black tea 4", "Bob likes black tea", said.content]
    assert "Fix…" not in [button.label for button in answer.buttons]
    assert (await pressed(answer, "Forget…")).content == "I found nothing like that which you may forget."
    await town.app.configs.change(town.guild.id, {"about_others": False})
    assert (await pressed(answer, "Next")).followups[-1].content == OTHERS


async def test_a_page_offers_to_forget_what_stands_on_it(town: Town) -> None:
    """The usual menu and question; the next turn does without."""
    await town.says(town.ada, "My teapot is blue")
    await town.says(town.ada, "My cup is red")
    answer = await town.use(town.ada, "memory mine")
    menu = await pressed(answer, "Forget…")
    asked = await (await menu.select("My cup is red")).settled()
    assert (await pressed(asked, "Forget")).content == "Forgotten: 1 message and 0 facts."
    assert cards(await town.use(town.ada, "memory mine")) == ["My teapot is blue"]


async def test_a_fact_is_corrected_in_a_form(town: Town) -> None:
    """The form holds the old words; afterwards only the new ones are recalled, with their links, as the member's."""
    said = await town.says(town.bob, "Ada drinks nothing but tea")
    old = await town.knows("Ada drinks only tea", said, about=town.ada)
    await town.knows("The club meets on Mondays", await town.says(town.ada, "We meet on Mondays"))
    many = [replace(said, id=said.id + n, author_id=town.ada.id, content="only tea") for n in range(1, 31)]
    await town.app.messages.capture_many(many)
    for typed, names in {"": [old.text], "only tea": [old.text], "Mondays": []}.items():
        offered = await town.server.autocomplete(town.ada, town.general, "memory fix", "fact", typed)
        assert [choice["name"] for choice in offered] == names
    form = await town.use(town.ada, "memory fix", fact=old.id)
    [field] = form.inputs
    assert [field.label, field.value, field.most] == [LABEL, old.text, 500]
    done = await sent(town, form, "Ada drinks only coffee, password: hunter2\n")
    assert done.ephemeral
    assert "The old words are gone for good. I left out what looked like a password" in done.content
    assert cards(done) == ["Ada drinks only coffee, password: [redacted]"]
    [card] = done.embeds
    assert "corrected by ada" in card["description"]
    assert f"/{said.id})" in card["description"]
    await town.app.indexer.drain()
    found = cards(await town.use(town.bob, "recall", query="what does Ada drink: only tea or coffee?"))
    assert cards(done)[0] in found
    assert old.text not in found
    assert await town.app.index.retrieve(town.guild.id, [old.id]) == []
    [entry] = await town.app.audit.entries(town.guild.id, 9)
    assert [entry.action, entry.actor_id, dict(entry.details)] == [Action.CORRECTED, town.ada.id, {}]


async def test_what_cannot_be_corrected_is_said_in_one_sentence(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not others' or the server's facts, none out of sight, none that is gone; and not without words or change."""
    said = await town.says(town.bob, "We have a teapot, and Ada likes it")
    server = await town.knows("The club has a teapot", said)
    about_bob = await town.knows("Bob likes teapots", await town.says(town.bob, "I like teapots"), about=town.bob)
    hidden = await town.says(town.bob, "Ada broke it", place=town.staff)
    unseen = await town.knows("Ada broke the teapot", hidden, about=town.ada)
    for fact in (server, about_bob):
        refused = await town.use(town.ada, "memory fix", fact=fact.id)
        assert refused.content.startswith("I take corrections only of facts about yourself, from you")
        assert refused.ephemeral
    assert (await town.use(town.ada, "memory fix", fact=unseen.id)).content == GONE
    assert (await town.use(town.ada, "memory fix", fact="teapots")).content.startswith("Pick one of the suggestions")

    spoken = await town.says(town.ada, "I like the teapot")
    mine = await town.knows("Ada likes the teapot", spoken, about=town.ada)
    for words, sentence in {
        " …!\n": "A correction needs words",
        mine.text + " ": "Those are the words I have already",
        "Ada is ill: I was diagnosed with cancer": "This server has me keep nothing about health",
    }.items():
        form = await town.use(town.ada, "memory fix", fact=mine.id)
        refused = await sent(town, form, words)
        assert sentence in refused.content
    late, failing = [await town.use(town.ada, "memory fix", fact=mine.id) for _ in range(2)]

    async def locked(*_: object) -> None:
        raise StorageUnavailable()

    with monkeypatch.context() as patch:
        patch.setattr(town.app.corrections, "correct", locked)
        told = await sent(town, failing, "Ada likes the cup")
    assert told.content == str(StorageUnavailable())
    assert [one.text for one in (await town.app.facts.get([mine.id])).values()] == [mine.text]
    await town.app.retraction.facts_forgotten(town.guild.id, [mine.id])
    assert (await sent(town, late, "Ada likes the cup")).content == GONE
    assert await town.app.audit.entries(town.guild.id, 9) == []


async def test_a_page_opens_the_form_for_one_fact_or_lets_one_pick(town: Town) -> None:
    """With one fact about oneself on the page the form comes at once, with several a menu, with none no button."""
    said = await town.says(town.ada, "I like tea and cake")
    without = await town.use(town.ada, "memory mine")
    with pytest.raises(NotAllowed):
        await without.click("Fix…")
    await town.knows("Ada likes tea", said, about=town.ada)
    form = await (await town.use(town.ada, "memory mine")).click("Fix…")
    assert form.inputs[0].value == "Ada likes tea"
    cake = await town.says(town.ada, "And cake")
    await town.knows("Ada likes cake", cake, about=town.ada)
    page = await town.use(town.ada, "memory mine")
    menu = await pressed(page, "Fix…")
    assert {option.label for option in menu.selects[0].options} == {"Ada likes tea", "Ada likes cake"}
    form = await menu.select("Ada likes cake")
    await sent(town, form, "Ada likes pie")
    assert "Ada likes pie" in cards(await pressed(page, "Forget…")) + cards(await town.use(town.ada, "memory mine"))
    assert (await (await menu.select("Ada likes cake")).settled()).content == GONE


async def test_a_form_of_before_a_restart_says_that_it_expired(town: Town) -> None:
    """Nobody is left with a form that cannot be sent."""
    said = await town.says(town.ada, "I like tea")
    fact = await town.knows("Ada likes tea", said, about=town.ada)
    form = await town.use(town.ada, "memory fix", fact=fact.id)
    await eventually(lambda: forms(town))
    forms(town).clear()
    told = await (await form.submit({LABEL: "Ada likes cake"})).settled()
    assert told.content == "This has expired; run the command again."


async def test_the_timeline_is_a_picture_and_its_numbers(town: Town) -> None:
    """Drawn for who sees it, said in words for who does not, and a sentence when there is nothing."""
    nothing = await town.use(town.ada, "memory timeline")
    assert [nothing.content, nothing.files] == ["There is nothing to draw: I hold nothing of you.", {}]
    old = await town.says(town.ada, "I like tea", at=town.app.clock() - timedelta(days=40))
    await town.says(town.ada, "I like tea still")
    await town.knows("Ada likes tea", old, about=town.ada)
    await town.says(town.bob, "So do I")
    answer = await town.use(town.ada, "memory timeline")
    assert answer.ephemeral
    assert answer.message is not None
    [picture] = answer.message.attachments
    assert picture.data.startswith(b"\x89PNG")
    assert "2 messages and 1 fact" in (picture.description or "")
    [embed] = answer.embeds
    assert "I hold 2 messages of yours and 1 fact" in embed["description"]
    first, last = (said.date() for said in (old.created_at, town.app.clock()))
    assert f"from {first} to {last}" in embed["description"]
    [of_one_day] = (await town.use(town.bob, "memory timeline")).embeds
    assert f"all of {last}" in of_one_day["description"]
    assert picture.filename in embed["image"]["url"]


async def test_nothing_is_shown_while_a_restored_copy_is_not_compared(town: Town) -> None:
    """What was deleted since the backup may still be in it."""
    await town.says(town.ada, "I like tea")
    town.app.recheck.required = True
    for path in ("memory mine", "memory export"):
        assert "This bot was restored from a backup" in (await town.use(town.ada, path)).content
