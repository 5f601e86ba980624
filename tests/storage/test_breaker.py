"""When a service that failed is asked again, over restarts too."""

from datetime import timedelta

import pytest
from records import NOON, Clock
from structlog.testing import capture_logs

from bot.errors import StorageUnavailable
from bot.storage.breaker import QUOTA_PAUSE, Breaker, Breakers, BreakerState
from bot.storage.database import Database


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("Ollama", clock=clock)


def pause_of(breaker: Breaker, clock: Clock) -> timedelta:
    assert breaker.retry_at
    return breaker.retry_at - clock.now


def test_a_new_breaker_lets_everything_through(breaker: Breaker) -> None:
    """Nothing failed yet."""
    assert [breaker.allows() for _ in range(3)] == [True] * 3
    assert (breaker.retry_at, breaker.trouble) == (None, None)


def test_one_failure_opens_it(breaker: Breaker, clock: Clock) -> None:
    """A local service that refused once is left alone for about a quarter of a minute."""
    breaker.failed("It refused.")
    assert not breaker.allows()
    assert timedelta(seconds=12) <= pause_of(breaker, clock) <= timedelta(seconds=15)
    assert breaker.state.reason == "It refused."
    assert breaker.trouble == "It refused; the next try is at 12:00 UTC"


def test_after_the_pause_one_probe_goes_first(breaker: Breaker, clock: Clock) -> None:
    """Everyone else waits for what the probe finds."""
    breaker.failed("refused")
    clock.move(timedelta(seconds=20))
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    assert breaker.succeeded()
    assert [breaker.allows() for _ in range(3)] == [True] * 3


def test_each_failed_probe_doubles_the_pause_up_to_a_limit(breaker: Breaker, clock: Clock) -> None:
    """A long outage is asked about every ten minutes or so, not forgotten and not hammered."""
    pauses = []
    for _ in range(12):
        breaker.failed("refused")
        pauses.append(pause_of(breaker, clock))
        clock.move(timedelta(hours=1))
        assert breaker.allows()
    assert pauses[1] >= timedelta(seconds=24)
    assert all(timedelta(minutes=8) <= pause <= timedelta(minutes=10) for pause in pauses[-4:])


def test_a_quota_pauses_for_longer(breaker: Breaker, clock: Clock) -> None:
    """The first failure is left alone for an hour, where asking sooner cannot help."""
    breaker.failed("no credit", QUOTA_PAUSE)
    assert pause_of(breaker, clock) == timedelta(hours=1)


def test_calls_that_fail_together_count_once(breaker: Breaker) -> None:
    """Of several calls under way when the service went down, the first one told it all."""
    for _ in range(5):
        breaker.failed("refused")
    assert breaker.state.failures == 1


def test_a_probe_that_never_reports_is_given_up(breaker: Breaker, clock: Clock) -> None:
    """A cancelled probe does not close the way for good."""
    breaker.failed("refused")
    clock.move(timedelta(minutes=1))
    assert breaker.allows()
    clock.move(timedelta(minutes=11))
    assert breaker.allows()


def test_a_pause_can_be_ended(breaker: Breaker) -> None:
    """Who saw the service answer need not wait for the pause to pass."""
    breaker.end_pause()
    assert breaker.retry_at is None
    breaker.failed("refused")
    breaker.end_pause()
    assert [breaker.allows(), breaker.allows()] == [True, False]


def test_an_outage_is_two_log_lines(breaker: Breaker, clock: Clock) -> None:
    """It is logged when it begins, when its reason changes, and when it is over, not at every probe."""
    with capture_logs() as logs:
        for reason in ["refused"] * 5 + ["no such model"] * 5:
            breaker.failed(reason)
            clock.move(timedelta(hours=1))
            breaker.allows()
        breaker.succeeded()
        breaker.succeeded()
    assert [(log["event"], log.get("reason")) for log in logs] == [
        ("service_down", "refused"),
        ("service_down", "no such model"),
        ("service_back", None),
    ]


async def test_the_state_outlives_the_process(database: Database, clock: Clock) -> None:
    """A restart during an outage neither forgets it, nor knocks early, nor starts its pauses anew."""
    first = await Breakers.load(database, clock=clock)
    for _ in range(3):
        first.of("Ollama").failed("no such model")
        clock.move(timedelta(hours=1))
        first.of("Ollama").allows()
    first.of("Ollama").failed("no such model")
    await first.close()

    second = await Breakers.load(database, clock=clock)
    reborn = second.of("Ollama")
    assert not reborn.allows()
    assert (reborn.state.failures, reborn.state.opened_at, reborn.state.reason) == (4, NOON, "no such model")
    assert not second.of("OpenAI").open
    assert second.open() == {"Ollama": True, "OpenAI": False}
    with capture_logs() as logs:
        clock.move(timedelta(hours=1))
        assert reborn.allows()
        reborn.failed("no such model")
        assert logs == []  # the same outage
        clock.move(timedelta(hours=1))
        assert reborn.allows()
        reborn.succeeded()
    await second.close()
    assert (await Breakers.load(database, clock=clock)).of("Ollama").state == BreakerState()


async def test_a_database_that_cannot_be_written_stops_no_breaker(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works from memory, and what could not be kept is kept with the next change."""
    breakers = await Breakers.load(database, clock=clock)

    def full() -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(database, "write", full)
        breakers.of("Qdrant").failed("refused")
        await breakers.close()
        assert not breakers.of("Qdrant").allows()
    breakers.of("OpenAI").failed("refused")
    await breakers.close()
    kept = await Breakers.load(database, clock=clock)
    assert (kept.of("Qdrant").open, kept.of("OpenAI").open) == (True, True)
