"""A channel is told again when other services come to see its text."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from town import connected, eventually

from bot.app import App
from bot.core import NOT_TOLD
from bot.errors import IndexClosed, LLMUnavailable, RecollectError, StorageUnavailable
from bot.memory.sites import EdgeSites
from bot.model import Degraded, Message, Scope, utcnow
from bot.outside import Use, services_key
from bot.sandbox.discord import Channel, DiscordServer, Guild, Permission
from bot.sandbox.discord.components import buttons_of
from bot.sandbox.ollama import OllamaServer
from bot.sandbox.openai import OpenAIServer
from bot.sandbox.voyage import VoyageServer
from bot.settings import Settings

OPENAI = {"openai": {"api_key": "sk-x"}}


@pytest.fixture
async def server() -> Any:
    async with DiscordServer() as server:
        yield server


async def told(app: App) -> None:
    """Wait until everything that a new session has to tell is told."""
    await app.client.settle()


async def switched_on(server: DiscordServer, app: App, guild: Guild, *channels: Channel) -> None:
    await told(app)
    for channel in channels:
        await app.observations.switch_on(guild.id, channel.id, guild.owner_id)


@asynccontextmanager
async def at_work(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """While a task of the bot's runs."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work)
        yield
        task.cancel()


def notices(server: DiscordServer, channel: Channel) -> list[str]:
    return [message.content for message in server.sent(channel)]


async def test_every_observed_channel_is_told_once(
    server: DiscordServer, tmp_path: Path, sections: dict[str, Any]
) -> None:
    """Nothing is said while nothing changes; a key that was added is told in each observed channel, and only there."""
    guild = server.world.add_guild(name="tea club")
    general, staff, other = (server.world.add_channel(guild, name) for name in ("general", "staff", "other"))
    async with connected(server, tmp_path, sections) as app:
        await switched_on(server, app, guild, general, staff)
    async with connected(server, tmp_path, sections) as app:
        await told(app)
    assert notices(server, general) == []
    for _ in range(2):
        async with connected(server, tmp_path, sections | OPENAI) as app:
            await told(app)
    for channel in (general, staff):
        [notice] = notices(server, channel)
        assert notice.startswith("🧠 **Other services see the text of this channel now**")
        assert "OpenAI, to make them searchable" in notice
    assert notices(server, other) == []
    async with connected(server, tmp_path, sections) as app:
        await told(app)
    assert "OpenAI" not in notices(server, general)[-1]


async def test_who_cannot_be_told_now_is_told_later(
    server: DiscordServer, tmp_path: Path, sections: dict[str, Any]
) -> None:
    """A channel in which the bot may not write keeps no other from being told, and is told when it may."""
    guild = server.world.add_guild(name="tea club")
    silent, general = server.world.add_channel(guild, "silent"), server.world.add_channel(guild, "general")
    async with connected(server, tmp_path, sections) as app:
        await switched_on(server, app, guild, silent, general)
    server.world.deny(silent, server.world.bot, Permission.SEND_MESSAGES)
    with capture_logs() as logs:
        async with connected(server, tmp_path, sections | OPENAI) as app:
            await told(app)
    assert [len(notices(server, channel)) for channel in (silent, general)] == [0, 1]
    [line] = [line for line in logs if line["event"] == "terms_not_told"]
    assert line["channel_id"] == silent.id
    server.world.allow(silent, server.world.bot, Permission.SEND_MESSAGES)
    async with connected(server, tmp_path, sections | OPENAI) as app:
        await told(app)
    assert [len(notices(server, channel)) for channel in (silent, general)] == [1, 1]


async def test_an_archived_private_thread_is_told(
    server: DiscordServer, tmp_path: Path, sections: dict[str, Any]
) -> None:
    """Discord does not list it, so it is asked for."""
    guild = server.world.add_guild(name="tea club")
    general = server.world.add_channel(guild, "general")
    thread = server.world.add_thread(general, "secret", owner=guild.owner_id, private=True, members=[server.world.bot])
    async with connected(server, tmp_path, sections) as app:
        await told(app)
        await app.observations.switch_on(guild.id, thread.id, guild.owner_id, parent_id=general.id)
    server.world.update_thread(thread, archived=True)
    async with connected(server, tmp_path, sections | OPENAI) as app:
        await told(app)
    assert len(server.sent(thread)) == 1


async def test_a_channel_of_the_settings_is_told_once(
    server: DiscordServer, tmp_path: Path, sections: dict[str, Any]
) -> None:
    """Its first notice names the services of the day."""
    guild = server.world.add_guild(name="tea club")
    general, late = server.world.add_channel(guild, "general"), server.world.add_channel(guild, "late")
    async with connected(server, tmp_path, sections | {"discord": {"observe": (general.id,)}}) as app:
        await told(app)
    both = OPENAI | {"discord": {"observe": (general.id, late.id)}}
    async with connected(server, tmp_path, sections | both) as app:
        await told(app)
    assert [len(notices(server, channel)) for channel in (general, late)] == [2, 1]


async def test_a_database_that_is_locked_is_no_failure(
    server: DiscordServer, tmp_path: Path, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The news wait for the next session, or some time; whoever they are about waits as long."""

    async def locked(*_: object) -> None:
        raise StorageUnavailable()

    guild = server.world.add_guild(name="tea club")
    general = server.world.add_channel(guild, "general")
    async with connected(server, tmp_path, sections) as app:
        await switched_on(server, app, guild, general)
    with capture_logs() as logs:
        monkeypatch.setattr("bot.storage.state.StateStore.put", locked)
        async with connected(server, tmp_path, sections | OPENAI) as app:
            await told(app)
            assert app.untold == {Use.EMBEDS}
            assert notices(server, general) == []
            monkeypatch.undo()
            monkeypatch.setattr("bot.rooms._TELL_AGAIN_SECONDS", 0)
            async with at_work(app.telling()):
                await eventually(lambda: not app.untold)
            assert len(notices(server, general)) == 1
    assert "handler_failed" not in {line["event"] for line in logs}


async def test_a_mode_set_in_the_settings_is_told_with_its_buttons(
    server: DiscordServer, tmp_path: Path, sections: dict[str, Any]
) -> None:
    """Who starts to ask first tells so in each observed channel once, in one notice with whatever else is new."""
    guild = server.world.add_guild(name="tea club")
    general, staff = (server.world.add_channel(guild, name) for name in ("general", "staff"))
    async with connected(server, tmp_path, sections) as app:
        await switched_on(server, app, guild, general, staff)
    asks_first = sections | OPENAI | {"capture": {"consent": "opt_in"}}
    for _ in range(2):
        async with connected(server, tmp_path, asks_first) as app:
            await told(app)
    for channel in (general, staff):
        [notice] = server.sent(channel)
        assert "**Other services see the text of this channel now**" in notice.content
        assert "**From now on I ask first**" in notice.content
        assert [button.label for button in buttons_of(notice)] == ["Remember me", "Do not remember me"]


async def test_what_was_known_by_an_earlier_version_is_not_told_again(
    server: DiscordServer, tmp_path: Path, sections: dict[str, Any]
) -> None:
    """It kept the services alone, for all servers; the channels it still had to tell are told, and no other."""
    guild = server.world.add_guild(name="tea club")
    general, staff = (server.world.add_channel(guild, name) for name in ("general", "staff"))
    async with connected(server, tmp_path, sections) as app:
        await switched_on(server, app, guild, general, staff)
        known = {"services": services_key(app.settings), "left": [staff.id]}
        await app.state.put("services", json.dumps(known))
        await app.state.remove("terms")
    for _ in range(2):
        async with connected(server, tmp_path, sections) as app:
            await told(app)
    assert notices(server, general) == []
    [notice] = notices(server, staff)
    assert notice.startswith("🧠 **Other services see the text of this channel now**")


async def test_an_embedder_outside_is_told_before_it_is_sent_anything(
    server: DiscordServer, tmp_path: Path, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reindex is refused until the channels were told of the service, and no matter what the settings say since."""
    guild = server.world.add_guild(name="tea club")
    general = server.world.add_channel(guild, "general")
    async with VoyageServer() as voyage:
        monkeypatch.setattr("bot.outside.in_house", lambda url: url != voyage.url)
        keyed = sections | {"voyage": {"api_key": "pa-x", "base_url": voyage.url, "dimensions": 256}}
        coming = keyed | {"embedding": {"next": "voyage"}}

        async def reindex(app: App) -> dict[str, Any]:
            return await app.operations()["reindex"]({"embedder": "voyage"}, lambda *_: None)

        async with connected(server, tmp_path, keyed) as app:
            await switched_on(server, app, guild, general)
            with pytest.raises(RecollectError, match="Members were not told of Voyage yet"):
                await reindex(app)
        async with App(Settings.model_validate({"storage": {"path": tmp_path}, **coming})) as stopped:
            with pytest.raises(RecollectError, match="Members were not told of Voyage yet"):
                await reindex(stopped)
        assert (voyage.requests, notices(server, general)) == (0, [])
        async with connected(server, tmp_path, coming) as app:
            await told(app)
        assert "which is to make them searchable from some day on" in notices(server, general)[-1]
        async with App(Settings.model_validate({"storage": {"path": tmp_path}, **keyed})) as stopped:
            assert (await reindex(stopped))["model"] == "voyage:voyage-4-lite:256"
        assert voyage.requests == 1


async def test_services_outside_are_sent_nothing_before_their_notice(
    server: DiscordServer, tmp_path: Path, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts, questions and embeddings wait until the channels are told, and no longer; a restart waits for nothing."""
    guild = server.world.add_guild(name="tea club")
    general = server.world.add_channel(guild, "general")
    scope = Scope(guild.id, frozenset({general.id}))
    said = Message(1, guild.id, general.id, general.id, "general", 5, "Ann", "I drink green tea", utcnow())
    async with OllamaServer() as ollama, OpenAIServer() as openai:
        monkeypatch.setattr("bot.outside.in_house", lambda url: url not in (ollama.url, openai.url))
        outside = {"ollama": {"url": ollama.url}, "openai": {"api_key": "sk-x", "base_url": openai.url}}
        unconnected = Settings.model_validate({"storage": {"path": tmp_path}, **outside})
        async with connected(server, tmp_path, sections) as app:
            await switched_on(server, app, guild, general)
        async with App(unconnected) as app:
            await app.messages.capture(said)
            assert (await app.worker.flush(guild.id)).stopped_by == NOT_TOLD
            await app.indexer.drain()
            assert (await app.recall.recall("green tea", scope, 5)).degraded is Degraded.EMBEDDER_DOWN
            with pytest.raises(LLMUnavailable):
                await anext(app.questions.stream("", "Who drinks tea?", 10))
        assert (ollama.calls, openai.requests, notices(server, general)) == (0, 0, [])
        async with connected(server, tmp_path, outside) as app:
            await told(app)
            assert len(notices(server, general)) == 1
            assert (await app.worker.flush(guild.id)).messages == 1
            await app.indexer.drain()
            assert (await app.recall.recall("green tea", scope, 5)).degraded is None
        async with App(unconnected) as app:
            assert (await app.recall.recall("what do we drink", scope, 5)).degraded is None


async def test_a_server_outside_is_written_nothing_before_its_notice(
    server: DiscordServer, tmp_path: Path, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be stored there waits until the channels are told."""
    monkeypatch.setattr("bot.core.open_sites", lambda _, folder: EdgeSites(folder))  # there is no such server
    guild = server.world.add_guild(name="tea club")
    general = server.world.add_channel(guild, "general")
    async with connected(server, tmp_path, sections) as app:
        await switched_on(server, app, guild, general)
    moved = {"qdrant": {"url": "https://qdrant.example.com"}}
    async with App(Settings.model_validate({"storage": {"path": tmp_path}, **sections, **moved})) as app:
        with pytest.raises(IndexClosed, match="are told first"):
            await app.indexer.lock.acquire()
    async with connected(server, tmp_path, sections | moved) as app:
        await told(app)
        async with app.indexer.lock:
            assert "qdrant.example.com" in notices(server, general)[-1]


async def test_members_are_told_of_the_embedder_in_use(
    server: DiscordServer, tmp_path: Path, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a reindex of the bot at work the notice and the figures name the new one; the settings follow later."""
    guild = server.world.add_guild(name="tea club")
    general = server.world.add_channel(guild, "general")
    async with OpenAIServer() as openai, VoyageServer() as voyage:
        monkeypatch.setattr("bot.outside.in_house", lambda url: url != openai.url)
        keys = {
            "openai": {"api_key": "sk-x", "base_url": openai.url, "dimensions": 256},
            "voyage": {"api_key": "pa-x", "base_url": voyage.url, "dimensions": 256},
            "web": {"port": 0},
        }
        async with connected(server, tmp_path, sections | keys) as app, app.web.serving(), at_work(app.telling()):
            await switched_on(server, app, guild, general)
            await app.operations()["reindex"]({"embedder": "voyage"}, lambda *_: None)
            await eventually(lambda: notices(server, general))
            [notice] = notices(server, general)
            assert "an embedding model that the operator of this bot runs, to make them searchable" in notice
            async with httpx.AsyncClient() as scraper:
                url = f"http://{app.web.host}:{app.web.port}"
                assert 'embedding="voyage:voyage-4-lite"' in (await scraper.get(f"{url}/metrics")).text
                assert (await scraper.get(f"{url}/readyz")).json()["services"].keys() >= {"Ollama", "Voyage"}
        async with connected(server, tmp_path, sections | keys | {"embedding": {"provider": "voyage"}}) as app:
            await told(app)
        assert len(notices(server, general)) == 1
