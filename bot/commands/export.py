"""/memory export: everything held of a member as files, put together page by page and sent to them alone."""

import asyncio
import io
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime

import discord

from bot.commands.access import member
from bot.commands.archive import Archive, Consented, Head
from bot.commands.audit import note
from bot.commands.replies import NO_PINGS, Interaction, Refused, show
from bot.commands.text import counted
from bot.storage.audit import Action, Audit
from bot.storage.consent import Consent
from bot.storage.mine import START, Mine, OwnMemories, Position

PAGE = 500  # memories read at once
EVERY_SECONDS = 2.0  # between two edits of the progress; Discord takes five in five seconds
MOST_BYTES = 24 << 20  # of a part, however much may be uploaded: it is held in memory
SLACK = 512 << 10  # for what compression holds back, the ends of both files and the request around them

_WHAT = (
    "`memories.html` is for reading, `memories.json` for programs. Words of others are in it only where you can read "
    "them now."
)

Asked = Callable[[], Awaitable[Mine]]
"""What is asked for, as far as the asker may see it now."""


class Exports:
    """Exports, one at a time: each is hard work for the whole bot."""

    def __init__(self, own: OwnMemories, consent: Consent, audit: Audit, clock: Callable[[], datetime]) -> None:
        self._own = own
        self._consent = consent
        self._audit = audit
        self._clock = clock
        self._turn = asyncio.Lock()
        self._asking: set[tuple[int, int]] = set()

    async def send(self, interaction: Interaction, asked: Asked) -> None:
        """Answer with all of it; `asked` is asked again for each page. The interaction is deferred already.

        Raises `Refused` while the asker has another export under way.
        """
        asker = member(interaction)
        key = asker.guild.id, asker.id
        if key in self._asking:
            raise Refused("I am putting your memories together already; they arrive where you asked first.")
        self._asking.add(key)
        try:
            if self._turn.locked():
                await show(interaction, "Another export is under way; yours comes next.")
            async with self._turn:
                text, last = await self._put_together(interaction, asked)
        finally:
            self._asking.discard(key)
        await note(self._audit, asker.guild.id, asker.id, Action.EXPORTED)
        await show(interaction, text, files=[last])

    async def _put_together(self, interaction: Interaction, asked: Asked) -> tuple[str, discord.File]:
        """Send all files but the last; what to say with that."""
        progress = Progress(interaction)
        number, last = 0, b""
        async with aclosing(self._parts(interaction, asked, progress)) as parts:
            async for part in parts:
                if number:
                    await progress.show()  # first, since a follow-up takes the place of "thinking…"
                    file = self._file(number, last)
                    await interaction.followup.send(file=file, ephemeral=True, allowed_mentions=NO_PINGS)
                number, last = number + 1, part
        several = f", in {number} files of which each can be opened alone" if number > 1 else ""
        held = counted(progress.done, "memory", "memories")
        text = f"This is all I hold of you in this server: {held}{several}. {_WHAT}"
        return text, self._file(number, last)

    def _file(self, number: int, part: bytes) -> discord.File:
        return discord.File(io.BytesIO(part), f"memories-{self._clock():%Y-%m-%d}-{number}.zip")

    async def _parts(self, interaction: Interaction, asked: Asked, progress: "Progress") -> AsyncGenerator[bytes, None]:
        room = min(interaction.filesize_limit, MOST_BYTES) - SLACK
        archive = Archive(self._head(member(interaction)), room)
        for facts in (True, False):
            begin: Position | None = START
            while begin is not None:
                mine = replace(await asked(), facts=facts, messages=not facts)
                page = await self._own.page(mine, begin, PAGE)
                for part in await asyncio.to_thread(archive.add, [one.record for one in page.items]):
                    yield part
                await progress.count(len(page.items))
                begin = page.after
        yield await asyncio.to_thread(archive.finish)

    def _head(self, asker: discord.Member) -> Head:
        guild = asker.guild
        consented = Consented(self._consent.mode(guild.id), *self._consent.history(guild.id, asker.id))
        return Head(guild.id, guild.name, asker.id, asker.display_name, self._clock(), consented)


class Progress:
    """How many memories are in the files, told every few seconds."""

    def __init__(self, interaction: Interaction) -> None:
        self._interaction = interaction
        self._told_at = asyncio.get_running_loop().time()
        self.done = 0

    async def count(self, more: int) -> None:
        """Note that so many more are in."""
        self.done += more
        if asyncio.get_running_loop().time() - self._told_at >= EVERY_SECONDS:
            await self.show()

    async def show(self) -> None:
        """Tell now."""
        self._told_at = asyncio.get_running_loop().time()
        done = counted(self.done, "memory", "memories")
        await show(self._interaction, f"I am putting your memories together; {done} so far.")
