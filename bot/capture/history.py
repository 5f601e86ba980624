"""What Discord still has of a place: its threads and pages of its messages, read politely and only while that is safe.

Without Read Message History Discord answers with an empty list, and without the message content
intent with empty words; neither is an error. So both are checked around every page.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

import aiohttp
import discord

from bot.capture.convert import Observable, Place, by_a_person, is_public_thread
from bot.errors import RecollectError

T = TypeVar("T")

PAGE = 100  # the most messages Discord returns at once
_AT_ONCE = 2  # requests
_UNKNOWN_CHANNEL, _UNKNOWN_MESSAGE = 10003, 10008
_TOO_MANY_REQUESTS = 429
_NO_ANSWER = (aiohttp.ClientError, OSError, RuntimeError)  # with TimeoutError; the last: the session is closed
_GARBLED = (AttributeError, LookupError, TypeError, ValueError)  # what discord.py makes of an answer without sense


class Unreadable(RecollectError):
    """This place cannot be read now."""


class Unreachable(Unreadable):
    """Discord does not answer."""


class PlaceGone(Unreadable):
    """Discord no longer has this channel or thread."""


class History:
    """Reads channels and threads. Every method raises `Unreadable` or a kind of it.

    What Discord fails to answer is asked again after each of `pauses`, in seconds.
    """

    def __init__(self, client: discord.Client, pauses: Sequence[float] = (1.0, 5.0, 15.0)) -> None:
        self._client = client
        self._pauses = pauses
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def guild(self, guild_id: int) -> discord.Guild:
        """The server. Raises `Unreachable` during an outage of it, and `Unreadable` if the bot is not in it."""
        guild = self._client.get_guild(guild_id)
        if guild is None:
            raise Unreadable("the bot is not in the server")
        if guild.unavailable:
            raise Unreachable("the server is not available")
        return guild

    async def place(self, guild_id: int, place_id: int) -> Observable:
        """The channel or thread, archived or not. Raises `PlaceGone` only if Discord says that it does not exist."""
        guild = self.guild(guild_id)
        place: object = guild.get_channel_or_thread(place_id)
        if place is None:  # archived threads are not kept
            place = await self._ask(lambda: guild.fetch_channel(place_id))
        if not isinstance(place, Observable):
            raise Unreadable("it is no text channel, forum or thread")
        return place

    async def threads(self, channel: Observable, since: datetime) -> list[discord.Thread]:
        """A channel's public threads or posts, oldest first, less those archived before `since`."""
        if isinstance(channel, discord.Thread):
            return []
        self.check(channel)
        found = {thread.id: thread for thread in channel.threads}
        archived = await self._ask(lambda: _until_older(channel.archived_threads(limit=None), since))
        found |= {thread.id: thread for thread in (*archived, *channel.threads)}  # some came back meanwhile
        self.check(channel)
        return [found[id] for id in sorted(found) if is_public_thread(found[id])]

    async def after(self, place: Place, message_id: int) -> list[discord.Message]:
        """The next page of messages after this id, in id order; a page that is not full is the last."""
        after = discord.Object(message_id)
        page = await self._page(place, lambda: place.history(limit=PAGE, after=after, oldest_first=True))
        if not page and (place.last_message_id or 0) > message_id:  # deleted, or a permission lost this instant?
            await self.exists(place, place.last_message_id or 0)
        return page

    async def around(self, place: Place, message_id: int) -> list[discord.Message]:
        """A page of messages without a gap before and after this id, and the message itself, in id order."""
        return await self._page(place, lambda: place.history(limit=PAGE, around=discord.Object(message_id)))

    async def exists(self, place: Place, message_id: int) -> bool:
        """Whether Discord has this message; False only if it says that it does not."""
        self.check(place)
        try:
            await self._ask(lambda: place.fetch_message(message_id))
        except Unreadable as error:
            cause = error.__cause__
            if isinstance(cause, discord.NotFound) and cause.code == _UNKNOWN_MESSAGE:
                return False
            raise
        return True

    def check(self, place: Observable) -> None:
        """Raises `Unreadable` unless the bot may see this place and read its history now."""
        guild = self.guild(place.guild.id)
        known = guild.get_channel_or_thread(place.id) or place  # a new session makes all of them anew
        try:
            permissions = known.permissions_for(guild.me)
        except discord.ClientException:
            raise Unreadable("its channel is unknown") from None
        needed = {"View Channel": permissions.view_channel, "Read Message History": permissions.read_message_history}
        if missing := [name for name, given in needed.items() if not given]:
            raise Unreadable(f"the bot lacks {' and '.join(missing)} there")

    async def check_content(self) -> None:
        """Raises `Unreadable` unless the application may read what messages say."""
        flags = (await self._ask(self._client.application_info)).flags
        if not (flags.gateway_message_content or flags.gateway_message_content_limited):
            raise Unreadable("the bot lacks the Message Content Intent")

    async def _page(self, place: Place, history: Callable[[], AsyncIterator[discord.Message]]) -> list[discord.Message]:
        self.check(place)
        messages = await self._ask(lambda: _all(history()))
        self.check(place)
        if any(map(_is_blank, messages)):
            await self.check_content()
        return sorted(messages, key=lambda message: message.id)

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        for pause in (*self._pauses, None):
            try:
                async with self._slots:
                    return await ask()
            except discord.HTTPException as error:
                if isinstance(error, discord.NotFound) and error.code == _UNKNOWN_CHANNEL:
                    raise PlaceGone from error
                if error.status < 500 and error.status != _TOO_MANY_REQUESTS:
                    raise Unreadable(f"Discord refuses: {error.status} {error.text}".strip()) from error
                problem: Exception = error
            except discord.DiscordException as error:  # of another kind than what was asked for
                raise Unreadable(f"Discord answers with {type(error).__name__}") from error
            except (*_NO_ANSWER, *_GARBLED) as error:
                problem = error
            if pause is not None:
                await asyncio.sleep(pause)
        raise Unreachable(f"Discord does not answer: {_cause(problem)}") from problem


def _cause(error: Exception) -> str:
    return str(error.status) if isinstance(error, discord.HTTPException) else type(error).__name__


def _is_blank(message: discord.Message) -> bool:
    """Whether a person's message shows nothing at all, as it does to those who may not read its content."""
    shown = (message.content, message.attachments, message.embeds, message.stickers, message.poll)
    return by_a_person(message) and not any(shown) and not message.message_snapshots


async def _all(messages: AsyncIterator[T]) -> list[T]:
    return [message async for message in messages]


async def _until_older(threads: AsyncIterator[discord.Thread], since: datetime) -> Iterable[discord.Thread]:
    """Archived threads, latest first, down to those in which nobody can have spoken since."""
    found = []
    async for thread in threads:
        if thread.archive_timestamp < since:
            break
        found.append(thread)
    return found
