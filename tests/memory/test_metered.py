"""What is counted of an embedder and of an index, and that everything else is their own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from bot.errors import EmbedderUnavailable
from bot.memory.edge import EdgeIndex
from bot.memory.embedders.base import Usage
from bot.memory.embedders.fastembed import FastEmbedder
from bot.memory.embedders.ollama import OllamaEmbedder
from bot.memory.embeddings import Embedder
from bot.memory.index import Search
from bot.memory.metered import MeteredEmbedder, metered_index
from bot.meters import Histogram, Meters
from bot.model import Scope


class Scripted:
    """An embedder of ten tokens a text, which fails at a text that says so and remembers no query but one."""

    model, dimensions = "m", 2

    def __init__(self, name: str) -> None:
        self.name = name
        self.usage = Usage()

    async def documents(self, texts: Sequence[str], within: float | None = None) -> list[Sequence[float] | None]:
        for text in texts:
            if text == "fail":
                raise EmbedderUnavailable
            self.usage.requests += 1
            self.usage.tokens += 10
        return [(1.0, 0.0)] * len(texts)

    async def queries(self, texts: Sequence[str]) -> list[Any]:
        return await self.documents([text for text in texts if not self.known(text)])

    def known(self, text: str) -> Sequence[float] | None:
        return (1.0, 0.0) if text == "known" else None


def metered(name: str) -> tuple[MeteredEmbedder, Meters]:
    meters = Meters()
    return MeteredEmbedder(cast(Embedder, Scripted(name)), meters, price=20), meters


def observed(histogram: Histogram) -> dict[tuple[str, ...], int]:
    return {labels: sum(series.counts) for labels, series in histogram.series.items()}


async def test_tokens_used_up_before_a_failure_cost_too() -> None:
    """What was answered is paid for, and what failed has its cause and no time."""
    embedder, meters = metered("Voyage")
    assert meters.embedding_tokens.values == {("Voyage",): 0}
    with pytest.raises(EmbedderUnavailable):
        await embedder.documents(["tea", "milk", "fail"])
    assert meters.embedding_tokens.values == {("Voyage",): 20}
    assert meters.embedding_cost.values == {("Voyage",): pytest.approx(20 * 20 / 1e6)}
    assert meters.failures.values == {("Voyage", "embedder_unavailable"): 1}
    assert observed(meters.embedding_seconds) == {}


async def test_a_query_answered_from_memory_is_no_request() -> None:
    """It takes no time that would tell anything of the service."""
    embedder, meters = metered("OpenAI")
    await embedder.queries(["known"])
    assert observed(meters.embedding_seconds) == {}
    await embedder.queries(["known", "new"])
    assert observed(meters.embedding_seconds) == {("OpenAI", "query"): 1}
    assert meters.embedding_requests.values == {("OpenAI",): 1}


@pytest.mark.parametrize("name", [OllamaEmbedder.service, FastEmbedder.service])
async def test_ones_own_hardware_costs_nothing(name: str) -> None:
    """Whatever price is left in the settings."""
    embedder, meters = metered(name)
    await embedder.documents(["tea"])
    assert (meters.embedding_tokens.values, meters.embedding_cost.values) == ({(name,): 10}, {(name,): 0})


async def test_an_index_is_itself_but_counted(tmp_path: Path) -> None:
    """What is not counted is passed on, methods that came later included."""
    meters, inner = Meters(), EdgeIndex(tmp_path, 8)
    index = metered_index(inner, meters, "Qdrant")
    await index.open()
    await index.delete(7, ["6f1d6f3c-6f0e-5d5c-9a63-2f0c7c0c9d11"])
    assert await index.search(Scope(7, frozenset({70})), list[Search]()) == []
    assert await index.count(7) == 0
    assert observed(meters.index_seconds) == {("delete",): 1, ("search",): 1}
    assert index.shards is inner.shards  # type: ignore[attr-defined]  # of this kind of index alone
    await index.close()
