"""The things a Discord guild is made of, as the stand-in keeps them. Ids are ints, times aware and in UTC."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, IntFlag
from typing import Any, Protocol

from bot.sandbox.discord.permissions import NONE, Permission

Json = dict[str, Any]


class HasId(Protocol):
    """Anything with a snowflake."""

    @property
    def id(self) -> int: ...


Ref = HasId | Mapping[str, Any] | int | str
"""A thing, its JSON payload, or its id: whatever is at hand."""


def id_of(ref: Ref) -> int:
    """The snowflake of what is referred to."""
    if isinstance(ref, int | str):
        return int(ref)
    return int(ref["id"]) if isinstance(ref, Mapping) else ref.id


class Intent(IntFlag):
    """The gateway intents that matter here (https://discord.com/developers/docs/events/gateway#gateway-intents)."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    MESSAGE_CONTENT = 1 << 15


PRIVILEGED = Intent.GUILD_MEMBERS | Intent.GUILD_PRESENCES | Intent.MESSAGE_CONTENT


class ChannelKind(IntEnum):
    """Channel types by Discord's numbers."""

    TEXT = 0
    VOICE = 2
    CATEGORY = 4
    ANNOUNCEMENT = 5
    ANNOUNCEMENT_THREAD = 10
    PUBLIC_THREAD = 11
    PRIVATE_THREAD = 12
    STAGE = 13
    FORUM = 15


class MessageKind(IntEnum):
    """Message types by Discord's numbers: the ordinary ones, and a few of the system's."""

    DEFAULT = 0
    PINNED = 6
    JOINED = 7
    THREAD_CREATED = 18
    REPLY = 19
    CHAT_INPUT_COMMAND = 20
    THREAD_STARTER = 21
    CONTEXT_MENU_COMMAND = 23


class MessageFlag(IntFlag):
    """Message flags that change what is seen."""

    SUPPRESS_EMBEDS = 1 << 2
    EPHEMERAL = 1 << 6
    LOADING = 1 << 7
    SUPPRESS_NOTIFICATIONS = 1 << 12
    COMPONENTS_V2 = 1 << 15


@dataclass(slots=True, eq=False)
class User:
    """An account; `display_name` is Discord's global name."""

    id: int
    name: str
    display_name: str
    bot: bool = False


@dataclass(slots=True, eq=False)
class Application:
    """The bot's application. `privileged` are the privileged intents switched on in the developer portal."""

    id: int
    token: str
    bot: User
    owner: User
    privileged: Intent = Intent.MESSAGE_CONTENT
    commands: dict[int | None, list[Json]] = field(default_factory=dict)
    """Registered commands by guild id; None holds the global ones."""


@dataclass(slots=True, eq=False)
class Role:
    """A role of a guild; the one whose id is the guild's is @everyone."""

    id: int
    guild_id: int
    name: str
    permissions: Permission
    position: int = 1
    managed: bool = False


@dataclass(slots=True, eq=False)
class Member:
    """A user in one guild."""

    user: User
    joined_at: datetime
    nick: str | None = None
    role_ids: list[int] = field(default_factory=list)
    timed_out_until: datetime | None = None


@dataclass(slots=True)
class Overwrite:
    """What a channel allows and denies one role or member beyond the guild's rules."""

    is_member: bool
    allow: Permission = NONE
    deny: Permission = NONE


@dataclass(slots=True, weakref_slot=True)
class Attachment:
    """A file on a message: a name, and the alt text its author gave it. What the bot uploads has `data`."""

    filename: str
    description: str | None = None
    content_type: str = "application/octet-stream"
    size: int = 1024
    id: int = 0
    data: bytes = b""


@dataclass(slots=True, eq=False)
class Message:
    """A message in a channel or thread. `allowed_mentions` is kept as the bot sent it."""

    id: int
    place: "Place"
    author: User
    content: str
    at: datetime
    kind: int = MessageKind.DEFAULT
    edited_at: datetime | None = None
    reply_to: int | None = None
    mention_ids: list[int] = field(default_factory=list)
    mentions_everyone: bool = False
    attachments: list[Attachment] = field(default_factory=list)
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    flags: MessageFlag = field(default_factory=lambda: MessageFlag(0))
    webhook_id: int | None = None
    application_id: int | None = None
    interaction: Json | None = None
    allowed_mentions: Json | None = None
    nonce: str | None = None
    used: str = ""
    """The command it answers, as a client shows it above."""

    @property
    def ephemeral(self) -> bool:
        """Whether only the one who asked sees it."""
        return MessageFlag.EPHEMERAL in self.flags

    @property
    def files(self) -> dict[str, bytes]:
        """The bytes of what is attached, by file name."""
        return {file.filename: file.data for file in self.attachments}


class History:
    """The messages of one place, ordered by id whatever the order they came in."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._messages: dict[int, Message] = {}

    def __iter__(self) -> Iterator[Message]:
        return (self._messages[message_id] for message_id in self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, message: Message) -> None:
        """Keep a message; ids are unique."""
        insort(self._ids, message.id)
        self._messages[message.id] = message

    def get(self, message_id: int) -> Message | None:
        """The message, or None."""
        return self._messages.get(message_id)

    def remove(self, message_id: int) -> Message | None:
        """Take a message out and return it, or None."""
        if message := self._messages.pop(message_id, None):
            del self._ids[bisect_left(self._ids, message_id)]
        return message

    def page(
        self, limit: int, *, before: int | None = None, after: int | None = None, around: int | None = None
    ) -> list[Message]:
        """One page as Discord cuts it: at most `limit` messages, newest first whichever anchor is given."""
        ids = self._ids
        if around is not None:
            middle = bisect_left(ids, around)
            ids = ids[max(0, middle - limit // 2) : middle + (limit + 1) // 2]
        elif after is not None:
            first = bisect_right(ids, after)
            ids = ids[first : first + limit]
        else:
            end = len(ids) if before is None else bisect_left(ids, before)
            ids = ids[max(0, end - limit) : end]
        return [self._messages[message_id] for message_id in reversed(ids)]


@dataclass(slots=True, eq=False)
class Channel:
    """A guild channel. `overwrites` are by role or user id; threads use those of their channel."""

    id: int
    guild: "Guild"
    name: str
    kind: ChannelKind = ChannelKind.TEXT
    parent_id: int | None = None
    position: int = 0
    nsfw: bool = False
    topic: str | None = None
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    history: History = field(default_factory=History)
    private: bool = False
    member_ids: dict[int, datetime] = field(default_factory=dict)

    @property
    def channel(self) -> "Channel":
        """The channel whose overwrites rule here."""
        return self


@dataclass(slots=True, eq=False)
class Thread:
    """A thread or forum post. `member_ids` maps those who joined to the time they did."""

    id: int
    channel: Channel
    name: str
    kind: ChannelKind
    owner_id: int
    archive_changed_at: datetime
    archived: bool = False
    locked: bool = False
    member_ids: dict[int, datetime] = field(default_factory=dict)
    history: History = field(default_factory=History)

    @property
    def guild(self) -> "Guild":
        """The guild of its channel."""
        return self.channel.guild

    @property
    def private(self) -> bool:
        """Whether only its members and those who manage threads see it."""
        return self.kind is ChannelKind.PRIVATE_THREAD


VOCAL = (ChannelKind.VOICE, ChannelKind.STAGE)

Place = Channel | Thread
"""Where a message can be."""


@dataclass(slots=True, eq=False)
class Guild:
    """A server, with everything in it."""

    id: int
    name: str
    owner_id: int
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    threads: dict[int, Thread] = field(default_factory=dict)
    unavailable: bool = False

    @property
    def everyone(self) -> Role:
        """The role every member has."""
        return self.roles[self.id]

    def threads_of(self, channel: Channel, *, archived: bool) -> Sequence[Thread]:
        """The threads of one channel, archived or active."""
        return [t for t in self.threads.values() if t.channel is channel and t.archived is archived]
