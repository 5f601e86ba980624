"""What holds for every command: how Discord is told of it, and where its failures end."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from town import Town, cards, connected, eventually

from bot.commands.replies import CUT_OFF, SERVER_ONLY
from bot.commands.views import EXPIRED
from bot.extraction.batch import BatchReport
from bot.model import Recalled
from bot.sandbox.discord import DiscordServer, Permission
from bot.storage.retraction import Retracted

SUBCOMMAND = 1


def described(command: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The command, its sub-commands and all their options."""
    yield command
    for option in command.get("options", []):
        yield from described(option)


async def test_discord_knows_every_command(town: Town) -> None:
    """They exist in servers only, each is described, and the managers' are hidden from others by default."""
    known = {command["name"]: command for command in town.server.world.application.commands[None]}
    members = {"recall", "ask", "catchup", "forget", "memory", "privacy"}
    managers = {"observe", "backfill", "status", "flush", "audit", "config", "purge", "setup"}
    menus = {"Remember this", "Forget this message", "What was made of this?", "What do you know about them?"}
    assert set(known) == members | managers | menus
    for command in known.values():
        assert [command["contexts"], command["integration_types"]] == [[0], [0]]
        for part in () if command["name"] in menus else described(command):  # Discord has no room for a menu's
            assert part["description"] not in ("", "…")
    hidden = {name for name, one in known.items() if one["default_member_permissions"] == Permission.MANAGE_GUILD}
    assert hidden == managers
    assert all(known[name]["default_member_permissions"] is None for name in members | menus)


async def test_an_answer_is_promised_at_once(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the answer takes, Discord hears within its three seconds that there will be one."""
    released = asyncio.Event()

    async def slow(*_: object) -> Recalled:
        await released.wait()
        return Recalled(())

    monkeypatch.setattr(town.app.recall, "recall", slow)
    answer = await town.server.slash(town.ada, town.general, "recall", query="teapot")
    assert answer.deferred
    assert answer.ephemeral
    released.set()
    assert "found nothing" in (await answer.settled()).content


async def test_an_unforeseen_failure_is_one_sentence_and_a_log_line(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The asker learns an id, the log has kind and place under it; the error's own words, which may quote, stay out."""

    async def broken(query: str, *_: object) -> None:
        raise ValueError(query)

    monkeypatch.setattr(town.app.recall, "recall", broken)
    with capture_logs() as logs:
        answer = await town.use(town.ada, "recall", query="teapot")
    [line] = [line for line in logs if line["event"] == "interaction_failed"]
    assert line["error_id"] in answer.content
    assert answer.content.startswith("Something went wrong")
    assert answer.ephemeral
    assert [line["error"], line["command"], line["guild_id"]] == ["ValueError", "recall", town.guild.id]
    assert "test_tree.py" in line["stack"]
    assert "teapot" not in str(logs)


async def test_a_failing_button_is_told_as_well(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A press that breaks leaves the cards and answers beside them."""
    await town.says(town.ada, "My teapot is blue")
    answer = await town.use(town.ada, "recall", query="teapot")

    async def broken(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(town.app.visibility, "for_member", broken)
    town.server.world.update_member(town.guild, town.ada, role_ids=[managers(town)])
    pressed = await (await answer.click("Forget…")).settled()
    assert pressed.content.startswith("Something went wrong")
    assert pressed.ephemeral
    assert cards(answer) == ["My teapot is blue"]


async def test_an_answer_that_cannot_be_delivered_ends_in_the_log(town: Town) -> None:
    """When Discord has given up on an interaction there is nobody to tell."""
    town.server.fail_next("POST", r"/callback$", 404, times=2)
    town.server.acting.deadline = timedelta(seconds=0.2)
    with capture_logs() as logs:
        await town.server.slash(town.ada, town.general, "privacy opt-in")
        await eventually(lambda: any(line["event"] == "answer_undelivered" for line in logs))


async def test_a_command_discord_remembers_wrongly(town: Town) -> None:
    """A name from before an update is answered with what to do."""
    for command in town.server.world.application.commands[None]:
        command["name"] = {"recall": "remember"}.get(command["name"], command["name"])
    answer = await town.use(town.ada, "remember", query="teapot")
    assert answer.content == "This command has changed; reload Discord and try again."


async def test_a_channel_the_bot_does_not_see(town: Town) -> None:
    """A private thread it is not in cannot be observed."""
    thread = town.server.world.add_thread(town.general, "secret", owner=town.admin, private=True)
    answer = await town.use(town.admin, "observe on", channel=thread)
    assert answer.content.startswith("I cannot see that channel")


async def test_a_server_in_trouble(town: Town) -> None:
    """While Discord does not serve the server, nobody is told that there is nothing."""
    town.server.world.set_unavailable(town.guild)
    answer = await town.use(town.ada, "recall", query="teapot")
    assert answer.content.startswith("Discord has trouble with this server")


async def test_direct_messages_are_declined(town: Town) -> None:
    """A command that reaches the bot outside a server is answered, not run."""
    await town.server.dispatch("INTERACTION_CREATE", direct_message(town))

    def answers() -> list[str]:
        return [
            call.body["data"]["content"]
            for call in town.server.calls
            if "/direct-token/callback" in call.path and call.status
        ]

    await eventually(answers)
    assert answers() == [SERVER_ONLY]


async def test_buttons_from_before_a_restart_answer_kindly(tmp_path: Path, sections: dict[str, Any]) -> None:
    """A new process knows nothing of the old one's answers, and says so."""
    async with DiscordServer() as server:
        world = server.world
        admin = world.add_user("admin")
        guild = world.add_guild(name="tea club", owner=admin)
        staff = world.add_channel(guild, "staff", hidden_from_everyone=True)
        world.allow(staff, world.bot, Permission.VIEW_CHANNEL)
        async with connected(server, tmp_path, sections):
            asked = await (await server.slash(admin, staff, "observe on")).settled()
        async with connected(server, tmp_path, sections) as app:
            pressed = await (await asked.click("Switch on")).settled()
            assert [pressed.content, pressed.ephemeral] == [EXPIRED, True]
            assert app.observations.active(guild.id) == []


async def test_closing_waits_for_commands_and_buttons(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """What members asked for is done and answered before the rooms close."""
    released, begun = asyncio.Event(), asyncio.Queue[None]()

    async def slow(*_: object) -> Retracted:
        begun.put_nowait(None)
        await released.wait()
        return Retracted(messages=3)

    async def slow_batch(*_: object) -> BatchReport:
        await slow()
        return BatchReport()

    monkeypatch.setattr(town.app.forget, "memories", slow)
    monkeypatch.setattr(town.app.worker, "flush", slow_batch)
    await town.says(town.ada, "My teapot is blue")
    asked = await town.use(town.ada, "forget", query="teapot")
    pressed = await asked.click("Forget")
    flushed = await town.server.slash(town.admin, town.general, "flush")
    await begun.get()
    await begun.get()
    closing = asyncio.create_task(town.app.client.close())
    await asyncio.sleep(0)
    released.set()
    await closing
    assert (await pressed.settled()).content == "Forgotten: 3 messages and 0 facts."
    assert (await flushed.settled()).content == "Nothing is waiting."


async def test_closing_cuts_off_what_takes_too_long(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command is left at work once the client has closed, and nobody is left with "thinking…"."""
    monkeypatch.setattr("bot.capture.gateway._ANSWERS", 0.05)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(*_: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(town.app.worker, "flush", endless)
    cut_off = await town.server.slash(town.admin, town.general, "flush")
    await begun.wait()
    await town.app.client.close()
    assert ended.is_set()
    assert cut_off.content == CUT_OFF


def managers(town: Town) -> int:
    return town.server.world.add_role(town.guild, "managers", Permission.MANAGE_GUILD).id


def direct_message(town: Town) -> dict[str, Any]:
    """`/recall` as it would come from a direct message."""
    user = {"id": str(town.ada.id), "username": "ada", "discriminator": "0", "avatar": None, "global_name": "ada"}
    return {
        "id": str(town.server.world.snowflake()),
        "application_id": str(town.server.world.application.id),
        "type": 2,
        "version": 1,
        "token": "direct-token",
        "channel_id": "900000000000000009",
        "channel": {"id": "900000000000000009", "type": 1, "recipients": [user]},
        "user": user,
        "app_permissions": "0",
        "locale": "en-US",
        "context": 1,
        "authorizing_integration_owners": {},
        "attachment_size_limit": 10 << 20,
        "entitlements": [],
        "data": {
            "id": "900000000000000010",
            "name": "recall",
            "type": 1,
            "options": [{"name": "query", "type": 3, "value": "teapot"}],
        },
    }
