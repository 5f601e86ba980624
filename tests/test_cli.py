"""The command line, as an operator types it."""

import json
import logging
import os
import re
import shutil
import stat
import sys
import threading
import tomllib
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from processes import recollect, running

from bot.__main__ import main as script
from bot.app import App
from bot.cli import main
from bot.cli.common import progress_bars
from bot.errors import EmbedderUnavailable, LLMUnreachable
from bot.memory.edge import EdgeIndex
from bot.memory.index import IndexPoint
from bot.sandbox.discord import DiscordServer, Intent
from bot.settings import Settings


def at(server: DiscordServer, **variables: str) -> dict[str, str]:
    """The variables that lead a bot to the stand-in."""
    return {
        "DISCORD_TOKEN": server.token,
        "BOT_DISCORD__API_URL": server.api_url,
        "BOT_DISCORD__GATEWAY_URL": server.gateway_url,
        **variables,
    }


async def test_help_names_every_command(tmp_path: Path) -> None:
    """Without arguments a newcomer sees what there is."""
    _, out, err = await recollect(tmp_path, "--help")
    commands = ("run", "demo", "doctor", "healthcheck", "backup", "restore", "import", "migrate", "reindex", "models")
    for command in (*commands, "purge", "deadletters", "adopt", "commands", "settings", "bench", "sandbox"):
        assert f"\n  {command} " in out
    assert (out.count("..."), err) == (1, "")  # that of the usage: each command is said to its end
    _, out, _ = await recollect(tmp_path, "--version")
    assert re.fullmatch(r"recollect \d+\.\d+\.\d+\n", out)


async def test_run_becomes_ready_though_every_service_is_down(discord_server: DiscordServer, tmp_path: Path) -> None:
    """Ollama, OpenAI and Qdrant refuse connections: the bot is ready all the same and names them."""
    discord_server.world.add_guild(name="lab")
    down = {"OPENAI_API_KEY": "k", "BOT_OPENAI__BASE_URL": "http://127.0.0.1:9", "QDRANT_URL": "http://127.0.0.1:9"}
    async with running(tmp_path, **at(discord_server, **down)) as bot:
        await bot.logged("ready")
        async with httpx.AsyncClient(timeout=30) as client:
            assert (await client.get(f"{await bot.url()}/livez")).status_code == 200
            answer = await client.get(f"{await bot.url()}/readyz")
        assert answer.status_code == 200
        services = answer.json()["services"]
        assert not services["Ollama"]["ok"]
        assert not services["Qdrant"]["ok"]
        assert await bot.terminate() == 0


async def test_sigterm_drains_and_exits_0(discord_server: DiscordServer, tmp_path: Path) -> None:
    """SIGTERM closes the connection, commits what was captured and ends within ten seconds."""
    async with running(tmp_path, **at(discord_server)) as bot:
        await bot.logged("ready")
        assert await bot.terminate() == 0
        assert [event["event"] for event in bot.events][-2:] == ["draining", "stopped"]


async def test_sigterm_ends_a_bot_that_cannot_reach_discord(tmp_path: Path) -> None:
    """A bot that waits for Discord stops as promptly as one that is connected."""
    async with running(tmp_path, DISCORD_TOKEN="x", BOT_DISCORD__API_URL="http://127.0.0.1:9") as bot:
        await bot.logged("discord_unreachable")
        assert await bot.terminate() == 0


async def test_a_second_process_on_the_same_folder_is_refused(discord_server: DiscordServer, tmp_path: Path) -> None:
    """The second one ends with a sentence; the first goes on."""
    async with running(tmp_path, **at(discord_server)) as bot:
        await bot.logged("ready")
        assert bot.events[0]["event"] == "starting"
        code, _, err = await recollect(tmp_path, "run", **at(discord_server))
        assert (code, err.count("\n")) == (1, 2)
        assert "held by another process" in err.splitlines()[1]
        assert await bot.terminate() == 0


async def test_a_wrong_token_is_one_sentence(discord_server: DiscordServer, tmp_path: Path) -> None:
    """The sentence says where to get a token and where to put it."""
    code, _, err = await recollect(tmp_path, "run", **at(discord_server, DISCORD_TOKEN="wrong"))
    assert code == 1
    assert "recollect: Discord refused the bot's token" in err
    assert "DISCORD_TOKEN" in err
    assert "Traceback" not in err


async def test_an_address_that_is_not_discords_is_one_sentence(discord_server: DiscordServer, tmp_path: Path) -> None:
    """A mistyped address, or a gate in between that answers for itself, is named with its setting."""
    elsewhere = at(discord_server, BOT_DISCORD__API_URL=f"{discord_server.api_url}/elsewhere")
    code, _, err = await recollect(tmp_path, "run", **elsewhere)
    assert code == 1
    assert "/elsewhere does not answer as Discord does (HTTP 404): correct discord.api_url" in err
    assert "Traceback" not in err


async def test_no_token_is_one_sentence(tmp_path: Path) -> None:
    """A first start without any set-up says what is needed."""
    code, _, err = await recollect(tmp_path, "run")
    assert code == 1
    assert "There is no Discord token" in err
    assert "Traceback" not in err


async def test_a_missing_intent_is_one_sentence(discord_server: DiscordServer, tmp_path: Path) -> None:
    """The sentence says which switch to turn in the developer portal."""
    discord_server.world.application.privileged = Intent(0)
    code, _, err = await recollect(tmp_path, "run", **at(discord_server))
    assert code == 1
    assert "Message Content Intent" in err
    assert "Traceback" not in err


async def test_malformed_settings_are_one_sentence(tmp_path: Path) -> None:
    """The sentence names the file and the line."""
    (tmp_path / "config.toml").write_text("[discord\n")
    code, _, err = await recollect(tmp_path, "run")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("recollect: config.toml is not valid TOML")


async def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """The sentence names the folder and the setting."""
    code, _, err = await recollect(tmp_path, "run", BOT_STORAGE__PATH="/proc/recollect")
    assert (code, err.count("\n")) == (1, 2)
    assert "/proc/recollect" in err
    assert "storage.path" in err


async def test_the_log_holds_no_message_content(discord_server: DiscordServer, tmp_path: Path) -> None:
    """A conversation leaves nothing in the log, not even at the level debug."""
    world = discord_server.world
    ada = world.add_user("ada")
    guild = world.add_guild(name="lab")
    world.add_member(guild, ada)
    channel = world.add_channel(guild, "general")
    variables = at(discord_server, BOT_DISCORD__OBSERVE=str(channel.id), BOT_LOG__LEVEL="debug")
    async with running(tmp_path, **variables) as bot:
        await bot.logged("observing")
        await discord_server.say(channel, ada, "the canary sings in the coal mine")
        assert await bot.terminate() == 0
        assert "canary" not in json.dumps(bot.events)


async def test_adopt_gives_unmapped_memories_to_a_channel(tmp_path: Path) -> None:
    """What a mem0 client stored without a server and a channel is mapped by one command, once."""
    index = EdgeIndex(tmp_path / "data" / "index", 1536)
    stray = {"data": "Ada keeps bees", "user_id": "ada", "created_at": "2026-05-01T00:00:00+00:00"}
    await index.upsert(None, [IndexPoint(str(uuid.uuid4()), stray)])
    await index.close()
    assert await recollect(tmp_path, "adopt", "1", "2") == (0, "1 memory belongs to channel 2 now.\n", "")
    nothing = "There is no memory without a server and a channel.\n"
    code, out, err = await recollect(tmp_path, "adopt", "1", "2", TTY_COMPATIBLE="1")
    assert (code, out) == (0, nothing)
    assert "Opening the data folder" in err  # on a terminal alone


async def test_a_backup_of_a_running_bot_and_of_one_at_rest(discord_server: DiscordServer, tmp_path: Path) -> None:
    """The same command either way; where there is no data, there is nothing to back up."""
    code, _, err = await recollect(tmp_path, "backup", "none.zip")
    assert (code, err.count("\n")) == (1, 1)
    assert "There is no data" in err
    async with running(tmp_path, **at(discord_server)) as bot:
        await bot.logged("ready")
        code, out, err = await recollect(tmp_path, "backup", "one.zip", "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["messages"] == 0
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert await bot.terminate() == 0
    assert await recollect(tmp_path, "deadletters", "list") == (0, "No message was put aside.\n", "")
    code, out, _ = await recollect(tmp_path, "deadletters", "replay", "5")
    assert (code, "None of these messages was put aside" in out) == (0, True)
    code, out, err = await recollect(tmp_path, "backup", "two.zip")
    assert (code, err) == (0, "")
    assert "holds 0 messages, 0 facts" in out
    assert sorted(os.listdir(tmp_path)) == ["data", "data-journal", "one.zip", "two.zip"]


def test_a_command_stopped_by_ctrl_c_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence on stderr, and the exit code that shells know."""

    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bot.cli.common._ask", interrupted)
    monkeypatch.setattr("sys.argv", ["recollect", "purge"])
    monkeypatch.setattr("bot.cli.common.configured", lambda config: Settings())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "recollect: Stopped before the end; repeat the command.\n"


def test_ctrl_c_before_the_command_line_is_there_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing takes a moment in which somebody changes their mind; the console script begins where that is caught."""

    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "bot.cli", Interrupted("bot.cli"))
    with pytest.raises(SystemExit) as ended:
        script()
    assert ended.value.code == 130
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["scripts"] == {"recollect": "bot.__main__:main"}


def test_what_hangs_in_a_thread_does_not_keep_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model may be on its way for an hour, and doctor has given it up: the command ends all the same."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr("sys.argv", ["recollect", "--version"])
    given_up = threading.Event()
    with ThreadPoolExecutor(1) as embedder:
        embedder.submit(given_up.wait)
        with pytest.raises(SystemExit):
            script()
        given_up.set()
    assert ended == [0]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (PermissionError(13, "Permission denied", "data/recollect.db"), "as the user the bot runs as"),
        (NotADirectoryError(20, "Not a directory", "data/recollect.db"), "name another place"),
    ],
)
def test_a_folder_that_is_not_ours_or_none_is_one_sentence(
    error: OSError, advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the file and says what to do."""

    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("bot.cli.common._ask", refused)
    monkeypatch.setattr("sys.argv", ["recollect", "purge"])
    monkeypatch.setattr("bot.cli.common.configured", lambda config: Settings())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    err = capsys.readouterr().err
    assert "data/recollect.db" in err
    assert advice in err


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (LLMUnreachable("Ollama cannot be reached (ConnectError)"), "). `recollect doctor` says what it needs.\n"),
        (EmbedderUnavailable("Ollama has no model 'x': run `ollama pull x`."), "run `ollama pull x`.\n"),
    ],
)
def test_a_service_that_is_down_comes_with_what_to_do(
    error: Exception, ending: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the sentence itself does not say so, it names the command that does."""

    def down(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("bot.cli.common._ask", down)
    monkeypatch.setattr("bot.cli.common.configured", lambda config: Settings())
    monkeypatch.setattr("sys.argv", ["recollect", "reindex", "--undo"])
    with pytest.raises(SystemExit):
        main()
    assert ending in capsys.readouterr().err


async def test_a_bot_restored_without_its_journal_checks_discord_first(
    discord_server: DiscordServer, tmp_path: Path
) -> None:
    """A folder with data is refused; then recall is off until the bot has compared everything with Discord."""
    settings = Settings.model_validate({"storage": {"path": tmp_path / "data"}})
    async with App(settings) as app:
        await app.backup.write(tmp_path / "b.zip", False, lambda *_: None)
    code, out, err = await recollect(tmp_path, "restore", "b.zip")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "not empty" in err
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "data-journal").unlink()
    code, out, err = await recollect(tmp_path, "restore", "b.zip")
    assert (code, err) == (0, "")
    assert "holds 0 messages and 0 facts again" in out
    assert "recall stays off" in out
    async with running(tmp_path, **at(discord_server)) as bot:
        await bot.logged("recheck_finished")
        assert await bot.terminate() == 0


async def test_a_bot_out_of_reach_of_its_socket_is_to_be_stopped(discord_server: DiscordServer, tmp_path: Path) -> None:
    """In a folder too deep for a unix socket the bot runs, and says so; commands ask to stop it first."""
    deep = {"BOT_STORAGE__PATH": str(tmp_path / ("deep" * 30) / "data")}
    async with running(tmp_path, **at(discord_server, **deep)) as bot:
        await bot.logged("control_unavailable")
        await bot.logged("ready")
        code, _, err = await recollect(tmp_path, "backup", "b.zip", **deep)
        assert code == 1
        assert "stop it" in err
        assert await bot.terminate() == 0


def test_log_lines_stand_above_the_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal no line of the log is written into a bar, and nothing is drawn where there is nothing to do."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler := logging.StreamHandler(sys.stderr)])
    with progress_bars() as report:
        report("Packing", 0, 0)
        report("Embedding", 1, 2)
        assert handler.stream is sys.stderr  # which rich has put in the terminal's place
        logging.getLogger().warning("reindexed")
    assert handler.stream is sys.stderr
    err = capsys.readouterr().err
    assert "reindexed\n" in err
    assert "Embedding" in err
    assert "Packing" not in err


@pytest.mark.parametrize("name", ["list", "nothing"])
async def test_bench_lists_what_there_is(name: str, tmp_path: Path) -> None:
    """An unknown benchmark is answered with the known ones."""
    code, out, err = await recollect(tmp_path, "bench", name)
    assert code == (0 if name == "list" else 1)
    assert "capture" in out + err
