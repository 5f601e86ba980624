"""`recollect migrate`, as an operator types it: killed and repeated, and while the bot runs."""

import asyncio
import hashlib
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from processes import PATIENCE, environment, recollect, running

from bot.memory.bm25 import Bm25
from bot.memory.edge import EdgeIndex
from bot.memory.index import IndexPoint, Key
from bot.memory.likeness import digest
from bot.sandbox.discord import DiscordServer
from bot.storage.database import FILE

GUILDS = (1001, None)
EACH = 2500
SIZE = 8
SMALL = {"BOT_OPENAI__DIMENSIONS": str(SIZE)}


async def fill(folder: Path, each: int) -> None:
    index, words = EdgeIndex(folder, SIZE), Bm25("english").document("a walrus")
    for place, guild in enumerate(GUILDS):
        belongs = {"guild_id": str(guild), "agent_id": str(guild)} if guild else {"user_id": "alice"}
        keys = [[float(1 + (number + shift) % 7) for shift in range(SIZE)] for number in range(each)]
        points = [
            IndexPoint(
                f"6f1d6f3c-0000-4000-8000-{place * each + number:012}",
                {"data": f"walrus {number}", **belongs},
                {Key.DENSE: vector, Key.WINDOW: vector[::-1]},
                {Key.BM25: words, Key.BM25_WINDOW: words},
            )
            for number, vector in enumerate(keys)
        ]
        await index.upsert(guild, points)
    await index.close()


async def hashes(folder: Path) -> dict[str, bytes]:
    index = EdgeIndex(folder, SIZE)
    pages = [await index.scroll(guild, limit=EACH, keys=True) for guild in GUILDS]
    await index.close()
    return {one.id: digest(one) for points, _ in pages for one in points}


def contents(folder: Path) -> dict[Path, tuple[int, str]]:
    """When each file was changed, and a hash of what is in it: of the end, which is a hole, nothing is read."""
    found = {}
    for path in (path for path in folder.rglob("*") if path.is_file()):
        state = path.stat()
        with path.open("rb") as file:
            held = file.read(state.st_blocks * 512).rstrip(b"\0")
        found[path] = state.st_mtime_ns, hashlib.sha256(held).hexdigest()
    return found


def copied(checkpoint: Path) -> int:
    return sum(json.loads(checkpoint.read_text())["copied"].values()) if checkpoint.exists() else 0


async def killed(folder: Path, checkpoint: Path, more: int, *arguments: str) -> int:
    """Run the command until it has copied so many more, and kill it: how many the target has acknowledged."""
    before = copied(checkpoint)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *arguments), cwd=folder, env=environment(folder, **SMALL)
    )
    async with asyncio.timeout(2 * PATIENCE):
        while copied(checkpoint) < before + more:  # noqa: ASYNC110  (a file has nothing to await)
            await asyncio.sleep(0.001)
    process.kill()
    assert await process.wait() == -9
    return copied(checkpoint)


async def test_killed_twice_nothing_is_lost(tmp_path: Path) -> None:
    """Two kills at any instant cost a page each; every hash is equal, and no byte of the source has changed."""
    source, target, checkpoint = tmp_path / "source", tmp_path / "target", tmp_path / "checkpoint.json"
    await fill(source, EACH)
    before = contents(source)
    move = ("migrate", "--from", "edge:source", "--to", f"edge:{target}", "--checkpoint", "checkpoint.json")
    first = await killed(tmp_path, checkpoint, 128, *move)
    second = await killed(tmp_path, checkpoint, 128, *move)
    assert 128 <= first < second < len(GUILDS) * EACH
    code, out, err = await recollect(tmp_path, *move, "--json", **SMALL)
    assert (code, err) == (0, "")
    done = json.loads(out)
    assert (done["guilds"], done["memories"], done["rounded"]) == (1, 2 * EACH, 0)
    assert done["copied"] <= 2 * EACH - second + 128
    assert done["next"].startswith("Stop the bot, put that folder in place as ")
    assert contents(source) == before
    assert await hashes(target) == await hashes(source)
    assert not checkpoint.exists()


async def test_the_running_bot_moves_its_index(discord_server: DiscordServer, tmp_path: Path) -> None:
    """It goes on capturing, but writes to no index until it is restarted on the new one, which then has everything."""
    world = discord_server.world
    ada = world.add_user("ada")
    guild = world.add_guild(name="lab", owner=ada)
    channel = world.add_channel(guild, "general")
    index, former, moved = (tmp_path / "data" / "index", tmp_path / "former", tmp_path / "moved")
    await fill(index, 100)
    variables = SMALL | {
        "DISCORD_TOKEN": discord_server.token,
        "BOT_DISCORD__API_URL": discord_server.api_url,
        "BOT_DISCORD__GATEWAY_URL": discord_server.gateway_url,
        "BOT_DISCORD__OBSERVE": str(channel.id),
        "BOT_MEMORY__INDEX_INTERVAL": "0.1s",
        "BOT_LOG__LEVEL": "debug",
    }
    move = ("migrate", "--from", "edge:data", "--to", "edge:moved")
    async with running(tmp_path, **variables) as bot:
        await bot.logged("ready")
        code, out, err = await recollect(tmp_path, *move, **variables)
        assert (code, err) == (0, "")
        assert out.startswith(f"edge:{moved} holds 200 memories of 1 server, each compared with its original. Stop the")
        await discord_server.say(channel, ada, "the canary sings in the coal mine")
        await captured(tmp_path / "data" / FILE)
        await bot.logged("indexing_postponed")
        assert not [one for one in bot.events if one["event"] == "service_down" and "index" in one["service"]]
        assert await bot.terminate() == 0
    index.rename(former)
    moved.rename(index)
    assert await count(former, guild.id) == 0
    async with running(tmp_path, **variables) as bot:
        await bot.logged("indexed")
        assert await bot.terminate() == 0
    assert [await count(index, one) for one in (guild.id, *GUILDS)] == [1, 100, 100]


async def captured(database: Path) -> None:
    """Wait until a message is in the database."""
    with closing(sqlite3.connect(database)) as connection:
        async with asyncio.timeout(PATIENCE):
            while not connection.execute("SELECT count(*) FROM message").fetchone()[0]:  # noqa: ASYNC110  (as above)
                await asyncio.sleep(0.01)


async def count(folder: Path, guild: int | None) -> int:
    index = EdgeIndex(folder, SIZE)
    found = await index.count(guild)
    await index.close()
    return found
