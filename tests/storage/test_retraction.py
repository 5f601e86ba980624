"""Taking things back: what goes, what waits again, and what never returns."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from records import ANA, BEN, GUILD, MINUTE, NOON, Vault, said, stated

from bot.model import fact_memory, message_memory, message_memory_id
from bot.storage.database import Database
from bot.storage.retraction import Retracted, Retraction, Standing
from bot.storage.rows import from_ms


async def points(vault: Vault) -> set[str]:
    return {point for _, point in await vault.retraction.pending_removals(1000)}


async def test_a_deleted_message_takes_its_facts_along(vault: Vault) -> None:
    """Facts on it alone go, facts shared with others go and the others are extracted again, the rest stays."""
    await vault.hold(*(said(id) for id in range(1, 6)))
    alone, shared, other = stated("a", [2]), stated("b", [2, 4]), stated("c", [5])
    await vault.extract(alone, shared, other, done=[1, 3])
    assert await vault.retraction.messages_deleted(GUILD, [2]) == Retracted(messages=1, facts=2)
    assert (await vault.messages.get(range(1, 6))).keys() == {1, 3, 4, 5}
    assert await vault.facts.about(GUILD, ANA) == [other]
    assert await vault.waiting() == [4]
    assert await points(vault) == {message_memory_id(said(2)), alone.id, shared.id}


async def test_a_message_being_extracted_again_stays_leased(vault: Vault) -> None:
    """A retraction does not take a message out of the hands of an extraction that is at work on it."""
    await vault.hold(said(1), said(2), said(3))
    await vault.extract(stated("a", [1, 2]), stated("b", [2, 3]))
    await vault.retraction.messages_deleted(GUILD, [3])
    lease = await vault.claim(2)
    await vault.retraction.messages_deleted(GUILD, [1])
    assert await vault.waiting() == []
    assert await vault.queue.commit(lease, [stated("c", [2])]) == 1


async def test_repeating_a_deletion_changes_nothing(vault: Vault) -> None:
    """The same deletion again, or of what was never held, counts nothing."""
    await vault.hold(said(1))
    await vault.extract(stated("a", [1]))
    await vault.retraction.messages_deleted(GUILD, [1, 77])
    before = await points(vault)
    assert await vault.retraction.messages_deleted(GUILD, [1, 77]) == Retracted()
    assert await vault.retraction.messages_deleted(GUILD, []) == Retracted()
    assert await points(vault) == before


async def test_another_guilds_deletion_does_not_reach_here(vault: Vault) -> None:
    """A deletion names its guild; a message of another guild is not touched."""
    await vault.hold(said(1))
    assert await vault.retraction.messages_deleted(2, [1]) == Retracted()
    assert await vault.messages.holds(1)


@pytest.mark.parametrize("gone", [[5], [4, 5, 6], [1], [9]])
async def test_neighbours_of_the_deleted_are_indexed_again(vault: Vault, gone: list[int]) -> None:
    """The windows of one message before each gap and two after it held the deleted words."""
    await vault.hold(*(said(id) for id in range(1, 10)), said(50, channel_id=21))
    await vault.index()
    await vault.retraction.messages_deleted(GUILD, gone)
    around = range(gone[0] - 1, gone[-1] + 3)
    assert await vault.index() == [id for id in around if 1 <= id <= 9 and id not in gone]


async def test_deleting_thousands_at_once(vault: Vault) -> None:
    """More ids than SQLite takes as parameters go in one transaction."""
    await vault.messages.capture_many([said(id) for id in range(1, 3_001)])
    assert await vault.retraction.messages_deleted(GUILD, range(1, 50_001)) == Retracted(messages=3_000)
    assert await vault.messages.capture(said(50_000)) is False
    assert len(await vault.retraction.pending_removals(5_000)) == 3_000


async def test_forgotten_facts_do_not_return(vault: Vault) -> None:
    """A forgotten fact is gone and refused; the messages it rests on stay as they are."""
    await vault.hold(said(1))
    fact, other = stated("a", [1]), stated("b", [1])
    await vault.extract(fact, other)
    assert await vault.retraction.facts_forgotten(2, [fact.id]) == Retracted()
    assert await vault.retraction.facts_forgotten(GUILD, [fact.id, "unknown"]) == Retracted(facts=1)
    assert await vault.retraction.facts_forgotten(GUILD, [fact.id]) == Retracted()
    assert await vault.facts.about(GUILD, ANA) == [other]
    assert await vault.waiting() == []
    assert await vault.messages.holds(1)
    assert await points(vault) == {fact.id}


async def test_points_without_a_record_can_be_forgotten(vault: Vault) -> None:
    """What another client wrote into the index goes by its id, once; a held fact is left to `facts_forgotten`."""
    await vault.hold(said(1))
    fact = stated("a", [1])
    await vault.extract(fact)
    assert await vault.retraction.points_forgotten(GUILD, ["foreign", fact.id]) == Retracted(facts=1)
    assert await vault.retraction.points_forgotten(GUILD, ["foreign"]) == Retracted()
    assert await points(vault) == {"foreign"}
    assert await vault.facts.about(GUILD, ANA) == [fact]


async def test_forgetting_a_member_takes_their_words_and_everything_about_them(vault: Vault) -> None:
    """Their messages, facts about them, facts on their words; others' words stay and are extracted again."""
    await vault.hold(said(1), said(2, author_id=BEN), said(3), said(4, author_id=BEN), said(5, guild_id=2))
    about_ana = stated("about Ana, by Ben", [2])
    by_ana = stated("by Ana", [1], subject_id=None)
    shared = stated("by both", [3, 4], subject_id=None)
    ben = stated("about Ben, by Ben", [2], subject_id=BEN)
    await vault.extract(about_ana, by_ana, shared, ben)
    assert await vault.retraction.member_forgotten(GUILD, ANA) == Retracted(messages=2, facts=3)
    assert (await vault.messages.get(range(1, 6))).keys() == {2, 4, 5}
    assert await vault.facts.resting_on(range(1, 6)) == [ben]
    assert await vault.waiting() == [4]
    assert await points(vault) == {
        message_memory_id(said(1)),
        message_memory_id(said(3)),
        about_ana.id,
        by_ana.id,
        shared.id,
    }
    assert await vault.retraction.member_forgotten(GUILD, ANA) == Retracted()
    assert await vault.messages.capture(said(1)) is False
    await vault.extract(about_ana, done=[4])
    assert await vault.facts.about(GUILD, ANA) == []


async def test_forgetting_reaches_facts_whose_messages_are_gone(vault: Vault, database: Database) -> None:
    """Facts outlive raw messages; the author of an expired one still takes the fact along, and it cannot return."""
    await vault.hold(said(1), said(2, author_id=BEN))
    fact = stated("decided", [1, 2], subject_id=None)
    await vault.extract(fact)
    async with database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM message WHERE id = 1")
    assert await vault.retraction.member_forgotten(GUILD, ANA) == Retracted(messages=0, facts=1)
    assert await vault.waiting() == [2]
    assert await vault.messages.capture(said(1)) is False


async def test_removals_hide_until_the_index_has_done_them(vault: Vault) -> None:
    """A removed point is hidden at once and listed, oldest first, until it is reported removed."""
    await vault.hold(*(said(id) for id in range(1, 4)))
    ids = [message_memory_id(said(id)) for id in range(1, 4)]
    for id in (3, 1, 2):
        await vault.retraction.messages_deleted(GUILD, [id])
    assert await vault.retraction.hidden([*ids, "other"]) == set(ids)
    assert await vault.retraction.pending_removals(2) == [(GUILD, ids[2]), (GUILD, ids[0])]
    await vault.retraction.removed([ids[2], ids[0], "other"])
    assert await vault.retraction.pending_removals(9) == [(GUILD, ids[1])]
    assert await vault.retraction.hidden(ids) == {ids[1]}


async def test_what_was_read_earlier_is_known_as_retracted(vault: Vault) -> None:
    """A memory is retracted by its own id or by any of its sources, also after the index has done the removal."""
    messages = [said(id) for id in range(1, 4)]
    await vault.hold(*messages)
    on_first, on_last = stated("a", [1, 2]), stated("b", [3])
    await vault.extract(on_first, on_last)
    await vault.retraction.messages_deleted(GUILD, [1])
    await vault.retraction.facts_forgotten(GUILD, [on_last.id])
    await vault.retraction.removed([point for _, point in await vault.retraction.pending_removals(9)])
    memories = [*map(message_memory, messages), fact_memory(on_first), fact_memory(on_last)]
    gone = {message_memory_id(messages[0]), on_first.id, on_last.id}
    assert await vault.retraction.retracted(memories) == gone


async def test_an_edited_message_stands_with_its_new_words_and_place(vault: Vault) -> None:
    """Until the index holds them, so that an answer shows no old words, and its reader sees where it is now."""
    await vault.hold(said(1), said(2))
    await vault.index()
    found = [message_memory(said(id)) for id in (1, 2)]
    assert await vault.retraction.standing(found) == Standing({one.id: one for one in found}, set())

    edited = said(1, "goodbye", access_id=40, edited_at=NOON.replace(hour=13))
    await vault.hold(edited)
    standing = (await vault.retraction.standing(found)).memories
    assert (standing[found[0].id].text, standing[found[0].id].access_id) == ("goodbye", 40)
    assert standing[found[1].id] == found[1]

    await vault.index()
    assert (await vault.retraction.standing(found)).memories[found[0].id] == found[
        0
    ]  # the index tells the new words itself


async def test_what_was_retracted_does_not_stand(vault: Vault) -> None:
    """Nor what rests on it; a fact that was read, and a point that is nobody's, stand as they are."""
    messages = [said(id) for id in range(1, 4)]
    await vault.hold(*messages)
    gone, kept = stated("a", [1, 2]), stated("b", [3])
    await vault.extract(gone, kept)
    foreign = replace(fact_memory(kept), id="foreign", sources=())
    await vault.retraction.messages_deleted(GUILD, [1])
    standing = await vault.retraction.standing(
        [*map(message_memory, messages), *map(fact_memory, (gone, kept)), foreign]
    )
    left = [*map(message_memory_id, messages[1:]), kept.id, "foreign"]
    assert set(standing.memories) == set(left)
    assert (standing.memories[kept.id], standing.memories["foreign"]) == (fact_memory(kept), foreign)
    assert await vault.retraction.standing([]) == Standing({}, set())


async def test_what_was_said_around_gone_words_is_outdated(vault: Vault) -> None:
    """Messages and facts whose window lost a message, until the index holds the window as it is."""
    await vault.hold(said(1))
    vault.clock.move(MINUTE)
    await vault.hold(said(2), said(3), said(9, channel_id=40))
    resting, apart = stated("a", [1, 2]), stated("b", [9], channel_id=40)
    await vault.extract(resting, apart)
    await vault.index()
    messages = [message_memory(one) for one in (said(2), said(3), said(9, channel_id=40))]
    found = [*messages, fact_memory(resting), fact_memory(apart)]
    assert not (await vault.retraction.standing(found)).outdated

    await vault.retraction.expire(GUILD, NOON + MINUTE, None)
    assert (await vault.retraction.standing(found)).outdated == {messages[0].id, messages[1].id, resting.id}
    await vault.index()
    assert not (await vault.retraction.standing(found)).outdated


async def test_no_memory_borrows_the_words_of_an_edited_message(vault: Vault) -> None:
    """What another client wrote stands as it is, though it names a changed message as its source."""
    await vault.hold(said(1, "secret", channel_id=40))
    forged = replace(message_memory(said(1)), id="forged")
    assert await vault.retraction.standing([forged]) == Standing({"forged": forged}, set())


async def test_a_retraction_is_all_or_nothing(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the last step fails nothing is gone; repeating it then does everything."""

    def fail(*args: object) -> None:
        raise RuntimeError

    await vault.hold(said(1), said(2))
    fact = stated("a", [1])
    await vault.extract(fact)
    with monkeypatch.context() as patch:
        patch.setattr("bot.storage.windows.part", fail)
        with pytest.raises(RuntimeError):
            await vault.retraction.messages_deleted(GUILD, [1])
    assert await vault.messages.holds(1)
    assert await vault.facts.about(GUILD, ANA) == [fact]
    assert await points(vault) == set()
    assert await vault.retraction.messages_deleted(GUILD, [1]) == Retracted(messages=1, facts=1)


async def test_tombstones_and_removals_outlive_the_process(tmp_path: Path) -> None:
    """What was deleted stays refused and hidden after a restart."""
    for start in range(2):
        database = await Database.open(tmp_path / "data")
        retraction = Retraction(database)
        if start == 0:
            await retraction.points_forgotten(GUILD, ["point"])
        assert await retraction.hidden(["point"]) == {"point"}
        await database.close()


async def test_a_bulk_deletion_of_a_hundred(vault: Vault) -> None:
    """All at once as Discord reports it: their facts go, those shared with others are derived from these again."""
    await vault.hold(*(said(id) for id in range(1, 121)))
    await vault.extract(*(stated(f"{id}", [id]) for id in range(1, 121)), stated("shared", [100, 101]))
    await vault.index()
    assert await vault.retraction.messages_deleted(GUILD, range(1, 101)) == Retracted(messages=100, facts=101)
    assert len(await vault.facts.about(GUILD, ANA)) == 20
    assert await vault.waiting() == [101]
    assert await vault.index() == [101, 102]


async def test_what_a_forgotten_member_wrote_before_is_refused(vault: Vault) -> None:
    """Also messages that were never held, by import say; what they write later and what others write is kept."""
    vault.clock.move(timedelta(hours=1))
    await vault.retraction.member_forgotten(GUILD, ANA)
    later = vault.clock.now + timedelta(seconds=1)
    assert await vault.messages.capture(said(1)) is False
    assert await vault.messages.capture(said(2, author_id=BEN)) is True
    assert await vault.messages.capture(said(3, guild_id=2, channel_id=30)) is True
    assert await vault.messages.capture(said(4, created_at=later)) is True
    assert await vault.retraction.retracted([message_memory(said(1)), message_memory(said(4, created_at=later))]) == {
        message_memory_id(said(1))
    }


async def test_a_member_can_be_forgotten_again(vault: Vault, database: Database) -> None:
    """The later time counts and is journalled anew; an earlier one, by a clock put back, changes nothing."""

    async def tombstone() -> tuple[str, datetime, bool]:
        async with database.write() as connection:
            rows = await connection.exec_driver_sql("SELECT reason, at, journalled FROM tombstone")
            ((reason, at, journalled),) = rows.all()
            await connection.exec_driver_sql("UPDATE tombstone SET journalled = 1")
        return reason, from_ms(at), bool(journalled)

    await vault.retraction.member_forgotten(GUILD, ANA)
    assert await tombstone() == ("forgotten", NOON, False)
    later = vault.clock.now = NOON + timedelta(days=1)
    await vault.retraction.member_forgotten(GUILD, ANA, "opted_out")
    assert await tombstone() == ("opted_out", later, False)
    vault.clock.now = NOON
    await vault.retraction.member_forgotten(GUILD, ANA)
    assert await tombstone() == ("opted_out", later, True)


async def test_a_member_forgotten_during_an_extraction_gets_no_facts(vault: Vault) -> None:
    """Facts on their words that come after the forgetting are refused, in whatever order both are committed."""
    await vault.hold(said(1), said(2, author_id=BEN))
    vault.clock.move(timedelta(hours=1))
    lease = await vault.claim(1, 2)
    await vault.retraction.member_forgotten(GUILD, ANA)
    await vault.queue.commit(lease, [stated("a", [1]), stated("b", [1, 2]), stated("c", [2], BEN, speaker_ids=(BEN,))])
    assert [one.text for one in await vault.facts.resting_on([1, 2])] == ["c"]
