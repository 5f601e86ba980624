"""When a service that failed is asked again."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from workshop import START, Clock

from bot.extraction.breaker import Breaker
from bot.storage.breakers import BreakerStore
from bot.storage.database import Database


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[BreakerStore]:
    database = await Database.open(tmp_path)
    yield BreakerStore(database)
    await database.close()


@pytest.fixture
def breaker(store: BreakerStore, clock: Clock) -> Breaker:
    return Breaker("Ollama", store, clock)


async def pause_of(breaker: Breaker, clock: Clock) -> timedelta:
    retry_at = await breaker.retry_at()
    assert retry_at
    return retry_at - clock.now


async def test_a_new_breaker_lets_everything_through(breaker: Breaker) -> None:
    """Nothing failed yet."""
    assert [await breaker.allows() for _ in range(3)] == [True] * 3
    assert await breaker.retry_at() is None


async def test_one_failure_opens_it(breaker: Breaker, clock: Clock) -> None:
    """A local service that refused once is left alone for about a quarter of a minute."""
    await breaker.failed("refused")
    assert not await breaker.allows()
    assert timedelta(seconds=12) <= await pause_of(breaker, clock) <= timedelta(seconds=18)
    assert (await breaker.state()).reason == "refused"


async def test_after_the_pause_one_probe_goes_first(breaker: Breaker, clock: Clock) -> None:
    """Everyone else waits for what the probe finds."""
    await breaker.failed("refused")
    clock.forward(seconds=20)
    assert [await breaker.allows() for _ in range(3)] == [True, False, False]
    await breaker.succeeded()
    assert [await breaker.allows() for _ in range(3)] == [True] * 3


async def test_each_failed_probe_doubles_the_pause_up_to_a_limit(breaker: Breaker, clock: Clock) -> None:
    """A long outage is asked about every ten minutes or so, not forgotten and not hammered."""
    pauses = []
    for _ in range(12):
        await breaker.failed("refused")
        pauses.append(await pause_of(breaker, clock))
        clock.forward(hours=1)
        assert await breaker.allows()
    assert pauses[1] > timedelta(seconds=20)
    assert all(timedelta(minutes=8) <= pause <= timedelta(minutes=12) for pause in pauses[-4:])


async def test_calls_that_fail_together_count_once(breaker: Breaker, clock: Clock) -> None:
    """Of several calls under way when the service went down, the first one told it all."""
    for _ in range(5):
        await breaker.failed("refused")
    assert (await breaker.state()).failures == 1


async def test_a_probe_that_never_reports_is_given_up(breaker: Breaker, clock: Clock) -> None:
    """A cancelled probe does not close the way for good."""
    await breaker.failed("refused")
    clock.forward(minutes=1)
    assert await breaker.allows()
    clock.forward(minutes=11)
    assert await breaker.allows()


async def test_a_pause_can_be_ended(breaker: Breaker) -> None:
    """Who saw the service answer need not wait for the pause to pass."""
    await breaker.end_pause()
    assert await breaker.retry_at() is None
    await breaker.failed("refused")
    await breaker.end_pause()
    assert [await breaker.allows(), await breaker.allows()] == [True, False]


async def test_the_state_outlives_the_process(breaker: Breaker, store: BreakerStore, clock: Clock) -> None:
    """A restart during an outage neither forgets it nor knocks early."""
    await breaker.failed("no such model")
    reborn = Breaker("Ollama", store, clock)
    assert not await reborn.allows()
    assert (await reborn.state()).opened_at == START
    assert (await reborn.state()).reason == "no such model"
    clock.forward(minutes=1)
    assert await reborn.allows()
    await reborn.succeeded()
    assert await Breaker("Ollama", store, clock).allows()


async def test_an_outage_is_two_log_lines(breaker: Breaker, clock: Clock) -> None:
    """It is logged when it begins, when its reason changes, and when it is over, not at every probe."""
    with capture_logs() as logs:
        for reason in ["refused"] * 5 + ["no such model"] * 5:
            await breaker.failed(reason)
            clock.forward(hours=1)
            await breaker.allows()
        await breaker.succeeded()
        await breaker.succeeded()
    assert [(log["event"], log.get("reason")) for log in logs] == [
        ("service_down", "refused"),
        ("service_down", "no such model"),
        ("service_back", None),
    ]
