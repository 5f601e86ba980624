"""Metrics, as Prometheus reads them."""

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.model import Message
from bot.storage.breaker import Breakers
from bot.storage.database import Database
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue
from bot.upkeep.alerts import Alerts
from bot.web.metrics import Metrics

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
GUILD = 7


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A database with three messages captured at noon."""
    database = await Database.open(tmp_path)
    messages = MessageStore(database, lambda: NOON)
    said = [Message(id, GUILD, 70, 70, "general", 1, "Ann", f"remark {id}", NOON) for id in range(1, 4)]
    await messages.capture_many(said)
    yield database
    await messages.close()
    await database.close()


async def metrics(database: Database) -> Metrics:
    """The metrics two hours later, of a bot that alerts after one."""

    def now() -> datetime:
        return NOON + timedelta(hours=2)

    messages, queue = MessageStore(database, now), ExtractionQueue(database, now)
    alerts = Alerts(messages.oldest_waiting, timedelta(hours=1), now)
    await alerts.look()
    breakers = await Breakers.load(database, clock=now)
    breakers.of("OpenAI")
    breakers.of("Ollama").failed("it refused")
    await breakers.close()
    return Metrics(queue, messages, alerts, breakers, lambda: 5, lambda: 2, now)


async def scraped(metrics: Metrics) -> dict[str, float]:
    """Every value of ours by name and label."""
    page, content_type = await metrics.page()
    assert content_type.startswith("text/plain")
    samples = [sample for family in text_string_to_metric_families(page.decode()) for sample in family.samples]
    return {"/".join([s.name, *s.labels.values()]): s.value for s in samples if s.name.startswith("recollect")}


async def test_what_waits_and_what_is_wrong_can_be_scraped(database: Database) -> None:
    """Every metric has its value of now."""
    queue = ExtractionQueue(database, lambda: NOON)
    await queue.bury((await queue.take([1], timedelta(hours=1))).lease, "no valid answer")
    assert await scraped(await metrics(database)) == {
        "recollect_messages_waiting/7": 2,
        "recollect_oldest_waiting_seconds/7": 7200,
        "recollect_oldest_waiting_alert/7": 1,
        "recollect_dead_letters/7": 1,
        "recollect_breaker_open/OpenAI": 0,
        "recollect_breaker_open/Ollama": 1,
        "recollect_refused_events_total": 5,
        "recollect_places_behind": 2,
    }


async def test_where_nothing_waits_nothing_is_old(database: Database) -> None:
    """The age is 0, and not what passed between two looks at the clock."""
    queue, ticks = ExtractionQueue(database, lambda: NOON), count()
    await queue.bury((await queue.take([1, 2, 3], timedelta(hours=1))).lease, "no valid answer")
    of_now = await metrics(database)
    of_now = replace(of_now, clock=lambda: NOON + timedelta(seconds=next(ticks)))
    assert (await scraped(of_now))["recollect_oldest_waiting_seconds/7"] == 0


async def test_a_database_that_cannot_be_read_hides_nothing_else(tmp_path: Path, database: Database) -> None:
    """The refused events are what matters then."""
    of_now = await metrics(database)
    other = await Database.open(tmp_path / "other")
    await other.close()
    blind = Metrics(ExtractionQueue(other), MessageStore(other), of_now.alerts, of_now.breakers, lambda: 5, lambda: 0)
    found = await scraped(blind)
    assert found["recollect_refused_events_total"] == 5
    assert "recollect_messages_waiting/7" not in found


def test_the_client_is_imported_at_the_first_scrape() -> None:
    """Who has no Prometheus does not pay for its library."""
    check = "import sys, bot.app; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
