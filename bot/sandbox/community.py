"""The bundled conversation's people and channels in the stand-in Discord, and their way to talk there."""

import re
from datetime import datetime, timedelta
from time import monotonic

from bot.sandbox.conversation import Conversation, Post
from bot.sandbox.discord import Channel, Message, Permission, Thread, User, World

_MENTION = re.compile(r"<@([a-z]+)>")
_LINK = re.compile(r"https://discord\.com/channels/\d+/\d+/(\d+)")


class StoryClock:
    """A clock that starts anywhere, runs like any other and can be put forward."""

    def __init__(self, start: datetime) -> None:
        self.start = start
        self._set_to, self._set_at = start, monotonic()

    def __call__(self) -> datetime:
        return self._set_to + timedelta(seconds=monotonic() - self._set_at)

    def forward_to(self, moment: datetime) -> None:
        """Make it this moment, unless that has passed."""
        if moment > self():
            self._set_to, self._set_at = moment, monotonic()


class Community:
    """A guild made of a conversation. `users`, `places` and, once said, `messages` are by the conversation's keys.

    The first organiser owns the guild, the others may manage it; a private channel is theirs and the bot's.
    """

    def __init__(self, world: World, conversation: Conversation, clock: StoryClock) -> None:
        self._world = world
        self._clock = clock
        self.conversation = conversation
        self.users: dict[str, User] = {}
        for member in conversation.members:
            self.users[member.key] = world.add_user(member.key, display_name=member.name)
        organisers = [member.key for member in conversation.members if member.organiser]
        self.owner = self.users[organisers[0]]
        self.guild = world.add_guild(name=conversation.guild, owner=self.owner)
        manager = world.add_role(self.guild, "organisers", Permission.MANAGE_GUILD)
        for key, user in self.users.items():
            if user is not self.owner:
                world.add_member(self.guild, user, roles=[manager] if key in organisers else [])
        self.places: dict[str, Channel | Thread] = {}
        for channel in conversation.channels:
            if channel.parent is None:
                place = world.add_channel(self.guild, channel.name, hidden_from_everyone=channel.private)
                self.places[channel.key] = place
                if channel.private:
                    for reader in (*(self.users[key] for key in channel.readers), world.bot):
                        world.allow(place, reader, Permission.VIEW_CHANNEL)
        self.messages: dict[str, Message] = {}

    @property
    def channels(self) -> list[Channel]:
        """The channels that are no threads."""
        return [place for place in self.places.values() if isinstance(place, Channel)]

    @property
    def private_place(self) -> Channel:
        """The first channel that is hidden from some."""
        key = next(channel.key for channel in self.conversation.channels if channel.private)
        return next(channel for channel in self.channels if channel is self.places[key])

    @property
    def secrets(self) -> list[Message]:
        """What was said there."""
        return [message for message in self.messages.values() if message.place is self.private_place]

    def time_of(self, post: Post) -> datetime:
        """When a post is said in the story."""
        return self._clock.start + timedelta(minutes=post.at)

    def say(self, post: Post) -> Message:
        """Move the clock to a post's time and say it; the first post of a thread opens it."""
        at = self.time_of(post)
        self._clock.forward_to(at)
        author = self.users[post.author]
        if post.channel not in self.places:
            thread = next(channel for channel in self.conversation.channels if channel.key == post.channel)
            parent = self.places[thread.parent or ""]
            self.places[post.channel] = self._world.add_thread(parent, thread.name, owner=author, at=at)
        self.messages[post.key] = self._world.add_message(
            self.places[post.channel],
            author,
            _MENTION.sub(lambda mention: f"<@{self.users[mention[1]].id}>", post.text),
            at=at,
            reply_to=self.messages[post.reply_to] if post.reply_to else None,
        )
        return self.messages[post.key]

    def link(self, key: str) -> str:
        """The address of a message that was said."""
        message = self.messages[key]
        return f"https://discord.com/channels/{self.guild.id}/{message.place.id}/{message.id}"

    def linked(self, text: str) -> list[Message]:
        """The messages that were said and that a text links to, each once, in the order it names them."""
        said = {message.id: message for message in self.messages.values()}
        ids = dict.fromkeys(map(int, _LINK.findall(text)))
        return [said[id] for id in ids if id in said]
