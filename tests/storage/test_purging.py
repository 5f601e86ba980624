"""Purging by member, place and time: what is counted is what goes, and nothing of it comes back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from records import ANA, BEN, CHANNEL, GUILD, NOON, Vault, said, stated

from bot.model import DISCORD_EPOCH_MS, Message, fact_memory, message_memory_id
from bot.storage.corrections import Corrections
from bot.storage.ledger import Buried, Ledger
from bot.storage.purging import Purging, Selection
from bot.storage.retraction import Retracted
from bot.storage.rows import to_ms

THREAD, ELSEWHERE = 200, 21
EVERYTHING = Selection(until=NOON)


def at(hours: float, **changes: Any) -> Message:
    """A message said so many hours before noon, with the id of its time."""
    when = NOON - timedelta(hours=hours)
    return said((to_ms(when) - DISCORD_EPOCH_MS) << 22, created_at=when, **changes)


def ago(hours: int) -> datetime:
    return NOON - timedelta(hours=hours)


@pytest.fixture
def purging(vault: Vault) -> Purging:
    """Purging over the vault."""
    vault.clock.move(timedelta(hours=1))
    return Purging(vault.database, vault.retraction, vault.clock)


async def purged(purging: Purging, what: Selection) -> Retracted:
    """Count it, purge it: both agree, and nothing is left."""
    counted = await purging.count(GUILD, what)
    gone = [Retracted(), *[so_far async for so_far in purging.purge(GUILD, what)]][-1]
    assert gone == counted
    assert await purging.count(GUILD, what) == Retracted()
    return gone


async def held(vault: Vault, messages: Sequence[Message]) -> list[Message]:
    found = await vault.messages.get(one.id for one in messages)
    return [one for one in messages if one.id in found]


FIVE, FOUR, THREE, TWO = at(5), at(4, author_id=BEN), at(3, channel_id=ELSEWHERE), at(2)
BELOW = at(1, channel_id=THREAD, access_id=CHANNEL, author_id=BEN)
ALL = [FIVE, FOUR, THREE, TWO, BELOW]


@pytest.mark.parametrize(
    ("what", "left"),
    [
        (Selection(until=ago(3)), [THREE, TWO, BELOW]),
        (Selection(since=ago(3)), [FIVE, FOUR]),
        (Selection(since=ago(4), until=ago(2)), [FIVE, TWO, BELOW]),
        (Selection(member_id=BEN), [FIVE, THREE, TWO]),
        (Selection(member_id=BEN, since=ago(2)), [FIVE, FOUR, THREE, TWO]),
        (Selection(places=frozenset({CHANNEL})), [THREE]),
        (Selection(places=frozenset({THREAD})), [FIVE, FOUR, THREE, TWO]),
        (Selection(ANA, frozenset({CHANNEL}), since=ago(4)), [FIVE, FOUR, THREE, BELOW]),
        (Selection(since=ago(9), access_ids=frozenset({ELSEWHERE})), [FIVE, FOUR, TWO, BELOW]),
        (Selection(since=ago(9), access_ids=frozenset()), ALL),
    ],
)
async def test_the_limits_combine(vault: Vault, purging: Purging, what: Selection, left: list[Message]) -> None:
    """Member, place with its public threads, time and what may be read each narrow what goes; another guild's stays."""
    theirs = replace(FIVE, id=FIVE.id + 1, guild_id=2)
    await vault.hold(*ALL, theirs)
    await purged(purging, what)
    assert await held(vault, ALL) == left
    assert await vault.messages.holds(theirs.id)


async def test_facts_go_with_the_words_they_rest_on(vault: Vault, purging: Purging) -> None:
    """Facts on purged words go, also on words that had expired; what else they rested on is extracted again."""
    await vault.hold(FIVE, FOUR, TWO)
    shared, early, late = stated("a", [FIVE.id, FOUR.id]), stated("b", [FIVE.id]), stated("c", [TWO.id])
    await vault.extract(shared, early, late)
    await vault.retraction.expire(GUILD, vault.clock() + timedelta(days=1), None)
    await vault.hold(THREE)
    assert await purged(purging, Selection(until=ago(4))) == Retracted(facts=2)
    assert await vault.facts.about(GUILD, ANA) == [late]


async def test_other_sources_of_a_fact_are_extracted_again(vault: Vault, purging: Purging) -> None:
    """As with a deletion, what else a fact rested on waits once more, and neighbours are indexed again."""
    soon = at(4.99)
    await vault.hold(FIVE, soon)
    await vault.extract(stated("a", [FIVE.id, soon.id]))
    await vault.index()
    assert await purged(purging, Selection(until=soon.created_at)) == Retracted(messages=1, facts=1)
    assert await vault.waiting() == [soon.id]
    assert await vault.index() == [soon.id]
    assert message_memory_id(FIVE) in {point for _, point in await vault.retraction.pending_removals(9)}


async def test_what_is_known_about_a_member_goes_whoever_said_it(vault: Vault, purging: Purging) -> None:
    """Facts about them on others' words go, within the time; the words stay, and nothing of that is drawn from them."""
    await vault.hold(FIVE, FOUR, at(1, author_id=BEN))
    told = stated("Ana sings.", [FOUR.id], said_at=FOUR.created_at)
    recent = stated("Ana dances.", [at(1).id], said_at=at(1).created_at)
    other = stated("Ben cooks.", [FOUR.id], subject_id=BEN)
    await vault.extract(told, recent, other)
    assert await purged(purging, Selection(member_id=ANA, until=ago(3))) == Retracted(messages=1, facts=1)
    assert await vault.facts.about(GUILD, ANA) == [recent]
    assert await vault.facts.about(GUILD, BEN) == [other]
    assert await vault.messages.holds(FOUR.id)
    lease = await vault.claim(FOUR.id)
    assert await vault.queue.commit(lease, [stated("Ana is a singer.", [FOUR.id])]) == 0


async def test_a_corrected_fact_goes_by_its_own_time(vault: Vault, purging: Purging) -> None:
    """It rests on no message, so neither the words it was about nor their time take it along."""
    await vault.hold(FIVE)
    await vault.extract(fact := stated("Ana sings.", [FIVE.id]))
    corrected = await Corrections(vault.database, vault.clock).correct(GUILD, ANA, "Ana", fact.id, "I dance.")
    assert corrected is not None
    assert await purged(purging, Selection(until=ago(4))) == Retracted(messages=1)
    assert await vault.facts.about(GUILD, ANA) == [replace(corrected, sources=())]
    vault.clock.move(timedelta(minutes=1))
    assert await purged(purging, Selection(places=frozenset({CHANNEL}), since=ago(4))) == Retracted(facts=1)


async def test_nothing_purged_comes_back(vault: Vault, purging: Purging) -> None:
    """What was held is refused from now on; of a member who was purged altogether also what never was."""
    await vault.hold(FIVE, FOUR)
    await purged(purging, Selection(until=ago(5) + timedelta(seconds=1)))
    assert not await vault.messages.capture(FIVE)
    assert await vault.messages.capture(TWO)
    await purged(purging, Selection(member_id=BEN))
    assert not await vault.messages.capture(FOUR)
    assert not await vault.messages.capture(BELOW)
    assert await vault.messages.capture(said(1, author_id=BEN, created_at=vault.clock() + timedelta(minutes=1)))


async def test_the_journal_carries_it_into_a_restored_backup(vault: Vault, purging: Purging) -> None:
    """What a journal knows of a purge takes the same out of a database that does not."""
    await vault.hold(FIVE, FOUR)
    await vault.extract(stated("a", [FIVE.id]))
    journal = [Buried(str(FIVE.id), GUILD, "purged", to_ms(vault.clock()))]
    assert await Ledger(vault.database, vault.retraction).apply_places_and_messages(journal) == 1
    assert await held(vault, [FIVE, FOUR]) == [FOUR]
    await purged(purging, Selection(member_id=BEN))
    waiting = await Ledger(vault.database, vault.retraction).waiting(99)
    buried = {one.id: one.reason for one in waiting if isinstance(one, Buried)}
    assert buried.items() >= {str(FOUR.id): "purged", f"author/{GUILD}/{BEN}": "purged"}.items()


async def test_much_goes_in_steps_and_stops_where_one_likes(
    vault: Vault, purging: Purging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each step it is told what is gone; one that is not asked for removes nothing, and a repetition ends it."""
    monkeypatch.setattr("bot.storage.purging.STEP", 2)
    await vault.hold(*ALL)
    steps = purging.purge(GUILD, EVERYTHING)
    assert await anext(steps) == Retracted(messages=2)
    await steps.aclose()
    assert len(await held(vault, ALL)) == 3
    assert [gone.messages async for gone in purging.purge(GUILD, EVERYTHING)] == [2, 3]


async def test_what_is_said_meanwhile_stays(vault: Vault, purging: Purging) -> None:
    """A purge ends at the time it began, however fast people talk."""
    await vault.hold(FIVE)
    steps = purging.purge(GUILD, Selection(member_id=ANA))
    assert await anext(steps) == Retracted(messages=1)
    later = at(-2)
    await vault.hold(later)
    async for _ in steps:
        pass
    assert await vault.messages.holds(later.id)


@pytest.mark.parametrize(
    ("what", "covers"),
    [
        (Selection(member_id=ANA), True),
        (Selection(member_id=BEN), True),
        (Selection(member_id=5), False),
        (Selection(places=frozenset({CHANNEL})), True),
        (Selection(places=frozenset({ELSEWHERE})), False),
        (Selection(since=NOON), True),
        (Selection(until=NOON), False),
        (Selection(until=NOON + timedelta(seconds=1)), True),
        (Selection(since=NOON + timedelta(seconds=1)), False),
        (Selection(access_ids=frozenset({CHANNEL})), True),
        (Selection(ANA, access_ids=frozenset()), False),
    ],
)
def test_memories_of_the_index_alone_are_told_apart(what: Selection, covers: bool) -> None:
    """What has no record belongs to a selection by its own member, place and time."""
    memory = fact_memory(stated("Ana sings.", [1], speaker_ids=(BEN,)))
    assert what.covers(memory) is covers
