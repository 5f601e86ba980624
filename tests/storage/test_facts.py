"""Facts: reading them, and keeping track of the index."""

from datetime import date, timedelta

from records import ANA, BEN, GUILD, NOON, Vault, said, stated

from bot.model import FactKind


async def test_a_fact_comes_back_as_it_was(vault: Vault) -> None:
    """Every field survives."""
    await vault.hold(said(1), said(2, author_id=BEN))
    fact = stated(
        "Ana moves to Zürich 🚂",
        [1, 2],
        kind=FactKind.PLAN,
        speaker_ids=(ANA, BEN),
        confidence=0.25,
        importance=1.0,
        said_at=NOON + timedelta(days=1),
        entities=("Zürich",),
        sensitive=True,
        valid_from=date(2026, 4, 1),
        valid_until=date(2027, 1, 31),
    )
    await vault.extract(fact)
    assert await vault.facts.get([fact.id, "unknown"]) == {fact.id: fact}


async def test_facts_are_found_by_subject_and_by_source(vault: Vault) -> None:
    """A member's facts, the server's own, and those that rest on a message."""
    await vault.hold(said(1), said(2), said(3))
    ana, ben, server = stated("a", [1]), stated("b", [1, 2], subject_id=BEN), stated("c", [3], subject_id=None)
    await vault.extract(ana, ben, server)
    assert await vault.facts.about(GUILD, ANA) == [ana]
    assert await vault.facts.about(GUILD, None) == [server]
    assert await vault.facts.about(2, ANA) == []
    assert await vault.facts.resting_on([1]) == [ana, ben]
    assert await vault.facts.resting_on([2, 3]) == [ben, server]
    assert await vault.facts.resting_on([]) == []


async def test_indexing_knows_what_is_missing(vault: Vault) -> None:
    """Facts come oldest first; with keywords only they come again once there is an embedder."""
    await vault.hold(said(1))
    facts = [stated(text, [1]) for text in "abc"]
    await vault.extract(*facts)
    first = await vault.facts.to_index(2, embedding=False)
    assert first == facts[:2]
    assert await vault.facts.mark_indexed(first, complete=False) == []
    rest = await vault.facts.to_index(9, embedding=False)
    assert rest == facts[2:]
    await vault.facts.mark_indexed(rest, complete=True)
    assert await vault.facts.to_index(9, embedding=True) == facts[:2]


async def test_marking_tells_what_is_gone(vault: Vault) -> None:
    """A fact forgotten while it was indexed is reported, so that its point goes again."""
    await vault.hold(said(1))
    facts = [stated("a", [1]), stated("b", [1])]
    await vault.extract(*facts)
    taken = await vault.facts.to_index(9, embedding=True)
    await vault.retraction.facts_forgotten(GUILD, [facts[0].id])
    assert await vault.facts.mark_indexed(taken, complete=True) == [facts[0].id]
    assert await vault.facts.to_index(9, embedding=True) == []
