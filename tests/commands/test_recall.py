"""/recall, as members use it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from town import Town, cards, eventually

from bot.commands.views import EXPIRED, OwnedView
from bot.errors import IndexUnavailable, QueryTooShort, RecallPaused
from bot.model import Degraded, message_memory, utcnow
from bot.sandbox.discord import Answer, Permission

NOTHING = "I found nothing about that"


async def test_an_answer_is_private_and_links_to_its_source(town: Town) -> None:
    """Who said it, when, and a way there; for the asker alone, and pinging nobody."""
    said = await town.says(town.ada, "The teapot is in the blue cupboard")
    answer = await town.use(town.bob, "recall", query="where is the teapot?")
    assert answer.ephemeral
    assert cards(answer) == ["The teapot is in the blue cupboard"]
    [card] = answer.embeds
    assert card["author"]["name"] == "ada · message"
    assert f"https://discord.com/channels/{town.guild.id}/{town.general.id}/{said.id}" in card["description"]
    assert f"<t:{int(said.created_at.timestamp())}:R>" in card["description"]
    sent = [call.body for call in town.server.calls if call.body and "embeds" in call.body]
    assert sent
    assert all(body["allowed_mentions"]["parse"] == [] for body in sent)


async def test_without_an_embedder_the_card_says_so(town: Town) -> None:
    """Less than a full answer is told as such."""
    await town.says(town.ada, "The teapot is in the blue cupboard")
    answer = await town.use(town.bob, "recall", query="teapot")
    assert answer.embeds[-1]["footer"]["text"] == f"⚠️ {Degraded.NO_EMBEDDER}"


async def test_a_hidden_channel_and_an_unknown_word_answer_alike(town: Town) -> None:
    """Who cannot read a channel cannot tell whether it holds anything, not even by naming it."""
    await town.says(town.bob, "The treasurer resigns in June", place=town.staff)
    expected = (await town.use(town.ada, "recall", query="unicorns")).text
    assert expected.startswith(NOTHING)
    assert (await town.use(town.ada, "recall", query="treasurer")).text == expected
    assert (await town.use(town.ada, "recall", query="treasurer", **{"in": town.staff})).text == expected
    assert cards(await town.use(town.bob, "recall", query="treasurer")) == ["The treasurer resigns in June"]


async def test_who_can_read_no_observed_channel_is_told_who_can_change_that(town: Town) -> None:
    """Whether none is observed or only hidden ones, members get the same answer; the way out is an admin's."""
    nowhere = (await town.use(town.ada, "recall", query="unicorns")).text
    assert "I remember no channel that you can read; an admin can start me with `/setup`." in nowhere
    assert "`/setup` has me begin" in (await town.use(town.admin, "recall", query="unicorns")).text
    await town.app.observations.switch_on(town.guild.id, town.staff.id, town.admin.id)
    assert (await town.use(town.ada, "recall", query="unicorns")).text == nowhere
    await town.app.observations.switch_on(town.guild.id, town.general.id, town.admin.id)
    assert "Other words may help" in (await town.use(town.ada, "recall", query="unicorns")).text


async def test_permissions_are_those_of_the_moment(town: Town) -> None:
    """Losing a channel means losing its memories, from the next question on."""
    await town.says(town.bob, "The treasurer resigns in June", place=town.staff)
    assert cards(await town.use(town.bob, "recall", query="treasurer"))
    town.server.world.deny(town.staff, town.bob, Permission.VIEW_CHANNEL)
    assert (await town.use(town.bob, "recall", query="treasurer")).content.startswith(NOTHING)


async def test_without_history_there_is_no_memory(town: Town) -> None:
    """A channel one may view but whose history one may not read is not recalled."""
    await town.says(town.bob, "The teapot is blue")
    town.server.world.deny(town.general, town.ada, Permission.READ_MESSAGE_HISTORY)
    assert (await town.use(town.ada, "recall", query="teapot")).content.startswith(NOTHING)


async def test_a_place_narrows_the_answer(town: Town) -> None:
    """`in:` a channel covers its public threads, `in:` a thread is the thread alone."""
    thread = town.server.world.add_thread(town.general, "teapots", owner=town.ada)
    await town.says(town.bob, "a teapot in the channel")
    await town.says(town.bob, "a teapot in the thread", place=thread)
    await town.says(town.bob, "a teapot for the staff", place=town.staff)
    in_channel = await town.use(town.bob, "recall", query="teapot", **{"in": town.general})
    assert sorted(cards(in_channel)) == ["a teapot in the channel", "a teapot in the thread"]
    assert cards(await town.use(town.bob, "recall", query="teapot", **{"in": thread})) == ["a teapot in the thread"]


async def test_since_leaves_out_what_is_older(town: Town) -> None:
    """Only what was said after the moment is recalled."""
    await town.says(town.bob, "an old teapot", at=utcnow() - timedelta(days=10))
    await town.says(town.bob, "a new teapot")
    assert cards(await town.use(town.ada, "recall", query="teapot", since="7d")) == ["a new teapot"]
    assert len(cards(await town.use(town.ada, "recall", query="teapot", since="2w"))) == 2


async def test_since_is_explained_and_suggested(town: Town) -> None:
    """A moment that cannot be read is answered with those that can, and typing offers them."""
    assert "24h, 7d, 4w" in (await town.use(town.ada, "recall", query="teapot", since="yesteryear")).content
    choices = await town.server.autocomplete(town.ada, town.general, "recall", "since", "", query="teapot")
    assert [choice["value"] for choice in choices] == ["24h", "7d", "4w", "1y"]


async def test_questions_about_others_are_off(town: Town) -> None:
    """One may ask what is known about oneself; about someone else only where, and while, that is allowed."""
    said = await town.says(town.ada, "I take milk in my tea")
    await town.knows("Ada takes milk in her tea", said, about=town.ada)
    mine = await town.use(town.ada, "recall", query="milk", about=town.ada)
    assert "Ada takes milk in her tea" in cards(mine)
    assert "other members" in (await town.use(town.bob, "recall", query="milk", about=town.ada)).content
    await town.app.configs.change(town.guild.id, {"about_others": True})
    hers = await town.use(town.bob, "recall", query="milk", about=town.ada)
    assert "Ada takes milk in her tea" in cards(hers)
    await town.app.configs.change(town.guild.id, {"about_others": False})
    assert "other members" in (await (await hers.click("Why?")).settled()).followups[-1].content


@pytest.mark.parametrize("query", ["?", "  ", "\u200b\u200b", "!!! ..."])
async def test_a_question_without_words_is_explained(town: Town, query: str) -> None:
    """There is nothing to search for without letters."""
    answer = await town.use(town.ada, "recall", query=query)
    assert answer.content == str(QueryTooShort())


async def test_two_letters_are_a_question(town: Town) -> None:
    """A query of two characters is answered like any other."""
    await town.says(town.ada, "we moved to k8 last week")
    assert cards(await town.use(town.ada, "recall", query="k8")) == ["we moved to k8 last week"]


async def test_pages_turn(town: Town) -> None:
    """Five cards a page; the buttons at the ends are disabled."""
    for number in range(7):
        await town.says(town.ada, f"teapot number {number}")
    answer = await town.use(town.bob, "recall", query="teapot")
    assert [len(answer.embeds), usable(answer)] == [5, ["Next", "Why?", "Forget…"]]
    first = cards(answer)
    turned = await (await answer.click("Next")).settled()
    assert [len(turned.embeds), usable(turned)] == [2, ["Back", "Why?", "Forget…"]]
    assert not set(cards(turned)) & set(first)
    assert cards(await (await answer.click("Back")).settled()) == first


async def test_a_page_turned_later_is_as_true_as_a_new_answer(town: Town) -> None:
    """Turning shows nothing that was forgotten since the question."""
    said = [await town.says(town.bob, f"teapot number {number}", place=town.staff) for number in range(7)]
    answer = await town.use(town.bob, "recall", query="teapot")
    await town.app.forget.memories(town.guild.id, [message_memory(message) for message in said[:3]])
    turned = await (await answer.click("Next")).settled()
    assert sorted(cards(turned)) == [f"teapot number {number}" for number in range(3, 7)]
    assert usable(answer) == ["Why?", "Forget…"]


async def test_a_page_goes_with_its_channel(town: Town) -> None:
    """Who loses the channel between two pages does not see the second."""
    for number in range(7):
        await town.says(town.bob, f"teapot number {number}", place=town.staff)
    answer = await town.use(town.bob, "recall", query="teapot")
    town.server.world.deny(town.staff, town.bob, Permission.VIEW_CHANNEL)
    turned = await (await answer.click("Next")).settled()
    assert turned.content.startswith(NOTHING)
    assert [turned.embeds, turned.buttons] == [[], []]


async def test_one_page_has_no_page_buttons(town: Town) -> None:
    """There is nothing to turn with a single page."""
    await town.says(town.ada, "one teapot")
    assert usable(await town.use(town.bob, "recall", query="teapot")) == ["Why?", "Forget…"]


async def test_an_answer_explains_itself(town: Town) -> None:
    """`explain: true` says under each card what it was found by."""
    await town.says(town.ada, "The teapot is in the blue cupboard")
    answer = await town.use(town.bob, "recall", query="teapot", explain=True)
    [note] = answer.embeds[0]["fields"]
    assert note["name"] == "Found by"
    assert "words" in note["value"]
    assert usable(answer) == ["Hide why", "Forget…"]


async def test_a_button_asks_why(town: Town) -> None:
    """Pressing it explains the cards of this page and the next, pressing it again takes that away."""
    for number in range(7):
        await town.says(town.ada, f"teapot number {number}")
    answer = await (await town.use(town.bob, "recall", query="teapot")).click("Next")
    plain = (await answer.settled()).embeds
    explained = await (await answer.click("Why?")).settled()
    assert cards(explained) == [str(card["description"]).split("\n\n")[0] for card in plain]
    assert all(card["fields"][0]["name"] == "Found by" for card in explained.embeds)
    assert usable(explained) == ["Back", "Hide why", "Forget…"]
    first = await (await answer.click("Back")).settled()
    assert [len(card["fields"]) for card in first.embeds] == [1] * 5
    hidden = await (await answer.click("Hide why")).settled()
    assert not any(card.get("fields") for card in hidden.embeds)


async def test_what_a_card_stands_for_can_be_forgotten(town: Town) -> None:
    """A fact's own message is offered beside it, under an answer and by `/forget`."""
    said = await town.says(town.ada, "I take milk in my tea")
    await town.knows("Ada takes milk in her tea", said, about=town.ada)
    answer = await town.use(town.ada, "recall", query="milk")
    offered = [await (await answer.click("Forget…")).settled(), await town.use(town.ada, "forget", query="milk")]
    for menu in (offer.selects[0] for offer in offered):
        assert sorted(option.label for option in menu.options) == ["Ada takes milk in her tea", "I take milk in my tea"]


async def test_an_answer_expires(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while the buttons go and the cards stay; a press that was under way is answered kindly."""
    await town.says(town.ada, "one teapot")
    monkeypatch.setattr(OwnedView, "lifetime", 0.05)
    answer = await town.use(town.bob, "recall", query="teapot")
    assert answer.message
    stale = replace(answer.message)
    await answer.until(lambda answer: answer.content == EXPIRED)
    assert [answer.buttons, cards(answer)] == [[], ["one teapot"]]
    late = await (await town.server.click(town.bob, stale, "Forget…")).settled()
    assert [late.content, late.ephemeral] == [EXPIRED, True]


async def test_an_answer_that_is_gone_expires_quietly(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the message cannot be edited any more, nothing is left to do."""
    await town.says(town.ada, "one teapot")
    monkeypatch.setattr(OwnedView, "lifetime", 0.05)
    with capture_logs() as logs:
        await town.use(town.bob, "recall", query="teapot")
        town.server.fail_next("PATCH", r"/messages/@original$", 404)
        await eventually(lambda: any(line["event"] == "expired_view_left" for line in logs))


async def test_nobody_else_turns_the_pages(town: Town) -> None:
    """Even if Discord let someone else press, the answer is the asker's."""
    for number in range(7):
        await town.says(town.ada, f"teapot number {number}")
    answer = await town.use(town.bob, "recall", query="teapot")
    assert answer.message
    assert answer.message.interaction
    before = cards(answer)
    answer.message.interaction["user"]["id"] = str(town.ada.id)
    pressed = await (await town.server.click(town.ada, answer.message, "Next")).settled()
    assert "Only the person who asked" in pressed.content
    assert cards(answer) == before


@pytest.mark.parametrize(
    "text",
    [
        "👩‍👩‍👧‍👦" * 571,
        "\u05e9\u05dc\u05d5\u05dd teapot " * 200,
        "teapot Z" + "\u0310" * 3900,
        "@everyone **teapot** [click](https://evil.example) <@&123456789012345678> # head\n" * 40,
        "`" * 3990 + " teapot",
    ],
    ids=["emoji", "right-to-left", "zalgo", "markdown", "backticks"],
)
async def test_any_text_makes_a_card_discord_takes(town: Town, text: str) -> None:
    """The longest and strangest messages fit: the stand-in refuses what Discord would refuse."""
    await town.says(town.ada, text[:4000])
    await town.says(town.ada, "teapot")
    fact_source = await town.says(town.ada, "and another teapot")
    await town.knows(f"teapot {text}"[:4000], fact_source, about=town.ada)
    answer = await town.use(town.bob, "recall", query="teapot")
    assert len(answer.embeds) >= 2
    assert "@everyone" not in answer.text
    assert "](https://evil" not in answer.text


async def test_the_index_being_down_is_told(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the index, keyword search answers and says what it is."""
    await town.says(town.ada, "The teapot is blue")

    async def broken(*_: object) -> None:
        raise IndexUnavailable()

    monkeypatch.setattr(town.app.index, "search", broken)
    found = await town.use(town.bob, "recall", query="teapot")
    assert cards(found) == ["The teapot is blue"]
    assert found.embeds[-1]["footer"]["text"] == f"⚠️ {Degraded.INDEX_DOWN}"
    assert str(Degraded.INDEX_DOWN) in (await town.use(town.bob, "recall", query="unicorn")).content


def usable(answer: Answer) -> list[str]:
    return [button.label for button in answer.buttons if not button.disabled]


async def test_while_recall_is_off_nobody_is_shown_anything(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every door that shows words answers in one sentence; forgetting everything shows none and goes on."""
    said = await town.says(town.ada, "My teapot is blue")
    answer = await town.use(town.ada, "recall", query="teapot")
    picked = await (await answer.click("Forget…")).settled()
    monkeypatch.setattr(town.app.recall, "paused", lambda: True)
    off = str(RecallPaused())
    assert (await town.use(town.ada, "recall", query="teapot")).content == off
    assert (await (await answer.click("Forget…")).settled()).content == off
    assert (await town.use(town.ada, "forget", query="teapot")).content == off
    link = f"https://discord.com/channels/{town.guild.id}/{town.general.id}/{said.id}"
    assert (await town.use(town.ada, "forget", query=link)).content == off
    assert await town.server.autocomplete(town.ada, town.general, "forget", "query", "tea") == []
    assert (await (await picked.click("Forget")).settled()).content == "Forgotten: 1 message and 0 facts."
    assert "Forget everything about you?" in (await town.use(town.ada, "forget", everything=True)).content
