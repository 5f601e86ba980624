"""The page of /metrics as Prometheus reads it. Imports `prometheus_client`, so it is imported with the first scrape."""

import asyncio
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from bot.errors import StorageUnavailable
from bot.meters import Counter, Histogram
from bot.web.metrics import Metrics

Values = Mapping[tuple[str, ...], float]


async def page(metrics: Metrics) -> tuple[bytes, str]:
    """The page and its content type."""
    try:
        of_guilds = [*await _waiting(metrics), *await _held(metrics)]
    except StorageUnavailable:
        of_guilds = []
    families = [
        *_of_bot(metrics, answers=bool(of_guilds)),
        *of_guilds,
        *await _of_models(metrics),
        *await asyncio.to_thread(lambda: list(_of_disk(metrics))),
        *map(_family, metrics.meters.all),
    ]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Read(families))
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _of_bot(metrics: Metrics, answers: bool) -> Iterator[Metric]:
    connected = metrics.client.ready.is_set()
    about = {"version": version("recollect"), **metrics.about()}
    yield _gauge("recollect_build_info", "What runs here.", {tuple(about.values()): 1}, *about)
    yield _gauge("recollect_ready", "Whether the gateway and the database answer.", connected and answers)
    yield _gauge("recollect_gateway_connected", "Whether Discord's gateway is connected.", connected)
    latency = metrics.client.latency  # NaN or infinite before the first heartbeat was answered
    known: Values = {(): latency} if connected and math.isfinite(latency) else {}
    yield _gauge("recollect_gateway_latency_seconds", "Time of the last heartbeat to the gateway and back.", known)
    yield _counter("recollect_gateway_reconnects", "Times the gateway was connected again.", metrics.client.reconnects)
    yield _counter("recollect_refused_events", "Events the database refused since the start.", metrics.refused_events())
    yield _gauge("recollect_places_behind", "Channels and threads still being caught up.", metrics.places_behind())
    yield _gauge(
        "recollect_breaker_open",
        "Whether the service failed when it was last asked.",
        {(name,): is_open for name, is_open in metrics.breakers.open().items()},
        "dependency",
    )


async def _waiting(metrics: Metrics) -> list[Metric]:
    since, now = await metrics.messages.oldest_waiting(), metrics.clock()
    guilds = {(str(one.guild_id),): one for one in await metrics.queue.guilds()}
    ages = {guild: now - since.get(one.guild_id, now) for guild, one in guilds.items()}
    return [
        _gauge(
            "recollect_messages_waiting",
            "Messages that wait for facts.",
            {guild: one.waiting for guild, one in guilds.items()},
            "guild",
        ),
        _gauge(
            "recollect_oldest_waiting_seconds",
            "Age of the oldest of them.",
            {guild: age.total_seconds() for guild, age in ages.items()},
            "guild",
        ),
        _gauge(
            "recollect_oldest_waiting_alert",
            "Whether it is older than alerts.oldest_waiting.",
            {guild: one.guild_id in metrics.alerts.raised for guild, one in guilds.items()},
            "guild",
        ),
        _gauge(
            "recollect_dead_letters",
            "Messages put aside, replayable.",
            {guild: await metrics.queue.dead(one.guild_id) for guild, one in guilds.items()},
            "guild",
        ),
    ]


async def _held(metrics: Metrics) -> list[Metric]:
    census = await metrics.census()
    lacking = {"everything": census.unindexed, "vectors": census.without_vectors}
    return [
        _gauge(
            "recollect_memories",
            "Messages and facts held.",
            {(str(guild_id), kind): held for (guild_id, kind), held in census.held.items()},
            "guild",
            "kind",
        ),
        _gauge(
            "recollect_index_backlog",
            "Memories of which the index lacks everything, or only their vectors.",
            {(kind, lacks): count for lacks, counts in lacking.items() for kind, count in counts.items()},
            "kind",
            "lacks",
        ),
    ]


async def _of_models(metrics: Metrics) -> list[Metric]:
    models = await metrics.models() or {}
    loaded = {(model,): one for model, one in models.items() if one}
    return [
        _gauge(
            "recollect_ollama_model_loaded",
            "Whether Ollama holds the model in memory.",
            {(model,): one is not None for model, one in models.items()},
            "model",
        ),
        _gauge(
            "recollect_ollama_model_memory_bytes",
            "Memory of all kinds that the loaded model takes.",
            {model: one.size for model, one in loaded.items()},
            "model",
        ),
        _gauge(
            "recollect_ollama_model_vram_bytes",
            "Of these, the GPU's.",
            {model: one.vram for model, one in loaded.items()},
            "model",
        ),
    ]


def _of_disk(metrics: Metrics) -> Iterator[Metric]:
    try:
        disk = shutil.disk_usage(metrics.folder)
    except OSError:
        return
    yield _gauge("recollect_data_disk_free_bytes", "Free where the data folder is.", disk.free)
    yield _gauge("recollect_data_disk_size_bytes", "Size of the disk it is on.", disk.total)


def _gauge(name: str, help: str, values: Values | float, *labels: str) -> Metric:
    family = GaugeMetricFamily(name, help, labels=labels)
    for label_values, value in _of_labels(values).items():
        family.add_metric(label_values, value)
    return family


def _counter(name: str, help: str, values: Values | float, *labels: str) -> Metric:
    family = CounterMetricFamily(name, help, labels=labels)
    for label_values, value in _of_labels(values).items():
        family.add_metric(label_values, value)
    return family


def _of_labels(values: Values | float) -> Values:
    return values if isinstance(values, Mapping) else {(): values}


def _family(meter: Counter | Histogram) -> Metric:
    if isinstance(meter, Counter):
        return _counter(meter.name, meter.help, meter.values, *meter.labels)
    family = HistogramMetricFamily(meter.name, meter.help, labels=meter.labels)
    bounds = [*map(floatToGoString, meter.bounds), "+Inf"]
    for label_values, series in meter.series.items():
        family.add_metric(label_values, list(zip(bounds, accumulate(series.counts), strict=True)), series.sum)
    return family


@dataclass(frozen=True, eq=False)  # a registry wants its collectors hashable
class _Read:
    """A collector of values that were read already."""

    families: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families
