"""Erasures: one row stands for all that a forgotten member said."""

from datetime import timedelta

from records import ANA, BEN, GUILD, NOON, Vault, said, stated
from sqlalchemy import func, select

from bot.model import message_memory, message_memory_id
from bot.storage.erasure import Erasure
from bot.storage.retraction import Retracted
from bot.storage.rows import to_ms
from bot.storage.tables import removal, tombstone

HOUR = timedelta(hours=1)


async def rows(vault: Vault) -> tuple[int, int]:
    """How many tombstones and removals there are."""
    async with vault.database.read() as connection:
        counts = [await connection.execute(select(func.count()).select_from(one)) for one in (tombstone, removal)]
        return counts[0].scalar_one(), counts[1].scalar_one()


async def test_all_that_a_member_said_takes_one_row(vault: Vault) -> None:
    """However much it is: it is hidden at once and refused, and no point of it has to be removed by its own id."""
    mine = [said(id) for id in range(1, 2501)]
    await vault.hold(*mine, said(2501, author_id=BEN))
    vault.clock.move(HOUR)
    buried = await vault.retraction.bury_member(GUILD, ANA)
    assert await vault.retraction.retracted(map(message_memory, mine)) == set(map(message_memory_id, mine))
    assert await vault.retraction.remove_buried(buried) == Retracted(messages=2500)
    assert await rows(vault) == (1, 0)
    assert await vault.retraction.pending_erasures() == [Erasure(GUILD, ANA, to_ms(NOON + HOUR))]
    assert await vault.retraction.pending_erasures(without={GUILD}) == []
    assert not await vault.messages.capture(mine[0])
    assert (await vault.messages.get([2501])).keys() == {2501}


async def test_words_ahead_of_our_clock_go_each_by_itself(vault: Vault) -> None:
    """What is dated later than the erasure is refused by a tombstone of its own, and so is its point."""
    await vault.hold(said(1), said(7200))
    vault.clock.move(HOUR)
    assert await vault.retraction.member_forgotten(GUILD, ANA) == Retracted(messages=2)
    assert await rows(vault) == (2, 1)
    assert not await vault.messages.capture(said(7200))


async def test_an_erasure_is_done_once_nothing_of_it_is_held(vault: Vault) -> None:
    """As long as SQL holds a message of it, the index may be written its point."""
    await vault.hold(said(1), said(2, author_id=BEN))
    vault.clock.move(HOUR)
    one = (await vault.retraction.bury_member(GUILD, ANA)).erasure
    await vault.retraction.erased(one)
    assert await vault.retraction.pending_erasures() == [one]
    await vault.retraction.member_forgotten(GUILD, ANA)
    await vault.retraction.erased(one)
    assert await vault.retraction.pending_erasures() == []


async def test_a_later_erasure_takes_the_place_of_an_earlier(vault: Vault) -> None:
    """A member who is forgotten twice before the index answers is looked for up to the later time."""
    await vault.hold(said(1), said(4000))
    vault.clock.move(HOUR)
    first = (await vault.retraction.bury_member(GUILD, ANA)).erasure
    vault.clock.move(HOUR)
    await vault.retraction.member_forgotten(GUILD, ANA)
    second = Erasure(GUILD, ANA, to_ms(NOON + 2 * HOUR))
    assert await vault.retraction.pending_erasures() == [second]
    await vault.retraction.erased(first)
    assert await vault.retraction.pending_erasures() == [second]


async def test_after_a_kill_the_rest_goes(vault: Vault) -> None:
    """A burial without the steps that follow is finished at the next start; facts on the words go, others' stay."""
    await vault.hold(said(1), said(2), said(3, author_id=BEN))
    kept = stated("Ben, by Ben", [3], subject_id=BEN, speaker_ids=(BEN,))
    await vault.extract(stated("by Ana", [1, 2], subject_id=None), kept)
    vault.clock.move(HOUR)
    await vault.retraction.bury_member(GUILD, ANA)
    assert await vault.retraction.resume() == Retracted(messages=2, facts=1)
    assert (await vault.messages.get([1, 2, 3])).keys() == {3}
    assert await vault.facts.resting_on([1, 2, 3]) == [kept]


async def test_an_erasure_covers_what_the_member_said_before(vault: Vault) -> None:
    """Not what others said, nor facts, nor what came later, nor another guild's."""
    one = Erasure(GUILD, ANA, to_ms(NOON + HOUR))
    assert one.covers(message_memory(said(1)))
    later, elsewhere = said(1, created_at=NOON + HOUR), said(1, guild_id=2)
    assert not any(map(one.covers, map(message_memory, (later, elsewhere, said(1, author_id=BEN)))))


async def test_a_forgotten_guild_leaves_no_erasure(vault: Vault) -> None:
    """Its part of the index is dropped altogether."""
    await vault.hold(said(1))
    await vault.retraction.bury_member(GUILD, ANA)
    await vault.retraction.guild_forgotten(GUILD)
    assert await vault.retraction.pending_erasures() == []
