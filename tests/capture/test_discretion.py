"""What is sensitive is left out before anything is stored, whichever way it comes."""

from datetime import timedelta

import structlog
from watching import Town, contents

from bot.sandbox.discord import Attachment as File

DIAGNOSIS = "I was diagnosed with epilepsy"


async def test_what_is_sensitive_is_never_held(town: Town) -> None:
    """Neither words nor the description of a file; a line in the log tells the message and the category, no word."""
    await town.observe(town.general)
    with structlog.testing.capture_logs() as logs:
        async with town.watched() as client:
            said = await town.server.say(town.general, town.alice, DIAGNOSIS)
            await town.server.say(town.general, town.bob, "", attachments=[File("scan.png", "my chemo schedule")])
            await town.server.say(town.general, town.bob, "this build gives me depression")
            assert contents(await town.held(client)) == ["this build gives me depression"]
    told = [line for line in logs if line["event"] == "sensitive_left_out"]
    ids = {"guild_id": town.guild.id, "message_id": int(said["id"])}
    assert told[0] == {"event": "sensitive_left_out", "log_level": "info", "category": "health", **ids}
    assert [line["category"] for line in told] == ["health", "health"]
    assert "epilepsy" not in str(logs)


async def test_a_server_may_keep_what_is_sensitive(town: Town) -> None:
    """A self-help group switches the filter off, for itself alone."""
    await town.observe(town.general)
    await town.configs.change(town.guild.id, {"drop_sensitive": False})
    async with town.watched() as client:
        await town.server.say(town.general, town.alice, DIAGNOSIS)
        assert contents(await town.held(client)) == [DIAGNOSIS]
    assert town.configs.of(town.guild.id + 1).drop_sensitive


async def test_an_edit_that_becomes_sensitive_takes_the_message_away(town: Town) -> None:
    """The held words go for good; and words that become harmless before they were ever held are captured."""
    await town.observe(town.general)
    async with town.watched() as client:
        harmless = await town.server.say(town.general, town.alice, "I am late")
        await town.until_held([harmless])
        private = await town.server.say(town.general, town.bob, DIAGNOSIS)
        await town.server.edit(town.general, harmless, "I am late, I was at my psychiatrist")
        await town.server.edit(town.general, private, "I was at home")
        assert contents(await town.held(client)) == ["I was at home"]
        assert await town.tombstones() == {int(harmless["id"])}


async def test_what_was_said_while_nobody_listened_is_looked_at_too(town: Town) -> None:
    """Messages read from history pass the same way."""
    town.clock.now -= timedelta(hours=1)
    await town.observe(town.general)
    for text in (DIAGNOSIS, "lunch at noon"):
        await town.server.say(town.general, town.alice, text, announce=False)
    async with town.watched() as client:
        channel = client.get_channel(town.general.id)
        read = [town.observer.accept(message) async for message in channel.history()]
        assert [record.content for record in read if record] == ["lunch at noon"]


async def test_a_question_to_the_bot_is_no_memory(town: Town) -> None:
    """Where mentions are answered; said live, written later into a held message, or read from history."""
    town.clock.now -= timedelta(hours=1)
    await town.observe(town.general)
    question = f"<@{town.world.bot.id}> when is the fair?"
    async with town.watched() as client:
        await town.server.say(town.general, town.alice, question)
        assert contents(await town.held(client)) == [question]
        await town.configs.change(town.guild.id, {"mentions": True})
        await town.server.say(town.general, town.alice, question.replace("<@", "<@!"))
        await town.server.say(town.general, town.bob, "the fair is in May")
        await town.server.say(town.general, town.bob, f"{question} @everyone")
        turned = await town.server.say(town.general, town.bob, "when is it?")
        await town.until_held([turned])
        await town.server.edit(town.general, turned, question)
        talk = ["the fair is in May", f"{question} @everyone"]
        assert contents(await town.held(client)) == [question, *talk]
        channel = client.get_channel(town.general.id)
        records = [town.observer.accept(message) async for message in channel.history(oldest_first=True)]
        assert [one.content for one in records if one and one.content != "that was all"] == talk
