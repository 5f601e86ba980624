"""The state of the stand-in: who and what exists. Every change is told to the listeners as a gateway event."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.model import DISCORD_EPOCH_MS, utcnow
from bot.sandbox.discord.entities import (
    Application,
    Attachment,
    Channel,
    ChannelKind,
    Guild,
    Member,
    Message,
    MessageKind,
    Overwrite,
    Place,
    Ref,
    Role,
    Thread,
    User,
    id_of,
)
from bot.sandbox.discord.mentions import pinged
from bot.sandbox.discord.permissions import EVERYONE, NONE, P, Permission, permissions_in

TOKEN = "sandbox-token"
BOT_PERMISSIONS = P.VIEW_CHANNEL | P.READ_MESSAGE_HISTORY | P.SEND_MESSAGES | P.SEND_MESSAGES_IN_THREADS | P.EMBED_LINKS


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened: the gateway event's name, what it happened to, and what the event needs besides."""

    event: str
    subject: Any
    details: Mapping[str, Any]


class World:
    """Guilds, channels, members and messages; one application with its bot.

    Methods take things, payloads or ids alike. Times may be chosen with `at`, and ids carry them, so that
    history can lie in the past. Raises KeyError for what does not exist.
    """

    def __init__(self, *, token: str = TOKEN, clock: Callable[[], datetime] = utcnow) -> None:
        self.clock = clock
        self.listeners: list[Callable[[Change], None]] = []
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self._taken: dict[int, int] = {}
        self._now_ms = 0
        self.bot = self.add_user("recollect", bot=True)
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

    # -- look-ups

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
        """Whether the user may view the place and read its history now: the oracle of leak tests."""
        return P.VIEW_CHANNEL | P.READ_MESSAGE_HISTORY in self.permissions(user, place)

    # -- guilds, members, roles

    def add_user(self, name: str, *, display_name: str | None = None, bot: bool = False, id: int | None = None) -> User:
        """A new account."""
        user = User(id or self.snowflake(), name, display_name or name, bot)
        self.users[user.id] = user
        return user

    def add_guild(
        self,
        *,
        name: str,
        owner: Ref | None = None,
        everyone: Permission = EVERYONE,
        bot_permissions: Permission = BOT_PERMISSIONS,
        with_bot: bool = True,
    ) -> Guild:
        """A guild with its owner in it and, unless `with_bot` is false, the bot with a role of its own."""
        guild_id = self.snowflake()
        guild = Guild(guild_id, name, id_of(owner or self.add_user(f"{name}-owner")))
        guild.roles[guild_id] = Role(guild_id, guild_id, "@everyone", everyone, position=0)
        guild.members[guild.owner_id] = Member(self.users[guild.owner_id], self.clock())
        self.guilds[guild_id] = guild
        if with_bot:
            self.join_guild(guild, bot_permissions)
        return guild

    def join_guild(self, guild: Ref, permissions: Permission = BOT_PERMISSIONS) -> None:
        """The bot is invited: it gets a managed role with these permissions."""
        there = self.guilds[id_of(guild)]
        role = Role(self.snowflake(), there.id, self.bot.name, permissions, managed=True)
        there.roles[role.id] = role
        there.members[self.bot.id] = Member(self.bot, self.clock(), role_ids=[role.id])
        self.emit("GUILD_CREATE", there)

    def leave_guild(self, guild: Ref) -> None:
        """The bot is removed from the guild."""
        there = self.guilds[id_of(guild)]
        member = there.members.pop(self.bot.id)
        for role_id in member.role_ids:
            if there.roles[role_id].managed:
                del there.roles[role_id]
        self.emit("GUILD_DELETE", there)

    def set_unavailable(self, guild: Ref, unavailable: bool = True) -> None:
        """An outage of one guild begins or ends."""
        there = self.guilds[id_of(guild)]
        there.unavailable = unavailable
        if unavailable:
            self.emit("GUILD_DELETE", there)
        else:
            self.emit("GUILD_CREATE", there, returning=True)

    def add_member(self, guild: Ref, user: Ref, *, nick: str | None = None, roles: Iterable[Ref] = ()) -> Member:
        """A user joins a guild."""
        there = self.guilds[id_of(guild)]
        member = Member(self.users[id_of(user)], self.clock(), nick, [id_of(role) for role in roles])
        there.members[member.user.id] = member
        self.emit("GUILD_MEMBER_ADD", member, guild=there)
        return member

    def update_member(self, guild: Ref, user: Ref, **changes: Any) -> None:
        """Change a member's `nick`, `role_ids` or `timed_out_until`."""
        member = self.member(guild, user)
        _set(member, changes)
        self.emit("GUILD_MEMBER_UPDATE", member, guild=self.guilds[id_of(guild)])

    def remove_member(self, guild: Ref, user: Ref) -> None:
        """A member leaves or is removed."""
        there = self.guilds[id_of(guild)]
        self.emit("GUILD_MEMBER_REMOVE", there.members.pop(id_of(user)), guild=there)

    def add_role(self, guild: Ref, name: str, permissions: Permission = NONE, *, position: int | None = None) -> Role:
        """A new role, above the others unless a position is given."""
        there = self.guilds[id_of(guild)]
        role = Role(self.snowflake(), there.id, name, permissions, len(there.roles) if position is None else position)
        there.roles[role.id] = role
        self.emit("GUILD_ROLE_CREATE", role)
        return role

    def update_role(self, role: Role, **changes: Any) -> None:
        """Change a role's `name`, `permissions` or `position`."""
        _set(role, changes)
        self.emit("GUILD_ROLE_UPDATE", role)

    def remove_role(self, role: Role) -> None:
        """Delete a role; its members lose it."""
        there = self.guilds[role.guild_id]
        del there.roles[role.id]
        for member in there.members.values():
            member.role_ids = [role_id for role_id in member.role_ids if role_id != role.id]
        self.emit("GUILD_ROLE_DELETE", role)

    # -- channels and threads

    def add_channel(
        self,
        guild: Ref,
        name: str,
        *,
        kind: ChannelKind = ChannelKind.TEXT,
        category: Channel | None = None,
        nsfw: bool = False,
        topic: str | None = None,
        hidden_from_everyone: bool = False,
    ) -> Channel:
        """A new channel. One made in a category starts with a copy of the category's overwrites."""
        there = self.guilds[id_of(guild)]
        channel = Channel(self.snowflake(), there, name, kind, position=len(there.channels), nsfw=nsfw, topic=topic)
        if category is not None:
            channel.parent_id = category.id
            channel.overwrites = {k: Overwrite(o.is_member, o.allow, o.deny) for k, o in category.overwrites.items()}
        if hidden_from_everyone:
            channel.overwrites[there.id] = Overwrite(is_member=False, deny=P.VIEW_CHANNEL)
        there.channels[channel.id] = channel
        self.emit("CHANNEL_CREATE", channel)
        return channel

    def update_channel(self, channel: Ref, **changes: Any) -> None:
        """Change a channel's `name`, `nsfw`, `topic`, `position`, `parent_id` or `overwrites`."""
        there = self.place(channel)
        _set(there, changes)
        self.emit("CHANNEL_UPDATE", there)

    def remove_channel(self, channel: Ref) -> None:
        """Delete a channel with its threads."""
        there = self.place(channel).channel
        del there.guild.channels[there.id]
        for archived in (False, True):
            for thread in there.guild.threads_of(there, archived=archived):
                del there.guild.threads[thread.id]
        self.emit("CHANNEL_DELETE", there)

    def allow(self, channel: Channel, target: Role | User | Member | Guild, permissions: Permission) -> None:
        """Let a role, a member or (given the guild) everyone do this in the channel, whatever the guild says."""
        overwrite = _overwrite(channel, target)
        overwrite.allow |= permissions
        overwrite.deny &= ~permissions
        self.emit("CHANNEL_UPDATE", channel)

    def deny(self, channel: Channel, target: Role | User | Member | Guild, permissions: Permission) -> None:
        """Forbid a role, a member or (given the guild) everyone to do this in the channel."""
        overwrite = _overwrite(channel, target)
        overwrite.deny |= permissions
        overwrite.allow &= ~permissions
        self.emit("CHANNEL_UPDATE", channel)

    def add_thread(
        self,
        channel: Ref,
        name: str,
        *,
        owner: Ref,
        private: bool = False,
        members: Iterable[Ref] = (),
        archived: bool = False,
        at: datetime | None = None,
    ) -> Thread:
        """A thread, or a post if the channel is a forum. Its owner is its first member."""
        parent = self.place(channel).channel
        kind = ChannelKind.ANNOUNCEMENT_THREAD if parent.kind is ChannelKind.ANNOUNCEMENT else ChannelKind.PUBLIC_THREAD
        made_at = at or self.clock()
        thread = Thread(
            self.snowflake(at),
            parent,
            name,
            ChannelKind.PRIVATE_THREAD if private else kind,
            id_of(owner),
            made_at,
            archived,
            member_ids={id_of(user): made_at for user in (owner, *members)},
        )
        parent.guild.threads[thread.id] = thread
        self.emit("THREAD_CREATE", thread, newly_created=True)
        return thread

    def update_thread(self, thread: Thread, **changes: Any) -> None:
        """Change a thread's `name`, `archived` or `locked`."""
        if changes.get("archived", thread.archived) is not thread.archived:
            thread.archive_changed_at = self.clock()
        _set(thread, changes)
        self.emit("THREAD_UPDATE", thread)

    def remove_thread(self, thread: Thread) -> None:
        """Delete a thread with its messages."""
        del thread.guild.threads[thread.id]
        self.emit("THREAD_DELETE", thread)

    def add_thread_member(self, thread: Thread, user: Ref) -> None:
        """Someone joins the thread, or is mentioned into it."""
        thread.member_ids[id_of(user)] = self.clock()
        if id_of(user) == self.bot.id:
            self.emit("THREAD_CREATE", thread, newly_created=False)
        self.emit("THREAD_MEMBERS_UPDATE", thread, added=[id_of(user)], removed=[])

    def remove_thread_member(self, thread: Thread, user: Ref) -> None:
        """Someone leaves the thread."""
        thread.member_ids.pop(id_of(user), None)
        self.emit("THREAD_MEMBERS_UPDATE", thread, added=[], removed=[id_of(user)])

    # -- messages

    def add_message(
        self,
        place: Ref,
        author: Ref,
        content: str = "",
        *,
        at: datetime | None = None,
        reply_to: Ref | None = None,
        mentions: Iterable[Ref] | None = None,
        attachments: Iterable[Attachment | str] = (),
        announce: bool = True,
        **fields: Any,
    ) -> Message:
        """A message is said. `mentions` are read from the content unless given; `announce=False` says it unheard.

        `fields` are any other fields of `Message`.
        """
        files = [Attachment(a) if isinstance(a, str) else a for a in attachments]
        for file in files:
            file.id = self.snowflake(at)
        message = Message(
            self.snowflake(at),
            self.place(place),
            self.users[id_of(author)],
            content,
            at or self.clock(),
            reply_to=None if reply_to is None else id_of(reply_to),
            mention_ids=pinged(content).user_ids if mentions is None else [id_of(user) for user in mentions],
            attachments=files,
        )
        if reply_to is not None:
            message.kind = MessageKind.REPLY
        _set(message, fields)
        self.keep(message, announce=announce)
        return message

    def keep(self, message: Message, *, announce: bool = True) -> None:
        """Put a finished message into its place."""
        message.place.history.add(message)
        if announce:
            self.emit("MESSAGE_CREATE", message)

    def edit_message(self, message: Message, *, announce: bool = True, **changes: Any) -> None:
        """Change a message. New content moves `edited_at` and the mentions; a link preview (`embeds`) does not."""
        if "content" in changes and changes["content"] != message.content:
            changes = {
                "edited_at": self.clock(),
                "mention_ids": pinged(changes["content"], message.allowed_mentions).user_ids,
                **changes,
            }
        _set(message, changes)
        if announce:
            self.emit("MESSAGE_UPDATE", message)

    def remove_message(self, message: Message, *, announce: bool = True) -> None:
        """Delete one message."""
        message.place.history.remove(message.id)
        if announce:
            self.emit("MESSAGE_DELETE", message)

    def remove_messages(self, place: Ref, messages: Iterable[Ref], *, announce: bool = True) -> None:
        """Delete many messages of one place at once."""
        there = self.place(place)
        ids = [id_of(message) for message in messages]
        for message_id in ids:
            there.history.remove(message_id)
        if announce:
            self.emit("MESSAGE_DELETE_BULK", there, ids=ids)


def _set(thing: object, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if not hasattr(thing, name):
            raise AttributeError(f"{type(thing).__name__} has no {name}")
        setattr(thing, name, value)


def _overwrite(channel: Channel, target: Role | User | Member | Guild) -> Overwrite:
    who = target.user if isinstance(target, Member) else target
    return channel.overwrites.setdefault(who.id, Overwrite(is_member=isinstance(who, User)))
