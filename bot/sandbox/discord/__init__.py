"""A stand-in for Discord: gateway, REST API and the people in it, on 127.0.0.1.

async with DiscordServer() as server:
    guild = server.world.add_guild(name="tea club")
    ...
"""

from bot.sandbox.discord.answers import Answer, NotAllowed
from bot.sandbox.discord.components import Button, Option, Select, TextInput
from bot.sandbox.discord.entities import (
    Attachment,
    Channel,
    ChannelKind,
    Guild,
    Intent,
    Member,
    Message,
    MessageFlag,
    MessageKind,
    Role,
    Thread,
    User,
)
from bot.sandbox.discord.permissions import Permission
from bot.sandbox.discord.server import DiscordServer
from bot.sandbox.discord.world import World

__all__ = [
    "Answer",
    "Attachment",
    "Button",
    "Channel",
    "ChannelKind",
    "DiscordServer",
    "Guild",
    "Intent",
    "Member",
    "Message",
    "MessageFlag",
    "MessageKind",
    "NotAllowed",
    "Option",
    "Permission",
    "Role",
    "Select",
    "TextInput",
    "Thread",
    "User",
    "World",
]
