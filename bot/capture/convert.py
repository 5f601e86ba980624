"""From discord.py's message to ours, with secrets already blanked out."""

import re
from typing import TypeGuard

import discord

from bot.capture.redaction import redact
from bot.model import Attachment, Mention, Message
from bot.policy import may_answer_mention

# Where messages are captured. The chats of voice channels are left out, and a channel discord.py
# does not know (`PartialMessageable`) is none of these.
Place = discord.TextChannel | discord.Thread
PLACES = (discord.TextChannel, discord.Thread)

_MANY = re.compile(r"@(?:everyone|here)\b|<@&\d+>")  # whether or not its author may ping them
_SAID = (discord.MessageType.default, discord.MessageType.reply)

# What can be switched on: a forum has no messages of its own, but its posts do.
Observable = Place | discord.ForumChannel


def to_record(message: discord.Message, place: Place) -> Message:
    """What is kept of a message said in `place`.

    The author and those mentioned go by the names they show in the guild. Only a reply has a
    target: a forwarded message points at words that are not its author's.
    """
    reference = message.reference if message.type is discord.MessageType.reply else None
    return Message(
        id=message.id,
        guild_id=place.guild.id,
        channel_id=place.id,
        access_id=access_id(place),
        channel_name=place.name,
        author_id=message.author.id,
        author_name=message.author.display_name,
        content=redact(message.content),
        created_at=message.created_at,
        edited_at=message.edited_at,
        reply_to=reference.message_id if reference and reference.guild_id in (None, place.guild.id) else None,
        mentions=tuple(Mention(user.id, user.display_name) for user in message.mentions),
        attachments=tuple(
            Attachment(redact(file.filename), redact(file.description or "")) for file in message.attachments
        ),
    )


def access_id(place: discord.abc.GuildChannel | discord.Thread) -> int:
    """The id whose visibility decides who may read this place: a public thread's or forum post's is its parent's."""
    return place.parent_id if is_public_thread(place) else place.id


def is_public_thread(place: object) -> TypeGuard[discord.Thread]:
    """Whether this is a thread or forum post that everyone in its parent channel sees."""
    return isinstance(place, discord.Thread) and not place.is_private()


def by_a_person(message: discord.Message) -> bool:
    """Whether somebody said this: no bot, no webhook and no notice of Discord's."""
    return message.type in _SAID and not message.author.bot and message.webhook_id is None


def names(user_id: int) -> tuple[str, str]:
    """A user's mention, in both ways Discord's clients write it."""
    return f"<@{user_id}>", f"<@!{user_id}>"


def asks(message: discord.Message, bot_id: int, mentions: bool) -> bool:
    """Whether a message asks the bot something; `mentions` is whether the guild wants mentions answered."""
    return may_answer_mention(
        mentions,
        by_person=not message.author.bot and message.webhook_id is None,
        names_bot=any(name in message.content for name in names(bot_id)),
        reply=message.reference is not None,
        everyone=message.mention_everyone or _MANY.search(message.content) is not None,
    )
