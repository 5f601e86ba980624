"""Alerts: one line when messages wait too long, and one when that is over."""

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from bot.errors import StorageUnavailable
from bot.upkeep.alerts import Alerts

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Waiting:
    """What waits, and what time it is."""

    def __init__(self) -> None:
        self.since: dict[int, datetime] = {}
        self.now = NOON

    async def __call__(self) -> dict[int, datetime]:
        return self.since


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def alerts(waiting: Waiting) -> Alerts:
    return Alerts(waiting, 6 * HOUR, lambda: waiting.now)


async def test_a_long_wait_is_told_once_and_its_end_once(waiting: Waiting, alerts: Alerts) -> None:
    """Crossing the limit is one warning with the guild and the age, however often it is looked at."""
    waiting.since = {1: NOON, 2: NOON + 3 * HOUR}
    with capture_logs() as logs:
        for hours in (5.9, 6, 7, 8):
            waiting.now = NOON + hours * HOUR
            await alerts.look()
        assert alerts.raised == {1}
        del waiting.since[1]
        await alerts.look()
        await alerts.look()
    assert [(log["event"], log["log_level"], log["guild_id"], log.get("hours")) for log in logs] == [
        ("oldest_waiting", "warning", 1, 6.0),
        ("oldest_waiting_over", "info", 1, None),
    ]
    assert not alerts.raised


async def test_a_second_outage_is_told_again(waiting: Waiting, alerts: Alerts) -> None:
    """Each crossing is an alert of its own."""
    with capture_logs() as logs:
        for since in (NOON, NOON + 10 * HOUR):
            waiting.since, waiting.now = {1: since}, since + 7 * HOUR
            await alerts.look()
            waiting.since = {}
            await alerts.look()
    assert [log["event"] for log in logs] == ["oldest_waiting", "oldest_waiting_over"] * 2


async def test_the_database_decides_nothing_while_it_cannot_be_read(alerts: Alerts) -> None:
    """What is not known changes no alert."""

    async def locked() -> dict[int, datetime]:
        raise StorageUnavailable

    blind = Alerts(locked, HOUR)
    with pytest.raises(StorageUnavailable):
        await blind.look()
    assert not blind.raised
