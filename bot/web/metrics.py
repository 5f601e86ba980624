"""`/metrics`: what waits and what is wrong, for Prometheus.

Values are read when somebody scrapes, and the client library is imported then: who has no
Prometheus pays for none.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from bot.errors import StorageUnavailable
from bot.model import utcnow
from bot.storage.breaker import Breakers
from bot.storage.messages import MessageStore
from bot.storage.queue import ExtractionQueue
from bot.upkeep.alerts import Alerts

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where the values come from."""

    queue: ExtractionQueue
    messages: MessageStore
    alerts: Alerts
    breakers: Breakers
    refused_events: Callable[[], int]
    places_behind: Callable[[], int]
    clock: Callable[[], datetime] = utcnow

    async def page(self) -> tuple[bytes, str]:
        """The page and its content type. Without the database, what only it knows is left out."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_Values([*self._of_process(), *await self._of_guilds()]))
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def _of_process(self) -> "Iterable[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        breakers = GaugeMetricFamily(
            "recollect_breaker_open", "Whether the service failed when it was last asked.", labels=["service"]
        )
        for service, is_open in self.breakers.open().items():
            breakers.add_metric([service], is_open)
        yield breakers
        yield CounterMetricFamily(
            "recollect_refused_events", "Events the database refused since the start.", value=self.refused_events()
        )
        yield GaugeMetricFamily(
            "recollect_places_behind", "Channels and threads still being caught up.", value=self.places_behind()
        )

    async def _of_guilds(self) -> "Sequence[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        waiting = GaugeMetricFamily("recollect_messages_waiting", "Messages that wait for facts.", labels=["guild"])
        oldest = GaugeMetricFamily("recollect_oldest_waiting_seconds", "Age of the oldest of them.", labels=["guild"])
        alert = GaugeMetricFamily(
            "recollect_oldest_waiting_alert", "Whether it is older than alerts.oldest_waiting.", labels=["guild"]
        )
        dead = GaugeMetricFamily("recollect_dead_letters", "Messages put aside, replayable.", labels=["guild"])
        try:
            since, now = await self.messages.oldest_waiting(), self.clock()
            for one in await self.queue.guilds():
                guild, age = [str(one.guild_id)], now - since.get(one.guild_id, now)
                waiting.add_metric(guild, one.waiting)
                oldest.add_metric(guild, age.total_seconds())
                alert.add_metric(guild, one.guild_id in self.alerts.raised)
                dead.add_metric(guild, await self.queue.dead(one.guild_id))
        except StorageUnavailable:
            return ()
        return waiting, oldest, alert, dead


@dataclass(frozen=True, eq=False)  # a registry wants its collectors hashable
class _Values:
    """A collector of values that were read already."""

    families: "Sequence[Metric]"

    def collect(self) -> "Iterable[Metric]":
        return self.families
