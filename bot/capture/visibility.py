"""Who may see what, now: Discord's permissions as discord.py computes them, closed when in doubt."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar, cast

import aiohttp
import discord
import structlog

from bot.capture.convert import Observable, access_id
from bot.storage.observations import Observations

log = structlog.get_logger(__name__)

T = TypeVar("T")

_PATIENCE = 3.0  # seconds Discord has to answer; what it was asked about stays hidden then
_REMEMBER = 15.0  # seconds for which a refusal, and where an archived thread belongs, is taken as current
_REMEMBER_AT_MOST = 10_000

_NO_ANSWER = (discord.DiscordException, aiohttp.ClientError, OSError)  # OSError includes TimeoutError


class DiscordVisibility:
    """Implements `model.Visibility` on a connected client. `now` is a monotonic clock in seconds."""

    def __init__(
        self, client: discord.Client, observations: Observations, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._observations = observations
        self._now = now
        self._answers: dict[tuple[int, ...], tuple[object, float]] = {}
        self._deleted: set[int] = set()

    async def visible(self, guild_id: int, user_id: int) -> frozenset[int]:
        """The `access_id`s this member may view and whose history they may read.

        Empty if the guild is unknown or unavailable, if the user is no member of it, or if Discord
        does not answer in time.
        """
        guild = self._client.get_guild(guild_id)
        if guild is None:
            return frozenset()
        try:
            async with asyncio.timeout(_PATIENCE):
                member = await guild.fetch_member(user_id)
        except discord.NotFound:
            return frozenset()
        except _NO_ANSWER as error:
            log.warning("member_unknown", guild_id=guild_id, user_id=user_id, error=type(error).__name__)
            return frozenset()
        return await self.for_member(member)

    async def for_member(self, member: discord.Member) -> frozenset[int]:
        """The same for a member whose roles are current, as an interaction's are."""
        guild = member.guild
        if guild.unavailable:
            return frozenset()
        readable = {channel.id: channel for channel in guild.channels if _may_read(channel, member)}
        candidates = self._observations.ever(guild.id) - self._deleted - {channel.id for channel in guild.channels}
        inside = await asyncio.gather(*(self._may_read_thread(member, id, readable) for id in candidates))
        return frozenset(readable).union(id for id, yes in zip(candidates, inside, strict=True) if yes)

    async def public(self, guild_id: int, channel_id: int) -> frozenset[int]:
        """The `access_id`s that everybody may read who sees what is posted in this channel or thread.

        Who they are is not ours to know, so it is left to the roles and overwrites to tell: the place
        itself, unless it may be viewed without its history, and the channels that @everyone may read
        and no overwrite closes to anyone. Empty if the guild or the place is unknown or unavailable.
        """
        guild = self._client.get_guild(guild_id)
        place = guild.get_channel_or_thread(channel_id) if guild else None
        if guild is None or guild.unavailable or place is None:
            return frozenset()
        open_to_all = frozenset(channel.id for channel in guild.channels if _is_open_to_all(channel))
        channel = place.parent if isinstance(place, discord.Thread) else place
        return open_to_all | {access_id(place)} if _shows_its_history(channel) else open_to_all

    async def _may_read_thread(
        self, member: discord.Member, thread_id: int, readable: Mapping[int, discord.abc.GuildChannel]
    ) -> bool:
        """Whether this is a private thread the member is in, or oversees, below a channel they may read."""
        guild = member.guild
        try:
            async with asyncio.timeout(_PATIENCE):
                thread: object = guild.get_thread(thread_id)
                if thread is None:  # archived ones are not kept
                    thread = await self._ask((thread_id,), lambda: guild.fetch_channel(thread_id))
                if not isinstance(thread, discord.Thread) or not thread.is_private():
                    return False
                parent = readable.get(thread.parent_id)
                if parent is None:
                    return False
                return parent.permissions_for(member).manage_threads or await self._ask(
                    (thread_id, member.id), lambda: _is_in(thread, member.id)
                )
        except discord.NotFound:
            self._deleted.add(thread_id)
            return False
        except _NO_ANSWER as error:
            log.warning("thread_hidden", guild_id=guild.id, thread_id=thread_id, error=type(error).__name__)
            return False

    async def _ask(self, question: tuple[int, ...], discord_says: Callable[[], Awaitable[T]]) -> T:
        answer, until = self._answers.get(question, (None, 0.0))
        if until <= self._now():
            answer = await discord_says()
            if answer is not True:  # who is removed from a thread loses it at once
                if len(self._answers) >= _REMEMBER_AT_MOST:
                    self._answers.clear()
                self._answers[question] = (answer, self._now() + _REMEMBER)
        return cast(T, answer)


def missing_permissions(place: Observable) -> list[str]:
    """The permissions that the bot lacks to read a place and to post the notice there, as Discord names them."""
    return lacking(place.permissions_for(place.guild.me), isinstance(place, discord.Thread))


def lacking(permissions: discord.Permissions, in_thread: bool) -> list[str]:
    """What is missing of the permissions that reading a place and posting the notice there take."""
    speak = permissions.send_messages_in_threads if in_thread else permissions.send_messages
    needed = {
        "View Channel": permissions.view_channel,
        "Read Message History": permissions.read_message_history,
        "Send Messages": speak,
    }
    return [name for name, given in needed.items() if not given]


async def _is_in(thread: discord.Thread, user_id: int) -> bool:
    try:
        await thread.fetch_member(user_id)
    except discord.NotFound:
        return False
    return True


def _is_open_to_all(channel: discord.abc.GuildChannel) -> bool:
    """Whether @everyone may read this channel of any age, and no role or member is denied to.

    The chats of voice channels are not: whoever is in a timeout may not connect.
    """
    if not isinstance(channel, discord.TextChannel | discord.ForumChannel) or channel.is_nsfw():
        return False
    if not channel.permissions_for(channel.guild.default_role).read_message_history:
        return False
    return not any(
        one.view_channel is False or one.read_message_history is False for one in channel.overwrites.values()
    )


def _shows_its_history(channel: object) -> bool:
    """Whether nobody views this channel who may not read its history: all may read it, or all who were let in."""
    if not isinstance(channel, discord.TextChannel | discord.ForumChannel):
        return False
    everyone = channel.guild.default_role
    here = channel.overwrites_for(everyone)
    others = [overwrite for who, overwrite in channel.overwrites.items() if who != everyone]
    if any(one.read_message_history is False for one in others):
        return False
    history = here.read_message_history
    if everyone.permissions.read_message_history if history is None else history:
        return True
    return here.view_channel is False and all(one.read_message_history for one in others if one.view_channel)


def _may_read(channel: discord.abc.GuildChannel, member: discord.Member) -> bool:
    """View Channel and Read Message History; for the chat of a voice channel also Connect. Categories hold no words.

    Where one has no View Channel discord.py leaves no other permission either, as Discord has it.
    """
    if isinstance(channel, discord.CategoryChannel):
        return False
    permissions = channel.permissions_for(member)
    if isinstance(channel, discord.VoiceChannel | discord.StageChannel) and not permissions.connect:
        return False
    return permissions.read_message_history
