"""What the batch worker does when something fails: nothing is lost, nothing is stored twice, nothing spins."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs
from workshop import GUILD, START, Workshop, facts, said, stated

from bot.errors import StorageUnavailable
from bot.model import Fact, Message
from bot.sandbox import extractor
from bot.sandbox.ollama import BROKEN, BUSY, CUT_SHORT, GARBAGE, HANG, OllamaServer, Reply
from bot.storage.lease import Lease, Taken
from bot.storage.tables import message as message_table

BEES = "I keep bees"


async def prepare(workshop: Workshop, count: int = 4, guild: int = GUILD) -> None:
    """Messages of one conversation, due now."""
    first = guild * 1000
    workshop.clock.now = START
    talk = [
        said(first + i, ["Ann", "Ben"][i % 2], f"{BEES}, hive {i}", minute=i / 100, guild=guild) for i in range(count)
    ]
    await workshop.messages.capture_many(talk)
    workshop.clock.now = START + timedelta(hours=2)


def lines(body: Mapping[str, Any]) -> list[str]:
    """The numbered lines of a request."""
    return re.findall(r"^\d+ \d\d:\d\d .*$", body["messages"][1]["content"], re.MULTILINE)


async def attempts(workshop: Workshop) -> set[int]:
    async with workshop.database.read() as connection:
        return set((await connection.execute(select(message_table.c.attempts))).scalars())


async def dead(workshop: Workshop) -> dict[int, str]:
    async with workshop.database.read() as connection:
        query = select(message_table.c.id, message_table.c.dead_reason).where(message_table.c.extraction == "dead")
        return {row.id: row.dead_reason for row in await connection.execute(query)}


@asynccontextmanager
async def running(workshop: Workshop) -> AsyncIterator[None]:
    """The worker's loop, for as long as the block lasts and ten seconds at most."""
    loop = asyncio.create_task(workshop.worker.run())
    try:
        async with asyncio.timeout(10):
            yield
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def all_are(workshop: Workshop, state: str) -> bool:
    return set((await workshop.states()).values()) == {state}


# Outages


@pytest.mark.parametrize("reply", [BUSY, BROKEN])
async def test_an_outage_gives_the_lease_back_and_counts_no_attempt(
    workshop: Workshop, server: OllamaServer, reply: Reply
) -> None:
    """One call, no attempt, everything waits; when the pause is over the facts are made."""
    await prepare(workshop)
    server.replies.append(reply)
    await workshop.worker.run_due()
    await workshop.worker.run_due()
    assert server.calls == 1
    assert await all_are(workshop, "waiting")
    assert await attempts(workshop) == {0}
    workshop.clock.forward(minutes=1)
    await workshop.worker.run_due()
    assert await all_are(workshop, "done")
    assert len(await workshop.stored()) == 4


async def test_ollama_unreachable_is_an_outage(workshop: Workshop, server: OllamaServer) -> None:
    """Nothing is lost while nobody listens, and the health says what is wrong and when the next try is."""
    await prepare(workshop)
    await server.stop()
    await workshop.worker.run_due()
    assert await all_are(workshop, "waiting")
    health = await workshop.worker.health()
    assert (health.name, health.ok) == ("Ollama", False)
    assert "cannot be reached" in health.detail
    await server.start()
    workshop.clock.forward(minutes=1)
    await workshop.worker.run_due()
    assert await all_are(workshop, "done")


async def test_an_open_breaker_is_part_of_the_health(workshop: Workshop, server: OllamaServer) -> None:
    """A server that answers health checks but no questions is not healthy."""
    await prepare(workshop)
    assert (await workshop.worker.health()).ok
    server.replies.append(BROKEN)
    await workshop.worker.run_due()
    health = await workshop.worker.health()
    assert not health.ok
    assert re.search(r"error 500.*next try is at 14:00 UTC", health.detail)


async def test_an_outage_is_over_when_nothing_is_left_to_ask(workshop: Workshop, server: OllamaServer) -> None:
    """A retry that finds every conversation still going on keeps nobody waiting, nor the health bad, for an hour."""
    await workshop.messages.capture_many([said(1, "Ann", BEES, minute=0)])
    workshop.clock.forward(minutes=1)
    await server.stop()
    assert (await workshop.worker.flush(GUILD)).stopped_by
    await server.start()
    assert not (await workshop.worker.health()).ok
    workshop.clock.forward(minutes=1)
    await workshop.worker.run_due()
    assert server.calls == 0
    reborn = await workshop.restart()
    assert (await reborn.worker.health()).ok
    assert await reborn.worker.next_due(GUILD) == workshop.clock.now + workshop.batch.settle
    workshop.clock.forward(minutes=15)
    await reborn.worker.run_due()
    assert await all_are(workshop, "done")
    assert reborn.breaker.retry_at is None
    assert (await reborn.worker.health()).ok
    await reborn.close()


async def test_a_restart_keeps_the_breaker_open(workshop: Workshop, server: OllamaServer) -> None:
    """A new process does not knock before the pause is over, and resumes then, not an hour later."""
    await prepare(workshop)
    server.replies.append(BUSY)
    await workshop.worker.run_due()
    reborn = await workshop.restart()
    await reborn.worker.run_due()
    assert server.calls == 1
    due = await reborn.worker.next_due(GUILD)
    assert due and due - workshop.clock.now < timedelta(minutes=1)
    workshop.clock.forward(minutes=1)
    await reborn.worker.run_due()
    assert await all_are(reborn, "done")
    await reborn.close()


async def test_an_outage_in_the_middle_keeps_what_is_done(workshop: Workshop, server: OllamaServer) -> None:
    """Windows committed before the outage stay done, only the rest is repeated."""
    await prepare(workshop, count=150)
    server.answer = lambda body: facts()
    server.replies.extend([Reply(), BUSY])
    await workshop.worker.run_due()
    states = list((await workshop.states()).values())
    assert 0 < states.count("done") < 150
    workshop.clock.forward(minutes=1)
    await workshop.worker.run_due()
    assert await all_are(workshop, "done")
    sent = [line for body in (server.requests[0], *server.requests[2:]) for line in lines(body)]
    assert len(sent) == 150


async def test_with_several_guilds_one_call_notices_an_outage(workshop: Workshop, server: OllamaServer) -> None:
    """The others wait for the breaker without calling, and all go on when it closes."""
    for guild in range(1, 6):
        await prepare(workshop, guild=guild)
    server.always = BUSY
    await workshop.worker.run_due()
    assert server.calls == 1
    workshop.clock.forward(minutes=1)
    await workshop.worker.run_due()
    assert server.calls == 2
    server.always = None
    workshop.clock.forward(minutes=2)
    await workshop.worker.run_due()
    await workshop.worker.run_due()
    assert await all_are(workshop, "done")


async def test_a_missing_model_pauses_with_one_clear_line(workshop: Workshop, server: OllamaServer) -> None:
    """Log and report name the `ollama pull` to run, once, however often it is tried; after the pull it goes on."""
    await prepare(workshop)
    models, server.models = server.models, set()
    with capture_logs() as logs:
        for _ in range(5):
            await workshop.worker.run_due()
            workshop.clock.forward(minutes=15)
    (line,) = [log for log in logs if log["event"] == "service_down"]
    assert "run `ollama pull llama3.1:8b`" in line["reason"]
    report = await workshop.worker.flush(GUILD)
    assert report.stopped_by and "ollama pull llama3.1:8b" in report.stopped_by
    assert await attempts(workshop) == {0}
    server.models = models
    assert (await workshop.worker.flush(GUILD)).messages == 4


# Refused answers


@pytest.mark.parametrize("reply", [GARBAGE, CUT_SHORT, Reply(text=facts(stated() | {"mood": "odd"}))])
async def test_a_refused_answer_is_asked_for_again(workshop: Workshop, server: OllamaServer, reply: Reply) -> None:
    """One slip of the model costs one more call."""
    await prepare(workshop)
    server.replies.append(reply)
    await workshop.worker.run_due()
    assert server.calls == 2
    assert await all_are(workshop, "done")
    assert len(await workshop.stored()) == 4


async def test_only_the_message_that_cannot_be_read_is_put_aside(workshop: Workshop, server: OllamaServer) -> None:
    """A window that fails twice is halved until the single message is left; the others become facts."""

    def choke(body: Mapping[str, Any]) -> str:
        return "I cannot" if "hive 9" in body["messages"][1]["content"] else extractor.answer(body)

    await prepare(workshop, count=20)
    server.answer = choke
    await workshop.worker.run_due()
    (reason,) = (await dead(workshop)).values()
    assert (await dead(workshop)).keys() == {GUILD * 1000 + 9}
    assert "does not fit the schema" in reason
    assert "hive" not in reason
    assert list((await workshop.states()).values()).count("done") == 19
    assert len(await workshop.stored()) == 19
    assert server.calls < 20


async def test_a_message_put_aside_can_be_replayed(workshop: Workshop, server: OllamaServer) -> None:
    """With a better model it becomes facts after all."""
    await prepare(workshop, count=1)
    server.always = GARBAGE
    report = await workshop.worker.flush(GUILD)
    assert (report.messages, report.dead, report.stopped_by) == (0, 1, None)
    assert server.calls == 2
    server.always = None
    assert await workshop.queue.replay_dead(GUILD) == 1
    assert (await workshop.worker.flush(GUILD)).facts == 1


async def test_ten_megabytes_of_answer_hurt_one_message_at_most(workshop: Workshop, server: OllamaServer) -> None:
    """A flood is refused like any bad answer, and the next window is extracted."""
    await prepare(workshop, count=2)
    server.replies.extend([Reply(text=facts(stated(text="x" * 10_000_000)))] * 4)
    await workshop.worker.run_due()
    assert sorted((await workshop.states()).values()) == ["dead", "done"]


@pytest.mark.parametrize("poison", [{9}, {0, 17, 39}, set(range(10, 35)), set(range(40))])
async def test_messages_that_cannot_be_read_hold_nothing_up(
    workshop: Workshop, server: OllamaServer, poison: set[int]
) -> None:
    """However many of them there are, one batch puts exactly them aside; every other message is read."""
    refused = [f"hive {i}" for i in poison]

    def choke(body: Mapping[str, Any]) -> str:
        return "I cannot" if any(line.endswith(tuple(refused)) for line in lines(body)) else extractor.answer(body)

    await prepare(workshop, count=40)
    server.answer = choke
    report = await workshop.worker.flush(GUILD)
    assert (report.messages, report.dead, report.stopped_by) == (40 - len(poison), len(poison), None)
    assert (await dead(workshop)).keys() == {GUILD * 1000 + i for i in poison}
    assert (await workshop.worker.health()).ok


async def test_other_channels_come_before_a_window_that_is_refused(workshop: Workshop, server: OllamaServer) -> None:
    """A channel nobody can read is taken apart only when all the others are done."""
    await prepare(workshop, count=40)
    await workshop.messages.capture_many([said(90_000 + i, "Ann", "I keep ducks", channel=71) for i in range(3)])

    def choke(body: Mapping[str, Any]) -> str:
        return "I cannot" if "hive" in body["messages"][1]["content"] else extractor.answer(body)

    server.answer = choke
    await workshop.worker.flush(GUILD)
    assert ["ducks" in body["messages"][1]["content"] for body in server.requests[:4]] == [False, False, True, False]


async def test_a_model_that_never_fits_does_not_bury_everything(workshop: Workshop, server: OllamaServer) -> None:
    """If it cannot answer a sample either, it is the model that is wrong: the messages wait for the next batch."""
    await prepare(workshop, count=200)
    server.always = GARBAGE
    report = await workshop.worker.flush(GUILD)
    assert server.calls == 11
    assert "Lisbon" in server.requests[-1]["messages"][1]["content"]
    assert report.stopped_by and "try another model" in report.stopped_by
    assert await all_are(workshop, "waiting")
    assert (await workshop.worker.health()).detail == report.stopped_by
    await workshop.worker.run_due()
    assert server.calls == 11
    server.always = None
    workshop.clock.forward(hours=1)
    await workshop.worker.run_due()
    assert await all_are(workshop, "done")
    assert (await workshop.worker.health()).ok


# Changes under the model's eyes


async def meanwhile(workshop: Workshop, act: Callable[[], Any]) -> None:
    """Run a batch, and `act` while the model thinks."""
    server = workshop.server
    server.asked.clear()
    server.replies.append(Reply(delay=0.2))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(workshop.worker.run_due())
        await server.asked.wait()
        await act()


async def test_a_message_edited_meanwhile_is_extracted_again(workshop: Workshop) -> None:
    """The old words leave no fact; the new ones are read by the next batch."""
    await prepare(workshop, count=1)
    id = GUILD * 1000
    edited = replace((await workshop.messages.get([id]))[id], content="I keep ducks", edited_at=workshop.clock.now)
    await meanwhile(workshop, lambda: workshop.messages.capture(edited))
    assert await workshop.stored() == []
    assert (await workshop.worker.flush(GUILD)).facts == 1
    assert [fact.text for fact in await workshop.stored()] == ["Ann keeps ducks"]


async def test_a_message_deleted_meanwhile_leaves_nothing(workshop: Workshop) -> None:
    """Its tombstone wins over the answer under way; the others' facts are kept."""
    await prepare(workshop, count=2)
    await meanwhile(workshop, lambda: workshop.retraction.messages_deleted(GUILD, [GUILD * 1000]))
    assert [fact.text for fact in await workshop.stored()] == ["Ben keeps bees, hive 1"]
    assert await workshop.states() == {GUILD * 1000 + 1: "done"}


@pytest.mark.parametrize("reply_to", [1, None])
async def test_a_line_shown_beside_the_window_deleted_meanwhile_leaves_nothing(
    workshop: Workshop, server: OllamaServer, reply_to: int | None
) -> None:
    """A fact on Ben's "me too" may hold Ann's words, quoted or as context: it is not kept without them."""
    await workshop.messages.capture_many([said(1, "Ann", "I moved to Lisbon")])
    await workshop.worker.flush(GUILD)
    await workshop.messages.capture_many([said(50, "Ben", "me too", reply_to=reply_to)])
    workshop.clock.forward(hours=3)
    server.answer = lambda body: facts(stated([1], "Ben", "Ben moved to Lisbon")) if "Ann" in str(body) else facts()
    await meanwhile(workshop, lambda: workshop.retraction.messages_deleted(GUILD, [1]))
    assert await workshop.stored() == []
    assert await workshop.states() == {50: "waiting"}
    await workshop.worker.flush(GUILD)
    assert await workshop.stored() == []
    assert await workshop.states() == {50: "done"}


async def test_a_quoted_message_is_a_source(workshop: Workshop, server: OllamaServer) -> None:
    """A fact on a reply goes when the message it answers is deleted, and the reply is read again."""
    await workshop.messages.capture_many([said(1, "Ann", "who moved to Lisbon?")])
    await workshop.worker.flush(GUILD)
    await workshop.messages.capture_many([said(50, "Ben", "me", reply_to=1)])
    server.answer = lambda body: facts(stated([1], "Ben", "Ben moved to Lisbon"))
    await workshop.worker.flush(GUILD)
    (fact,) = await workshop.stored()
    assert (fact.sources, fact.speaker_ids, fact.speaker_name) == ((1, 50), (1, 2), "Ben")
    await workshop.retraction.messages_deleted(GUILD, [1])
    assert await workshop.stored() == []
    assert await workshop.states() == {50: "waiting"}


async def test_a_message_deleted_before_the_call_is_not_sent(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between planning and lease a message may go: the model never sees it."""
    await prepare(workshop, count=2)
    take = workshop.queue.take

    async def late(ids: list[int], lease_for: timedelta, context: list[int]) -> Taken:
        await workshop.retraction.messages_deleted(GUILD, [GUILD * 1000])
        return await take(ids, lease_for, context)

    monkeypatch.setattr(workshop.queue, "take", late)
    await workshop.worker.run_due()
    assert "hive 0" not in workshop.server.requests[0]["messages"][1]["content"]


async def test_cancellation_gives_the_lease_back(workshop: Workshop, server: OllamaServer) -> None:
    """A process that is told to stop leaves nothing leased behind."""
    await prepare(workshop)
    server.replies.append(HANG)
    batch = asyncio.create_task(workshop.worker.run_due())
    await server.asked.wait()
    assert await all_are(workshop, "leased")
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
    assert await all_are(workshop, "waiting")
    assert await attempts(workshop) == {0}


async def test_a_process_that_died_leaves_no_lease(workshop: Workshop) -> None:
    """At start the leases of the last process are taken back, and their messages become facts once."""
    await prepare(workshop)
    await workshop.queue.take(list(await workshop.states()), timedelta(hours=5))
    async with running(workshop):
        await workshop.told.wait()
    assert await all_are(workshop, "done")
    assert len(await workshop.stored()) == 4


# The loop


async def test_waking_the_worker_runs_what_became_due(workshop: Workshop) -> None:
    """The loop sleeps until a deadline, and looks again when it is woken."""
    async with running(workshop):
        await prepare(workshop)
        workshop.worker.wake()
        await workshop.told.wait()
    assert await all_are(workshop, "done")


async def test_one_guilds_bug_stops_neither_the_loop_nor_the_others(
    workshop: Workshop, server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception is logged, its lease given back, and its guild left alone for a while."""
    await prepare(workshop, guild=1)
    await prepare(workshop, guild=2)
    commit, release, given_back = workshop.queue.commit, workshop.queue.release, asyncio.Event()

    async def broken(lease: Lease, facts: list[Fact], shown: set[Message]) -> int:
        if lease.messages[0].guild_id == 1:
            raise RuntimeError("a bug")
        return await commit(lease, facts, shown)

    async def releasing(lease: Lease) -> None:
        await release(lease)
        given_back.set()

    monkeypatch.setattr(workshop.queue, "commit", broken)
    monkeypatch.setattr(workshop.queue, "release", releasing)
    with capture_logs() as logs:
        async with running(workshop):
            await workshop.told.wait()
            await given_back.wait()
        for _ in range(3):
            await workshop.worker.run_due()
    (failure,) = [log for log in logs if log["event"] == "batch_failed"]
    assert (failure["guild_id"], type(failure["exc_info"])) == (1, RuntimeError)
    assert server.calls == 2
    assert sorted((await workshop.states()).values()) == ["done"] * 4 + ["waiting"] * 4


async def test_a_batch_that_cannot_begin_is_not_tried_at_once(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its deadline could not be moved, so the worker itself lets a moment pass."""
    await prepare(workshop)

    async def full(guild_id: int, next_due: datetime) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(workshop.queue, "begin_batch", full)
    with capture_logs() as logs:
        for _ in range(3):
            await workshop.worker.run_due()
    assert [log["event"] for log in logs] == ["batch_failed"]
    monkeypatch.undo()
    workshop.clock.forward(seconds=5)
    await workshop.worker.run_due()
    assert await all_are(workshop, "done")


async def test_a_lease_that_could_not_be_given_back_is_given_back_later(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is locked while facts are committed and for longer: the messages do not wait for the lease's end."""
    await prepare(workshop)

    async def locked(*_: object) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(workshop.queue, "commit", locked)
    monkeypatch.setattr(workshop.queue, "release", locked)
    await workshop.worker.run_due()
    assert await all_are(workshop, "leased")
    monkeypatch.undo()
    await workshop.worker.run_due()
    assert await all_are(workshop, "waiting")
    assert (await workshop.worker.flush(GUILD)).messages == 4


async def test_a_database_outage_is_one_line_until_it_changes_or_is_over(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is foreseen: a reason and no stack, however often and for however many guilds it is met again."""
    reasons = iter(["locked"] * 4 + ["full"] * 2)

    async def refused(guild_id: int, next_due: datetime) -> None:
        raise StorageUnavailable(next(reasons))

    async def tries(count: int) -> None:
        for _ in range(count):
            await workshop.worker.run_due()
            workshop.clock.forward(minutes=2)

    await prepare(workshop, guild=1)
    await prepare(workshop, guild=2)
    with capture_logs() as logs:
        with monkeypatch.context() as patch:
            patch.setattr(workshop.queue, "begin_batch", refused)
            await tries(3)
        await tries(1)
        await prepare(workshop, guild=3)
        reasons = iter(["full"])
        monkeypatch.setattr(workshop.queue, "begin_batch", refused)
        await tries(1)
    failures = [log for log in logs if log["event"] == "batch_failed"]
    assert [log["reason"] for log in failures] == ["locked", "full", "full"]
    assert not any("exc_info" in log for log in failures)


async def test_a_retry_that_reads_nothing_is_not_logged_as_a_batch(workshop: Workshop, server: OllamaServer) -> None:
    """A night without Ollama does not fill the log with zeros."""
    await prepare(workshop)
    server.always = BUSY
    with capture_logs() as logs:
        for _ in range(3):
            await workshop.worker.run_due()
            workshop.clock.forward(minutes=15)
        assert [log["event"] for log in logs] == ["service_down"]
        server.always = None
        await workshop.worker.run_due()
    assert [log["messages"] for log in logs if log["event"] == "batch"] == [4]


async def test_a_database_that_cannot_be_read_does_not_end_the_loop(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop waits and goes on; it is not a busy loop of errors."""
    await prepare(workshop)
    asked = asyncio.Event()

    async def locked() -> int:
        asked.set()
        raise StorageUnavailable

    monkeypatch.setattr(workshop.queue, "release_all", locked)
    with capture_logs() as logs:
        async with running(workshop):
            await asked.wait()
            monkeypatch.undo()
            workshop.worker.wake()
            await workshop.told.wait()
    assert await all_are(workshop, "done")
    assert [log["event"] for log in logs].count("schedule_failed") == 1


# Flush


async def test_a_flush_takes_everything_now(workshop: Workshop) -> None:
    """An admin who asks does not wait for conversations to settle; a second flush finds nothing."""
    await workshop.messages.capture_many([said(1, "Ann", BEES, minute=0)])
    report = await workshop.worker.flush(GUILD)
    assert (report.messages, report.facts, report.dead, report.stopped_by) == (1, 1, 0, None)
    assert (await workshop.worker.flush(GUILD)).messages == 0
    assert (await workshop.worker.flush(999)).messages == 0


async def test_a_flush_says_what_stopped_it(workshop: Workshop, server: OllamaServer) -> None:
    """Ollama down is the answer, whether the flush noticed it or an earlier batch did."""
    await prepare(workshop)
    await server.stop()
    first, second = await workshop.worker.flush(GUILD), await workshop.worker.flush(GUILD)
    for report in (first, second):
        assert report.stopped_by and "cannot be reached" in report.stopped_by
        assert (report.messages, report.facts) == (0, 0)
    await server.start()
    assert (await workshop.worker.flush(GUILD)).messages == 4


async def test_a_flush_never_runs_beside_a_batch(workshop: Workshop, server: OllamaServer) -> None:
    """The batch under way is waited for; every message is sent to the model once."""
    await prepare(workshop)
    server.replies.append(Reply(delay=0.2))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(workshop.worker.run_due())
        await server.asked.wait()
        assert (await workshop.worker.flush(GUILD)).messages == 0
        assert await all_are(workshop, "done")
    assert server.calls == 1
    assert len(await workshop.stored()) == 4


async def test_a_flush_goes_on_when_its_caller_stops_waiting(workshop: Workshop, server: OllamaServer) -> None:
    """The batch is the worker's, so the call under way is not thrown away; at shutdown it gives its lease back."""
    await prepare(workshop)
    server.replies.append(Reply(delay=0.2))
    flush = asyncio.create_task(workshop.worker.flush(GUILD))
    await server.asked.wait()
    flush.cancel()
    await asyncio.gather(flush, return_exceptions=True)
    await workshop.told.wait()
    assert (await workshop.worker.flush(GUILD)).messages == 0
    assert await all_are(workshop, "done")
    assert server.calls == 1


async def test_a_flush_ends_with_the_worker(workshop: Workshop, server: OllamaServer) -> None:
    """When the worker is stopped, a flush under way is cancelled and leaves nothing leased."""
    await workshop.messages.capture_many([said(1, "Ann", BEES, minute=0)])
    server.replies.append(HANG)
    async with running(workshop):
        flush = asyncio.create_task(workshop.worker.flush(GUILD))
        await server.asked.wait()
        assert await all_are(workshop, "leased")
    with pytest.raises(asyncio.CancelledError):
        await flush
    assert await all_are(workshop, "waiting")


async def test_a_flush_that_breaks_says_so(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that cannot be written is the answer, and is logged even if nobody waits for it."""
    await prepare(workshop)

    async def full(guild_id: int, next_due: datetime) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(workshop.queue, "begin_batch", full)
    with capture_logs() as logs:
        report = await workshop.worker.flush(GUILD)
    assert report.stopped_by == str(StorageUnavailable())
    assert [log["event"] for log in logs] == ["batch_failed"]


async def test_policy_reaches_the_answer(workshop: Workshop, server: OllamaServer) -> None:
    """With the default policy Ben's words make no fact about Ann."""
    await workshop.messages.capture_many([said(1, "Ann", "hi"), said(2, "Ben", "ann keeps bees")])
    server.replies.append(Reply(text=facts(stated([2]))))
    report = await workshop.worker.flush(GUILD)
    assert (report.messages, report.facts) == (2, 0)
