"""The bundled conversation: one invented week at a board games and makers club.

The demo, the tests and `recollect bench extraction` talk it through the stand-in Discord.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

_MENTION = re.compile(r"<@([a-z]+)>")


@dataclass(frozen=True, slots=True)
class Member:
    """Someone of the community; organisers may manage the server."""

    key: str
    name: str
    organiser: bool = False


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel, or with `parent` (a channel's key) a public thread of it.

    `readers` are the keys of the members who see it; only a private channel leaves some out.
    """

    key: str
    name: str
    private: bool
    readers: frozenset[str]
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """One message. `at` is minutes from the conversation's start, `author`, `channel` and `reply_to` are keys.

    A mention stands in `text` as `<@key>`; `mentions` are those keys in the order they appear.
    """

    key: str
    author: str
    channel: str
    at: float
    text: str
    reply_to: str | None = None
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A community and what it said, in the order it was said. It starts on a Monday at 08:00."""

    guild: str
    members: tuple[Member, ...]
    channels: tuple[Channel, ...]
    posts: tuple[Post, ...]

    def start(self, now: datetime) -> datetime:
        """The latest Monday from which the whole conversation has been said by `now`.

        The texts name weekdays, so a week that begins on any other day would not add up.
        """
        latest = now - timedelta(minutes=self.posts[-1].at)
        monday = latest - timedelta(days=latest.weekday())
        start = monday.replace(hour=8, minute=0, second=0, microsecond=0)
        return start if start <= latest else start - timedelta(weeks=1)


def load() -> Conversation:
    """The bundled conversation."""
    data = json.loads(files("bot.sandbox").joinpath("conversation.json").read_text("utf-8"))
    members = tuple(Member(**member) for member in data["members"])
    everyone = frozenset(member.key for member in members)
    return Conversation(
        guild=data["guild"],
        members=members,
        channels=tuple(_channel(channel, everyone) for channel in data["channels"]),
        posts=tuple(_post(message) for message in data["messages"]),
    )


def _channel(channel: dict[str, Any], everyone: frozenset[str]) -> Channel:
    readers = frozenset(channel.get("members", everyone))
    return Channel(channel["key"], channel["name"], readers != everyone, readers, channel.get("parent"))


def _post(message: dict[str, Any]) -> Post:
    return Post(
        key=message["key"],
        author=message["by"],
        channel=message["in"],
        at=message["at"],
        text=message["text"],
        reply_to=message.get("reply_to"),
        mentions=tuple(dict.fromkeys(_MENTION.findall(message["text"]))),
    )
