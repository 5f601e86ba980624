"""Corrected facts: the old words go for good, the new ones stand on the member's own word."""

from dataclasses import replace
from datetime import timedelta

import pytest
from records import ANA, BEN, CHANNEL, GUILD, MINUTE, NOON, Vault, said, stated

from bot.model import Fact, Scope, fact_memory
from bot.storage.corrections import Corrections
from bot.storage.keyword import KeywordSearch
from bot.storage.ledger import Buried, Ledger
from bot.storage.retraction import Retracted


@pytest.fixture
def corrections(vault: Vault) -> Corrections:
    """The corrections under test."""
    return Corrections(vault.database, vault.clock)


async def corrected(vault: Vault, corrections: Corrections, old: Fact, text: str = "Ana drinks coffee") -> Fact:
    """Ana's correction of a fact, a minute later."""
    vault.clock.move(MINUTE)
    fact = await corrections.correct(GUILD, ANA, "Ana", old.id, text)
    assert fact is not None
    return fact


async def test_the_correction_takes_the_place_of_the_old_words(vault: Vault, corrections: Corrections) -> None:
    """Same member, kind, place and links; new words, said now by the member, and nothing read out of the old ones."""
    await vault.hold(said(1, author_id=BEN), said(2, author_id=BEN))
    old = stated("Ana drinks tea", [1, 2], speaker_ids=(BEN,), speaker_name="Ben", entities=("tea",), confidence=0.4)
    await vault.extract(old)
    await vault.index()
    new = await corrected(vault, corrections, old)
    assert new == replace(
        old,
        id=new.id,
        text="Ana drinks coffee",
        speaker_ids=(ANA,),
        speaker_name="Ana",
        confidence=1.0,
        said_at=NOON + MINUTE,
        entities=(),
        corrected=True,
    )
    assert await vault.facts.about(GUILD, ANA) == [new]
    assert await vault.facts.to_index(9, embedding=True) == [new]
    assert await vault.retraction.pending_removals(9) == [(GUILD, old.id)]
    search = KeywordSearch(vault.database)
    scope = Scope(GUILD, frozenset({CHANNEL}))
    assert [hit.memory for hit in await search.search("ana drinks", scope, 9)] == [fact_memory(new)]
    assert await search.search("tea", scope, 9) == []


async def test_no_extraction_brings_the_old_words_back_or_takes_the_correction(
    vault: Vault, corrections: Corrections
) -> None:
    """The messages are edited and extracted anew: neither the old fact nor another wording of it is stored."""
    await vault.hold(said(1))
    old = stated("Ana drinks tea", [1])
    await vault.extract(old)
    new = await corrected(vault, corrections, old)
    await vault.hold(said(1, "hello again", edited_at=NOON + 5 * MINUTE))
    assert await vault.facts.about(GUILD, ANA) == [new]
    assert await vault.waiting() == [1]
    assert await vault.extract(old, stated("Ana is a tea drinker", [1])) == 0
    assert await vault.facts.about(GUILD, ANA) == [new]


async def test_it_outlives_its_messages_and_links_to_none_that_is_gone(vault: Vault, corrections: Corrections) -> None:
    """A deletion takes the link, not the words; the index learns of it, and no tombstone of a message hides it."""
    await vault.hold(said(1), said(2))
    old = stated("Ana drinks tea", [1, 2])
    await vault.extract(old)
    new = await corrected(vault, corrections, old)
    await vault.index()
    assert await vault.retraction.messages_deleted(GUILD, [1]) == Retracted(messages=1)
    assert await vault.facts.get([new.id]) == {new.id: replace(new, sources=(2,))}
    assert await vault.retraction.retracted([fact_memory(new)]) == set()
    assert [one.id for one in await vault.facts.to_index(9, embedding=True)] == [new.id]
    assert await vault.retraction.messages_deleted(GUILD, [2]) == Retracted(messages=1)
    assert await vault.facts.get([new.id]) == {new.id: replace(new, sources=())}


async def test_who_said_the_old_words_takes_no_correction_along(vault: Vault, corrections: Corrections) -> None:
    """Ben is forgotten: what Ana said of herself stays, without a link to what he wrote."""
    await vault.hold(said(1, author_id=BEN))
    old = stated("Ana drinks tea", [1], speaker_ids=(BEN,))
    await vault.extract(old)
    new = await corrected(vault, corrections, old)
    await vault.retraction.member_forgotten(GUILD, BEN)
    assert await vault.facts.about(GUILD, ANA) == [replace(new, sources=())]


async def test_it_goes_with_the_member_with_its_place_and_when_it_is_forgotten(
    vault: Vault, corrections: Corrections, subtests: pytest.Subtests
) -> None:
    """Whatever removes facts about the member removes corrections, too, and hides them at once."""
    retraction = vault.retraction
    ways = {
        "picked": lambda fact: retraction.facts_forgotten(GUILD, [fact.id]),
        "place": lambda fact: retraction.place_deleted(GUILD, fact.channel_id),
        "expired": lambda _: retraction.expire(GUILD, NOON, vault.clock() + MINUTE),
        "member": lambda _: retraction.member_forgotten(GUILD, ANA),
    }
    for number, (name, remove) in enumerate(ways.items(), start=1):
        with subtests.test(name):
            place = CHANNEL + number
            await vault.hold(said(number, channel_id=place, created_at=vault.clock()))
            old = stated(name, [number], channel_id=place, access_id=place)
            assert await vault.extract(old) == 1
            new = await corrected(vault, corrections, old)
            vault.clock.move(MINUTE)
            assert (await remove(new)).facts == 1
            assert await vault.facts.about(GUILD, ANA) == []
            assert await vault.retraction.retracted([fact_memory(new)]) == {new.id}


async def test_facts_expire_by_the_time_of_their_correction(vault: Vault, corrections: Corrections) -> None:
    """What was confirmed today is not a year old, and outlives the text of its messages."""
    await vault.hold(said(1))
    old = stated("Ana drinks tea", [1])
    await vault.extract(old)
    vault.clock.move(timedelta(days=300))
    new = await corrected(vault, corrections, old)
    await vault.retraction.expire(GUILD, vault.clock(), NOON + timedelta(days=100))
    assert await vault.messages.get([1]) == {}
    assert await vault.facts.about(GUILD, ANA) == [new]


async def test_a_correction_can_be_corrected(vault: Vault, corrections: Corrections) -> None:
    """Also back to the very words of before, which were refused since."""
    await vault.hold(said(1))
    old = stated("Ana drinks tea", [1])
    await vault.extract(old)
    new = await corrected(vault, corrections, old)
    back = await corrected(vault, corrections, new, old.text)
    assert await vault.facts.about(GUILD, ANA) == [back]
    assert [back.text, back.sources] == [old.text, old.sources]
    assert await vault.retraction.retracted([fact_memory(back)]) == set()


async def test_only_a_held_fact_about_the_member_is_corrected(vault: Vault, corrections: Corrections) -> None:
    """Not the server's, not another member's, not from another server, and not one that is gone."""
    await vault.hold(said(1))
    mine, server, bens = stated("a", [1]), stated("b", [1], None), stated("c", [1], BEN)
    await vault.extract(mine, server, bens)
    for fact in (server, bens):
        assert await corrections.correct(GUILD, ANA, "Ana", fact.id, "x") is None
    assert await corrections.correct(2, ANA, "Ana", mine.id, "x") is None
    await vault.retraction.facts_forgotten(GUILD, [mine.id])
    assert await corrections.correct(GUILD, ANA, "Ana", mine.id, "x") is None


async def test_a_backup_of_before_and_one_of_after_learn_what_was_corrected(
    vault: Vault, corrections: Corrections
) -> None:
    """The journal takes the old words from a database that still holds them, and leaves a correction it knows."""
    await vault.hold(said(1), said(2))
    old, kept = stated("Ana drinks tea", [1]), stated("Ana owns a cup", [2])
    await vault.extract(old, kept)
    new = await corrected(vault, corrections, kept, "Ana owns a mug")
    ledger = Ledger(vault.database, vault.retraction)
    told = await ledger.waiting(99)
    # Of a fact that this database never held in these words, and that was forgotten after the backup.
    [entry] = [one for one in told if isinstance(one, Buried) and one.id == f"2/{ANA}"]
    await ledger.apply_facts([replace(entry, at=entry.at + 1)])
    assert await vault.facts.about(GUILD, ANA) == [old, new]
