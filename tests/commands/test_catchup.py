"""/catchup, as members use it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from town import Town

from bot.commands import catchup, streaming
from bot.errors import RecallPaused
from bot.model import Message, utcnow
from bot.sandbox.discord import Answer, Permission
from bot.sandbox.ollama import BROKEN, GARBAGE, HANG, OllamaServer, Reply

NOTHING = "You have missed nothing"
TOPICS = Reply(text="- Fair: the tent comes on Saturday [1][2].\n- Bakery: Mill Lane opens at six [3].")


@pytest.fixture
async def model() -> AsyncIterator[OllamaServer]:
    """The language model's stand-in."""
    async with OllamaServer() as server:
        yield server


@pytest.fixture
def sections(model: OllamaServer) -> dict[str, Any]:
    """The bot asks the stand-in, and waits a second for its first word."""
    return {"ollama": {"url": model.url}, "ask": {"patience": "1s"}}


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def link(message: Message) -> str:
    return f"https://discord.com/channels/{message.guild_id}/{message.channel_id}/{message.id}"


def told(answer: Answer) -> str:
    """The words of the one card."""
    [card] = answer.embeds
    return str(card["description"])


def note(answer: Answer) -> str:
    """What stands below the card."""
    [card] = answer.embeds
    return str(card.get("footer", {}).get("text", ""))


async def finished(answer: Answer) -> Answer:
    """The answer when the model has ended, in whatever way."""
    return await answer.until(lambda now: bool(now.content) or bool(now.embeds) and catchup.WRITING != note(now))


async def catch_up(town: Town, user: Any, place: Any = None, **options: Any) -> Answer:
    return await finished(await town.server.slash(user, place or town.general, "catchup", **options))


async def chat(town: Town) -> list[Message]:
    """Ada speaks, then others."""
    now = utcnow()
    await town.says(town.ada, "I am off to the dentist, see you later", at=now - minutes(90))
    return [
        await town.says(town.bob, "The tent for the fair comes on Saturday", at=now - minutes(50)),
        await town.says(town.admin, "Saturday is fine, I will open the gate", at=now - minutes(49)),
        await town.says(town.bob, "The bakery in Mill Lane opens at six", at=now - minutes(9)),
    ]


async def test_the_model_tells_by_topic_what_was_said_since_ones_last_message(
    town: Town, model: OllamaServer
) -> None:
    """Each topic links to its messages; only these were shown to the model; nobody else sees the answer."""
    first, second, third = await chat(town)
    model.replies.append(TOPICS)
    answer = await catch_up(town, town.ada)
    assert answer.ephemeral
    words = told(answer)
    assert f"<#{town.general.id}>" in words.split("\n")[0]
    assert "since your last message there" in words
    assert "3 messages by 2 people" in words
    assert f"• Fair: the tent comes on Saturday [[1]]({link(first)})[[2]]({link(second)})." in words
    assert f"• Bakery: Mill Lane opens at six [[3]]({link(third)})." in words
    assert note(answer) == ""
    [request] = model.requests
    prompt = request["messages"][-1]["content"]
    assert "The tent for the fair" in prompt
    assert "dentist" not in prompt
    sent = [call.body for call in town.server.calls if call.body and "embeds" in call.body]
    assert all(body["allowed_mentions"]["parse"] == [] for body in sent)
