"""Random guilds, and the shipped visibility of them judged by the stand-in's own reading of Discord's rules."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import discord
from drawn_guilds import ASKERS, READING, TEXT, Change, SomeGuild, SomeOverwrite

from bot.capture.gateway import Connection, use_addresses
from bot.capture.visibility import DiscordVisibility
from bot.sandbox.discord import Channel, ChannelKind, DiscordServer, Guild, Role, Thread, User
from bot.sandbox.discord.entities import Overwrite, Place
from bot.sandbox.discord.interactions import InteractionKind
from bot.sandbox.discord.permissions import P
from bot.sandbox.discord.reading import readable_by_all_who_view
from bot.settings import DiscordSettings
from bot.storage.observations import Observations

T = TypeVar("T")


class Observed(Observations):
    """Every thread of a guild was observed once; `strays` are ids that no guild should own up to."""

    def __init__(self, server: DiscordServer) -> None:
        self._server = server
        self.strays: frozenset[int] = frozenset()

    def ever(self, guild_id: int) -> frozenset[int]:
        return self.strays.union(self._server.world.guilds[guild_id].threads)


class Listener(Connection):
    """The shipped connection, which tells who asks."""

    def __init__(self, settings: DiscordSettings) -> None:
        super().__init__(settings)
        self.asked: dict[int, asyncio.Future[discord.Member]] = {}

    async def on_ready(self) -> None:
        self.ready.set()

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        assert isinstance(interaction.user, discord.Member)
        self.asked.pop(interaction.id).set_result(interaction.user)


@dataclass(frozen=True)
class Finding:
    """What somebody was shown and may not read, and what they may read and were not shown, by channel id."""

    door: str
    leaked: frozenset[int]
    withheld: frozenset[int]


class Stage:
    """The stand-in and a client of it, for one guild after another; `seconds` is the clock of the visibility."""

    def __init__(self, server: DiscordServer, client: Listener) -> None:
        self.server, self.world, self.client = server, server.world, client
        self.observed = Observed(server)
        self.seconds = 0.0
        self.visibility = self.visibility_of(DiscordVisibility)
        self.users = [self.world.add_user(f"asker {number}") for number in range(ASKERS)]
        self.keeper = self.world.add_user("keeper")

    def visibility_of(self, kind: type[DiscordVisibility]) -> DiscordVisibility:
        """One more visibility of the same client."""
        return kind(self.client, self.observed, lambda: self.seconds)

    def open(self, spec: SomeGuild) -> "Scene":
        """A guild made to a description, and the bot invited."""
        world = self.world
        guild = world.add_guild(
            name="guild",
            owner=[*self.users, *[self.keeper] * 3][spec.owner % (ASKERS + 3)],
            everyone=spec.everyone,
            with_bot=False,
        )
        roles = [world.add_role(guild, "role", permissions) for permissions in spec.roles]
        scene = Scene(self, guild, roles)
        for user, asker in zip(self.users, spec.askers, strict=True):
            world.add_member(guild, user, roles=_some(roles, asker.roles))
            if asker.timeout:
                timed_out_until = world.clock() + timedelta(hours=asker.timeout)
                world.update_member(guild, user, timed_out_until=timed_out_until)
        for some in spec.channels:
            categories = [one for one in guild.channels.values() if one.kind is ChannelKind.CATEGORY]
            category = categories[-1] if categories and some.in_category and some.kind in TEXT else None
            made = world.add_channel(guild, "channel", kind=some.kind, nsfw=some.nsfw, category=category)
            for overwrite in some.overwrites:
                scene.overwrite(made, overwrite)
        parents = [one for one in guild.channels.values() if one.kind in TEXT]
        for thread in spec.threads if parents else ():
            parent = parents[thread.channel % len(parents)]
            world.add_thread(
                parent,
                "thread",
                owner=self.keeper,
                private=thread.private and parent.kind is not ChannelKind.FORUM,
                archived=thread.archived,
                members=[*_some(self.users, thread.members), *[world.bot] * thread.with_bot],
            )
        world.join_guild(guild, spec.bot)
        return scene


class Scene:
    """One guild on the stage."""

    def __init__(self, stage: Stage, guild: Guild, roles: list[Role]) -> None:
        self.stage, self.world, self.guild, self.roles = stage, stage.world, guild, roles
        self._for_all: dict[int, frozenset[int]] = {}  # judged once for as long as nothing changes

    def close(self) -> None:
        """The bot leaves, and the guild is no more."""
        self.world.leave_guild(self.guild)
        del self.world.guilds[self.guild.id]

    def overwrite(self, channel: Channel, some: SomeOverwrite) -> None:
        """Set one overwrite of a channel."""
        targets: list[Guild | Role | User] = [self.guild, *self.roles, *self.stage.users]
        target = targets[some.target % len(targets)]
        overwrite = Overwrite(isinstance(target, User), some.allow, some.deny & ~some.allow)
        self.world.update_channel(channel, overwrites={**channel.overwrites, target.id: overwrite})

    def change(self, change: Change) -> None:
        """Something happens; what it names may be gone already."""
        self._for_all.clear()
        world, guild, users = self.world, self.guild, self.stage.users
        user = users[change.which % len(users)]
        threads = list(guild.threads.values())
        thread = threads[change.which % len(threads)] if threads else None
        match change.what:
            case "everyone":
                world.update_role(guild.everyone, permissions=change.overwrite.allow)
            case "role" if self.roles:
                world.update_role(self.roles[change.which % len(self.roles)], permissions=change.overwrite.allow)
            case "no role" if self.roles:
                world.remove_role(self.roles.pop(change.which % len(self.roles)))
            case "overwrite":
                self.overwrite(list(guild.channels.values())[change.which % len(guild.channels)], change.overwrite)
            case "member" if user.id in guild.members:
                world.update_member(guild, user, role_ids=[role.id for role in _some(self.roles, change.numbers)])
            case "gone" if guild.members.get(user.id) and guild.owner_id != user.id:
                world.remove_member(guild, user)
            case "owner" if user.id in guild.members:
                world.update_guild(guild, owner_id=user.id)
            case "timeout" if user.id in guild.members:
                world.update_member(guild, user, timed_out_until=world.clock() + timedelta(hours=1))
            case "in" if thread and user.id not in thread.member_ids:
                world.add_thread_member(thread, user)
            case "out" if thread and user.id in thread.member_ids:
                world.remove_thread_member(thread, user)

    async def asking(self) -> list[discord.Member]:
        """The askers who are members, as interactions describe them; all events before these are handled then."""
        stage, place = self.stage, next(iter(self.guild.channels.values()))
        command = {"id": "1", "name": "recall", "type": 1}
        asked = []
        for user in stage.users:
            if user.id in self.guild.members:
                interaction = stage.server.interactions.new(InteractionKind.COMMAND, user, place)
                stage.client.asked[interaction.id] = asyncio.get_running_loop().create_future()
                asked.append(stage.client.asked[interaction.id])
                stage.server.interactions.start(interaction, command)
        async with asyncio.timeout(10):
            return list(await asyncio.gather(*asked))

    async def findings(self, members: Sequence[discord.Member], visibility: DiscordVisibility) -> list[Finding]:
        """What is wrong with what each asker is shown after an interaction, and all who view some place."""
        self.stage.seconds += 60
        shown = await asyncio.gather(*(visibility.for_member(member) for member in members))
        found = [self.judged("interaction", member.id, ids) for member, ids in zip(members, shown, strict=True)]
        found += [self.judged_public(place, await visibility.public(self.guild.id, place.id)) for place in self.places]
        return [one for one in found if one.leaked or one.withheld]

    async def findings_by_id(self, visibility: DiscordVisibility) -> list[Finding]:
        """The same for askers, members or not, of whom only the id is known."""
        shown = await asyncio.gather(*(visibility.visible(self.guild.id, user.id) for user in self.stage.users))
        found = [self.judged("id", user.id, ids) for user, ids in zip(self.stage.users, shown, strict=True)]
        return [one for one in found if one.leaked or one.withheld]

    @property
    def places(self) -> list[Place]:
        """Where somebody may ask aloud."""
        return [*self.guild.channels.values(), *(one for one in self.guild.threads.values() if not one.archived)]

    def judged(self, door: str, user_id: int, shown: frozenset[int]) -> Finding:
        """An asker's ids against the oracle's; what the bot itself cannot see it may withhold."""
        world = self.world
        allowed = world.readable(user_id, self.guild)
        unknown = {
            thread.id
            for thread in self.guild.threads.values()
            if P.VIEW_CHANNEL not in world.permissions_at(world.bot, thread)
        }
        return Finding(door, shown - allowed, allowed - shown - unknown)

    def judged_public(self, place: Place, shown: frozenset[int]) -> Finding:
        """Ids for all to see against the oracle's; every channel that is simply open is to be among them."""
        if place.id not in self._for_all:
            self._for_all[place.id] = readable_by_all_who_view(place, self.world.clock())
        allowed = self._for_all[place.id]
        known = P.VIEW_CHANNEL in self.world.permissions_at(self.world.bot, place) or not isinstance(place, Thread)
        simply_open = frozenset(channel.id for channel in self.open_channels() if known)
        return Finding("public", shown - allowed, simply_open - shown)

    def open_channels(self) -> list[Channel]:
        """Those that @everyone may read, with no overwrite that denies it to anyone."""
        everyone = self.guild.everyone.permissions
        found = []
        for channel in self.guild.channels.values():
            overwrites = channel.overwrites.values()
            here = channel.overwrites.get(self.guild.id, Overwrite(is_member=False))
            given = everyone | here.allow
            readable = READING in given or P.ADMINISTRATOR in given
            if channel.kind in TEXT and not channel.nsfw and readable and not any(o.deny & READING for o in overwrites):
                found.append(channel)
        return found


def _some(things: Sequence[T], numbers: frozenset[int]) -> list[T]:
    """Things by number, modulo how many there are, each once."""
    return [things[index] for index in sorted({number % len(things) for number in numbers})] if things else []


@asynccontextmanager
async def stage_on(server: DiscordServer) -> AsyncIterator[Stage]:
    """A stage with its client connected."""
    settings = DiscordSettings(api_url=server.api_url, gateway_url=server.gateway_url)
    use_addresses(settings)
    client = Listener(settings)
    stage = Stage(server, client)
    serving = asyncio.create_task(client.serve(server.token))
    try:
        async with asyncio.timeout(10):
            await client.ready.wait()
        yield stage
    finally:
        await client.close()
        await serving
