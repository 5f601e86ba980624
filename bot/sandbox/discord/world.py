"""Changing what exists: every change becomes a gateway event."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from bot.sandbox.discord.entities import (
    Attachment,
    Channel,
    ChannelKind,
    Guild,
    Member,
    Message,
    MessageKind,
    Overwrite,
    Ref,
    Role,
    Thread,
    User,
    id_of,
)
from bot.sandbox.discord.mentions import pinged
from bot.sandbox.discord.permissions import EVERYONE, NONE, P, Permission
from bot.sandbox.discord.state import State

BOT_PERMISSIONS = P.VIEW_CHANNEL | P.READ_MESSAGE_HISTORY | P.SEND_MESSAGES | P.SEND_MESSAGES_IN_THREADS | P.EMBED_LINKS


class World(State):
    """The state with the ways to build and change it.

    Times may be chosen with `at`, and ids carry them, so that history can lie in the past.
    """

    # -- guilds, members, roles

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

    def update_guild(self, guild: Ref, **changes: Any) -> None:
        """Change a guild's `name` or `owner_id`."""
        there = self.guilds[id_of(guild)]
        _set(there, changes)
        self.emit("GUILD_UPDATE", there)

    def add_member(self, guild: Ref, user: Ref, *, nick: str | None = None, roles: Iterable[Ref] = ()) -> Member:
        """A user joins a guild."""
        there = self.guilds[id_of(guild)]
        member = Member(self.users[id_of(user)], self.clock(), nick, [id_of(role) for role in roles])
        there.members[member.user.id] = member
        self.emit("GUILD_MEMBER_ADD", member, guild=there)
        return member

    def update_member(self, guild: Ref, user: Ref, **changes: Any) -> None:
        """Change a member's `nick`, `role_ids` or `timed_out_until`."""
        there, member = self.guilds[id_of(guild)], self.member(guild, user)
        with self._access_of_bot(there):
            _set(member, changes)
            self.emit("GUILD_MEMBER_UPDATE", member, guild=there)

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
        with self._access_of_bot(self.guilds[role.guild_id]):
            _set(role, changes)
            self.emit("GUILD_ROLE_UPDATE", role)

    def remove_role(self, role: Role) -> None:
        """Delete a role; its members lose it."""
        there = self.guilds[role.guild_id]
        del there.roles[role.id]
        for member in there.members.values():
            member.role_ids = [role_id for role_id in member.role_ids if role_id != role.id]
        self.emit("GUILD_ROLE_DELETE", role)

    @contextmanager
    def _access_of_bot(self, guild: Guild) -> Iterator[None]:
        """When a change lets the bot view further channels, it is told of the threads there."""
        before = self.viewed(guild)
        yield
        if gained := self.viewed(guild) - before:
            self.emit("THREAD_LIST_SYNC", guild, channels=gained)

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
        there = self.place(channel).channel
        with self._access_of_bot(there.guild):
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
        with self._access_of_bot(channel.guild):
            overwrite = _overwrite(channel, target)
            overwrite.allow |= permissions
            overwrite.deny &= ~permissions
            self.emit("CHANNEL_UPDATE", channel)

    def deny(self, channel: Channel, target: Role | User | Member | Guild, permissions: Permission) -> None:
        """Forbid a role, a member or (given the guild) everyone to do this in the channel."""
        with self._access_of_bot(channel.guild):
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
        starter: Message | None = None,
        at: datetime | None = None,
    ) -> Thread:
        """A thread. Its owner is its first member; one started from a message has that message's id."""
        parent = self.place(channel).channel
        kind = ChannelKind.ANNOUNCEMENT_THREAD if parent.kind is ChannelKind.ANNOUNCEMENT else ChannelKind.PUBLIC_THREAD
        made_at = at or self.clock()
        thread = Thread(
            starter.id if starter else self.snowflake(at),
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

    def add_post(
        self, forum: Ref, title: str, author: Ref, content: str, *, at: datetime | None = None, **fields: Any
    ) -> Thread:
        """A forum post: a thread and its first message, which share one id."""
        post = self.add_thread(forum, title, owner=author, at=at)
        self.add_message(post, author, content, at=at or self.clock(), id=post.id, **fields)
        return post

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
            allowed = changes.get("allowed_mentions", message.allowed_mentions)
            changes = {
                "edited_at": self.clock(),
                "mention_ids": pinged(changes["content"], allowed).user_ids,
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
