"""The menus of messages and members, as members use them."""

from datetime import timedelta

from town import Town, cards

from bot.model import FactKind, Message, utcnow
from bot.sandbox.discord import Answer, Permission, User
from bot.storage.audit import Action

KEY = "The key to the shed hangs behind the door"
NOT_KEPT = "I may not keep this message: I was not listening here when it was said, its author does not want to be "


async def pick(town: Town, user: User, menu: str, message: Message | int) -> Answer:
    """An entry of a message's menu, with its final answer."""
    target = message if isinstance(message, int) else message.id
    return await (await town.server.message_command(user, town.general, menu, target)).settled()


async def heard(town: Town) -> None:
    """The general channel is listened to from now on."""
    await town.app.observations.switch_on(town.guild.id, town.general.id, town.admin.id)


async def posted(town: Town, author: User, text: str, **other: object) -> int:
    """A message that nobody captured."""
    return int((await town.server.say(town.general, author, text, announce=False, **other))["id"])


async def test_what_is_remembered_outlives_the_words_until_it_is_deleted(town: Town) -> None:
    """Somebody keeps another's words: extraction and expiry leave them, and they go with the message."""
    await heard(town)
    said = await town.says(town.ada, KEY)
    answer = await pick(town, town.bob, "Remember this", said)
    assert answer.ephemeral
    assert answer.content.startswith("Remembered: I keep these words until")
    assert (await pick(town, town.ada, "Remember this", said)).content == "I keep these words already."
    [kept] = await town.app.facts.resting_on([said.id])
    assert (kept.text, kept.kind, kept.speaker_ids, kept.sources) == (
        KEY,
        FactKind.KNOWLEDGE,
        (town.ada.id,),
        (said.id,),
    )
    [entry] = await town.app.audit.entries(town.guild.id, 5)
    assert (entry.action, entry.actor_id, entry.details) == (Action.REMEMBERED, town.bob.id, {"message": said.id})

    await town.app.indexer.drain()
    asked = await town.use(town.ada, "forget", query="shed key")
    [menu] = asked.selects
    assert sorted(option.label for option in menu.options) == [KEY, f"{KEY} (kept)"]

    lease = (await town.app.queue.take([said.id], timedelta(minutes=5))).lease
    assert await town.app.queue.commit(lease, []) == 0
    await town.app.retraction.expire(town.guild.id, utcnow() + timedelta(days=1), None)
    await town.app.indexer.drain()
    assert await town.app.messages.get([said.id]) == {}
    found = await town.use(town.bob, "recall", query="shed key")
    assert cards(found) == [KEY]
    assert found.embeds[0]["author"]["name"] == "ada · kept words"
    assert (await pick(town, town.bob, "Remember this", said)).content == "I keep these words already."

    await town.app.forget.messages(town.guild.id, [said.id])
    assert await town.app.facts.get([kept.id]) == {}
    again = await pick(town, town.bob, "Remember this", said)
    assert again.content == "This message was deleted or forgotten, or is past its time, so I do not keep it again."


async def test_a_message_that_was_missed_is_captured_first(town: Town) -> None:
    """In a channel that is listened to, a message need not be held to be remembered, and secrets stay out."""
    await heard(town)
    missed = await posted(town, town.ada, f"{KEY}; password: hunter2hunter2")
    assert (await pick(town, town.bob, "Remember this", missed)).content.startswith("Remembered")
    assert (await town.app.messages.get([missed]))[missed].content == f"{KEY}; password: [redacted]"
    [kept] = await town.app.facts.resting_on([missed])
    assert kept.text == f"{KEY}; password: [redacted]"


async def test_what_may_not_be_kept_is_not_remembered(town: Town) -> None:
    """Not what was said where nobody listened, by who objected or by a bot, nor what is private or was forgotten."""
    unheard = await posted(town, town.ada, KEY)
    assert (await pick(town, town.bob, "Remember this", unheard)).content.startswith(NOT_KEPT)
    await heard(town)
    private = await posted(town, town.ada, "I have diabetes")
    assert (await pick(town, town.bob, "Remember this", private)).content.startswith(NOT_KEPT)
    robot = town.server.world.add_user("robot", bot=True)
    town.server.world.add_member(town.guild, robot)
    beep = await posted(town, robot, KEY)
    assert (await pick(town, town.bob, "Remember this", beep)).content.startswith("I remember only what people say")
    forgotten = await town.says(town.ada, KEY)
    await town.app.retraction.messages_deleted(town.guild.id, [forgotten.id], "forgotten")
    assert (await pick(town, town.bob, "Remember this", forgotten)).content.startswith(
        "This message was deleted or forgotten"
    )
    said = await posted(town, town.ada, KEY)
    await town.app.configs.change(town.guild.id, {"person_facts": "none"})
    refusal = (await pick(town, town.bob, "Remember this", said)).content
    assert refusal == "This server notes nothing about people, so I cannot keep anybody's words for good."
    await town.app.configs.change(town.guild.id, {"person_facts": "self"})
    town.server.world.deny(town.general, town.bob, Permission.READ_MESSAGE_HISTORY)
    assert (await pick(town, town.bob, "Remember this", said)).content.startswith("I keep only what you can read")
    await town.app.consent.opt_out(town.guild.id, town.ada.id, utcnow() - timedelta(hours=1))
    assert (await pick(town, town.admin, "Remember this", said)).content.startswith(NOT_KEPT)
    assert (await town.app.messages.stats(town.guild.id)).held == 0
    assert (await town.app.messages.stats(town.guild.id)).facts == 0
    assert await town.app.audit.entries(town.guild.id, 5) == []


async def test_a_message_is_forgotten_from_its_menu(town: Town) -> None:
    """One's own goes with its facts after a question; of another's only what is about oneself is offered."""
    own = await town.says(town.ada, KEY)
    fact = await town.knows("Ada knows where the key is", own, about=town.ada)
    others = await pick(town, town.bob, "Forget this message", own)
    assert others.content == "I found nothing like that which you may forget."
    asked = await pick(town, town.ada, "Forget this message", own)
    assert (asked.ephemeral, cards(asked)) == (True, [KEY])
    assert (await (await asked.click("Forget")).settled()).content == "Forgotten: 1 message and 1 fact."
    assert await town.app.facts.get([fact.id]) == {}

    theirs = await town.says(town.bob, "Ada broke a cup")
    await town.knows("Ada broke a cup", theirs, about=town.ada)
    asked = await pick(town, town.ada, "Forget this message", theirs)
    assert (await (await asked.click("Forget")).settled()).content == "Forgotten: 0 messages and 1 fact."
    assert list(await town.app.messages.get([theirs.id])) == [theirs.id]


async def test_a_message_tells_what_was_made_of_it(town: Town) -> None:
    """Where it stands, and the facts on it; nothing of a channel's past that one cannot read."""
    said = await town.says(town.ada, KEY)
    answer = await pick(town, town.bob, "What was made of this?", said)
    assert answer.content == (
        "I hold this message, and it can be found. It waits to be read for facts. "
        "I learnt nothing from it that you can read."
    )
    fact = await town.knows("The key hangs behind the door", said)
    answer = await pick(town, town.bob, "What was made of this?", said)
    assert (answer.ephemeral, cards(answer)) == (True, [fact.text])
    assert answer.embeds[-1]["footer"]["text"] == "I hold this message, and it can be found. It was read for facts."
    town.server.world.deny(town.general, town.bob, Permission.READ_MESSAGE_HISTORY)
    hidden = await pick(town, town.bob, "What was made of this?", said)
    assert (cards(hidden), fact.text in hidden.content) == ([], False)
    await town.app.retraction.expire(town.guild.id, utcnow() + timedelta(days=1), None)
    answer = await pick(town, town.ada, "What was made of this?", said)
    assert cards(answer) == [fact.text]
    assert "past their time" in answer.embeds[-1]["footer"]["text"]


async def test_whether_somebody_objected_is_told_to_nobody_else(town: Town) -> None:
    """The author learns why nothing is held, others only that nothing is."""
    await town.app.consent.opt_out(town.guild.id, town.ada.id, utcnow() - timedelta(hours=1))
    said = await posted(town, town.ada, KEY)
    own = await pick(town, town.ada, "What was made of this?", said)
    assert own.content.startswith("I hold nothing of this message: you did not want to be remembered")
    other = await pick(town, town.bob, "What was made of this?", said)
    assert other.content == "I hold nothing of this message. I learnt nothing from it that you can read."


async def test_what_is_known_about_a_member(town: Town) -> None:
    """Oneself always; somebody else where the server allows it, and of that what one can read."""
    said = await town.says(town.ada, "I drink green tea")
    fact = await town.knows("Ada drinks green tea", said, about=town.ada)
    staff = await town.says(town.bob, "Ada is late", place=town.staff)
    secret = await town.knows("Ada is late with her dues", staff, about=town.ada)

    async def known(user: User) -> Answer:
        menu = "What do you know about them?"
        return await (await town.server.user_command(user, town.general, menu, town.ada)).settled()

    own = await known(town.ada)
    assert (own.ephemeral, cards(own)) == (True, [fact.text])
    refused = await known(town.admin)
    assert (refused.content.startswith("In this server I answer no questions about other"), cards(refused)) == (
        True,
        [],
    )
    recall = await town.use(town.admin, "recall", query="tea", about=town.ada)
    assert recall.content.startswith("In this server I answer no questions about other members")
    await town.app.configs.change(town.guild.id, {"about_others": True})
    assert cards(await known(town.bob)) == [secret.text, fact.text]
    town.server.world.deny(town.staff, town.bob, Permission.VIEW_CHANNEL)
    assert cards(await known(town.bob)) == [fact.text]
    assert fact.text in cards(await town.use(town.bob, "recall", query="tea", about=town.ada))
