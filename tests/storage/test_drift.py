"""Records beside the copies an index holds of them."""

from dataclasses import replace
from datetime import timedelta

import pytest
from records import ANA, CHANNEL, GUILD, MINUTE, NOON, Clock, Vault, said, stated

from bot.model import message_memory_id
from bot.storage import drift
from bot.storage.drift import Copy, Drift


def copy_of(id: int, text: str = "hello", **changes: object) -> Copy:
    return Copy(message_memory_id(said(id)), id, CHANNEL, text, **changes)  # type: ignore[arg-type]


async def test_copies_are_told_apart_by_their_records(vault: Vault) -> None:
    """With the same words, with others, changed by somebody else, without a record, and of nobody's record."""
    await vault.hold(said(1, "hello"), said(2, "hello"), said(3, "hello"))
    fact = stated("likes tea", [1])
    await vault.extract(fact)
    await vault.index()
    copies = [copy_of(1), copy_of(2, "old words"), Copy(message_memory_id(said(3)), 3), copy_of(9)]
    copies += [Copy(fact.id, None, text="likes tea"), Copy("gone", None), Copy("foreign", None, ours=False)]
    copies += [replace(copy_of(1), id="stray"), replace(copy_of(1), id="import", ours=False)]
    found = await Drift(vault.database).compare(GUILD, copies)
    assert (found.held, found.indexed, found.outdated) == (4, 4, [copies[1]])
    assert found.strange == [copies[3], copies[5], copies[7]]
    assert found.unheard == 3


async def test_what_was_taken_back_is_no_strangers(vault: Vault) -> None:
    """A tombstone tells that the copy is of this database: deleted, expired or forgotten long ago."""
    await vault.hold(said(1), said(2), said(3))
    fact = stated("likes tea", [2])
    await vault.extract(fact)
    await vault.retraction.messages_deleted(GUILD, [1])
    await vault.retraction.facts_forgotten(GUILD, [fact.id])
    copies = [copy_of(1), Copy(fact.id, None), copy_of(9)]
    await vault.retraction.removed([one.id for one in copies])
    found = await Drift(vault.database).compare(GUILD, copies)
    assert (found.strange, found.unheard) == (copies, 1)


async def test_what_is_under_way_is_no_difference(vault: Vault) -> None:
    """A removed message whose point is still there, and an edited one that waits to be indexed."""
    await vault.hold(said(1, "hello"), said(2, "hello"))
    await vault.index()
    await vault.retraction.messages_deleted(GUILD, [1])
    await vault.messages.capture(said(2, "goodbye", edited_at=NOON + MINUTE))
    found = await Drift(vault.database).compare(GUILD, [copy_of(1), copy_of(2)])
    assert (found.held, found.indexed, found.strange, found.outdated) == (1, 0, [], [])


async def test_another_guilds_records_are_not_ours(vault: Vault) -> None:
    """Who may see a memory is decided by its guild: a copy elsewhere is none."""
    await vault.hold(said(1, "hello"))
    await vault.index()
    assert (await Drift(vault.database).compare(GUILD + 1, [copy_of(1)])).strange == [copy_of(1)]


async def test_what_is_mended_waits_for_the_indexer(vault: Vault, clock: Clock) -> None:
    """Strange points are hidden at once; the outdated ones and all whose window may hold either are indexed again."""
    await vault.hold(*(said(id, "hello") for id in range(1, 261)))
    on_outdated, on_others = stated("likes tea", [1, 2]), stated("likes milk", [30])
    await vault.extract(on_outdated, on_others)
    await vault.index()
    store, wrong = Drift(vault.database, clock), [copy_of(2, "old words"), copy_of(300)]
    assert await store.mend(GUILD, wrong) == 2
    assert await vault.retraction.hidden([wrong[1].id]) == {wrong[1].id}
    assert [one.id for one in await vault.facts.to_index(9, embedding=True)] == [on_outdated.id]
    again = await vault.index()
    assert {1, 2, 3, 150, 260} <= set(again)
    assert 20 not in again


async def test_a_message_captured_again_is_on_its_way_out_no_more(vault: Vault) -> None:
    """Its point was strange while an older database did not hold it; catch-up brought it back meanwhile."""
    stray, gone = copy_of(1), copy_of(2)
    await Drift(vault.database).mend(GUILD, [stray, gone])
    await vault.hold(said(1, "hello"))
    assert await vault.retraction.hidden([stray.id, gone.id]) == {gone.id}


async def test_everything_the_index_should_hold_is_listed(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages and facts, page by page; what still waits is not among it, and what is lost waits again."""
    monkeypatch.setattr(drift, "_PAGE", 2)
    await vault.hold(*(said(id) for id in range(1, 6)), said(50, guild_id=GUILD + 1))
    facts = [stated(text, [1]) for text in ("a", "b", "c")]
    await vault.extract(*facts)
    await vault.index()
    await vault.hold(said(6, created_at=NOON + timedelta(days=1)))
    store = Drift(vault.database)
    pages = [page async for page in store.recorded(GUILD)]
    assert [len(page) for page in pages] == [2, 2, 1, 2, 1]
    assert [one.id for page in pages for one in page] == [
        *(message_memory_id(said(id)) for id in range(1, 6)),
        *(fact.id for fact in facts),
    ]
    assert await store.lost([copy_of(6), Copy(facts[1].id, None)]) == 1
    assert [one.id for one in await vault.facts.to_index(9, embedding=True)] == [facts[1].id]
    assert await vault.facts.about(GUILD, ANA) == facts
