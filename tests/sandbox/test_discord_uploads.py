"""Files the bot sends: with messages, edits and answers, by the real discord.py."""

import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import aiohttp
import discord
import pytest
from discord_clients import RecordingClient, point_discord_py_at, running

from bot.sandbox.discord import Channel, DiscordServer, Guild, Permission, User

PNG = b"\x89PNG\r\n\x1a\n a picture"


def file(name: str, data: bytes = b"words", description: str | None = None) -> discord.File:
    return discord.File(BytesIO(data), filename=name, description=description)


class Lab:
    """A guild with a channel, and a client whose commands answer with files."""

    def __init__(self, server: DiscordServer) -> None:
        self.server, self.world = server, server.world
        self.alice: User = self.world.add_user("alice")
        self.guild: Guild = self.world.add_guild(name="lab", owner=self.alice)
        self.general: Channel = self.world.add_channel(self.guild, "general")
        self.client = RecordingClient()
        tree = self.client.tree

        @tree.command(description="Answer at once")
        async def chart(interaction: discord.Interaction) -> None:
            embed = discord.Embed(title="Chart").set_image(url="attachment://chart.png")
            await interaction.response.send_message(embed=embed, file=file("chart.png", PNG), ephemeral=True)

        @tree.command(description="Answer later")
        async def report(interaction: discord.Interaction) -> None:
            await interaction.response.defer(ephemeral=True)
            await interaction.edit_original_response(content="here", attachments=[file("report.txt")])
            await interaction.followup.send(file=file("more.txt", b"more"), ephemeral=True)

    @property
    def channel(self) -> Any:
        """The channel as discord.py knows it."""
        return self.client.get_channel(self.general.id)

    async def post(self, payload: dict[str, Any], files: dict[str, bytes]) -> tuple[int, Any]:
        """A message sent by plain HTTP: status and JSON."""
        form = aiohttp.FormData({"payload_json": json.dumps(payload)})
        for number, (name, data) in enumerate(files.items()):
            form.add_field(f"files[{number}]", BytesIO(data), filename=name)
        headers = {"Authorization": f"Bot {self.server.token}"}
        address = f"{self.server.api_url}/channels/{self.general.id}/messages"
        async with aiohttp.ClientSession(headers=headers) as session, session.post(address, data=form) as response:
            return response.status, await response.json()


@pytest.fixture
async def lab(discord_server: DiscordServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    point_discord_py_at(discord_server, monkeypatch)
    lab = Lab(discord_server)
    async with running(lab.client, discord_server):
        yield lab


async def test_files_of_messages_are_kept_and_served(lab: Lab) -> None:
    """A file is sent with its alt text, found at its address, and what an edit keeps or adds decides what stays."""
    sent = await lab.channel.send("here", file=file("my notes.txt", b"tea", "notes on tea"))
    (kept,) = lab.server.sent(lab.general)
    assert [(a.filename, a.description, a.size) for a in sent.attachments] == [("my_notes.txt", "notes on tea", 3)]
    assert sent.attachments[0].content_type == "text/plain"
    assert await sent.attachments[0].read() == b"tea"
    more = await sent.edit(attachments=[*sent.attachments, file("cup.png", PNG)])
    assert kept.files == {"my_notes.txt": b"tea", "cup.png": PNG}
    await sent.edit(content="still here")
    assert list(kept.files) == ["my_notes.txt", "cup.png"]
    await sent.edit(attachments=[more.attachments[1]])
    assert list(kept.files) == ["cup.png"]
    with pytest.raises(discord.NotFound):
        await sent.attachments[0].read()
    await sent.delete()
    del kept
    with pytest.raises(discord.NotFound):
        await more.attachments[1].read()


async def test_files_of_answers(lab: Lab) -> None:
    """Answers, edited deferrals and follow-ups carry files; an embed shows one by its name."""
    chart = await lab.server.slash(lab.alice, lab.general, "chart")
    assert chart.files == {"chart.png": PNG}
    url = chart.embeds[0]["image"]["url"]
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert (await response.read(), response.content_type) == (PNG, "image/png")
    report = await (await lab.server.slash(lab.alice, lab.general, "report")).until(lambda a: bool(a.followups))
    assert report.files == {"report.txt": b"words", "more.txt": b"more"}


async def test_files_beyond_the_bounds_are_refused(lab: Lab) -> None:
    """Too many, too large, not allowed here, or named without being there."""
    ten = {f"{n}.txt": b"x" for n in range(10)}
    assert (await lab.post({}, ten))[0] == 200
    assert (await lab.post({}, {**ten, "one more.txt": b"x"}))[1]["code"] == 30015
    most = 10 << 20
    assert (await lab.post({}, {"all.bin": bytes(most)}))[1]["attachments"][0]["size"] == most
    for too_large in ({"a.bin": bytes(most + 1)}, {f"{n}.bin": bytes(most) for n in range(3)}):
        status, body = await lab.post({}, too_large)
        assert (status, body["code"]) == (413, 40005)
    assert (await lab.post({"content": "x", "attachments": [{"id": 1}]}, {"a.txt": b"x"}))[1]["code"] == 50035
    missing = {"embeds": [{"image": {"url": "attachment://missing.png"}}]}
    status, body = await lab.post(missing, {"there.png": PNG})
    assert (status, list(body["errors"]["embeds"]["0"])) == (400, ["image"])
    lab.world.deny(lab.general, lab.world.bot, Permission.ATTACH_FILES)
    with pytest.raises(discord.Forbidden, match="50013"):
        await lab.channel.send(file=file("a.txt"))
