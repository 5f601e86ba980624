"""/status and /flush, as those who manage the server use them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import discord
import pytest
from town import Town, eventually

from bot.commands import flush, status
from bot.errors import RecallPaused, StorageUnavailable
from bot.memory.edge import EdgeIndex
from bot.model import ServiceHealth, utcnow
from bot.sandbox.discord import Answer, NotAllowed, Permission
from bot.sandbox.ollama import GARBAGE, HANG, OllamaServer


@pytest.fixture
async def ollama() -> AsyncIterator[OllamaServer]:
    async with OllamaServer() as server:
        yield server


@pytest.fixture
def sections(ollama: OllamaServer) -> dict[str, Any]:
    return {"ollama": {"url": ollama.url}}


def fields(answer: Answer) -> dict[str, str]:
    [card] = answer.embeds
    return {field["name"]: field["value"] for field in card["fields"]}


def may_read(town: Town) -> bool:
    """Whether the bot knows that it may read the general channel's history."""
    channel = town.app.client.get_channel(town.general.id)
    assert isinstance(channel, discord.TextChannel)
    return channel.permissions_for(channel.guild.me).read_message_history


async def test_status_of_a_fresh_start(town: Town) -> None:
    """Nothing waits, nothing ran, and every service says how it is."""
    answer = await town.use(town.admin, "status")
    assert answer.ephemeral
    told = fields(answer)
    assert told["Waiting for facts"] == "0 messages"
    assert told["Last batch"] == "none yet"
    assert told["Next batch"] == "when messages wait"
    assert told["Memories"] == "0 messages and 0 facts"
    assert told["Observed"] == "no channel; `/setup` has me begin"
    assert "Needs a look" not in told
    assert "✅ **Ollama**" in told["Services"]
    assert "OpenAI" in told["Services"]
    assert "✅ **Search index**" in told["Services"]


async def test_status_tells_what_waits_and_what_is_held(town: Town) -> None:
    """The age of the oldest message, the next batch, and the memories by kind."""
    first = await town.says(town.ada, "My teapot is blue")
    await town.says(town.bob, "A teapot should be brown")
    told = fields(await town.use(town.admin, "status"))
    assert told["Waiting for facts"] == f"2 messages, the oldest from <t:{int(first.created_at.timestamp())}:R>"
    assert told["Next batch"].startswith("<t:")
    assert told["Memories"] == "2 messages and 0 facts"
    await town.knows("Ada's teapot is blue", first, about=town.ada)
    told = fields(await town.use(town.admin, "status"))
    assert told["Waiting for facts"].startswith("1 message,")
    assert told["Memories"] == "2 messages and 1 fact"


async def test_status_shows_an_outage(town: Town, ollama: OllamaServer) -> None:
    """A service that is down is marked, and the waiting messages are still counted."""
    await town.says(town.ada, "My teapot is blue")
    await ollama.stop()
    told = fields(await town.use(town.admin, "status"))
    assert "⚠️ **Ollama**" in told["Services"]
    assert told["Waiting for facts"].startswith("1 message")


async def test_status_shows_a_broken_part_of_the_index(town: Town) -> None:
    """A damaged folder of this server's, which nothing else would tell an admin, with what to do about it."""
    await town.says(town.ada, "My teapot is blue")
    index = town.app.index._current
    assert isinstance(index, EdgeIndex)
    index.shards.close()  # a shard that is open does not notice
    for file in (town.app.settings.storage.path / "index" / str(town.guild.id)).rglob("*.json"):
        file.write_text("junk")
    told = fields(await town.use(town.admin, "status"))["Services"]
    assert "This server's part is out of order." in told
    assert "move it away and start again, and what is held is indexed anew." in told


async def test_status_waits_for_nobody(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A health check that hangs or fails counts as down."""
    monkeypatch.setattr(status, "HEALTH_SECONDS", 0.01)

    async def hanging() -> ServiceHealth:
        await asyncio.Event().wait()
        raise AssertionError

    async def failing() -> ServiceHealth:
        raise StorageUnavailable()

    monkeypatch.setattr(town.app.worker, "health", hanging)
    monkeypatch.setattr(town.app.indexer, "embedder_health", failing)
    told = fields(await town.use(town.admin, "status"))["Services"]
    assert "⚠️ **Ollama**: It did not answer" in told
    assert f"⚠️ **OpenAI**: {StorageUnavailable()}" in told


async def test_status_names_what_needs_a_look(town: Town) -> None:
    """Messages set aside and events refused are told, and only then."""
    said = await town.says(town.ada, "My teapot is blue")
    lease = (await town.app.queue.take([said.id], timedelta(minutes=5))).lease
    await town.app.queue.bury(lease, "no valid answer")
    town.app.observer.refused = 2
    told = fields(await town.use(town.admin, "status"))["Needs a look"]
    assert told.splitlines() == [
        "1 message set aside: the language model gave no valid answer; `recollect deadletters replay` has it try again",
        "2 events the database refused since the start",
    ]


async def test_a_full_disk_is_told(town: Town, ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not saved, why and what to do, for a while; /flush does not say that nothing is lost."""
    await town.use(town.admin, "observe on")
    await town.says(town.ada, "My teapot is blue")
    await ollama.stop()
    assert "nothing is lost" in (await town.use(town.admin, "flush")).content

    async def refuse(_: object) -> bool:
        raise StorageUnavailable("The database could not be used: database or disk is full.")

    with monkeypatch.context() as full:
        full.setattr(town.app.messages, "capture", refuse)
        await town.server.say(town.general, town.ada, "My teapot is brown")
        await eventually(lambda: town.app.observer.refused)
    first, count = fields(await town.use(town.admin, "status"))["Needs a look"].splitlines()
    assert first.startswith("I could not save something <t:")
    assert "the disk is full: make room where my data is. Once I can, I read again on Discord what I missed" in first
    assert count == "1 event the database refused since the start"
    content = (await town.use(town.admin, "flush")).content
    assert "1 message waits; 1 event could not be saved since the start: see `/status`." in content

    monkeypatch.setattr(town.app.observer, "_clock", lambda: utcnow() + timedelta(hours=1))
    assert fields(await town.use(town.admin, "status"))["Needs a look"] == count


async def test_status_tells_how_much_is_behind(town: Town) -> None:
    """What is still to be read after an absence is counted beside what is observed, not once observation ended."""
    await town.app.observations.switch_on(town.guild.id, town.general.id, town.admin.id)
    town.app.catchup.began()
    told = fields(await town.use(town.admin, "status"))
    assert told["Observed"] == "1 channel; 1 channel or thread still being caught up with"
    await town.use(town.admin, "observe off")
    assert fields(await town.use(town.admin, "status"))["Observed"] == "no channel; `/setup` has me begin"


async def test_a_channel_that_is_switched_on_is_not_behind(town: Town) -> None:
    """It is read from its notice on at once, however long nothing else is, and no status speaks of catching up."""
    catching_up = asyncio.create_task(town.app.catchup.run())
    try:
        await town.use(town.admin, "observe on")
        assert fields(await town.use(town.admin, "status"))["Observed"] == "1 channel"
        async with asyncio.timeout(5):
            await town.app.catchup.caught_up()
    finally:
        catching_up.cancel()
        await asyncio.wait({catching_up})


async def test_status_names_what_the_bot_may_not_read(town: Town) -> None:
    """A channel that stays behind is named with what is missing there, until the bot may read it."""
    await town.app.observations.switch_on(town.guild.id, town.general.id, town.admin.id)
    town.server.world.deny(town.general, town.server.world.bot, Permission.READ_MESSAGE_HISTORY)
    await eventually(lambda: not may_read(town))
    [one] = town.app.observations.unread()
    await town.app.catchup.backfill(one)
    told = fields(await town.use(town.admin, "status"))["Needs a look"]
    assert told == f"I cannot read <#{town.general.id}>: the bot lacks Read Message History there"
    town.server.world.allow(town.general, town.server.world.bot, Permission.READ_MESSAGE_HISTORY)
    await eventually(lambda: may_read(town))
    await town.app.catchup.backfill(one)
    assert "Needs a look" not in fields(await town.use(town.admin, "status"))


async def test_a_message_that_was_said_long_ago_is_no_alert(town: Town) -> None:
    """What counts is how long it has been held."""
    await town.says(town.ada, "My teapot is blue", at=utcnow() - timedelta(days=9))
    assert "Needs a look" not in fields(await town.use(town.admin, "status"))


class TestWithLittlePatience:
    """The setting `alerts.oldest_waiting`."""

    @pytest.fixture
    def sections(self, sections: dict[str, Any]) -> dict[str, Any]:
        return sections | {"alerts": {"oldest_waiting": "1ms"}}

    async def test_a_message_that_has_waited_too_long_needs_a_look(self, town: Town) -> None:
        """Since when it waits is told."""
        await town.says(town.ada, "My teapot is blue")
        told = fields(await town.use(town.admin, "status"))["Needs a look"]
        assert told.startswith("A message from <t:")


async def test_problems_of_the_whole_bot_are_told(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """That recall is off, and that the journal cannot be written."""
    monkeypatch.setattr(town.app.recall, "paused", lambda: True)
    town.app.journal.problem = "The journal cannot be written."
    told = fields(await town.use(town.admin, "status"))["Needs a look"]
    assert told.splitlines() == [str(RecallPaused()), "The journal cannot be written."]


async def test_status_without_a_database(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it cannot be known, the answer is one sentence."""

    async def locked(*_: object) -> None:
        raise StorageUnavailable()

    monkeypatch.setattr(town.app.messages, "stats", locked)
    assert (await town.use(town.admin, "status")).content == str(StorageUnavailable())


async def test_status_shows_a_picture_once_there_is_an_hour_to_show(town: Town) -> None:
    """Below the card, described in words for those who do not see it; before, and in other answers, there is none."""
    await town.says(town.ada, "My teapot is blue")
    for minutes in (40, 30, 20, 10):
        await town.app.samples.take(utcnow() - timedelta(minutes=minutes))
    early = await town.use(town.admin, "status")
    assert early.files == {}
    assert "image" not in early.embeds[0]
    await town.app.samples.take(utcnow() - timedelta(minutes=50))
    answer = await town.use(town.admin, "status")
    [(name, png)] = answer.files.items()
    assert png.startswith(b"\x89PNG")
    assert answer.embeds[0]["image"]["url"].endswith(name)
    [message] = answer.messages
    assert "Waiting for facts: 1 message now" in (message.attachments[0].description or "")
    assert answer.ephemeral


async def test_flush_runs_a_batch_now(town: Town) -> None:
    """Waiting messages become facts at once, and the next status says when that was."""
    await town.says(town.ada, "I really like green tea")
    answer = await town.use(town.admin, "flush")
    assert answer.ephemeral
    assert answer.content.startswith("1 message read, ")
    told = fields(await town.use(town.admin, "status"))
    assert told["Waiting for facts"] == "0 messages"
    assert told["Last batch"].startswith("<t:")
    assert (await town.use(town.admin, "flush")).content == "Nothing is waiting."


async def test_flush_says_what_stops_it(town: Town, ollama: OllamaServer) -> None:
    """Without the model nothing is lost, and the reason is told with what waits."""
    await town.says(town.ada, "I really like green tea")
    await ollama.stop()
    content = (await town.use(town.admin, "flush")).content
    assert "1 message waits and nothing is lost" in content
    assert fields(await town.use(town.admin, "status"))["Waiting for facts"].startswith("1 message")


async def test_flush_counts_what_was_set_aside(town: Town, ollama: OllamaServer) -> None:
    """A model that talks nonsense costs the message its facts, not its place among the memories."""
    ollama.always = GARBAGE
    await town.says(town.ada, "I really like green tea")
    assert "1 message set aside" in (await town.use(town.admin, "flush")).content


async def test_flush_ends_while_discord_still_listens(
    town: Town, ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that outlasts the interaction goes on, and the answer says so."""
    monkeypatch.setattr(flush, "PATIENCE_SECONDS", 0.2)
    ollama.always = HANG
    await town.says(town.ada, "I really like green tea")
    assert "longer than Discord lets me answer" in (await town.use(town.admin, "flush")).content
    assert fields(await town.use(town.admin, "status"))["Waiting for facts"].endswith("1 message being read now")


async def test_members_neither_see_nor_use_them(town: Town) -> None:
    """Discord hides the commands; where an admin has shown them, the right is still asked for."""
    for path in ("status", "flush"):
        with pytest.raises(NotAllowed):
            await town.server.slash(town.ada, town.general, path)
    town.unhide_commands()
    for path in ("status", "flush"):
        assert (await town.use(town.ada, path)).content == "You need the Manage Server permission for this."


class TestWithOllamaEmbeddings:
    """Ollama makes the vectors, too."""

    @pytest.fixture
    def sections(self, sections: dict[str, Any]) -> dict[str, Any]:
        return sections | {"embedding": {"provider": "ollama"}}

    async def test_the_configured_service_is_named(self, town: Town) -> None:
        """The language model and the embedder are told apart, and nobody else is named."""
        services = fields(await town.use(town.admin, "status"))["Services"]
        assert [line.split("**")[1] for line in services.splitlines()] == [
            "Ollama",
            "Ollama embeddings",
            "Search index",
        ]
