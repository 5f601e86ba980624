"""`recollect import`, as an operator types it, with and without a running bot."""

import json
from datetime import timedelta
from pathlib import Path

from exports import export, said, snowflake, user, write, written
from processes import recollect, running

from bot.model import utcnow
from bot.sandbox.discord import DiscordServer

YESTERDAY = utcnow() - timedelta(days=1)


async def test_an_import_without_a_bot(tmp_path: Path) -> None:
    """A file adds what is new, the second time nothing; one that is wrong costs the others only the exit code."""
    whole = export([said(snowflake(YESTERDAY, number), f"message {number}") for number in range(3)])
    good, cut = write(tmp_path / "good.json", whole), write(tmp_path / "cut.json", written(whole)[:-200])
    code, out, err = await recollect(tmp_path, "import", "good.json", "missing.json", "cut.json", "good.json")
    assert code == 1
    assert out.splitlines() == [
        f"{good}: 3 messages read, 3 new, 0 skipped.",
        f"{good}: 3 messages read, 0 new, 3 skipped (3 held or forgotten already).",
    ]
    assert err.splitlines() == [
        f"recollect: {tmp_path / 'missing.json'} does not exist.",
        f"recollect: {cut} is cut off; what comes before is kept:"
        " 2 messages read, 0 new, 2 skipped (2 held or forgotten already).",
    ]


async def test_the_running_bot_imports_and_recalls(discord_server: DiscordServer, tmp_path: Path) -> None:
    """Through the control socket, while it serves; who may read the channel finds what was said there."""
    world = discord_server.world
    ada = world.add_user("ada")
    guild = world.add_guild(name="lab", owner=ada)
    channel = world.add_channel(guild, "general")
    words = said(snowflake(YESTERDAY), "the canary sings in the coal mine", user(ada.id))
    write(tmp_path / "general.json", export([words], guild=guild.id, channel=channel.id, above=None))
    variables = {
        "DISCORD_TOKEN": discord_server.token,
        "BOT_DISCORD__API_URL": discord_server.api_url,
        "BOT_DISCORD__GATEWAY_URL": discord_server.gateway_url,
        "BOT_LOG__LEVEL": "debug",
    }
    async with running(tmp_path, **variables) as bot:
        await bot.logged("ready")
        code, out, err = await recollect(tmp_path, "import", "--json", "general.json")
        assert (code, err) == (0, "")
        (result,) = json.loads(out)
        assert (result["guild"], result["channel"], result["new"]) == (guild.id, channel.id, 1)
        await bot.logged("indexed")
        answer = await (await discord_server.slash(ada, channel, "recall", query="canary")).settled()
        assert "the canary sings in the coal mine" in str(answer)
        assert await bot.terminate() == 0
        assert "canary" not in json.dumps(bot.events)
