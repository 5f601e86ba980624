"""The buttons under the notices of a server that asks its members first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from past import born_long_ago, done, held
from town import connected, eventually

from bot.app import App
from bot.errors import StorageUnavailable
from bot.model import utcnow
from bot.sandbox.discord import Channel, ChannelKind, DiscordServer, Message, User
from bot.storage.audit import Action

ASKS_FIRST = {"capture": {"consent": "opt_in"}}


@asynccontextmanager
async def session(server: DiscordServer, data: Path, sections: dict[str, Any]) -> AsyncIterator[App]:
    """The bot from a start to its end, reading what it missed."""
    async with connected(server, data, sections | ASKS_FIRST) as app:
        reading = asyncio.create_task(app.catchup.run())
        try:
            await asyncio.wait_for(app.catchup.caught_up(), 10)
            yield app
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading


async def heard(app: App, server: DiscordServer, place: Channel, author: User, text: str) -> None:
    """Something said live, once the bot has handled it."""
    said = await server.say(place, author, text)
    await eventually(lambda: app.observer.newest_id == int(said["id"]))
    await app.client.settle()


async def test_nothing_of_a_member_is_kept_until_they_press_the_button(
    tmp_path: Path, sections: dict[str, Any]
) -> None:
    """Live, after a restart, by the catch-up and by a backfill; the button of an old notice works in every session."""
    async with DiscordServer() as server:
        world = server.world
        admin, ada, bob = world.add_user("admin"), world.add_user("ada"), world.add_user("bob")
        guild = world.add_guild(name="tea club", owner=admin)
        with born_long_ago(server):
            general = world.add_channel(guild, "general")
        for user in (ada, bob):
            world.add_member(guild, user)
        await server.say(general, ada, "long before", at=utcnow() - timedelta(days=2))
        async with session(server, tmp_path, sections) as app:
            await (await server.slash(admin, general, "observe on")).settled()
            [notice] = server.sent(general)
            assert "I remember what those who agree say in this channel" in notice.content
            await heard(app, server, general, ada, "before I agreed")
            pressed = await (await server.click(ada, notice, "Remember me")).settled()
            assert pressed.ephemeral
            assert pressed.content.startswith("Welcome: I remember what you write in the channels I listen to from now")
            assert (pressed.buttons, pressed.followups) == ([], [])
            await heard(app, server, general, bob, "who asked me")
            await heard(app, server, general, ada, "once I agreed")
            assert await held(app) == {"once I agreed"}
            again = await (await server.click(ada, notice, "Remember me")).settled()
            assert again.content.startswith("You have agreed already")
            [entry] = [one for one in await app.audit.entries(guild.id, 9) if one.action is Action.OPTED_IN]
            assert (entry.actor_id, entry.details) == (ada.id, {})
        await server.say(general, ada, "while you were away")
        await server.say(general, bob, "nobody hears me")
        async with session(server, tmp_path, sections) as app:
            assert await held(app) == {"once I agreed", "while you were away"}
            await (await server.click(bob, notice, "Remember me")).settled()
            await heard(app, server, general, bob, "now you may")
            asked = await (await server.slash(admin, general, "backfill", channel=general, since="5d")).settled()
            assert "who have not agreed to be remembered, or what others wrote before they did" in asked.content
            assert "1 message read, 0 kept" in await done(await asked.click("Read it"))
            left = await (await server.click(ada, notice, "Do not remember me")).settled()
            assert [button.label for button in left.buttons] == ["Forget my past…", "Keep it"]
            await heard(app, server, general, ada, "no more of me")
            assert await held(app) == {"once I agreed", "while you were away", "now you may"}


async def test_the_buttons_stand_wherever_a_notice_does(tmp_path: Path, sections: dict[str, Any]) -> None:
    """In a forum, a thread and a private thread they do what they do in a channel; what fails is told in a sentence."""
    async with DiscordServer() as server:
        world = server.world
        admin = world.add_user("admin")
        guild = world.add_guild(name="tea club", owner=admin)
        general, forum = world.add_channel(guild, "general"), world.add_channel(guild, "help", kind=ChannelKind.FORUM)
        secret = world.add_thread(general, "secret", owner=admin, private=True, members=[world.bot])
        async with connected(server, tmp_path, sections | ASKS_FIRST) as app:
            for place in (forum, secret):
                observed = await (await server.slash(admin, general, "observe on", channel=place)).settled()
                if observed.buttons:
                    await (await observed.click("Switch on")).settled()
            [post] = guild.threads_of(forum, archived=False)
            notices: list[Message] = [*server.sent(post), *server.sent(secret)]
            assert len(notices) == 2
            for notice in notices:
                assert (await (await server.click(admin, notice, "Remember me")).settled()).ephemeral
                assert not app.consent.keeps_out(guild.id, admin.id)
                await (await server.click(admin, notice, "Do not remember me")).settled()
                assert app.consent.keeps_out(guild.id, admin.id)

            async def full(*_: object) -> None:
                raise StorageUnavailable()

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(app.consent, "opt_in", full)
                failed = await (await server.click(admin, notices[0], "Remember me")).settled()
            assert failed.content == str(StorageUnavailable())
