"""/catchup, as members use it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import discord
import pytest
from town import Town, eventually

from bot.commands import catchup, streaming
from bot.errors import RecallPaused
from bot.model import Message, utcnow
from bot.sandbox.discord import Answer, Permission
from bot.sandbox.ollama import GARBAGE, HANG, OllamaServer, Reply

NOTHING = "I know of nothing new"
LISTENING = "I hear only the channels that were switched on."
TOPICS = Reply(text="- Fair: the tent comes on Saturday [1][2].\n- Bakery: Mill Lane opens at six [3].")


@pytest.fixture
async def model() -> AsyncIterator[OllamaServer]:
    """The language model's stand-in, which says nothing useful unless told to."""
    async with OllamaServer() as server:
        server.always = GARBAGE
        yield server


@pytest.fixture
def sections(model: OllamaServer) -> dict[str, Any]:
    """The bot asks the stand-in, and does not wait long for its first word."""
    return {"ollama": {"url": model.url}, "ask": {"patience": "300ms", "per_minute": 3}}


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
    return await answer.until(lambda now: bool(now.content) or (bool(now.embeds) and catchup.WRITING != note(now)))


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


async def test_the_model_tells_by_topic_what_was_said_since_ones_last_message(town: Town, model: OllamaServer) -> None:
    """Each topic links to its messages; only these were shown to the model; nobody else sees the answer."""
    first, second, third = await chat(town)
    model.replies.append(TOPICS)
    answer = await catch_up(town, town.ada)
    assert answer.ephemeral
    words = told(answer)
    assert words.startswith(f"**<#{town.general.id}> since your last message there, <t:")
    assert "3 messages by 2 people" in words
    assert f"• Fair: the tent comes on Saturday [[1]]({link(first)})[[2]]({link(second)})." in words
    assert f"• Bakery: Mill Lane opens at six [[3]]({link(third)})." in words
    assert note(answer) == ""
    [request] = model.requests
    prompt = request["messages"][-1]["content"]
    assert "The tent for the fair" in prompt
    assert "dentist" not in prompt
    sent = [call.body for call in town.server.calls if isinstance(call.body, dict) and "embeds" in call.body]
    assert all(body["allowed_mentions"]["parse"] == [] for body in sent)


async def test_the_digest_comes_first_and_stays_without_the_model(town: Town, model: OllamaServer) -> None:
    """The busiest conversation, its first line, how many said how much, a way there; and why there are no topics."""
    first, _, third = await chat(town)
    model.replies += [HANG, Reply(text="A tent. [9]"), Reply(text="The tent [1]", broken_off=True, error="runner died")]
    answer = await town.server.slash(town.ada, town.general, "catchup")
    await answer.until(lambda now: bool(now.embeds) and note(now) == catchup.WRITING)
    digest = told(answer)
    assert digest.index("2 messages by 2 people") < digest.index("1 message by 1 person")
    assert f"[Jump to the start]({link(first)})\n> bob: The tent for the fair comes on Saturday" in digest
    assert link(third) in digest
    reasons = [note(await finished(answer))]
    reasons += [note(await catch_up(town, town.ada)) for _ in range(2)]
    assert [told(answer), reasons] == [
        digest,
        [
            "⚠️ The language model is too slow right now. So these are the busiest conversations.",
            "⚠️ The language model gave no usable answer. So these are the busiest conversations.",
            "⚠️ The language model broke off in the middle of its answer. So these are the busiest conversations.",
        ],
    ]
    fourth = await catch_up(town, town.ada)
    assert told(fourth) == digest
    assert note(fourth).startswith("⚠️ You may ask me 3 questions a minute")
    down = await catch_up(town, town.bob, since="24h")
    assert note(down) == "⚠️ The language model cannot be reached right now. So these are the busiest conversations."
    assert "3 messages by 3 people" in told(down)


async def test_a_model_can_do_nothing_but_cite(
    town: Town, model: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words are shown as they come; they neither ping nor format, and lead nowhere but to the messages."""
    first, *_ = await chat(town)
    monkeypatch.setattr(streaming, "EVERY_SECONDS", 0.0)
    forged = "* **Fair**: @everyone [sign here](https://evil.example/x) <@1> https://evil.example [1] [77]\n\n\n\nlast"
    model.replies.append(Reply(text=forged))
    answer = await catch_up(town, town.ada)
    bodies = [call.body for call in town.server.calls if isinstance(call.body, dict)]
    cards = [body["embeds"][0] for body in bodies if body.get("embeds")]
    parts = [card["description"] for card in cards if "• " in card["description"] and card.get("footer")]
    assert parts
    words = told(answer).split("\n\n", 1)[1]
    assert words.startswith("• \\*\\*Fair")
    assert words.count("](https://") == 1
    assert f"[[1]]({link(first)})" in words
    assert not any(harm in words for harm in ("@everyone", "<@1>", "https://evil", "](https://evil", "[77]"))


async def test_hidden_unobserved_and_silent_places_answer_alike(town: Town) -> None:
    """Who cannot read a place does not learn whether anything was said there, nor whether I watch it."""
    await town.says(town.bob, "The treasurer resigns in June", place=town.staff)
    await town.app.observations.switch_on(town.guild.id, town.staff.id, None)
    hidden = town.server.world.add_channel(town.guild, "attic", hidden_from_everyone=True)
    silent = town.server.world.add_channel(town.guild, "cellar")
    answers = [await catch_up(town, town.ada, channel=place) for place in (town.staff, hidden, silent)]
    expected = f"{NOTHING} in <#{{}}> in the last 24 hours (I hold no message of yours there). {LISTENING}"
    places = (town.staff, hidden, silent)
    assert [one.content for one in answers] == [expected.format(place.id) for place in places]
    assert "treasurer" in told(await catch_up(town, town.admin, channel=town.staff))
    town.server.world.deny(town.staff, town.bob, Permission.VIEW_CHANNEL)
    assert (await catch_up(town, town.bob, channel=town.staff)).content == expected.format(town.staff.id)
    managers = town.server.world.add_role(town.guild, "managers", Permission.MANAGE_GUILD)
    town.server.world.update_member(town.guild, town.ada, role_ids=[managers.id])
    assert (await catch_up(town, town.ada, channel=silent)).content.endswith("`/observe on` changes that.")
    assert (await catch_up(town, town.ada, channel=hidden)).content == expected.format(hidden.id)


async def test_a_channel_covers_its_threads_and_a_thread_is_alone(town: Town) -> None:
    """A thread is one conversation among the channel's; a private one is not the channel's, and its members' alone."""
    world = town.server.world
    thread = world.add_thread(town.general, "spring fair", owner=town.bob)
    private = world.add_thread(town.general, "surprise", owner=town.bob, private=True, members=[world.bot])
    await town.app.observations.switch_on(town.guild.id, private.id, None)
    await town.says(town.bob, "Who brings the tent to the fair?", place=thread, at=utcnow() - minutes(600))
    await town.says(town.admin, "I do, and the benches as well", place=thread)
    await town.says(town.bob, "The bakery in Mill Lane opens at six")
    await town.says(town.bob, "We sing for Ada on her birthday", place=private)
    whole = told(await catch_up(town, town.ada))
    assert f"2 messages by 2 people · <#{thread.id}>" in whole
    assert "bakery" in whole
    assert "birthday" not in whole
    alone = told(await catch_up(town, town.ada, thread))
    assert "bakery" not in alone
    assert alone.count("1 message by 1 person") == 2
    assert "bakery" not in told(await catch_up(town, town.ada, channel=thread))
    assert (await catch_up(town, town.ada, channel=private)).content.startswith(NOTHING)
    assert "birthday" in told(await catch_up(town, town.admin, private))


async def test_it_says_from_when_on(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for, one's last message, or what stands in for it; at most a week, and so many messages."""
    heading = told(await catch_up_on(town, town.ada, "The gate is open on Saturday"))
    assert "in the last 24 hours (I hold no message of yours there)" in heading
    await town.says(town.ada, "I saw that, thank you very much", at=utcnow() - timedelta(days=9))
    heading = told(await catch_up(town, town.ada))
    assert "in the last 7 days, the most I look back (your last message there is older)" in heading
    await town.says(town.ada, "and I will be there")
    assert "in the last 24 hours (you wrote there a moment ago)" in told(await catch_up(town, town.ada))
    assert "since <t:" in told(await catch_up(town, town.ada, since="3 h"))
    assert "in the last 7 days, the most I look back" in told(await catch_up(town, town.ada, since="4w"))
    assert (await catch_up(town, town.ada, since="yesteryear")).content.startswith("I read `since` as")
    choices = await town.server.autocomplete(town.ada, town.general, "catchup", "since", "")
    assert [choice["value"] for choice in choices] == ["1h", "24h", "3d", "7d"]
    monkeypatch.setattr(catchup, "MOST_MESSAGES", 1)
    await town.says(town.bob, "The key is under the mat")
    cut = told(await catch_up(town, town.ada))
    assert "1 message by 1 person; only the newest 1 are looked at" in cut
    assert "gate" not in cut


async def test_what_is_taken_back_meanwhile_is_not_told(
    town: Town, model: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a message goes while the model writes about it, its words are not shown; when the channel goes, none are."""
    first, _, third = await chat(town)
    model.replies.append(TOPICS)

    async def deleting(*arguments: Any) -> str:
        words = await streaming.streamed(*arguments)
        await town.app.forget.messages(town.guild.id, [first.id])
        return words

    async def hiding(*arguments: Any) -> str:
        words = await streaming.streamed(*arguments)
        world.deny(town.general, town.ada, Permission.READ_MESSAGE_HISTORY)
        (general,) = [one for one in town.app.client.get_all_channels() if one.id == town.general.id]
        await eventually(lambda: general.overwrites_for(discord.Object(town.ada.id)).read_message_history is False)
        return words

    world = town.server.world
    monkeypatch.setattr("bot.commands.catchup.streamed", deleting)
    answer = await catch_up(town, town.ada)
    assert note(answer).startswith("Some of it was changed or taken back")
    assert "tent" not in told(answer)
    assert link(third) in told(answer)

    model.replies.append(TOPICS)
    monkeypatch.setattr("bot.commands.catchup.streamed", hiding)
    answer = await catch_up(town, town.ada)
    assert answer.content.startswith(NOTHING)
    assert answer.embeds == []


async def test_it_is_refused_while_recall_is_off_and_to_those_who_may_not_ask(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, and nothing of what was said."""
    await town.says(town.bob, "The bakery in Mill Lane opens at six")
    with monkeypatch.context() as off:
        off.setattr(town.app.recall, "paused", lambda: True)
        assert (await catch_up(town, town.ada)).content == str(RecallPaused())
    await town.app.configs.change(town.guild.id, {"asker_roles": (7,)})
    assert (await catch_up(town, town.ada)).content.startswith("In this server only some roles may ask me")
    assert "bakery" in told(await catch_up(town, town.admin))


STRANGE = [
    "👩‍👩‍👧‍👦" * 300,
    "\u05e9\u05dc\u05d5\u05dd teapot " * 200,
    "teapot Z" + "\u0310" * 3900,
    "@everyone **teapot** [click](https://evil.example) <@&123456789012345678> # head\n" * 40,
    "`" * 3990 + " teapot",
]


async def test_any_text_makes_a_digest_that_discord_takes(town: Town) -> None:
    """As many strange conversations as fit, the others counted: the stand-in refuses what Discord would refuse."""
    start = utcnow() - timedelta(hours=30)
    for number in range(10):
        await town.says(
            town.bob, f"{number} tea time for all of us {STRANGE[number % 5]}"[:4000], at=start + minutes(130 * number)
        )
    words = told(await catch_up(town, town.ada, since="2d"))
    assert words.count("[Jump to the start]") == 8
    assert words.endswith("…and 2 smaller conversations.")
    assert "@everyone" not in words
    assert "](https://evil" not in words


async def catch_up_on(town: Town, user: Any, words: str) -> Answer:
    """What someone is told after somebody said this."""
    await town.says(town.bob, words)
    return await catch_up(town, user)
