"""Guilds as hypothesis draws them: descriptions, of which `leaks.Stage` makes guilds of the stand-in."""

from operator import add
from typing import NamedTuple

from hypothesis import strategies as st

from bot.sandbox.discord import ChannelKind, Permission
from bot.sandbox.discord.permissions import NONE, P

ASKERS = 3
READING = P.VIEW_CHANNEL | P.READ_MESSAGE_HISTORY
FLAGS = (P.VIEW_CHANNEL, P.READ_MESSAGE_HISTORY, P.CONNECT, P.MANAGE_THREADS)
TEXT = (ChannelKind.TEXT, ChannelKind.ANNOUNCEMENT, ChannelKind.FORUM)
KINDS = (*TEXT, *TEXT, ChannelKind.VOICE, ChannelKind.VOICE, ChannelKind.STAGE, ChannelKind.CATEGORY)


def _flags(bits: int) -> Permission:
    return Permission(sum(flag for number, flag in enumerate(FLAGS) if bits >> number & 1))


ANY = st.integers(0, 15).map(_flags)
NUMBER = st.integers(0, 11)  # of a role, an asker, a channel or a thread, modulo how many there are
NUMBERS = st.frozensets(NUMBER, max_size=3)
SOME_ROLE = st.one_of(ANY, ANY, ANY, ANY, st.just(P.ADMINISTRATOR))


class SomeOverwrite(NamedTuple):
    """An overwrite: for @everyone (0), a role or an asker; what it allows and, beyond that, denies."""

    target: int
    allow: Permission
    deny: Permission


class SomeAsker(NamedTuple):
    roles: frozenset[int]
    timeout: int
    """Hours left; 0 for none, negative for one that is over."""


class SomeChannel(NamedTuple):
    kind: ChannelKind
    nsfw: bool
    in_category: bool
    overwrites: list[SomeOverwrite]


class SomeThread(NamedTuple):
    channel: int
    private: bool
    archived: bool
    members: frozenset[int]
    with_bot: bool


class Change(NamedTuple):
    """What happens next, to what, and what it is given."""

    what: str
    which: int
    numbers: frozenset[int]
    overwrite: SomeOverwrite


class SomeGuild(NamedTuple):
    everyone: Permission
    owner: int
    bot: Permission
    roles: list[Permission]
    askers: list[SomeAsker]
    channels: list[SomeChannel]
    threads: list[SomeThread]
    changes: list[Change]


LET_IN = st.builds(SomeOverwrite, NUMBER, st.sampled_from([P.VIEW_CHANNEL, READING]), st.just(NONE))
OVERWRITE = st.one_of(st.builds(SomeOverwrite, NUMBER, ANY, ANY), LET_IN)
HIDING = st.sampled_from([[], [], [SomeOverwrite(0, NONE, P.VIEW_CHANNEL)], [SomeOverwrite(0, NONE, READING)]])
GUILDS = st.builds(
    SomeGuild,
    everyone=st.one_of(st.just(READING | P.CONNECT), ANY),
    owner=NUMBER,
    bot=st.sampled_from([P.ADMINISTRATOR, P.ADMINISTRATOR, READING]),
    roles=st.lists(SOME_ROLE, min_size=1, max_size=3),
    askers=st.lists(st.builds(SomeAsker, NUMBERS, st.sampled_from([0, 0, 1, -1])), min_size=ASKERS, max_size=ASKERS),
    channels=st.lists(
        st.builds(
            SomeChannel,
            st.sampled_from(KINDS),
            st.sampled_from([False, False, False, True]),
            st.booleans(),
            st.builds(add, HIDING, st.lists(OVERWRITE, max_size=3)),
        ),
        min_size=2,
        max_size=5,
    ),
    threads=st.lists(
        st.builds(SomeThread, NUMBER, st.sampled_from([True, True, False]), st.booleans(), NUMBERS, st.booleans()),
        max_size=3,
    ),
    changes=st.lists(
        st.builds(
            Change,
            st.sampled_from(
                ["everyone", "role", "no role", "overwrite", "member", "gone", "owner", "timeout", "in", "out"]
            ),
            NUMBER,
            NUMBERS,
            OVERWRITE,
        ),
        min_size=1,
        max_size=3,
    ),
)
