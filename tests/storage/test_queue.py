"""The queue from messages to facts: leases, commits and everything that may happen between."""

import asyncio
from datetime import timedelta

import pytest
from records import ANA, BEN, CHANNEL, GUILD, MINUTE, NOON, Vault, said, stated

from bot.storage.queue import DeadLetter, GuildSchedule

LATER = NOON + timedelta(hours=1)


async def test_waiting_messages_are_listed_by_channel_oldest_first(vault: Vault) -> None:
    """Channels come in the order of their oldest waiting message; a channel is read page by page."""
    await vault.hold(*(said(id) for id in range(10, 15)), said(5, channel_id=21), said(1, channel_id=30, guild_id=2))
    assert await vault.queue.channels_waiting(GUILD) == [21, CHANNEL]
    first = await vault.queue.waiting(GUILD, CHANNEL, 3)
    assert [message.id for message in first] == [10, 11, 12]
    rest = await vault.queue.waiting(GUILD, CHANNEL, 3, after_id=12)
    assert [message.id for message in rest] == [13, 14]


async def test_what_was_extracted_before_is_read_oldest_first(vault: Vault) -> None:
    """The last done messages of the channel before a place; waiting ones are not among them."""
    await vault.hold(*(said(id) for id in range(1, 8)), said(3_000, channel_id=21))
    await vault.extract(done=[1, 2, 3, 5, 7])
    assert [message.id for message in await vault.queue.extracted_before(CHANNEL, 7, 3)] == [2, 3, 5]
    assert await vault.queue.extracted_before(21, 5_000, 3) == []


async def test_context_comes_with_the_claim(vault: Vault) -> None:
    """Lines to be shown come oldest first and as they are now, whether extracted or waiting; not those put aside."""
    await vault.hold(*(said(id) for id in range(1, 8)))
    await vault.extract(done=[1, 2])
    await vault.queue.bury(await vault.claim(3), "no valid answer")
    await vault.messages.capture(said(2, "edited", edited_at=NOON + 60 * MINUTE))
    taken = await vault.queue.take([7, 6], MINUTE, [4, 3, 2, 99])
    assert [message.id for message in taken.lease.messages] == [6, 7]
    assert [(message.id, message.content == "edited") for message in taken.context] == [(2, True), (4, False)]
    assert (await vault.queue.take([6], MINUTE, [4])).context == ()


async def test_what_is_answered_comes_with_the_claim(vault: Vault) -> None:
    """A message that a claimed one replies to is brought along, unless it is claimed itself or not held."""
    answers = [said(5, reply_to=1), said(6, reply_to=5), said(7, reply_to=99)]
    await vault.hold(said(1), *answers)
    taken = await vault.queue.take([5, 6, 7], MINUTE)
    assert set(taken.answered) == {1}


async def test_a_claim_holds_what_is_free(vault: Vault) -> None:
    """A message is leased once; claiming it again, with others, gives only the others."""
    await vault.hold(said(1), said(2), said(3))
    first = await vault.claim(2, 1)
    assert [message.id for message in first.messages] == [1, 2]
    second = await vault.claim(1, 2, 3, 99)
    assert [message.id for message in second.messages] == [3]
    assert first.token != second.token
    assert await vault.waiting() == []


async def test_only_one_of_many_claims_wins(vault: Vault) -> None:
    """Concurrent claims never share a message."""
    await vault.hold(*(said(id) for id in range(1, 21)))
    leases = await asyncio.gather(*(vault.claim(*range(1, 21)) for _ in range(8)))
    assert sorted(message.id for lease in leases for message in lease.messages) == list(range(1, 21))


async def test_a_commit_stores_facts_and_marks_their_messages_done(vault: Vault) -> None:
    """Facts, their sources and the messages' state change together; repeating the commit changes nothing."""
    await vault.hold(said(1), said(2, author_id=BEN), said(3))
    lease = await vault.claim(1, 2, 3)
    facts = [stated("a", [1]), stated("b", [1, 2], subject_id=None, entities=("Zürich",), valid_from=NOON.date())]
    assert await vault.queue.commit(lease, [*facts, facts[0]]) == 2
    assert await vault.waiting() == []
    assert await vault.facts.get([fact.id for fact in facts]) == {fact.id: fact for fact in facts}
    assert await vault.queue.commit(lease, [*facts, stated("c", [1])]) == 0
    assert (await vault.messages.stats(GUILD)).facts == 2


async def test_a_message_without_facts_is_done_too(vault: Vault) -> None:
    """Small talk yields no facts and does not come back."""
    await vault.hold(said(1))
    assert await vault.extract(done=[1]) == 0
    assert await vault.waiting() == []


async def test_a_commit_that_fails_stores_nothing(vault: Vault) -> None:
    """Facts are stored with their messages' state or not at all: a crash in between costs a repeat."""
    await vault.hold(said(1))
    lease = await vault.claim(1)
    broken = stated("b", [1], kind=None)
    with pytest.raises(AttributeError):
        await vault.queue.commit(lease, [stated("a", [1]), broken])
    assert (await vault.messages.stats(GUILD)).facts == 0
    assert (await vault.messages.stats(GUILD)).leased == 1
    assert await vault.queue.commit(lease, [stated("a", [1])]) == 1


async def test_a_message_edited_meanwhile_refuses_its_facts(vault: Vault) -> None:
    """The edited message waits again, as does the other source of a refused fact; the rest is done."""
    await vault.hold(*(said(id) for id in range(1, 5)))
    lease = await vault.claim(1, 2, 3, 4)
    await vault.messages.capture(said(1, "edited", edited_at=LATER))
    kept, refused, shared = stated("kept", [3]), stated("refused", [1]), stated("shared", [1, 2])
    assert await vault.queue.commit(lease, [kept, refused, shared]) == 1
    assert (await vault.facts.get([kept.id, refused.id, shared.id])).keys() == {kept.id}
    assert await vault.waiting() == [1, 2]


async def test_a_message_deleted_meanwhile_refuses_its_facts(vault: Vault) -> None:
    """Nothing is stored on words that are gone, and the other source is extracted again without them."""
    await vault.hold(said(1), said(2), said(3))
    lease = await vault.claim(1, 2, 3)
    await vault.retraction.messages_deleted(GUILD, [1])
    shared, kept = stated("shared", [1, 2]), stated("kept", [3])
    assert await vault.queue.commit(lease, [shared, kept, stated("alone", [1])]) == 1
    assert await vault.waiting() == [2]
    assert (await vault.facts.about(GUILD, ANA)) == [kept]


async def test_a_fact_on_words_outside_the_lease_is_refused(vault: Vault) -> None:
    """A source that was never leased to this extraction refuses the fact, and sends nothing back."""
    await vault.hold(said(1), said(2))
    lease = await vault.claim(1)
    assert await vault.queue.commit(lease, [stated("foreign", [1, 2]), stated("unknown", [99])]) == 0
    assert await vault.waiting() == [2]


async def test_a_lease_that_ended_and_was_claimed_anew_stores_nothing(vault: Vault) -> None:
    """A slow extraction finds its messages leased to another: its facts are refused, the other's stored."""
    await vault.hold(said(1))
    slow = await vault.claim(1)
    vault.clock.move(2 * MINUTE)
    other = await vault.claim(1)
    assert await vault.queue.commit(slow, [stated("slow", [1])]) == 0
    assert await vault.queue.commit(other, [stated("quick", [1])]) == 1
    await vault.queue.release(slow)
    await vault.queue.failed(slow)
    await vault.queue.bury(slow, "late")
    assert await vault.waiting() == []
    assert await vault.queue.dead(GUILD) == 0


async def test_a_lease_that_only_ended_still_commits(vault: Vault) -> None:
    """Work is not thrown away because it took long, as long as nobody else took the messages."""
    await vault.hold(said(1))
    lease = await vault.claim(1)
    vault.clock.move(2 * MINUTE)
    assert await vault.queue.commit(lease, [stated("slow", [1])]) == 1


async def test_a_forgotten_fact_is_refused(vault: Vault) -> None:
    """A fact with a tombstone is not stored again, whoever derives it."""
    await vault.hold(said(1))
    fact = stated("a", [1])
    await vault.retraction.points_forgotten(GUILD, [fact.id])
    assert await vault.extract(fact, stated("b", [1])) == 1
    assert (await vault.facts.get([fact.id])) == {}


async def test_a_forgotten_fact_does_not_return_in_other_words(vault: Vault) -> None:
    """What its sources say about its subject is refused, whatever the wording; about others they may speak."""
    await vault.hold(said(1), said(2), said(3, author_id=BEN))
    forgotten, other = stated("likes tea", [1, 2]), stated("owns a dog", [2])
    await vault.extract(forgotten, other, done=[3])
    await vault.retraction.facts_forgotten(GUILD, [forgotten.id])
    async with vault.database.write() as connection:
        await connection.exec_driver_sql("UPDATE message SET extraction = 'waiting'")
    about_ben, server = stated("knows Ana", [2, 3], subject_id=BEN), stated("tea it is", [1], subject_id=None)
    again = [stated("is fond of tea", [1]), stated("drinks tea", [2, 3]), other, about_ben, server]
    assert await vault.extract(*again) == 2
    assert await vault.facts.about(GUILD, ANA) == [other]
    assert await vault.facts.about(GUILD, BEN) == [about_ben]
    await vault.retraction.facts_forgotten(GUILD, [server.id])
    async with vault.database.write() as connection:
        await connection.exec_driver_sql("UPDATE message SET extraction = 'waiting'")
    assert await vault.extract(stated("tea was chosen", [1], subject_id=None)) == 0


@pytest.mark.parametrize("change", ["edited", "deleted"])
async def test_a_change_of_what_was_shown_beside_the_lease_stores_nothing(vault: Vault, change: str) -> None:
    """A fact may take its words from a line that is no source: without that line the lease is read anew."""
    context = said(1, "Ana moves to Bern")
    await vault.hold(context, said(2, "yes, in May"))
    await vault.extract(done=[1])
    lease = await vault.claim(2)
    if change == "edited":
        await vault.messages.capture(said(1, "Ana moves", edited_at=NOON + timedelta(hours=2)))
    else:
        await vault.retraction.messages_deleted(GUILD, [1])
    assert await vault.queue.commit(lease, [stated("moves to Bern", [2])], [context]) == 0
    assert 2 in await vault.waiting()
    assert await vault.queue.commit(await vault.claim(2), [], [context]) == 0
    assert 2 not in await vault.waiting()


async def test_a_fact_may_rest_on_what_was_shown_beside_the_lease(vault: Vault) -> None:
    """A quoted message is a source: the fact is replaced with its reply, and goes when the quoted one goes."""
    quoted = said(1, "who moves to Bern?")
    await vault.hold(quoted, said(2, "me", author_id=BEN))
    await vault.extract(done=[1])
    first, second = stated("moves to Bern", [1, 2], subject_id=BEN), stated("goes to Bern", [1, 2], subject_id=BEN)
    for one in (first, second):
        assert await vault.queue.commit(await vault.claim(2), [one], [quoted]) == 1
        assert await vault.facts.about(GUILD, BEN) == [one]
        async with vault.database.write() as connection:
            await connection.exec_driver_sql("UPDATE message SET extraction = 'waiting' WHERE id = 2")
    await vault.retraction.messages_deleted(GUILD, [1])
    assert await vault.facts.about(GUILD, BEN) == []


async def test_a_fact_of_a_quoted_message_outlives_the_extraction_that_quotes_it(vault: Vault) -> None:
    """A fact rests on a question and its reply: extracting the question again, the reply quoted, leaves it alone."""
    quoted = said(2, "me", author_id=BEN)
    await vault.hold(said(1, "who moves to Bern?"), quoted)
    moves = stated("moves to Bern", [1, 2], subject_id=BEN)
    await vault.extract(moves)
    async with vault.database.write() as connection:
        await connection.exec_driver_sql("UPDATE message SET extraction = 'waiting' WHERE id = 1")
    await vault.hold(said(3, "good luck!"))

    asks, wishes = stated("asks who moves", [1]), stated("wishes Ben luck", [2, 3])
    assert await vault.queue.commit(await vault.claim(1, 3), [asks, wishes], [quoted]) == 2
    assert await vault.facts.about(GUILD, BEN) == [moves]


async def test_what_is_extracted_again_brings_along_what_its_facts_rest_on(vault: Vault) -> None:
    """The earlier lines behind a fact may not be shown with its newest again: they tell anew what it told of them."""
    await vault.hold(*(said(id) for id in range(1, 7)))
    chain = [stated("one", [1]), stated("two", [1, 2]), stated("three", [2, 3]), stated("answered", [3, 4])]
    others = [stated("later", [3, 6]), stated("apart", [5])]
    await vault.extract(*chain, *others)
    await vault.retraction.messages_deleted(GUILD, [4])
    assert await vault.waiting() == [1, 2, 3]
    assert len(await vault.facts.about(GUILD, ANA)) == 5  # until then, what was drawn stays

    assert await vault.queue.commit(await vault.claim(3), [stated("3", [3])]) == 1
    assert await vault.queue.commit(await vault.claim(1, 2), [stated("1", [1]), stated("2", [2])]) == 2
    assert {fact.text for fact in await vault.facts.about(GUILD, ANA)} == {"1", "2", "3", "later", "apart"}


async def test_a_fact_nobody_can_draw_again_outlives_the_extraction_of_its_newest_line(vault: Vault) -> None:
    """Where an earlier line has expired, a fact stays although the line it was drawn from is extracted again."""
    await vault.hold(said(1))
    vault.clock.move(timedelta(days=2))
    await vault.hold(said(2), said(3))
    kept = stated("moves to Bern in May", [1, 2])
    await vault.extract(kept, stated("all look forward to it", [2, 3]))
    await vault.retraction.expire(GUILD, vault.clock() - timedelta(days=1), None)
    await vault.retraction.messages_deleted(GUILD, [3])
    assert await vault.waiting() == [2]
    assert await vault.extract(stated("May suits Ana", [2])) == 1
    assert {fact.text for fact in await vault.facts.about(GUILD, ANA)} == {"moves to Bern in May", "May suits Ana"}


async def test_a_message_sent_back_at_the_commit_brings_along_what_its_new_facts_rest_on(vault: Vault) -> None:
    """One fact of a line is refused for an edit, another is stored: extracting the line again loses no source."""
    await vault.hold(*(said(id) for id in range(1, 5)))
    lease = await vault.claim(1, 2, 3, 4)
    await vault.messages.capture(said(3, "edited", edited_at=LATER))
    stored, refused = stated("stored", [1, 2]), stated("refused", [2, 3])
    assert await vault.queue.commit(lease, [stored, refused]) == 1
    assert await vault.waiting() == [1, 2, 3]


async def test_facts_derived_again_replace_their_former_selves(vault: Vault) -> None:
    """An LLM words a fact differently each time: what rested on the same messages alone gives way."""
    await vault.hold(said(1), said(2), said(3))
    same, rewritten, beyond = stated("same", [1]), stated("likes tea", [1]), stated("beyond", [1, 3])
    await vault.extract(same, rewritten, beyond, stated("on two", [2]), done=[2])
    await vault.index()
    await vault.messages.capture(said(2, "edited", edited_at=LATER))
    await vault.messages.capture(said(3, "edited", edited_at=LATER))
    assert await vault.waiting() == [1, 2, 3]  # 1 stood with 3 behind `beyond`, which the edit took

    new = stated("is fond of tea", [1])
    assert await vault.extract(same, new) == 1
    assert {fact.text for fact in await vault.facts.about(GUILD, ANA)} == {"same", "is fond of tea"}
    assert await vault.retraction.hidden([rewritten.id, new.id, same.id]) == {rewritten.id}


async def test_a_fact_derived_again_after_its_removal_is_shown_again(vault: Vault) -> None:
    """A fact taken back by an edit and then derived again word for word is no longer on its way out."""
    await vault.hold(said(1), said(2))
    fact = stated("a", [1])
    await vault.extract(fact)
    await vault.index()
    await vault.messages.capture(said(1, "other words, same meaning", edited_at=LATER))
    assert await vault.retraction.hidden([fact.id]) == {fact.id}
    assert await vault.extract(fact) == 1
    assert await vault.retraction.hidden([fact.id]) == set()
    assert [one.id for one in await vault.facts.to_index(9, embedding=True)] == [fact.id]


async def test_released_and_failed_leases_wait_again(vault: Vault) -> None:
    """Either way the messages come back; only a failure counts as an attempt."""
    await vault.hold(said(1))
    await vault.queue.release(await vault.claim(1))
    assert await vault.waiting() == [1]
    await vault.queue.failed(await vault.claim(1))
    assert await vault.waiting() == [1]


async def test_dead_letters_are_kept_and_replayed(vault: Vault) -> None:
    """A buried message is not handed out again until someone replays it; a new edit revives it as well."""
    await vault.hold(said(1), said(2))
    await vault.queue.bury(await vault.claim(1, 2), "answer rejected twice")
    assert await vault.waiting() == []
    assert await vault.queue.dead(GUILD) == 2
    await vault.messages.capture(said(2, "edited", edited_at=LATER))
    assert (await vault.queue.dead(GUILD), await vault.waiting()) == (1, [2])
    assert await vault.queue.replay_dead(GUILD) == 1
    assert (await vault.queue.dead(GUILD), await vault.waiting()) == (0, [1, 2])
    assert await vault.queue.replay_dead(GUILD) == 0


async def test_no_lease_outlives_its_process(vault: Vault) -> None:
    """At start every lease is taken back, however long it would have lasted."""
    await vault.hold(said(1), said(2), said(3))
    await vault.claim(1, 2)
    assert await vault.queue.release_all() == 2
    assert await vault.waiting() == [1, 2, 3]


async def test_a_batch_takes_back_leases_that_ended(vault: Vault) -> None:
    """A lease forgotten by a task that died comes back with the next batch after it ended."""
    await vault.hold(said(1))
    await vault.claim(1)
    await vault.queue.begin_batch(GUILD, LATER)
    assert await vault.waiting() == []
    vault.clock.move(2 * MINUTE)
    await vault.queue.begin_batch(GUILD, LATER)
    assert await vault.waiting() == [1]


async def test_the_schedule_counts_and_starts_over(vault: Vault) -> None:
    """A guild's first message makes its schedule; an attempt resets the count and sets the next deadline."""
    assert await vault.queue.guilds() == []
    await vault.hold(said(1), said(2), said(3, guild_id=2, channel_id=30))
    first_due = NOON + timedelta(hours=1)
    assert await vault.queue.guilds() == [
        GuildSchedule(GUILD, first_due, None, None, since_attempt=2, waiting=2),
        GuildSchedule(2, first_due, None, None, since_attempt=1, waiting=1),
    ]
    vault.clock.move(MINUTE)
    await vault.queue.begin_batch(GUILD, NOON + timedelta(hours=2))
    await vault.hold(said(4))
    vault.clock.move(MINUTE)
    await vault.queue.finish_batch(GUILD)
    assert (await vault.queue.guilds())[1] == GuildSchedule(
        GUILD, NOON + timedelta(hours=2), NOON + MINUTE, NOON + 2 * MINUTE, since_attempt=1, waiting=3
    )


async def test_a_guild_without_messages_can_be_scheduled(vault: Vault) -> None:
    """A batch asked for by hand in a guild that has said nothing yet only sets the deadline."""
    await vault.queue.begin_batch(7, LATER)
    assert await vault.queue.guilds() == [GuildSchedule(7, LATER, NOON, None, since_attempt=0, waiting=0)]


async def test_edits_claims_and_commits_racing_lose_nothing(vault: Vault) -> None:
    """However they interleave, every message ends done at its newest revision, with a fact about those words."""
    ids = range(1, 31)
    await vault.hold(*(said(id, f"{id} first") for id in ids))

    async def extract() -> None:
        while waiting := await vault.queue.waiting(GUILD, CHANNEL, 7):
            lease = await vault.claim(*(message.id for message in waiting))
            await vault.queue.commit(lease, [stated(message.content, [message.id]) for message in lease.messages])

    async def edit(id: int) -> None:
        await vault.messages.capture(said(id, f"{id} second", edited_at=LATER))

    async with asyncio.TaskGroup() as tasks:
        for id in ids:
            tasks.create_task(edit(id))
            tasks.create_task(extract())
    await extract()
    assert sorted(fact.text for fact in await vault.facts.about(GUILD, ANA)) == sorted(f"{id} second" for id in ids)


async def test_dead_letters_are_listed_and_replayed(vault: Vault) -> None:
    """What was put aside is known with its place and reason, and waits again all at once, by guild or one by one."""
    await vault.hold(*(said(id) for id in range(1, 5)), said(9, guild_id=2, channel_id=30))
    for id in (2, 1, 3, 9):
        await vault.queue.bury(await vault.claim(id), f"reason {id}")
    letters = [DeadLetter(id, GUILD, CHANNEL, f"reason {id}", said(id).created_at) for id in (1, 2, 3)]
    elsewhere = DeadLetter(9, 2, 30, "reason 9", said(9).created_at)
    assert await vault.queue.dead_letters(GUILD) == letters
    assert await vault.queue.dead_letters() == [*letters, elsewhere]
    assert await vault.queue.replay_dead(ids=[2, 4]) == 1
    assert await vault.queue.replay_dead(GUILD, [1, 9]) == 1
    assert await vault.queue.dead_letters() == [letters[2], elsewhere]
    assert await vault.waiting() == [1, 2, 4]
    assert await vault.queue.replay_dead() == 2
    assert await vault.queue.dead_letters() == []
