"""Mentioning the bot asks it: in the channel, for everyone there, where the guild wants that."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from town import Town, eventually

from bot.commands import streaming
from bot.commands.replies import CUT_OFF
from bot.model import Scope
from bot.sandbox.discord import Channel, Message, Permission, User
from bot.sandbox.ollama import OllamaServer, Reply


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece of an answer is shown."""
    monkeypatch.setattr(streaming, "EVERY_SECONDS", 0)


@pytest.fixture
async def ollama() -> AsyncIterator[OllamaServer]:
    """Ollama, nearby."""
    async with OllamaServer() as server:
        yield server


@pytest.fixture
def sections(ollama: OllamaServer) -> dict[str, Any]:
    return {"ollama": {"url": ollama.url}, "ask": {"per_minute": 4}}


async def mention(town: Town, user: User, words: str, place: Channel | None = None, **fields: Any) -> int:
    """Somebody says something to the bot; the id of the message."""
    said = await town.server.say(place or town.general, user, f"<@{town.server.world.bot.id}> {words}", **fields)
    return int(said["id"])


async def ignored(town: Town, user: User, words: str, **fields: Any) -> None:
    """Somebody says something to the bot, which has done about it whatever it does."""
    heard = asyncio.create_task(town.app.client.wait_for("message"))
    await asyncio.sleep(0)
    await mention(town, user, words, **fields)
    await heard
    await town.app.client.settle()
    await eventually(lambda: not any(task.get_name() == "mention" for task in asyncio.all_tasks()))


async def replied(town: Town, question: int, place: Channel | None = None) -> Message:
    """The bot's reply to a message, once it is no longer looking."""

    def found() -> Message | None:
        replies = [one for one in town.server.sent(place or town.general) if one.reply_to == question]
        done = replies and "I am looking" not in replies[0].content and not answering(replies[0])
        return replies[0] if done else None

    await eventually(found)
    reply = found()
    assert reply
    return reply


def answering(reply: Message) -> bool:
    return bool(reply.embeds) and str(reply.embeds[0]["description"]).endswith(" …")


async def test_it_is_answered_for_everyone_there(town: Town, ollama: OllamaServer) -> None:
    """A reply that pings nobody, from what all who see it may read, whoever asks; off unless the guild wants it."""
    await town.app.observations.switch_on(town.guild.id, town.general.id, town.admin.id)
    blue = await town.says(town.ada, "The teapot is blue")
    await town.says(town.bob, "The hidden teapot is green", place=town.staff)
    await ignored(town, town.bob, "what teapot is there?")
    await town.app.configs.change(town.guild.id, {"mentions": True})

    asked = await mention(town, town.bob, f"what teapot does <@{town.ada.id}> have?")
    reply = await replied(town, asked)
    assert reply.content == ""
    assert f"The teapot is blue [[1]](https://discord.com/channels/{town.guild.id}/{town.general.id}/{blue.id})" in str(
        reply.embeds[0]["description"]
    )
    assert not reply.mention_ids
    assert not reply.components
    prompt = ollama.requests[-1]["messages"][1]["content"]
    assert "green" not in prompt
    assert prompt.endswith("Question: what teapot does ada have?")
    inside = await replied(town, await mention(town, town.bob, "which teapot?", town.staff), town.staff)
    assert "The hidden teapot is green" in str(inside.embeds[0]["description"])
    assert town.server.sent(town.general) == [reply]

    # Nothing of this asks it.
    world = town.server.world
    role, robot = world.add_role(town.guild, "brewers"), world.add_user("robot", bot=True)
    world.add_member(town.guild, robot)
    await ignored(town, town.ada, "which teapot?", reply_to=reply)
    await ignored(town, town.ada, "@everyone which teapot?")
    await ignored(town, town.ada, f"<@&{role.id}> which teapot?")
    await ignored(town, robot, "which teapot?")
    await ignored(town, town.ada, "which teapot?", webhook_id=7)
    await town.server.say(town.general, town.ada, "which teapot?", reply_to=reply)

    nothing = await replied(town, await mention(town, town.ada, "zeppelins"))
    assert nothing.content == "I found nothing about that in what everyone here can read."
    short = await replied(town, await mention(town, town.ada, ""))
    assert short.content.startswith("Mention me with a question, for example: @")
    assert short.content.endswith(" when is the fair?")
    assert town.server.sent(town.general) == [reply, nothing, short]
    assert ollama.calls == 2
    held = await town.app.keyword.search("teapot", Scope(town.guild.id, frozenset({town.general.id})), 20)
    assert {hit.memory.speaker_name for hit in held} == {"ada", "bob"}


async def test_who_may_not_ask_is_told_once(town: Town, ollama: OllamaServer) -> None:
    """The limit is that of /ask, and so are the roles; a reply to every try would only add to the noise."""
    await town.app.configs.change(town.guild.id, {"mentions": True})
    for _ in range(4):
        await town.use(town.ada, "ask", question="teapot")
    refused = await replied(town, await mention(town, town.ada, "teapot?"))
    assert refused.content.startswith("You may ask me 4 questions a minute; ask again in")
    await ignored(town, town.ada, "teapot??")
    assert (await replied(town, await mention(town, town.bob, "teapot?"))).content.startswith("I found nothing")

    town.server.world.deny(town.general, town.server.world.bot, Permission.EMBED_LINKS)
    no_embeds = await replied(town, await mention(town, town.bob, "teapot?"))
    assert no_embeds.content == "I need the Embed Links permission here to answer."
    brewers = town.server.world.add_role(town.guild, "brewers")
    await town.app.configs.change(town.guild.id, {"asker_roles": (brewers.id,)})
    await ignored(town, town.bob, "teapot??")
    town.server.world.deny(town.general, town.server.world.bot, Permission.SEND_MESSAGES)
    await ignored(town, town.admin, "teapot?")
    assert len(town.server.sent(town.general)) == 3
    assert ollama.calls == 0


async def test_an_answer_ends_with_its_question(town: Town, ollama: OllamaServer) -> None:
    """Nothing is edited once the question is deleted; without a model there are memories; a restart is told of."""
    await town.says(town.ada, "The teapot is blue")
    await town.app.configs.change(town.guild.id, {"mentions": True})

    async def begin() -> tuple[int, asyncio.Event, Message]:
        gate = asyncio.Event()
        ollama.replies.append(Reply(text="The teapot is as blue as the sea [1].", gate=gate))
        question = await mention(town, town.bob, "which teapot?")
        await eventually(lambda: any(m.reply_to == question and m.embeds for m in town.server.sent(town.general)))
        return question, gate, town.server.sent(town.general)[-1]

    question, gate, abandoned = await begin()
    await town.server.delete(town.general, question)
    await eventually(lambda: not town.app.questions.waiting)
    await ignored(town, town.bob, "@here")
    gate.set()
    await ollama.stop()
    without = await replied(town, await mention(town, town.bob, "which teapot?"))
    assert without.content == (
        "The language model cannot be reached right now. These are the memories that come closest."
    )
    assert [embed["description"].split("\n\n")[0] for embed in without.embeds] == ["The teapot is blue"]
    assert answering(abandoned)

    await ollama.start()
    town.app.breakers.of("Ollama").end_pause()
    _, _, interrupted = await begin()
    await town.app.client.close()
    assert interrupted.content == CUT_OFF
    assert not interrupted.embeds
