"""Exports as DiscordChatExporter writes them, down to the fields nobody reads here."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.model import DISCORD_EPOCH_MS

Json = dict[str, Any]

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
GUILD, CHANNEL, PARENT = 10**17 + 1, 10**17 + 2, 10**17 + 3
ANA, BEN, BOT = 10**17 + 301, 10**17 + 302, 10**17 + 303
MINUTE = timedelta(minutes=1)


def snowflake(at: datetime, number: int = 0) -> int:
    """The id of something made at this time."""
    return (round(at.timestamp() * 1000) - DISCORD_EPOCH_MS << 22) + number


def minute(number: int) -> int:
    """The id of what is said so many minutes after noon."""
    return snowflake(NOON + number * MINUTE)


def user(id: int, nickname: str | None = None, is_bot: bool = False) -> Json:
    """An author or someone mentioned."""
    name = {ANA: "ana", BEN: "ben"}.get(id, "robot")
    return {
        "id": str(id),
        "name": name,
        "discriminator": "0000",
        "nickname": nickname or name.title(),
        "color": "#E91E63",
        "isBot": is_bot,
        "roles": [{"id": "7", "name": "Tea drinkers", "color": None, "position": 1}],
        "avatarUrl": "https://cdn.discordapp.com/embed/avatars/0.png",
    }


def said(id: int, content: str = "hello", author: Json | None = None, **changes: Any) -> Json:
    """A message, by default Ana's."""
    return {
        "id": str(id),
        "type": "Default",
        "timestamp": "2026-03-02T12:00:00+00:00",
        "timestampEdited": None,
        "callEndedTimestamp": None,
        "isPinned": False,
        "content": content,
        "author": author or user(ANA),
        "attachments": [],
        "embeds": [],
        "stickers": [],
        "reactions": [],
        "mentions": [],
        "inlineEmojis": [],
    } | changes


def file(name: str) -> Json:
    """An attachment."""
    return {"id": "9", "url": f"https://cdn.discordapp.com/attachments/{name}", "fileName": name, "fileSizeBytes": 12}


def reply(to: int, guild_id: int = GUILD, kind: str = "Default") -> Json:
    """A message's reference to another one."""
    return {"type": kind, "messageId": str(to), "channelId": str(CHANNEL), "guildId": str(guild_id)}


def export(
    messages: Sequence[Json],
    guild: int = GUILD,
    channel: int = CHANNEL,
    kind: str = "GuildTextChat",
    above: int | None = PARENT,
    name: str = "general",
) -> Json:
    """What a file of these messages holds."""
    return {
        "guild": {"id": str(guild), "name": "tea club", "iconUrl": "https://cdn.discordapp.com/embed/avatars/0.png"},
        "channel": {
            "id": str(channel),
            "type": kind,
            "categoryId": None if above is None else str(above),
            "category": "Text channels",
            "name": name,
            "topic": None,
        },
        "dateRange": {"after": None, "before": None},
        "exportedAt": "2026-03-03T09:30:00.1234567+01:00",
        "messages": list(messages),
        "messageCount": len(messages),
    }


def written(content: Json | list[Any]) -> bytes:
    """The bytes of such a file."""
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def write(path: Path, content: Json | list[Any] | bytes) -> Path:
    """A file with this content."""
    path.write_bytes(content if isinstance(content, bytes) else written(content))
    return path
