"""Leaving out what people tell of their health, faith, sexuality and the like, or ask the bot, before it is stored."""

import discord

from bot.capture.convert import Place, asks
from bot.model import Message
from bot.policy import sensitive_allowed
from bot.sensitive import Category, sensitive
from bot.storage.guild_configs import GuildConfigs


class Discretion:
    """Looks at every message; what a guild wants with sensitive ones is asked only for those."""

    def __init__(self, configs: GuildConfigs) -> None:
        self._configs = configs

    def objection(self, message: Message) -> Category | None:
        """What a message tells of that keeps it from being kept, None if it may be."""
        category = sensitive(_words(message))
        if category is None or sensitive_allowed(self._configs.of(message.guild_id).drop_sensitive, sensitive=True):
            return None
        return category

    def is_question(self, message: discord.Message, place: Place) -> bool:
        """Whether a message said here asks the bot: no talk to remember, and the best match of its own words."""
        bot_id = place.guild.me.id
        if str(bot_id) not in message.content:  # so it is with nearly every message
            return False
        return asks(message, bot_id, self._configs.of(place.guild.id).mentions)


def _words(message: Message) -> str:
    """All that a message says, its files' names and descriptions included."""
    if not message.attachments:
        return message.content
    return "\n".join([message.content, *(f"{file.name}\n{file.description}" for file in message.attachments)])
