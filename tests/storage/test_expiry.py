"""Retention: raw text goes some days after it was captured, what was learnt from it stays."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from records import ANA, BEN, GUILD, NOON, Vault, said, stated

from bot.model import DISCORD_EPOCH_MS, Message, fact_memory, message_memory, message_memory_id
from bot.storage import retraction
from bot.storage.database import Database
from bot.storage.retraction import Retracted
from bot.storage.rows import to_ms

DAY = timedelta(days=1)
LONG_AGO = NOON - 999 * DAY


def at(when: datetime, number: int = 0, **changes: Any) -> Message:
    """A message said at this time, with the id Discord gives it then."""
    id = (to_ms(when) - DISCORD_EPOCH_MS << 22) + number
    return said(id, created_at=when, **changes)


async def hold_a_week(vault: Vault) -> list[Message]:
    """Hold a message a day, captured when it is said, each a reply to the one before."""
    week: list[Message] = []
    for n in range(7):
        vault.clock.now = NOON + n * DAY
        week.append(at(vault.clock.now, content=f"day {n}", reply_to=week[-1].id if week else None))
        await vault.hold(week[-1])
    return week


async def expire(vault: Vault, days: int, facts: datetime | None = None) -> Retracted:
    return await vault.retraction.expire(GUILD, vault.clock.now - days * DAY, facts)


async def test_messages_go_by_their_age_since_capture(vault: Vault) -> None:
    """What was captured before the time goes, extracted or not; another guild's stays."""
    week = await hold_a_week(vault)
    elsewhere = at(NOON, 1, guild_id=2, channel_id=30)
    vault.clock.now = NOON
    await vault.hold(elsewhere)
    vault.clock.now = NOON + 6 * DAY
    await vault.extract(done=[week[0].id])
    await vault.claim(week[1].id)
    await vault.queue.bury(await vault.claim(week[2].id), "no valid answer")
    assert await expire(vault, 3) == Retracted(messages=3)
    assert (await vault.messages.get(one.id for one in [*week, elsewhere])).keys() == {
        elsewhere.id,
        *(one.id for one in week[3:]),
    }
    assert await expire(vault, 3) == Retracted()


async def test_an_import_of_old_messages_is_kept_from_its_import(vault: Vault) -> None:
    """Words said years ago stay as long as words said today, and an edit does not prolong that."""
    old = at(NOON - 900 * DAY, content="old")
    await vault.hold(old)
    assert await expire(vault, 3) == Retracted()
    vault.clock.move(2 * DAY)
    assert await vault.messages.capture(at(old.created_at, content="edited", edited_at=vault.clock.now))
    assert await expire(vault, 3) == Retracted()
    vault.clock.move(2 * DAY)
    assert await expire(vault, 3) == Retracted(messages=1)


async def test_what_expired_does_not_come_back(vault: Vault) -> None:
    """An import or catch-up of an expired message is refused, and its point is hidden like its words."""
    week = await hold_a_week(vault)
    await expire(vault, 3)
    assert await vault.messages.capture_many(week) == 0
    gone = set(map(message_memory_id, week[:3]))
    assert {point for _, point in await vault.retraction.pending_removals(99)} == gone
    await vault.retraction.removed(gone)
    assert await vault.retraction.retracted(map(message_memory, week)) == gone


async def test_an_expiry_is_not_journalled_and_a_deletion_after_it_is(vault: Vault, database: Database) -> None:
    """A restored backup expires by itself; of a deletion it must be told."""
    week = await hold_a_week(vault)
    await expire(vault, 3)
    await vault.retraction.messages_deleted(GUILD, [week[0].id])
    async with database.read() as connection:
        rows = await connection.exec_driver_sql("SELECT id, reason, journalled FROM tombstone ORDER BY id")
        assert [tuple(row) for row in rows] == [
            (str(week[0].id), "deleted", 0),
            (str(week[1].id), "expired", 1),
            (str(week[2].id), "expired", 1),
        ]


async def test_facts_stay_and_their_windows_lose_the_expired_words(vault: Vault) -> None:
    """Facts on expired messages are visible, and are indexed again; so are the neighbours."""
    week = await hold_a_week(vault)
    ids = [one.id for one in week]
    expired, both, later = stated("a", [ids[0]]), stated("b", ids[2:4]), stated("c", [ids[5]])
    await vault.extract(expired, both, later)
    await vault.index()
    assert await expire(vault, 3) == Retracted(messages=3)
    facts = [expired, both, later]
    assert await vault.facts.about(GUILD, ANA) == facts
    assert await vault.retraction.retracted(map(fact_memory, facts)) == set()
    assert await vault.facts.to_index(9, embedding=True) == [expired, both]
    assert await vault.index() == ids[3:4]


async def test_a_fact_being_indexed_while_its_message_expires_is_indexed_again(vault: Vault) -> None:
    """The window made before the expiry does not count as the one after it."""
    week = await hold_a_week(vault)
    fact = stated("a", [week[0].id])
    await vault.extract(fact)
    taken = await vault.facts.to_index(9, embedding=True)
    await expire(vault, 3)
    assert await vault.facts.mark_indexed(taken, complete=True) == []
    assert await vault.facts.to_index(9, embedding=True) == [fact]
    assert await vault.facts.mark_indexed([fact], complete=True) == []
    assert await vault.facts.to_index(9, embedding=True) == []


async def test_an_extraction_that_an_expiry_overtakes_waits_again(vault: Vault) -> None:
    """A fact on a message that expired meanwhile is refused; the message beside it is read again."""
    week = await hold_a_week(vault)
    ids = [one.id for one in week]
    lease = await vault.claim(ids[2], ids[3])
    await expire(vault, 3)
    assert await vault.queue.commit(lease, [stated("a", ids[2:4]), stated("b", [ids[3]])]) == 1
    assert ids[3] in await vault.waiting()


async def test_deleting_one_of_two_messages_after_the_other_expired(vault: Vault) -> None:
    """The fact on both goes, and as nothing of its other message is held any more, nothing waits for it."""
    week = await hold_a_week(vault)
    ids = [one.id for one in week]
    fact = stated("a", [ids[2], ids[3]])
    await vault.extract(fact, done=ids)
    await expire(vault, 3)
    assert await vault.retraction.messages_deleted(GUILD, [ids[3]]) == Retracted(messages=1, facts=1)
    assert await vault.waiting() == []
    assert await vault.facts.about(GUILD, ANA) == []


async def test_deleting_an_expired_message_takes_its_facts_along(vault: Vault) -> None:
    """A fact does not outlive the deletion of a message whose text expired before; the others are read again."""
    week = await hold_a_week(vault)
    ids = [one.id for one in week]
    alone, both = stated("a", [ids[2]]), stated("b", [ids[2], ids[3]])
    await vault.extract(alone, both, done=ids)
    await expire(vault, 3)
    assert await vault.retraction.messages_deleted(GUILD, [ids[2]]) == Retracted(messages=0, facts=2)
    assert await vault.waiting() == [ids[3]]
    assert await vault.retraction.retracted([fact_memory(alone)]) == {alone.id}


@pytest.mark.parametrize("edited_at", [NOON + 5 * DAY, NOON + 9 * DAY])
async def test_editing_an_expired_message_drops_the_facts_on_its_old_words(vault: Vault, edited_at: datetime) -> None:
    """Facts drawn before the edit go, those drawn after it knew the new words; the new words are not kept."""
    week = await hold_a_week(vault)
    ids = [one.id for one in week]
    both = stated("b", [ids[2], ids[3]])
    await vault.extract(stated("a", [ids[2]]), both, done=ids)
    await expire(vault, 3)
    edit = at(week[2].created_at, content="other words", edited_at=edited_at)
    assert await vault.messages.capture(week[2]) is False
    assert len(await vault.facts.about(GUILD, ANA)) == 2
    assert await vault.messages.capture(edit) is False
    known_before = edited_at < vault.clock.now
    assert len(await vault.facts.about(GUILD, ANA)) == (2 if known_before else 0)
    assert await vault.waiting() == ([] if known_before else [ids[3]])
    assert await vault.retraction.hidden([both.id]) == (set() if known_before else {both.id})


async def test_facts_go_by_when_they_were_said(vault: Vault) -> None:
    """With a time for facts they go, too, and do not come back from messages that are still held."""
    week = await hold_a_week(vault)
    old, new = stated("a", [week[5].id], said_at=NOON), stated("b", [week[6].id], said_at=week[6].created_at)
    await vault.extract(old, new)
    assert await vault.retraction.expire(GUILD, LONG_AGO, NOON + DAY) == Retracted(facts=1)
    assert await vault.facts.about(GUILD, ANA) == [new]
    assert await vault.retraction.retracted([fact_memory(old), fact_memory(new)]) == {old.id}
    await vault.messages.capture(at(week[6].created_at, content="edited", edited_at=vault.clock.now))
    assert await vault.extract(old, done=[week[6].id]) == 0


async def test_much_expires_in_steps(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a step's worth goes too, however old and young messages lie side by side."""
    monkeypatch.setattr(retraction, "STEP", 4)
    messages = [at(NOON - 90 * DAY, n, author_id=ANA if n % 2 else BEN) for n in range(30)]
    await vault.hold(*messages[::3])
    vault.clock.move(2 * DAY)
    await vault.hold(*messages)
    facts = [stated(f"{n}", [messages[n].id]) for n in range(30)]
    await vault.extract(*facts)
    assert await expire(vault, 1, facts=NOON + DAY) == Retracted(messages=10, facts=30)
    assert (await vault.messages.get(one.id for one in messages)).keys() == {
        one.id for n, one in enumerate(messages) if n % 3
    }


async def test_editing_one_of_two_messages_after_the_other_expired(vault: Vault) -> None:
    """The fact on both goes; only the edited message is read again."""
    week = await hold_a_week(vault)
    ids = [one.id for one in week]
    await vault.extract(stated("a", [ids[2], ids[3]]), done=ids)
    await expire(vault, 3)
    await vault.messages.capture(at(week[3].created_at, content="edited", edited_at=vault.clock.now))
    assert await vault.facts.about(GUILD, ANA) == []
    assert await vault.waiting() == [ids[3]]
