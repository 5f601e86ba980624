"""The people of a run in the stand-in Discord. What they said and did not take back is the truth a run is judged by."""

import asyncio
import time
from collections.abc import Iterable, Iterator

from _chaos_script import TOKEN, Act, Do
from _chaos_services import Moment

from bot.sandbox.discord import Channel, ChannelKind, DiscordServer, Message, Thread

_CHANNELS = {"harbour": ("boats", "ropes", "forum"), "garden": ("beds", "tools", "forum")}
_PEOPLE = ("Ann", "Ben", "Cleo", "Dan", "Eva", "Finn")


class Town:
    """Two guilds with channels, threads, a forum and a private thread each. Everything in them is observed."""

    def __init__(self, discord: DiscordServer) -> None:
        self._discord = discord
        world = discord.world
        self.people = [world.add_user(name.lower(), display_name=name) for name in _PEOPLE]
        self.owner = self.people[0]
        self.guilds = {name: world.add_guild(name=name, owner=self.owner) for name in _CHANNELS}
        self.places: dict[str, Channel | Thread] = {}
        self.parents: dict[str, str | None] = {}
        self.messages: dict[int, Message] = {}
        self.taken_back: set[str] = set()
        self.counts = dict.fromkeys(Do, 0)
        self.spoke = Moment()
        self._said: list[tuple[float, int]] = []
        for name, guild in self.guilds.items():
            for user in self.people[1:]:
                world.add_member(guild, user)
            for channel in _CHANNELS[name]:
                kind = ChannelKind.FORUM if channel == "forum" else ChannelKind.TEXT
                self._add(f"{name}/{channel}", None, world.add_channel(guild, channel, kind=kind))
            first = f"{name}/{_CHANNELS[name][0]}"
            crew = world.add_thread(
                self.places[first], "crew", owner=self.owner, private=True, members=[*self.people[1:], world.bot]
            )
            self._add(f"{first}/crew", first, crew)

    def _add(self, key: str, parent: str | None, place: Channel | Thread) -> None:
        self.places[key], self.parents[key] = place, parent

    def observed(self) -> Iterator[Channel | Thread]:
        """The places an admin switches on: the channels and, one by one, the private threads."""
        return (place for place in self.places.values() if isinstance(place, Channel) or place.private)

    @property
    def squares(self) -> list[Channel | Thread]:
        """One channel of each guild, to ask in."""
        return [self.places[f"{name}/{channels[0]}"] for name, channels in _CHANNELS.items()]

    def said_since(self, moment: float) -> list[int]:
        """The ids of what was said since this time of the monotonic clock, and is not deleted."""
        alive = {message.id for place in self.live() for message in place}
        return [id for at, id in self._said if at >= moment and id in alive]

    def about(self, id: str) -> str:
        """Where a message was said, and what, by its id; nothing about other ids."""
        for number, message in self.messages.items():
            if str(message.id) == id:
                return f"number {number} in {message.place.name}: {message.content}, in answer to {message.reply_to}"
        return ""

    def live(self) -> Iterator[list[Message]]:
        """What people said and did not take back, place by place, oldest first."""
        for guild in self.guilds.values():
            places: list[Channel | Thread] = [*guild.channels.values(), *guild.threads.values()]
            for place in places:
                yield [message for message in place.history if not message.author.bot]

    async def act(self, acts: Iterable[Act]) -> None:
        """Do one after the other, with its pauses, whoever listens."""
        for act in acts:
            await asyncio.sleep(act.pause)
            await self._do(act)
            self.counts[act.do] += max(1, len(act.numbers))

    async def _do(self, act: Act) -> None:
        world = self._discord.world
        messages = [self.messages[number] for number in act.numbers if number in self.messages]
        match act.do:
            case Do.SAY:
                await self._say(act)
            case Do.OPEN:
                await self._open(act)
            case Do.EDIT:
                self._take_back(messages)
                self._set_archived(self.places[act.place], False)  # nobody can edit in an archived thread
                await self._discord.edit(self.places[act.place], messages[0], act.text)
            case Do.DELETE:
                self._take_back(messages)
                if len(messages) == 1:
                    await self._discord.delete(self.places[act.place], messages[0])
                else:
                    await self._discord.bulk_delete(self.places[act.place], messages)
            case Do.PREVIEW:
                world.edit_message(messages[0], embeds=[{"type": "link", "url": "https://example.org"}])
            case Do.ARCHIVE:
                self._set_archived(self.places[act.place], True)

    async def _say(self, act: Act) -> None:
        place, [number] = self.places[act.place], act.numbers
        answered = None if act.reply_to is None else self.messages[act.reply_to]
        sent = await self._discord.say(place, self.people[act.author], act.text, reply_to=answered)
        self.messages[number] = self._discord.world.message(place, sent)
        self._said.append((time.monotonic(), self.messages[number].id))
        self.spoke.now()

    async def _open(self, act: Act) -> None:
        world, parent, author = self._discord.world, self.places[act.parent], self.people[act.author]
        name = act.place.rpartition("/")[2]
        if isinstance(parent, Channel) and parent.kind is ChannelKind.FORUM:
            post = world.add_post(parent, name, author, act.text)
            self._add(act.place, act.parent, post)
            self.messages[act.numbers[0]] = world.message(post, post.id)
        else:
            self._add(act.place, act.parent, world.add_thread(parent, name, owner=author))
            await self._say(act)

    def _set_archived(self, place: Channel | Thread, archived: bool) -> None:
        if isinstance(place, Thread) and place.archived is not archived:
            self._discord.world.update_thread(place, archived=archived)

    def _take_back(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.taken_back.update(TOKEN.findall(message.content))
