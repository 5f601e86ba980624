"""The names people speak by, and where."""

import sqlite3
from contextlib import closing
from pathlib import Path

from records import ANA, BEN, CHANNEL, GUILD, Vault, said, stated

from bot.storage.database import FILE
from bot.storage.names import _SPEAKERS, Names

PLACE, THREAD = 40, 41


async def test_speakers_are_told_by_place(vault: Vault) -> None:
    """Each name with every place its bearer spoke in: a public thread's is its channel."""
    await vault.hold(
        said(1),
        said(2),
        said(3, channel_id=PLACE),
        said(4, channel_id=THREAD, access_id=CHANNEL),
        said(5, author_id=BEN, channel_id=THREAD, access_id=THREAD),
    )
    assert await Names(vault.database).speakers(GUILD) == {
        "Ana": frozenset({CHANNEL, PLACE}),
        "Ben": frozenset({THREAD}),
    }


async def test_another_servers_speakers_are_not_told(vault: Vault) -> None:
    """Not even those who speak here too; a server nothing is held of has none."""
    await vault.hold(said(1), said(2, guild_id=2, channel_id=50), said(3, author_id=BEN, guild_id=2, channel_id=50))
    names = Names(vault.database)
    assert await names.speakers(GUILD) == {"Ana": frozenset({CHANNEL})}
    assert await names.speakers(2) == {"Ana": frozenset({50}), "Ben": frozenset({50})}
    assert await names.speakers(3) == {}


async def test_the_newest_name_in_each_place_counts(vault: Vault) -> None:
    """A new name is not told from where its bearer has not used it, and an old one not where it is out of use."""
    await vault.hold(
        said(1, author_name="Ana"),
        said(2, author_name="Annie", channel_id=PLACE),
        said(3, author_name="Ana", channel_id=PLACE),
        said(4, author_name="Anouk", channel_id=PLACE),
    )
    assert await Names(vault.database).speakers(GUILD) == {"Ana": frozenset({CHANNEL}), "Anouk": frozenset({PLACE})}


async def test_people_of_one_name_are_told_as_one(vault: Vault) -> None:
    """By all the places either of them spoke in."""
    await vault.hold(said(1), said(2, author_id=BEN, author_name="Ana", channel_id=PLACE))
    assert await Names(vault.database).speakers(GUILD) == {"Ana": frozenset({CHANNEL, PLACE})}


async def test_who_is_forgotten_has_no_name(vault: Vault) -> None:
    """Nor has whose last message in a place was deleted, there."""
    await vault.hold(said(1), said(2, author_id=BEN), said(3, author_id=BEN, channel_id=PLACE))
    names = Names(vault.database)
    await vault.retraction.messages_deleted(GUILD, [3])
    assert await names.speakers(GUILD) == {"Ana": frozenset({CHANNEL}), "Ben": frozenset({CHANNEL})}
    await vault.extract(stated("Ana likes tea", [1]))
    await vault.retraction.member_forgotten(GUILD, ANA)
    assert await names.speakers(GUILD) == {"Ben": frozenset({CHANNEL})}


async def test_speakers_are_found_without_reading_every_message(vault: Vault, tmp_path: Path) -> None:
    """A few steps for each speaker and place, however much was said."""

    def cost() -> int:
        steps = iter(range(1_000_000))
        with closing(sqlite3.connect(tmp_path / FILE)) as connection:
            connection.set_progress_handler(lambda: next(steps) < 0, 1)
            connection.execute(_SPEAKERS.text, {"guild_id": GUILD}).fetchall()
        return next(steps)

    await vault.hold(said(1), said(2, author_id=BEN, channel_id=PLACE))
    little = cost()
    await vault.hold(*(said(id, channel_id=(CHANNEL, PLACE)[id % 2]) for id in range(10, 500)))
    assert cost() < 2 * little
