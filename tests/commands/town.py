"""A Discord server with people in it, and the bot connected to it: what the command tests stand on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bot.app import App
from bot.model import Fact, FactKind, Message, memory_id, utcnow
from bot.sandbox.discord import Answer, Channel, DiscordServer, Guild, Thread, User
from bot.settings import Settings


@dataclass
class Town:
    """`general` is open to all; `staff` is hidden from everyone but `bob` and the admin."""

    server: DiscordServer
    app: App
    guild: Guild
    general: Channel
    staff: Channel
    admin: User
    ada: User
    bob: User

    async def use(self, user: User, path: str, place: Channel | Thread | None = None, **options: Any) -> Answer:
        """A command typed by someone, with its final answer."""
        return await (await self.server.slash(user, place or self.general, path, **options)).settled()

    def unhide_commands(self) -> None:
        """An admin lets everyone see every command, as the server's integration settings allow."""
        for command in self.server.world.application.commands[None]:
            command["default_member_permissions"] = None

    async def says(
        self, author: User, text: str, place: Channel | Thread | None = None, at: datetime | None = None
    ) -> Message:
        """Something said in an observed channel, captured and indexed."""
        message = await self.types(author, text, place, at)
        await self.app.indexer.drain()
        return message

    async def types(
        self, author: User, text: str, place: Channel | Thread | None = None, at: datetime | None = None
    ) -> Message:
        """Something said in an observed channel and captured; the next that is said or known has it indexed."""
        where = place or self.general
        posted = await self.server.say(where, author, text, at=at, announce=False)
        message = Message(
            id=int(posted["id"]),
            guild_id=self.guild.id,
            channel_id=where.id,
            access_id=where.id if where.private else where.channel.id,
            channel_name=where.name,
            author_id=author.id,
            author_name=author.display_name,
            content=text,
            created_at=at or utcnow(),
        )
        assert await self.app.messages.capture(message)
        return message

    async def knows(self, text: str, *sources: Message, about: User | None = None) -> Fact:
        """A fact drawn from messages, stored as extraction stores it, and indexed."""
        fact = await self.learns(text, *sources, about=about)
        await self.app.indexer.drain()
        return fact

    async def learns(self, text: str, *sources: Message, about: User | None = None) -> Fact:
        """A fact drawn from messages and stored as extraction stores it; the next that is known has it indexed."""
        newest = sources[-1]
        ids = tuple(message.id for message in sources)
        subject = about.id if about else None
        fact = Fact(
            id=memory_id(newest.guild_id, newest.channel_id, subject, ids, text),
            guild_id=newest.guild_id,
            channel_id=newest.channel_id,
            access_id=newest.access_id,
            channel_name=newest.channel_name,
            subject_id=subject,
            subject_name=about.display_name if about else "SERVER",
            text=text,
            kind=FactKind.PREFERENCE if about else FactKind.DECISION,
            speaker_ids=tuple(dict.fromkeys(message.author_id for message in sources)),
            speaker_name=newest.author_name,
            sources=ids,
            confidence=0.9,
            importance=0.5,
            said_at=newest.created_at,
        )
        lease = (await self.app.queue.take(ids, timedelta(minutes=5))).lease
        assert await self.app.queue.commit(lease, [fact]) == 1
        return fact


def cards(answer: Answer) -> list[str]:
    """The words of each card, without the line of its origin."""
    return [str(embed["description"]).split("\n\n")[0] for embed in answer.embeds]


@asynccontextmanager
async def connected(server: DiscordServer, data: Path, sections: dict[str, Any]) -> AsyncIterator[App]:
    """The app's rooms, with only the connection to Discord at work."""
    discord = {"token": server.token, "api_url": server.api_url, "gateway_url": server.gateway_url}
    settings = Settings.model_validate(
        {"storage": {"path": data}, **sections, "discord": {**discord, **sections.get("discord", {})}}
    )
    async with App(settings) as app, asyncio.TaskGroup() as tasks:
        tasks.create_task(app.client.serve(server.token))
        await app.client.ready.wait()
        try:
            yield app
        finally:
            await app.client.close()


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
