"""What is a member's own: all of it, newest first, page by page, and nothing else."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from records import ANA, BEN, CHANNEL, GUILD, MINUTE, NOON, Vault, said, stated
from sqlalchemy import insert

from bot.model import DISCORD_EPOCH_MS, Fact, FactKind, Message
from bot.storage.burial import author_key
from bot.storage.mine import START, Mine, OwnMemories
from bot.storage.rows import to_ms
from bot.storage.tables import tombstone

HIDDEN = 21
EVERYTHING = Mine(GUILD, ANA, visible=frozenset({CHANNEL}), everywhere=True)


@pytest.fixture
def own(vault: Vault) -> OwnMemories:
    """The memories under test."""
    return OwnMemories(vault.database)


def at(minutes: int, author_id: int = ANA, **changes: int) -> Message:
    """A message said so many minutes after noon, with an id that tells so."""
    when = NOON + minutes * MINUTE
    id = (to_ms(when) - DISCORD_EPOCH_MS) << 22
    return said(id, f"said at {minutes}", author_id, created_at=when, **changes)


def learnt(text: str, source: Message, subject_id: int | None = ANA, speakers: Sequence[int] = (ANA,)) -> Fact:
    """A fact on one message, as old as that."""
    place = {"channel_id": source.channel_id, "access_id": source.access_id}
    return stated(text, [source.id], subject_id, said_at=source.created_at, speaker_ids=tuple(speakers), **place)


async def texts(own: OwnMemories, mine: Mine, limit: int = 100) -> list[str]:
    """All of it, read in pages of this size."""
    found: list[str] = []
    begin, pages = START, 0
    while True:
        page = await own.page(mine, begin, limit)
        assert len(page.items) <= limit
        found += [one.record.text for one in page.items]
        pages += 1
        if page.after is None or pages > 50:
            return found
        begin = page.after


async def test_messages_and_facts_come_newest_first_in_pages_of_any_size(vault: Vault, own: OwnMemories) -> None:
    """Of several places at once; each once, whatever the size of a page, and nothing that is others'."""
    messages = [at(minute, channel_id=CHANNEL + minute % 3) for minute in range(1, 10)]
    others = at(20, BEN)
    await vault.hold(*messages, others)
    facts = [learnt("first", messages[0]), learnt("later", messages[7], subject_id=None)]
    await vault.extract(*facts, learnt("of Ben", others, BEN, [BEN]), learnt("of all", others, None, [BEN]))
    wanted = ["said at 9", "said at 8", "later", *(f"said at {n}" for n in range(7, 0, -1)), "first"]
    for size in (1, 2, 3, 7, 100):
        assert sorted(await texts(own, EVERYTHING, size)) == sorted(wanted)
    assert await texts(own, EVERYTHING) == wanted


async def test_own_words_are_seen_wherever_they_stand_and_others_only_where_one_reads(
    vault: Vault, own: OwnMemories
) -> None:
    """A fact on others' words in a hidden channel is not shown, and to somebody else nothing of that channel is."""
    open_, mine, others = at(1), at(2, channel_id=HIDDEN), at(3, BEN, channel_id=HIDDEN)
    await vault.hold(open_, mine, others, at(4, BEN))
    await vault.extract(
        learnt("my own words", mine),
        learnt("somebody else's words", others, speakers=[BEN]),
        learnt("all our words", others, speakers=[ANA, BEN]),
        learnt("read by all", open_, speakers=[BEN]),
    )
    assert await texts(own, EVERYTHING) == ["said at 2", "my own words", "said at 1", "read by all"]
    assert await texts(own, replace(EVERYTHING, everywhere=False)) == ["said at 1", "read by all"]
    assert await texts(own, replace(EVERYTHING, visible=frozenset())) == ["said at 2", "my own words", "said at 1"]
    everyone = replace(EVERYTHING, visible=frozenset({CHANNEL, HIDDEN}))
    assert {"somebody else's words", "all our words"} <= set(await texts(own, everyone))


async def test_it_can_be_narrowed(vault: Vault, own: OwnMemories) -> None:
    """To messages, to facts or a kind of them, to a channel or thread, to a time."""
    thread = at(3, channel_id=99, access_id=CHANNEL)
    await vault.hold(at(1), at(2, channel_id=HIDDEN), thread)
    await vault.extract(learnt("in the thread", thread), replace(learnt("a plan", at(1)), kind=FactKind.PLAN))
    assert await texts(own, replace(EVERYTHING, facts=False)) == ["said at 3", "said at 2", "said at 1"]
    assert await texts(own, replace(EVERYTHING, messages=False)) == ["in the thread", "a plan"]
    assert await texts(own, replace(EVERYTHING, messages=False, fact_kind=FactKind.PLAN)) == ["a plan"]
    channel = ["said at 3", "in the thread", "said at 1", "a plan"]
    assert await texts(own, replace(EVERYTHING, access_id=CHANNEL)) == channel
    assert await texts(own, replace(EVERYTHING, channel_id=99)) == ["said at 3", "in the thread"]
    assert await texts(own, replace(EVERYTHING, since=NOON + 2 * MINUTE)) == ["said at 3", "in the thread", "said at 2"]
    assert await texts(own, replace(EVERYTHING, guild_id=2)) == []


async def test_what_is_being_forgotten_is_left_out_at_once(vault: Vault, own: OwnMemories) -> None:
    """A large removal goes in steps: its tombstone hides what is still there."""
    await vault.hold(at(1))
    burial = {"id": author_key(GUILD, ANA), "guild_id": GUILD, "reason": "forgotten", "at": to_ms(NOON + 9 * MINUTE)}
    async with vault.database.write() as connection:
        await connection.execute(insert(tombstone).values(burial))
    assert await texts(own, EVERYTHING) == []


async def test_the_days_are_counted_by_what_may_be_seen(vault: Vault, own: OwnMemories) -> None:
    """Messages and facts by the day in UTC."""
    midnight = datetime(2026, 3, 2, tzinfo=NOON.tzinfo)
    before, after = at(-13 * 60), at(11 * 60)
    hidden = at(1, BEN, channel_id=HIDDEN)
    await vault.hold(before, at(-720), after, hidden)
    await vault.extract(learnt("old", before), learnt("hidden", hidden, speakers=[BEN]))
    messages, facts = await own.days(EVERYTHING)
    assert before.created_at < midnight < after.created_at < midnight + timedelta(days=1)
    assert messages == {date(2026, 3, 1): 1, date(2026, 3, 2): 2}
    assert facts == {date(2026, 3, 1): 1}
