"""Metrics, as Prometheus reads them from the bot at work beside stand-ins."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
import stamina
from prometheus_client.parser import text_string_to_metric_families
from town import Town, eventually

from bot.app import App
from bot.errors import AnswerTooLong, IndexUnavailable, LLMUnavailable, ModelMissing, RecollectError
from bot.memory.embeddings import TextsRefused
from bot.meters import Counter, Histogram, Laps, cause
from bot.model import utcnow
from bot.sandbox.discord import DiscordServer
from bot.sandbox.ollama import GARBAGE, MODEL, OllamaServer
from bot.sandbox.openai import OpenAIServer
from bot.settings import Settings


class Clock:
    """The time, which a test moves on."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utcnow() + self.ahead


@dataclass
class Stage:
    """The bot in its town, and the services it asks."""

    town: Town
    ollama: OllamaServer
    openai: OpenAIServer
    clock: Clock

    async def scrape(self, after: timedelta = timedelta(minutes=2)) -> dict[str, float]:
        """Every value of ours by its name and labels (by their names), once nothing counted before is remembered."""
        self.clock.ahead += after
        async with httpx.AsyncClient() as client:
            page = await client.get(f"http://127.0.0.1:{self.town.app.web.port}/metrics")
        assert page.headers["content-type"].startswith("text/plain")
        samples = [sample for family in text_string_to_metric_families(page.text) for sample in family.samples]
        return {"/".join([s.name, *s.labels.values()]): s.value for s in samples if s.name.startswith("recollect")}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """The bot, connected and scraped over HTTP; batches and indexing run when a test says so."""
    clock = Clock()
    async with DiscordServer() as discord, OllamaServer() as ollama, OpenAIServer() as openai:
        world = discord.world
        admin, ada = world.add_user("admin"), world.add_user("ada")
        guild = world.add_guild(name="tea club", owner=admin)
        general = world.add_channel(guild, "general")
        world.add_member(guild, ada)
        settings = Settings.model_validate(
            {
                "storage": {"path": tmp_path / "data"},
                "discord": {"token": discord.token, "api_url": discord.api_url, "gateway_url": discord.gateway_url},
                "ollama": {"url": ollama.url},
                "openai": {"api_key": "sk-test", "base_url": openai.url},
                "embedding": {"price_per_million": 1000},
                "web": {"port": 0},
            }
        )
        with stamina.set_testing(True, attempts=1):
            async with App(settings, clock) as app, app.web.serving(), asyncio.TaskGroup() as tasks:
                tasks.create_task(app.client.serve(discord.token))
                await app.client.ready.wait()
                yield Stage(Town(discord, app, guild, general, general, admin, ada, ada), ollama, openai, clock)
                await app.client.close()


async def test_what_the_bot_does_can_be_scraped(stage: Stage) -> None:
    """Every value moves when something happens: talk, a batch, questions, a command refused."""
    town, guild = stage.town, stage.town.guild.id
    before = await stage.scrape()
    assert before["recollect_ready"] == before["recollect_gateway_connected"] == 1
    assert before["recollect_build_info/openai:text-embedding-3-small/Ollama/0.1.0"] == 1
    assert before[f"recollect_ollama_model_loaded/{MODEL}"] == 0
    assert f"recollect_ollama_model_vram_bytes/{MODEL}" not in before
    assert before["recollect_recall_duration_seconds_count/total"] == before["recollect_batch_messages_count"] == 0

    for text in ("I keep bees", "I play the cello"):
        await town.types(town.ada, text)
    waiting = await stage.scrape()
    assert waiting[f"recollect_messages_waiting/{guild}"] == 2
    assert waiting[f"recollect_oldest_waiting_seconds/{guild}"] == pytest.approx(120, abs=10)
    assert waiting["recollect_index_backlog/message/everything"] == 2

    stage.ollama.memory, stage.ollama.vram = 1000, 5000
    assert (await town.app.worker.flush(guild)).facts == 2
    await town.app.indexer.drain()
    assert (await town.use(town.ada, "recall", query="who keeps bees?")).embeds
    await town.use(town.ada, "recall", query="?")
    now = await stage.scrape()
    assert {name: now[name] for name in now if name.startswith("recollect_memories")} == {
        f"recollect_memories/{guild}/message": 2,
        f"recollect_memories/{guild}/fact": 2,
    }
    assert now["recollect_index_backlog/message/everything"] == now["recollect_index_backlog/fact/vectors"] == 0
    assert now[f"recollect_messages_waiting/{guild}"] == now[f"recollect_oldest_waiting_seconds/{guild}"] == 0
    assert now["recollect_batch_messages_sum"] == now["recollect_facts_extracted_total"] == 2
    assert now["recollect_batch_duration_seconds_count"] == 1
    assert now["recollect_llm_request_duration_seconds_count/Ollama/extraction"] == stage.ollama.calls
    assert 0 < now["recollect_llm_tokens_total/Ollama/answer"] < now["recollect_llm_tokens_total/Ollama/prompt"]
    assert now[f"recollect_ollama_model_loaded/{MODEL}"] == 1
    assert now[f"recollect_ollama_model_memory_bytes/{MODEL}"] == 6000
    assert now[f"recollect_ollama_model_vram_bytes/{MODEL}"] == 5000
    assert now["recollect_embedding_requests_total/OpenAI"] == stage.openai.requests
    tokens = now["recollect_embedding_tokens_total/OpenAI"]
    assert tokens > 0
    assert now["recollect_embedding_cost_dollars_total/OpenAI"] == pytest.approx(tokens / 1000)
    assert now["recollect_embedding_request_duration_seconds_count/OpenAI/query"] == 1
    assert now["recollect_embedding_request_duration_seconds_count/OpenAI/document"] >= 1
    assert now["recollect_index_operation_duration_seconds_count/search"] == 1
    assert now["recollect_index_operation_duration_seconds_count/upsert"] >= 1
    stages = ("embed", "search", "sql", "rest")
    assert [now[f"recollect_recall_duration_seconds_count/{stage}"] for stage in (*stages, "total")] == [1] * 5
    seconds = [now[f"recollect_recall_duration_seconds_sum/{stage}"] for stage in stages]
    assert sum(seconds) == pytest.approx(now["recollect_recall_duration_seconds_sum/total"])
    assert now["recollect_command_duration_seconds_count/recall"] == 2
    assert now["recollect_command_failures_total/refused/recall"] == 1
    assert 0 < now["recollect_data_disk_free_bytes"] <= now["recollect_data_disk_size_bytes"]
    assert now["recollect_breaker_open/Ollama"] == now["recollect_places_behind"] == 0


async def test_what_goes_wrong_can_be_scraped(stage: Stage) -> None:
    """Each outage has its cause, its breaker and its lesser answers; a message put aside and a long wait are seen."""
    town, guild = stage.town, stage.town.guild.id
    await town.types(town.ada, "I keep bees")
    stage.ollama.replies.extend([GARBAGE, GARBAGE])
    await town.app.worker.flush(guild)
    await town.says(town.ada, "I play the cello")
    await stage.openai.stop()
    await town.use(town.ada, "recall", query="who plays the cello?")
    await stage.ollama.stop()
    await town.app.worker.flush(guild)
    stage.clock.ahead += town.app.settings.alerts.oldest_waiting
    await town.app.alerts.look()
    now = await stage.scrape()
    assert now["recollect_failures_total/answer_rejected/Ollama"] == 2
    assert now["recollect_failures_total/llm_unreachable/Ollama"] == 1
    assert now["recollect_failures_total/embedder_unavailable/OpenAI"] == 1
    assert now["recollect_breaker_open/Ollama"] == now["recollect_breaker_open/OpenAI"] == 1
    assert now["recollect_breaker_open/Qdrant"] == 0
    assert now["recollect_recall_degraded_total/embedder_down"] == 1
    assert now[f"recollect_dead_letters/{guild}"] == now[f"recollect_oldest_waiting_alert/{guild}"] == 1
    assert not [name for name in now if name.startswith("recollect_ollama_model")], "nobody knows what is loaded"


async def test_a_connection_made_again_is_counted(stage: Stage) -> None:
    """And while there is none, the bot is not ready."""
    client = stage.town.app.client
    assert (await stage.scrape())["recollect_gateway_reconnects_total"] == 0
    await stage.town.server.drop_connections()
    await eventually(lambda: client.reconnects)
    now = await stage.scrape()
    assert now["recollect_gateway_reconnects_total"] == now["recollect_ready"] == 1
    client.ready.clear()
    now = await stage.scrape()
    assert now["recollect_ready"] == now["recollect_gateway_connected"] == 0
    assert "recollect_gateway_latency_seconds" not in now


async def test_a_database_that_cannot_be_read_hides_nothing_else(stage: Stage) -> None:
    """The bot is not ready then, and the refused events are what matters."""
    await stage.town.types(stage.town.ada, "I keep bees")
    await stage.town.app.database.close()
    stage.town.app.observer.refused = 5
    now = await stage.scrape()
    assert (now["recollect_refused_events_total"], now["recollect_ready"]) == (5, 0)
    assert not [name for name in now if name.startswith(("recollect_messages_waiting", "recollect_memories"))]


def test_values_fall_into_the_bucket_that_ends_with_them() -> None:
    """As Prometheus has it: a bound belongs to its bucket, and what is above all bounds to the last."""
    histogram = Histogram("h", "", (1, 2))
    for value in (0, 1, 1.5, 2, 3):
        histogram.observe(value)
    assert (histogram.series[()].counts, histogram.series[()].sum) == ([2, 2, 1], 7.5)


def test_a_label_counts_from_its_first_value_or_from_the_start() -> None:
    """What is known to come is there from 0, so that its first time is an increase."""
    counter = Counter("c", "", ("kind",), [("known",)])
    counter.add(2, "other")
    assert counter.values == {("known",): 0, ("other",): 2}
    assert Counter("c", "").values == {(): 0}


async def test_stages_that_fail_count_too() -> None:
    """What was waited for in vain was time, too."""
    laps, seconds = Laps(), Histogram("h", "", (60,), ("stage",))

    async def fails() -> None:
        raise IndexUnavailable

    with pytest.raises(IndexUnavailable):
        await laps.of("search", fails())
    laps.finish(seconds)
    assert seconds.series.keys() == {("search",), ("rest",), ("total",)}


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ModelMissing(), "model_missing"),
        (LLMUnavailable(), "llm_unavailable"),
        (AnswerTooLong(), "answer_too_long"),
        (TextsRefused("no"), "embedder_unavailable"),
        (RecollectError(), "recollect_error"),
        (TimeoutError(), "given_up"),
        (asyncio.CancelledError(), "given_up"),
        (KeyError("a member's words"), "unexpected"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else "",
)
def test_a_cause_is_one_of_a_few_words(error: BaseException, word: str) -> None:
    """Never what the error says, which may differ each time or quote somebody."""
    assert cause(error) == word
