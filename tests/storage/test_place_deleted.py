"""Deleted channels, threads and guilds: everything said there goes, and nothing comes back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count

import pytest
from records import ANA, BEN, GUILD, NOON, Vault, said, stated
from sqlalchemy import Connection, insert

from bot.model import Fact, Message, Scope, memory_id, message_memory, message_memory_id
from bot.storage import retraction
from bot.storage.doubts import Doubts
from bot.storage.keyword import KeywordSearch
from bot.storage.retraction import Retracted
from bot.storage.tables import observation, schedule

CHANNEL, THREAD, PRIVATE, ELSEWHERE = 20, 200, 201, 21


def in_thread(id: int) -> Message:
    return said(id, channel_id=THREAD, access_id=CHANNEL)


def concluded(text: str, sources: list[int], channel_id: int, access_id: int) -> Fact:
    id = memory_id(GUILD, channel_id, ANA, sources, text)
    return stated(text, sources, id=id, channel_id=channel_id, access_id=access_id)


async def observe_private_thread(vault: Vault) -> None:
    async with vault.database.write() as connection:
        row = {"guild_id": GUILD, "channel_id": PRIVATE, "parent_id": CHANNEL, "started_at": 0}
        await connection.execute(insert(observation).values(row))


async def test_a_deleted_channel_takes_its_threads_along(vault: Vault) -> None:
    """Its messages and facts go with those of its public and private threads; other channels stay."""
    await observe_private_thread(vault)
    await vault.hold(said(1), in_thread(2), said(3, channel_id=PRIVATE), said(4, channel_id=ELSEWHERE))
    facts = [
        concluded("a", [1], CHANNEL, CHANNEL),
        concluded("b", [2], THREAD, CHANNEL),
        concluded("c", [3], PRIVATE, PRIVATE),
        concluded("d", [4], ELSEWHERE, ELSEWHERE),
    ]
    await vault.extract(*facts)
    assert await vault.retraction.place_deleted(GUILD, CHANNEL) == Retracted(messages=3, facts=3)
    assert (await vault.messages.get(range(1, 5))).keys() == {4}
    assert await vault.facts.about(GUILD, ANA) == facts[3:]
    gone = {one.id for one in facts[:3]} | {message_memory_id(said(1)), message_memory_id(in_thread(2))}
    assert gone <= {point for _, point in await vault.retraction.pending_removals(99)}
    assert await vault.retraction.place_deleted(GUILD, CHANNEL) == Retracted()


async def test_a_deleted_thread_leaves_its_channel(vault: Vault) -> None:
    """Only what was said in the thread goes."""
    await vault.hold(said(1), in_thread(2), said(3))
    assert await vault.retraction.place_deleted(GUILD, THREAD) == Retracted(messages=1)
    assert (await vault.messages.get(range(1, 4))).keys() == {1, 3}


async def test_private_threads_can_be_named(vault: Vault) -> None:
    """A private thread without an observation goes if it is named."""
    await vault.hold(said(3, channel_id=PRIVATE))
    assert await vault.retraction.place_deleted(GUILD, CHANNEL) == Retracted()
    assert await vault.retraction.place_deleted(GUILD, CHANNEL, [PRIVATE]) == Retracted(messages=1)


async def test_another_guild_deletes_nothing_here(vault: Vault) -> None:
    """A place is deleted in its guild only."""
    await vault.hold(said(1))
    assert await vault.retraction.place_deleted(2, CHANNEL) == Retracted()
    assert await vault.messages.holds(1)


@pytest.mark.parametrize("late", [said(7), in_thread(8), said(9, channel_id=PRIVATE)])
async def test_nothing_comes_back_into_a_deleted_place(vault: Vault, late: Message) -> None:
    """A late capture, catch-up or import of what was said there is refused, also what was never held."""
    await observe_private_thread(vault)
    await vault.retraction.place_deleted(GUILD, CHANNEL)
    assert await vault.messages.capture(late) is False
    assert await vault.messages.capture_many([late, said(10, channel_id=ELSEWHERE)]) == 1
    assert await vault.retraction.retracted([message_memory(late)]) == {message_memory_id(late)}


async def test_a_place_deleted_during_an_extraction_gets_no_facts(vault: Vault) -> None:
    """Facts drawn before the deletion and stored after it are refused."""
    await vault.hold(said(1), in_thread(2))
    lease = await vault.claim(1, 2)
    await vault.retraction.place_deleted(GUILD, CHANNEL)
    assert await vault.queue.commit(lease, [concluded("b", [2], THREAD, CHANNEL)]) == 0
    assert await vault.facts.about(GUILD, ANA) == []


@contextmanager
def crashing(vault: Vault, after_steps: int) -> Iterator[None]:
    """Let the process end after so many transactions."""
    transact, steps = vault.database.transact, count(1)

    async def crash(work: Callable[[Connection], object]) -> object:
        if next(steps) > after_steps:
            raise KeyboardInterrupt
        return await transact(work)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(retraction, "STEP", 10)
        patch.setattr(retraction, "_ERASED_AT_ONCE", 1)
        patch.setattr(vault.database, "transact", crash)
        yield


async def half_deleted(vault: Vault) -> int:
    """Crash in the deletion of a channel of a hundred messages, which hides them all at once; how many are left."""
    messages = [said(id) if id % 3 else in_thread(id) for id in range(1, 101)]
    await vault.hold(*messages, said(999, channel_id=ELSEWHERE))
    with crashing(vault, after_steps=4):
        await vault.retraction.place_deleted(GUILD, CHANNEL)
    left = (await vault.messages.get(range(1, 101))).values()
    assert 0 < len(left) < 100
    assert await vault.retraction.retracted(map(message_memory, messages)) == set(map(message_memory_id, messages))
    words = KeywordSearch(vault.database).search("hello", Scope(GUILD, frozenset({CHANNEL})), 9)
    assert await words == []
    assert await vault.messages.capture(messages[0]) is False
    return len(left)


async def test_a_deletion_in_steps_can_be_repeated(vault: Vault) -> None:
    """After a crash between two steps the same deletion does the rest."""
    left = await half_deleted(vault)
    assert await vault.retraction.place_deleted(GUILD, CHANNEL) == Retracted(messages=left)


async def test_a_deletion_that_crashed_is_resumed(vault: Vault) -> None:
    """If nobody repeats it, the rest is found by its tombstone; what was taken back completely is not touched."""
    await vault.retraction.place_deleted(GUILD, 77)
    left = await half_deleted(vault)
    assert await vault.retraction.resume() == Retracted(messages=left)
    assert await vault.retraction.resume() == Retracted()
    assert await vault.messages.holds(999)


async def test_a_forgetting_that_crashed_is_resumed(vault: Vault) -> None:
    """What the member wrote before goes, what they have written since stays."""
    vault.clock.move(timedelta(hours=1))
    await vault.hold(*(said(id, author_id=ANA if id % 2 else BEN) for id in range(1, 101)))
    with crashing(vault, after_steps=3):
        await vault.retraction.member_forgotten(GUILD, ANA)
    left = 50 - (100 - len(await vault.messages.get(range(1, 101))))
    assert 0 < left < 50
    later = said(200, created_at=vault.clock.now + timedelta(minutes=1))
    assert await vault.messages.capture(later) is True
    assert await vault.retraction.resume() == Retracted(messages=left)
    assert (await vault.messages.get(range(1, 201))).keys() == {*range(2, 101, 2), 200}


async def test_facts_that_outlived_their_messages_are_resumed_too(vault: Vault) -> None:
    """A crash right after the tombstones leaves no fact behind whose messages had expired before."""
    vault.clock.move(timedelta(hours=1))
    said_by_ben = said(2, author_id=BEN, channel_id=ELSEWHERE)
    await vault.hold(said(1), said_by_ben)
    of_place = stated("a", [1], subject_id=None)
    of_author = stated("b", [2], subject_id=None, channel_id=ELSEWHERE, access_id=ELSEWHERE, speaker_ids=(BEN,))
    await vault.extract(of_place, of_author)
    await vault.retraction.expire(GUILD, vault.clock.now + timedelta(minutes=1), None)
    with crashing(vault, after_steps=1):
        await vault.retraction.place_deleted(GUILD, CHANNEL)
    with crashing(vault, after_steps=1):
        await vault.retraction.member_forgotten(GUILD, BEN)
    assert (await vault.facts.get([of_place.id, of_author.id])).keys() == {of_place.id, of_author.id}
    assert await vault.retraction.resume() == Retracted(facts=2)
    assert await vault.retraction.resume() == Retracted()


async def test_nothing_is_in_doubt_in_a_deleted_channel(vault: Vault) -> None:
    """Nobody is asked any more whether messages were deleted there."""
    doubts = Doubts(vault.database, vault.clock)
    await vault.hold(said(1), said(2))
    await doubts.put(GUILD, CHANNEL, [1, 2], held=2)
    await doubts.put(GUILD, ELSEWHERE, [3], held=2)
    await vault.retraction.place_deleted(GUILD, CHANNEL)
    assert [doubt.place_id for doubt in await doubts.all()] == [ELSEWHERE]


async def test_a_forgotten_guild_leaves_nothing_but_opt_outs_and_tombstones(vault: Vault) -> None:
    """Messages, facts, schedule, observations and removals of the guild go; another guild keeps its own."""
    await observe_private_thread(vault)
    await vault.hold(said(1), said(2, author_id=BEN), said(3), said(9, guild_id=2, channel_id=30))
    await vault.extract(stated("a", [1]))
    await vault.retraction.messages_deleted(GUILD, [3])
    assert await vault.retraction.guild_forgotten(GUILD) == Retracted(messages=2, facts=1)
    async with vault.database.read() as connection:
        assert [row.guild_id for row in await connection.execute(schedule.select())] == [2]
        assert (await connection.execute(observation.select())).all() == []
    assert await vault.retraction.pending_removals(9) == []
    assert await vault.messages.capture(said(3)) is False
    assert await vault.messages.holds(9)
    assert await vault.messages.capture(said(4, created_at=NOON)) is True
