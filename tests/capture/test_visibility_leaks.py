"""No one is shown what they may not read: random guilds, changed under the eyes of the real client.

A case is one asker in one state of one guild. The judge is the stand-in's own algorithm, which shares nothing
with discord.py or with the bot. `make test-all` tries four times as many guilds.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import discord
import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route
from drawn_guilds import ASKERS, GUILDS, SomeGuild
from hypothesis import HealthCheck, Phase, given, seed, settings
from leaks import Scene, Stage, stage_on

from bot.capture import visibility
from bot.capture.visibility import DiscordVisibility
from bot.sandbox.discord import DiscordServer, Permission


def _nothing(*_: object, **__: object) -> None:
    pass


PATIENCE = 60.0  # a busy machine hides nothing
ROOMY = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
async def stage(discord_server: DiscordServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """One connection for all guilds of a test."""
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)
    monkeypatch.setattr(visibility, "_PATIENCE", PATIENCE)
    async with stage_on(discord_server) as stage:
        yield stage


@pytest.fixture
def cases() -> Iterator[list[Any]]:
    """What was found in each case; there are enough of them."""
    found: list[Any] = []
    yield found
    assert len(found) >= 5 * settings().max_examples


@settings(ROOMY)
@given(spec=GUILDS)
async def test_nobody_is_shown_what_they_may_not_read(stage: Stage, cases: list[Any], spec: SomeGuild) -> None:
    """By interaction or by id, alone or with all who look on: exactly what Discord's rules give, before and after."""
    scene = stage.open(spec)
    try:
        for changes in ([], spec.changes):
            for change in changes:
                scene.change(change)
            members = await scene.asking()
            assert await scene.findings(members, stage.visibility) == []
            assert await scene.findings_by_id(stage.visibility) == []
            cases.extend([()] * ASKERS)
    finally:
        scene.close()


async def test_guilds_are_isolated(stage: Stage) -> None:
    """A thread of another guild is not shown in this one, though the asker is in it and the record has it here."""
    world, asker = stage.world, stage.users[0]
    here, there = (world.add_guild(name=name, bot_permissions=Permission.ADMINISTRATOR) for name in ("here", "there"))
    for guild in (here, there):
        world.add_member(guild, asker)
    channel, home = world.add_channel(there, "general"), world.add_channel(here, "general")
    threads = [
        world.add_thread(channel, "secret", owner=asker, private=True, archived=archived) for archived in (True, False)
    ]
    stage.observed.strays = frozenset({channel.id, *(thread.id for thread in threads)})
    [member] = await Scene(stage, here, []).asking()

    assert await stage.visibility.for_member(member) == {home.id}
    assert await stage.visibility.visible(here.id, asker.id) == {home.id}
    assert await stage.visibility.visible(there.id, asker.id) == {channel.id, *(thread.id for thread in threads)}
    assert await stage.visibility.public(here.id, channel.id) == frozenset()
    assert await stage.visibility.public(here.id, threads[1].id) == frozenset()


# The rules of the bot, and what stands in their place when one is taken away.
RULES = {
    "history is a permission of its own": ("    return permissions.read_message_history\n", "    return True\n"),
    "voice takes Connect": ("if isinstance(channel, discord.VoiceChannel | discord.StageChannel) and", "if False and"),
    "categories hold no words": ("if isinstance(channel, discord.CategoryChannel):", "if False:"),
    "public threads go with their channel": (
        "thread, discord.Thread) or not thread.is_private()",
        "thread, discord.Thread)",
    ),
    "a thread's channel must be readable": ("readable.get(thread.parent_id)", "thread.parent"),
    "who manages threads sees them": ("parent.permissions_for(member).manage_threads or ", ""),
    "others do not": ("parent.permissions_for(member).manage_threads or ", "True or "),
    "all: only where everyone reads": (
        "if not channel.permissions_for(channel.guild.default_role).read_message_history:",
        "if False:",
    ),
    "all: no denied view": ("one.view_channel is False or ", ""),
    "all: no denied history": (
        "one.view_channel is False or one.read_message_history is False",
        "one.view_channel is False",
    ),
    "all: no age-restricted channels": (" or channel.is_nsfw():", ":"),
    "all: text channels and forums only": (
        "if not isinstance(channel, discord.TextChannel | discord.ForumChannel) or channel.is_nsfw():",
        "if channel.is_nsfw():",
    ),
    "all: the place itself only with its history": ("if _shows_its_history(channel) else open_to_all", ""),
    "all: not the voice channel they are in": (
        "    if not isinstance(channel, discord.TextChannel | discord.ForumChannel):\n",
        "    if not isinstance(channel, discord.abc.GuildChannel):\n",
    ),
    "all: history denied to one": ("if any(one.read_message_history is False for one in others):", "if False:"),
    "all: history denied to @everyone": ("if history is None else history:", "or history:"),
    "all: history kept from @everyone": ("everyone.permissions.read_message_history if", "True if"),
    "all: let in by role": ("here.view_channel is False and all", "all"),
    "all: let in without history": (
        "all(one.read_message_history for one in others if one.view_channel)",
        "True",
    ),
    "all: a thread by its channel": ("{access_id(place)}", "{place.id}"),
}

# Those that discord.py applies for the bot: what is patched, and with what.
LIBRARY = {
    "without View Channel there is nothing": (discord.abc.GuildChannel, "_apply_implicit_permissions", _nothing),
    "a timeout leaves viewing and reading": (discord.Member, "is_timed_out", lambda self: False),
    "overwrites count": (discord.Permissions, "handle_overwrite", _nothing),
}


async def test_every_rule_is_needed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any single rule some of the same guilds show or withhold what they should not."""
    unnoticed = {name: stage.visibility_of(without(*rule)) for name, rule in RULES.items()}
    unnoticed |= dict.fromkeys(LIBRARY, stage.visibility)
    for spec in some_guilds():
        if not unnoticed:
            break
        scene = stage.open(spec)
        for changes in ([], spec.changes):
            for change in changes:
                scene.change(change)
            members = await scene.asking()
            for name, product in list(unnoticed.items()):
                with monkeypatch.context() as patches:
                    if name in LIBRARY:
                        patches.setattr(*LIBRARY[name])
                    if await scene.findings(members, product):
                        del unnoticed[name]
        scene.close()
    assert not unnoticed


def without(rule: str, instead: str) -> type[DiscordVisibility]:
    """The shipped class, from a source with one rule replaced."""
    source = Path(str(visibility.__file__)).read_text()
    assert source.count(rule) == 1, f"visibility.py does not say {rule!r} once"
    module = ModuleType("bot.capture.visibility_without_a_rule")
    exec(compile(source.replace(rule, instead), "<visibility without a rule>", "exec"), module.__dict__)  # noqa: S102
    module.__dict__["_PATIENCE"] = PATIENCE
    kind: type[DiscordVisibility] = module.DiscordVisibility
    return kind


def some_guilds() -> Iterator[SomeGuild]:
    """The same guilds at every run, many more than are needed, drawn when they are."""
    drawn: list[SomeGuild] = []

    @settings(ROOMY, max_examples=50, database=None, phases=[Phase.generate])
    @given(spec=GUILDS)
    def draw(spec: SomeGuild) -> None:
        drawn.append(spec)

    for number in range(10):
        seed(number)(draw)()
        yield from drawn
        drawn.clear()
