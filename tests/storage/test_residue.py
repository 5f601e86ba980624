"""Residue: which guilds' files may still hold what was removed."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest
from records import ANA, CHANNEL, GUILD, MINUTE, NOON, Vault, said, stated

from bot.storage.residue import Residue

LONG_AGO = NOON - timedelta(days=30)

Removal = Callable[[Vault], Awaitable[object]]


async def expire(vault: Vault) -> None:
    vault.clock.move(timedelta(days=30))
    await vault.retraction.expire(GUILD, NOON + MINUTE, None)


async def extract_again(vault: Vault) -> None:
    await vault.messages.capture(said(2, "edited", edited_at=NOON + MINUTE))
    await Residue(vault.database).clear([GUILD], vault.clock.now)
    vault.clock.move(MINUTE)
    await vault.extract(stated("d", [2]))
    await vault.messages.capture(said(2, "edited again", edited_at=NOON + 2 * MINUTE))


REMOVALS: dict[str, Removal] = {
    "deletion": lambda vault: vault.retraction.messages_deleted(GUILD, [1]),
    "deletion of what expired": lambda vault: vault.retraction.messages_deleted(GUILD, [9]),
    "edit": lambda vault: vault.messages.capture(said(3, "edited", edited_at=NOON + MINUTE)),
    "extraction again": extract_again,
    "expiry": expire,
    "expiry of facts": lambda vault: vault.retraction.expire(GUILD, LONG_AGO, NOON + MINUTE),
    "place": lambda vault: vault.retraction.place_deleted(GUILD, CHANNEL),
    "guild": lambda vault: vault.retraction.guild_forgotten(GUILD),
    "member": lambda vault: vault.retraction.member_forgotten(GUILD, ANA),
    "fact": lambda vault: vault.retraction.facts_forgotten(GUILD, [stated("b", [2]).id]),
    "point": lambda vault: vault.retraction.points_forgotten(GUILD, ["foreign"]),
}


@pytest.mark.parametrize("removal", REMOVALS.values(), ids=REMOVALS.keys())
async def test_whatever_removes_text_leaves_a_mark(vault: Vault, removal: Removal) -> None:
    """Deletions, edits, expiries and forgetting of every kind mark their guild, with the time of the removal."""
    residue = Residue(vault.database)
    await vault.hold(said(1), said(2), said(3), said(9), said(10, guild_id=2, channel_id=30))
    await vault.extract(stated("a", [1]), stated("b", [2]), stated("c", [9]))
    async with vault.database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM message WHERE id = 9")
    assert await residue.marked() == {}
    vault.clock.move(MINUTE)
    await removal(vault)
    assert await residue.marked() == {GUILD: vault.clock.now}


async def test_what_removes_nothing_leaves_no_mark(vault: Vault) -> None:
    """A capture, a replay, a link preview and a deletion of what was never held mark nothing."""
    await vault.hold(said(1))
    await vault.hold(said(1), said(2))
    await vault.messages.capture(said(1, edited_at=NOON + MINUTE))
    await vault.retraction.messages_deleted(GUILD, [77])
    await vault.retraction.place_deleted(GUILD, 77)
    await vault.retraction.expire(GUILD, LONG_AGO, LONG_AGO)
    assert await Residue(vault.database).marked() == {}


async def removed_at(vault: Vault, id: int, at: datetime) -> None:
    vault.clock.now = at
    await vault.retraction.messages_deleted(GUILD, [id])


async def test_the_oldest_mark_stays_until_all_is_purged(vault: Vault) -> None:
    """What is removed while files are being rewritten is still marked afterwards, no earlier than the rewriting."""
    residue = Residue(vault.database)
    await vault.hold(*(said(id) for id in range(1, 4)))
    await removed_at(vault, 1, NOON)
    await removed_at(vault, 2, NOON + MINUTE)
    assert await residue.marked() == {GUILD: NOON}
    begun = NOON + 2 * MINUTE
    await removed_at(vault, 3, NOON + 3 * MINUTE)
    await residue.clear([GUILD], begun)
    assert await residue.marked() == {GUILD: begun}
    await residue.clear([2], vault.clock.now)
    assert await residue.marked() == {GUILD: begun}
    await residue.clear([GUILD], vault.clock.now)
    assert await residue.marked() == {}
