"""Much traffic: a guild full of people who talk as fast as asked."""

import asyncio
import itertools
import time
from dataclasses import dataclass

from bot.sandbox import conversation
from bot.sandbox.discord.entities import Channel, Guild, Message, User
from bot.sandbox.discord.server import DiscordServer
from bot.sandbox.discord.world import World


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent: how many messages and over which ids, and the seconds it took to write them."""

    messages: int
    first_id: int
    last_id: int
    seconds: float


class Crowd:
    """People in the channels of one guild, saying the lines of the bundled conversation over and over."""

    def __init__(self, world: World, *, channels: int = 1, people: int = 20) -> None:
        self.guild: Guild = world.add_guild(name="crowd")
        self.channels: list[Channel] = [world.add_channel(self.guild, f"channel-{n}") for n in range(channels)]
        self.people: list[User] = [world.add_user(f"person-{n}") for n in range(people)]
        for person in self.people:
            world.add_member(self.guild, person)
        self._world = world
        self._places = itertools.cycle(self.channels)
        self._speakers = itertools.cycle(self.people)
        texts = [post.text for post in conversation.load().posts if not post.mentions]
        self._texts = itertools.cycle(texts)

    def speak(self, *, announce: bool = True, nonce: str | None = None) -> Message:
        """The next message."""
        place, speaker, text = next(self._places), next(self._speakers), next(self._texts)
        return self._world.add_message(place, speaker, text, announce=announce, nonce=nonce)


async def burst(server: DiscordServer, crowd: Crowd, messages: int) -> Sent:
    """So many messages at once. They are made before the first is sent, so that making them slows nobody down."""
    made = [crowd.speak(announce=False) for _ in range(messages)]
    started = time.monotonic()
    await server.burst(made)
    return Sent(messages, made[0].id, made[-1].id, time.monotonic() - started)


async def steady(server: DiscordServer, crowd: Crowd, rate: float, seconds: float) -> Sent:
    """So many messages a second for so long, evenly spaced.

    Each carries `time.monotonic_ns()` of its sending as its nonce. That clock is one for all processes of a
    machine (on Linux), so a receiver can tell how old a message is.
    """
    started = time.monotonic()
    sent: list[Message] = []
    for number in range(round(rate * seconds)):
        await asyncio.sleep(started + number / rate - time.monotonic())
        sent.append(crowd.speak(nonce=str(time.monotonic_ns())))
    return Sent(len(sent), sent[0].id, sent[-1].id, time.monotonic() - started)
