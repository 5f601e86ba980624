"""What exists, and what can be asked about it. `World` adds the ways to change it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary

from bot.model import DISCORD_EPOCH_MS, utcnow
from bot.sandbox.discord.entities import (
    Application,
    Attachment,
    Channel,
    Guild,
    Member,
    Message,
    Place,
    Ref,
    User,
    id_of,
)
from bot.sandbox.discord.permissions import NONE, P, Permission, permissions_in
from bot.sandbox.discord.reading import may_read, readable

TOKEN = "sandbox-token"


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened: the gateway event's name, what it happened to, and what the event needs besides."""

    event: str
    subject: Any
    details: Mapping[str, Any]


class State:
    """Guilds, channels, members and messages; one application with its bot. Listeners are told of every change.

    Methods take things, payloads or ids alike, and raise KeyError for what does not exist.
    """

    def __init__(self, *, token: str = TOKEN, clock: Callable[[], datetime] = utcnow) -> None:
        self.clock = clock
        self.listeners: list[Callable[[Change], None]] = []
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self.cdn = "https://cdn.discordapp.com"
        self.files: WeakValueDictionary[int, Attachment] = WeakValueDictionary()
        """What was uploaded, by id, for as long as a message has it."""
        self._taken: dict[int, int] = {}
        self._now_ms = 0
        self.bot = self.add_user("recollect", display_name="Recollect", bot=True)
        self.application = Application(self.bot.id, token, self.bot, owner=self.add_user("developer"))

    def snowflake(self, at: datetime | None = None) -> int:
        """A new id. Those of now rise strictly; those of a chosen time are unique within its millisecond."""
        ms = int((at or self.clock()).timestamp() * 1000) - DISCORD_EPOCH_MS
        if at is None:
            ms = self._now_ms = max(ms, self._now_ms)
        number = self._taken[ms] = self._taken.get(ms, -1) + 1
        return (ms << 22) + number

    def emit(self, event: str, subject: Any, **details: Any) -> None:
        """Tell the listeners."""
        for listener in self.listeners:
            listener(Change(event, subject, details))

    def place(self, ref: Ref) -> Place:
        """The channel or thread."""
        place_id = id_of(ref)
        for guild in self.guilds.values():
            if place := guild.channels.get(place_id) or guild.threads.get(place_id):
                return place
        raise KeyError(place_id)

    def member(self, guild: Ref, user: Ref) -> Member:
        """The user as a member of the guild."""
        return self.guilds[id_of(guild)].members[id_of(user)]

    def message(self, place: Ref, message: Ref) -> Message:
        """The message in that channel or thread."""
        if found := self.place(place).history.get(id_of(message)):
            return found
        raise KeyError(id_of(message))

    def permissions(self, user: Ref, place: Ref) -> Permission:
        """What the user may do there now; nothing for those who are not members."""
        return self.permissions_at(user, self.place(place))

    def permissions_at(self, user: Ref, place: Place) -> Permission:
        """The same for a place at hand, which may be gone already."""
        member = place.guild.members.get(id_of(user))
        return permissions_in(place, member, self.clock()) if member else NONE

    def may_read(self, user: Ref, place: Ref) -> bool:
        """Whether the user may view the place and read its history now."""
        there = self.place(place)
        member = there.guild.members.get(id_of(user))
        return member is not None and may_read(there, member, self.clock())

    def readable(self, user: Ref, guild: Ref) -> frozenset[int]:
        """The ids of the channels and private threads of a guild the user may read now: the oracle of leak tests."""
        there = self.guilds[id_of(guild)]
        member = there.members.get(id_of(user))
        return readable(there, member, self.clock()) if member else frozenset()

    def viewed(self, guild: Guild) -> set[Channel]:
        """The channels of a guild the bot can view now."""
        return {c for c in guild.channels.values() if P.VIEW_CHANNEL in self.permissions_at(self.bot, c)}

    def upload(self, filename: str, data: bytes) -> Attachment:
        """A file, not yet on a message."""
        file = Attachment(filename, size=len(data), id=self.snowflake(), data=data)
        self.files[file.id] = file
        return file

    def address(self, file: Attachment, channel_id: int) -> str:
        """Where a file of a message in that channel is found."""
        return f"{self.cdn}/attachments/{channel_id}/{file.id}/{file.filename}"

    def add_user(self, name: str, *, display_name: str | None = None, bot: bool = False, id: int | None = None) -> User:
        """A new account."""
        user = User(id or self.snowflake(), name, display_name or name, bot)
        self.users[user.id] = user
        return user
