"""What was said in a place since somebody last spoke there."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from records import ANA, BEN, CHANNEL, GUILD, MINUTE, NOON, Vault, said
from sqlalchemy import event, insert

from bot.model import DISCORD_EPOCH_MS, Message, Scope, message_memory_id
from bot.storage.burial import EXPIRED, bury
from bot.storage.rows import to_ms
from bot.storage.spoken import Said, Spoken
from bot.storage.tables import removal

OTHER, THREAD, HIDDEN = 21, 22, 23


def at(minutes: float, content: str = "hello", author_id: int = ANA, **changes: Any) -> Message:
    """A message so many minutes after noon, with the id Discord would give it."""
    moment = NOON + minutes * MINUTE
    id = (to_ms(moment) - DISCORD_EPOCH_MS << 22) + changes.pop("number", 0)
    return said(id, content, author_id, created_at=moment, **changes)


def in_thread(minutes: float, content: str, author_id: int = ANA) -> Message:
    """A message in a public thread of the channel."""
    return at(minutes, content, author_id, channel_id=THREAD, access_id=CHANNEL)


def here(*access_ids: int, thread: int | None = None) -> Scope:
    return Scope(GUILD, frozenset(access_ids or (CHANNEL,)), channel_id=thread)


async def read(
    vault: Vault, scope: Scope, member_id: int = BEN, begin: datetime | None = None, limit: int = 100
) -> Said:
    """What was said since the member's last message, or else since `begin` (an hour before noon)."""
    otherwise = begin or NOON - 60 * MINUTE
    return await Spoken(vault.database).since(scope, member_id, lambda last: last or otherwise, limit)


def words(messages: Sequence[Message]) -> list[str]:
    return [message.content for message in messages]


async def test_it_begins_after_the_members_own_last_message(vault: Vault) -> None:
    """Neither what was said before counts, nor their message itself; the moment is told."""
    await vault.hold(at(1, "before"), at(2, "mine", BEN), at(3, "after"), at(4, "later"))
    found = await read(vault, here())
    assert words(found.messages) == ["after", "later"]
    assert found.own_last == found.since == NOON + 2 * MINUTE
    assert not found.cut


async def test_who_never_spoke_there_gets_the_moment_chosen_for_that(vault: Vault) -> None:
    """Their messages elsewhere, hidden places among it, do not count."""
    await vault.hold(at(1, "before"), at(3, "after"), at(9, "elsewhere", BEN, channel_id=OTHER))
    found = await read(vault, here(), begin=NOON + 2 * MINUTE)
    assert (words(found.messages), found.own_last) == (["after"], None)


async def test_a_channel_covers_its_threads_and_a_thread_is_alone(vault: Vault) -> None:
    """In id order across both; in the thread, one's message in the channel does not count."""
    await vault.hold(at(1, "mine", BEN), at(2, "in the channel"), in_thread(3, "in the thread"), at(4, "again"))
    assert words((await read(vault, here())).messages) == ["in the channel", "in the thread", "again"]
    alone = await read(vault, here(thread=THREAD))
    assert (words(alone.messages), alone.own_last) == (["in the thread"], None)
    await vault.hold(in_thread(5, "mine there", BEN), in_thread(6, "answered"))
    assert words((await read(vault, here(thread=THREAD))).messages) == ["answered"]
    assert words((await read(vault, here())).messages) == ["answered"]


async def test_only_what_may_be_seen_is_read(vault: Vault) -> None:
    """A place whose deciding channel is not in the scope gives nothing, whoever spoke there."""
    await vault.hold(at(1, "secret", channel_id=HIDDEN), at(2, "mine", BEN, channel_id=HIDDEN), at(3, "open"))
    await vault.hold(in_thread(4, "in a thread"))
    assert words((await read(vault, here(CHANNEL, HIDDEN))).messages) == ["open", "in a thread"]
    for scope in (Scope(GUILD, frozenset()), here(OTHER, thread=THREAD), here(OTHER, thread=HIDDEN)):
        found = await read(vault, scope)
        assert (found.messages, found.own_last) == ((), None)


async def test_the_newest_are_kept(vault: Vault) -> None:
    """Beyond the limit the oldest are left out, which is told."""
    await vault.hold(*(at(n, f"{n}", number=n) for n in range(5)), in_thread(2.5, "between"))
    found = await read(vault, here(), limit=3)
    assert (words(found.messages), found.cut) == (["between", "3", "4"], True)
    assert not (await read(vault, here(), limit=6)).cut


async def test_what_is_taken_back_is_not_read(vault: Vault) -> None:
    """Deleted, buried with its place or author, expired, or on its way out of the index: none is shown."""
    kept, expired, hidden, deleted = at(1, "kept"), at(2, "expired"), at(3, "hidden"), at(4, "deleted")
    await vault.hold(kept, expired, hidden, deleted, at(5, "gone", channel_id=OTHER))
    await vault.retraction.messages_deleted(GUILD, [deleted.id])
    async with vault.database.write() as connection:
        await connection.run_sync(lambda c: bury(c, GUILD, [expired.id], EXPIRED, 0))
        await connection.run_sync(lambda c: bury(c, GUILD, [f"channel/{OTHER}"], "deleted", 0))
        leaving = insert(removal).values(point_id=message_memory_id(hidden), guild_id=GUILD, at=0)
        await connection.execute(leaving)
    assert words((await read(vault, here(CHANNEL, OTHER))).messages) == ["kept"]


async def test_what_was_read_can_be_looked_at_again(vault: Vault) -> None:
    """Only messages that are still held in the same words stand."""
    kept, edited, deleted = at(1, "kept"), at(2, "to be edited"), at(3, "to be deleted")
    await vault.hold(kept, edited, deleted)
    shown = (await read(vault, here())).messages
    await vault.hold(at(2, "edited", edited_at=NOON + 9 * MINUTE))
    await vault.retraction.messages_deleted(GUILD, [deleted.id])
    assert words(await Spoken(vault.database).standing(shown)) == ["kept"]


async def test_each_read_finds_its_rows_by_an_index(vault: Vault, subtests: pytest.Subtests) -> None:
    """The time is a range of the index, and a member's last message the end of one; nothing is sorted."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM message" in statement:
            statements.append((statement, parameters))

    event.listen(vault.database._looks, "after_cursor_execute", note)
    await vault.hold(at(1), in_thread(2, "there"))
    for scope in (here(), here(thread=THREAD)):
        shown = (await read(vault, scope, begin=NOON - timedelta(days=1))).messages
    await Spoken(vault.database).standing(shown)
    used = []
    for statement, parameters in statements:
        with subtests.test(statement=statement):
            async with vault.database.read() as connection:
                rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                steps = [row.detail for row in rows]
            assert not any(re.search("SCAN message|TEMP B-TREE", step) for step in steps), steps
            used += [match[1] for step in steps if (match := re.search(r"INDEX (\w+ \(.*\))", step))]
    assert used == [
        "message_by_author (guild_id=? AND author_id=? AND access_id=?)",
        "message_by_channel (channel_id=? AND id>?)",
        "message_by_access (access_id=? AND id>?)",
        "message_by_channel (channel_id=?)",
        "message_by_channel (channel_id=? AND id>?)",
    ]
