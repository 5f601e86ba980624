"""Messages: what is held after captures and edits in any order, and what the index is told."""

import asyncio
import sys
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from itertools import count, permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import ANA, GUILD, NOON, Vault, said, stated
from sqlalchemy import Connection, event, text

from bot.errors import StorageUnavailable
from bot.model import Attachment, Mention
from bot.storage.database import Database
from bot.storage.messages import MessageStore, QueueStats

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def commits(database: Database) -> list[Connection]:
    """Grows with each commit of the group writer."""
    seen: list[Connection] = []
    event.listen(database._engine, "commit", seen.append)
    return seen


async def test_a_message_comes_back_as_it_was(vault: Vault) -> None:
    """Every field survives, with any text Discord can carry."""
    full = said(
        10,
        "שלום <@7> 😀 z̷̢a̸lgo \u202e \0 \"' -- ; DROP TABLE message",
        edited_at=LATER,
        reply_to=9,
        access_id=2,
        mentions=(Mention(7, "Zoë"),),
        attachments=(Attachment("cat.png", "a cat"), Attachment("b.txt")),
    )
    assert await vault.messages.capture(full)
    assert await vault.messages.get([10, 11]) == {10: full}
    assert await vault.messages.holds(10)
    assert not await vault.messages.holds(11)


async def test_half_a_surrogate_pair_does_not_stop_anything(vault: Vault) -> None:
    """Text that JSON can carry and SQLite cannot is held with a question mark, and the others beside it."""
    mentions, files = (Mention(5, "\ud83d"),), (Attachment("\ud83d.png", "\udc00"),)
    odd = said(1, "a \ud83d b", author_name="\udc00", mentions=mentions, attachments=files)
    assert all(await asyncio.gather(vault.messages.capture(odd), vault.messages.capture(said(2))))
    held = (await vault.messages.get([1, 2]))[1]
    assert (held.content, held.author_name) == ("a ? b", "?")
    assert (held.mentions, held.attachments) == ((Mention(5, "?"),), (Attachment("?.png", "?"),))


async def test_a_burst_is_few_transactions(vault: Vault, commits: list[Connection]) -> None:
    """500 captures at once are committed in a handful of transactions, and all are held."""
    assert all(await asyncio.gather(*(vault.messages.capture(said(id)) for id in range(1, 501))))
    assert len(commits) <= 3
    assert len(await vault.messages.get(range(1, 501))) == 500


async def test_a_capture_returns_only_after_its_commit(database: Database, vault: Vault) -> None:
    """Another connection sees the row the moment capture returns, and not before the commit."""
    seen: list[bool] = []

    def look(connection: Connection) -> None:
        seen.append(task.done())

    event.listen(database._engine, "commit", look)
    task = asyncio.create_task(vault.messages.capture(said(1)))
    await task
    assert seen == [False]
    assert await vault.messages.holds(1)


async def test_what_was_told_captured_survives_kill_9(tmp_path: Path) -> None:
    """Every id a process printed after its capture returned is held when the process was killed mid-burst."""
    script = f"""
import asyncio, pathlib, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from records import said
from bot.storage.database import Database
from bot.storage.messages import MessageStore
async def main():
    messages = MessageStore(await Database.open(pathlib.Path({str(tmp_path)!r})))
    async def capture(worker):
        for n in range(100_000):
            await messages.capture(said(worker * 100_000 + n + 1))
            print(worker * 100_000 + n + 1, flush=True)
    await asyncio.gather(*map(capture, range(20)))
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    printed = [int(await process.stdout.readline()) for _ in range(500)]
    process.kill()
    rest, _ = await process.communicate()
    printed += [int(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]

    database = await Database.open(tmp_path)
    assert (await MessageStore(database).get(printed)).keys() == set(printed)
    async with database.read() as connection:
        assert (await connection.execute(text("PRAGMA integrity_check"))).scalar() == "ok"
    await database.close()


async def test_a_failed_commit_is_told_and_leaves_nothing(vault: Vault, database: Database) -> None:
    """If the disk is full every caller of the group hears it; the same captures succeed afterwards."""
    long = "x" * 100_000
    await database.transact(lambda c: c.execute(text("PRAGMA max_page_count=1")))
    results = await asyncio.gather(
        *(vault.messages.capture(said(id, long)) for id in range(1, 4)), return_exceptions=True
    )
    assert all(isinstance(result, StorageUnavailable) for result in results)
    await database.transact(lambda c: c.execute(text("PRAGMA max_page_count=100000")))
    assert await vault.messages.get([1, 2, 3]) == {}
    assert all([await vault.messages.capture(said(id, long)) for id in range(1, 4)])


async def test_a_replay_changes_nothing(vault: Vault, commits: list[Connection]) -> None:
    """The same message again, live or by catch-up, is one row in the same state, counted once."""
    await vault.hold(said(1), said(2))
    await vault.extract(done=[1, 2])
    await vault.index()
    assert await vault.messages.capture(said(1)) is False
    assert await vault.messages.capture_many([said(1), said(2), said(3), said(3)]) == 1
    assert await vault.waiting() == [3]
    assert (await vault.queue.guilds())[0].since_attempt == 3


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_the_newest_content_wins_in_any_order(vault: Vault, order: tuple[int, ...]) -> None:
    """Create and edit events arriving in any order, one by one or together, end with the newest words."""
    versions = [said(1, "first")] + [said(1, f"edit {n}", edited_at=LATER + timedelta(seconds=n)) for n in range(1, 3)]
    for n in order:
        await vault.messages.capture(versions[n])
    await vault.messages.capture_many([replace(versions[n], id=2) for n in order])
    held = await vault.messages.get([1, 2])
    assert {message.content for message in held.values()} == {"edit 2"}


async def test_an_edit_starts_both_pipelines_over(vault: Vault) -> None:
    """New words raise the revision, wait for extraction and indexing again, and retract the facts on the old ones."""
    await vault.hold(*(said(id) for id in range(1, 6)))
    alone, shared, other = stated("a", [3]), stated("b", [2, 3]), stated("c", [5])
    await vault.extract(alone, shared, other, done=[1, 4])
    await vault.index()

    words: dict[str, Any] = {
        "mentions": (Mention(7, "Zoë"),),
        "attachments": (Attachment("a.png"),),
        "edited_at": LATER,
    }
    assert await vault.messages.capture(said(3, "for <@7>", **words))
    held = (await vault.messages.get([3]))[3]
    assert (held.revision, held.text, held.edited_at) == (1, "for @Zoë\n[a.png]", LATER)
    assert (held.author_id, held.created_at) == (ANA, said(3).created_at)
    assert await vault.waiting() == [2, 3]  # 2 stands behind a fact that rested on 3 as well
    assert (await vault.facts.get([alone.id, shared.id, other.id])).keys() == {other.id}
    assert await vault.retraction.hidden([alone.id, shared.id, other.id]) == {alone.id, shared.id}
    assert await vault.index() == [2, 3, 4, 5]  # itself, the one before it and the two after it


async def test_an_edit_that_changes_nothing_changes_nothing(vault: Vault) -> None:
    """A link preview fires an edit with the same words: no new revision, nothing waits again."""
    await vault.hold(said(1, "see https://example.org"))
    await vault.extract(done=[1])
    await vault.index()
    for edited_at in (LATER, said(1).created_at):
        assert await vault.messages.capture(said(1, "see https://example.org", edited_at=edited_at)) is False
    assert (await vault.messages.get([1]))[1].revision == 0
    assert await vault.waiting() == await vault.index() == []
    # It still tells that these words were current then, so an older edit arriving late loses.
    assert await vault.messages.capture(said(1, "older words", edited_at=LATER - timedelta(seconds=1))) is False


async def test_an_older_edit_is_ignored(vault: Vault) -> None:
    """An edit needs newer words than the held ones."""
    await vault.hold(said(1, "now", edited_at=LATER))
    assert await vault.messages.capture(said(1, "before", edited_at=LATER - timedelta(seconds=1))) is False
    assert (await vault.messages.get([1])) == {1: said(1, "now", edited_at=LATER)}


async def test_an_edit_right_behind_its_capture_finds_it(vault: Vault) -> None:
    """An edit started while the message waits for its commit changes it, in one group."""
    captured, edited = await asyncio.gather(
        vault.messages.capture(said(1, "typo")), vault.messages.capture(said(1, "fixed", edited_at=LATER))
    )
    assert captured
    assert edited
    assert (await vault.messages.get([1]))[1].content == "fixed"


async def test_a_tombstone_beats_every_late_write(vault: Vault) -> None:
    """What was deleted before it arrived, or after, never comes back by capture, import or edit."""
    await vault.hold(said(1))
    await vault.retraction.messages_deleted(GUILD, [1, 2])
    assert await vault.messages.capture(said(1, "again", edited_at=LATER)) is False
    assert await vault.messages.capture_many([said(1), said(2), said(3)]) == 1
    assert await vault.messages.capture(said(1, "again", edited_at=LATER + timedelta(hours=1))) is False
    assert (await vault.messages.get([1, 2, 3])).keys() == {3}


async def test_deletes_and_captures_racing_leave_no_deleted_message(vault: Vault) -> None:
    """However the two interleave, a deleted message is not held in the end."""
    async with asyncio.TaskGroup() as tasks:
        for id in range(1, 101):
            steps = [vault.messages.capture(said(id)), vault.retraction.messages_deleted(GUILD, [id])]
            for step in steps if id % 2 else reversed(steps):
                tasks.create_task(step)
    assert await vault.messages.get(range(1, 101)) == {}


async def test_captures_wake_whoever_waits_for_them(database: Database) -> None:
    """`on_captured` is called after a commit with new words, and not for what changed nothing."""
    calls: list[int] = []
    messages = MessageStore(database, on_captured=lambda: calls.append(1))
    await messages.capture(said(1))
    await messages.capture(said(1))
    assert len(calls) == 1
    await messages.capture(said(1, "changed", edited_at=LATER))
    assert len(calls) == 2


async def test_indexing_knows_what_is_missing(vault: Vault) -> None:
    """Without an embedder messages count as done with keywords; with one they come again for their vectors."""
    await vault.hold(*(said(id) for id in range(1, 6)))
    first = await vault.messages.to_index(2, embedding=False)
    assert [message.id for message in first] == [1, 2]
    assert await vault.messages.mark_indexed(first, complete=False) == []
    rest = await vault.messages.to_index(9, embedding=False)
    assert [message.id for message in rest] == [3, 4, 5]
    await vault.messages.mark_indexed(rest, complete=True)
    assert [message.id for message in await vault.messages.to_index(9, embedding=True)] == [1, 2]
    assert await vault.messages.to_index(9, embedding=False) == []


async def test_an_interrupted_indexing_is_repeated(vault: Vault) -> None:
    """What was taken and never marked, by an outage or a crash, is taken again."""
    await vault.hold(said(1))
    assert [message.id for message in await vault.messages.to_index(9, embedding=True)] == [1]
    assert [message.id for message in await vault.messages.to_index(9, embedding=False)] == [1]


@pytest.mark.parametrize("state", ["pending", "keywords"])
async def test_what_changed_while_it_was_indexed_stays_in_line(vault: Vault, state: str) -> None:
    """An edit or a new neighbour between taking and marking leaves the message to be indexed once more."""
    await vault.hold(said(1), said(2), said(3))
    if state == "keywords":
        await vault.messages.mark_indexed(await vault.messages.to_index(9, embedding=False), complete=False)
    taken = await vault.messages.to_index(9, embedding=True)
    await vault.messages.capture(said(1, "edited", edited_at=LATER))  # also a neighbour of 2 and 3
    await vault.messages.mark_indexed(taken, complete=True)
    assert [message.id for message in await vault.messages.to_index(9, embedding=True)] == [1, 2, 3]


async def test_marking_an_older_revision_marks_nothing(vault: Vault) -> None:
    """Words indexed before an edit do not count as the words after it, even if those are being indexed already."""
    await vault.hold(said(1))
    before = await vault.messages.to_index(9, embedding=True)
    await vault.messages.capture(said(1, "edited", edited_at=LATER))
    after = await vault.messages.to_index(9, embedding=True)
    assert await vault.messages.mark_indexed(before, complete=True) == []
    assert await vault.messages.to_index(9, embedding=True) == after
    await vault.messages.mark_indexed(after, complete=True)
    assert await vault.messages.to_index(9, embedding=True) == []


async def test_marking_tells_what_is_gone(vault: Vault) -> None:
    """A message deleted while it was indexed is reported, so that its point goes again."""
    await vault.hold(said(1), said(2))
    taken = await vault.messages.to_index(9, embedding=True)
    await vault.retraction.messages_deleted(GUILD, [2])
    assert await vault.messages.mark_indexed(taken, complete=True) == [2]


async def test_the_numbers_add_up(vault: Vault) -> None:
    """Waiting, leased, dead, held, not indexed and facts are counted per guild."""
    empty = QueueStats(0, None, 0, 0, 0, 0, 0)
    assert await vault.messages.stats(GUILD) == empty
    await vault.hold(*(said(id) for id in range(1, 8)), said(8, guild_id=2, channel_id=30))
    await vault.extract(stated("a", [1]), stated("b", [1]))
    await vault.claim(2)
    await vault.queue.bury(await vault.claim(3), "no valid answer")
    taken = await vault.messages.to_index(2, embedding=False)
    await vault.messages.mark_indexed(taken[:1], complete=False)
    assert await vault.messages.stats(GUILD) == QueueStats(
        waiting=4, oldest_waiting_at=said(4).created_at, leased=1, dead=1, held=7, not_indexed=8, facts=2
    )
    assert (await vault.messages.stats(2)).waiting == 1


async def test_who_waits_longest_is_known_by_guild(vault: Vault) -> None:
    """The time counts from the capture, while a message waits or is being read; what is done or dead does not wait."""
    assert await vault.messages.oldest_waiting() == {}
    await vault.hold(said(50), said(60), said(70, channel_id=21))
    vault.clock.move(timedelta(minutes=1))
    await vault.hold(said(1), said(9, guild_id=2, channel_id=30))
    later = vault.clock.now
    assert await vault.messages.oldest_waiting() == {GUILD: NOON, 2: later}
    await vault.extract(done=[50])
    await vault.queue.bury(await vault.claim(60), "no valid answer")
    lease = await vault.claim(70)
    assert await vault.messages.oldest_waiting() == {GUILD: NOON, 2: later}
    await vault.queue.commit(lease, [])
    assert await vault.messages.oldest_waiting() == {GUILD: later, 2: later}


STEPS = st.tuples(st.sampled_from(["capture", "delete"]), st.integers(1, 4), st.integers(0, 5))
STORIES = count(1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(STEPS, max_size=14), together=st.booleans())
async def test_any_story_ends_with_the_newest_words(
    vault: Vault, story: list[tuple[str, int, int]], together: bool
) -> None:
    """Captures and deletions in any order and grouping end with the newest words of what was not deleted."""
    base = 10 * next(STORIES)  # ids of this story alone
    expected: dict[int, tuple[int, str]] = {}
    deleted = {base + id for what, id, _ in story if what == "delete"}
    steps: list[Coroutine[Any, Any, object]] = []
    for what, id, version in story:
        id, words, at = base + id, f"version {version}", NOON + timedelta(minutes=version)
        if what == "delete":
            steps.append(vault.retraction.messages_deleted(GUILD, [id]))
            continue
        steps.append(vault.messages.capture(said(id, words, created_at=NOON, edited_at=at)))
        if version > expected.get(id, (-1, ""))[0]:
            expected[id] = (version, words)
    if together:
        await asyncio.gather(*steps)
    else:
        for step in steps:
            await step
    held = await vault.messages.get(range(base, base + 10))
    assert {id: message.content for id, message in held.items()} == {
        id: words for id, (_, words) in expected.items() if id not in deleted
    }
