"""mem0's own search over a corpus: a genuine `mem0.Memory` with a Qdrant store of its own, in local mode.

Its dense vectors come from the embedder of the run. Its BM25 is on: the encoder it would download, `Qdrant/bm25`, is
stood in for by ours, which makes the same sparse vectors. Nothing is extracted (`infer=False`), and no spaCy is needed.
"""

import asyncio
import logging
import os
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _embedders import Remembering
from _recall_data import Corpus
from _recall_systems import Answer, Ask
from numpy.typing import NDArray

from bot.errors import RecollectError
from bot.memory.bm25 import Bm25

TOP = 20  # its default


@asynccontextmanager
async def mem0_search(
    corpora: Sequence[Corpus], embedder: Remembering, folder: Path, added: Callable[[], object]
) -> AsyncIterator[dict[str, Ask]]:
    """How to ask mem0 about each corpus, by name; its files are in `folder`.

    All are in one collection, each under a `user_id`, as mem0 keeps users apart. `added` is called at each turn.
    """
    memory = await asyncio.to_thread(_open, folder, _Embedding(embedder, asyncio.get_running_loop()))
    try:
        for corpus in corpora:
            await embedder.documents([turn.line for turn in corpus.turns])
            await asyncio.to_thread(_add, memory, corpus, added)
        yield {corpus.name: partial(_ask, memory, corpus.name) for corpus in corpora}
    finally:
        memory.vector_store.client.close()
        memory.close()


async def _ask(memory: Any, user: str, question: str) -> Answer:
    def search() -> Answer:
        started = time.perf_counter()
        found = memory.search(question, filters={"user_id": user}, top_k=TOP)["results"]
        took = time.perf_counter() - started
        return Answer([(one["metadata"]["turn"], one["score"]) for one in found], took)

    return await asyncio.to_thread(search)


def _open(folder: Path, embedding: "_Embedding") -> Any:
    os.environ["MEM0_DIR"] = str(folder)
    logging.getLogger("mem0").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="mem0|qdrant_client")
    try:
        import mem0
    except ImportError:
        raise RecollectError("The peer mem0 is not installed: pip install mem0ai.") from None
    store = {"path": str(folder / "qdrant"), "embedding_model_dims": embedding.dimensions, "on_disk": True}
    unused = {"provider": "openai", "config": {"api_key": "none"}}
    memory = mem0.Memory.from_config(
        {
            "embedder": unused,
            "llm": unused,
            "vector_store": {"provider": "qdrant", "config": store},
            "history_db_path": ":memory:",
        }
    )
    memory.embedding_model = embedding
    memory.vector_store._bm25_encoder = _SparseEncoder()
    return memory


def _add(memory: Any, corpus: Corpus, added: Callable[[], object]) -> None:
    for turn in corpus.turns:
        said = [{"role": "user", "content": turn.line}]
        memory.add(said, user_id=corpus.name, metadata={"turn": turn.id}, infer=False)
        added()


class _Embedding:
    """mem0's embedder: the run's, asked from mem0's thread."""

    def __init__(self, embedder: Remembering, loop: asyncio.AbstractEventLoop) -> None:
        self.dimensions = embedder.dimensions
        self._embedder = embedder
        self._loop = loop

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        return asyncio.run_coroutine_threadsafe(self._vector(text, memory_action), self._loop).result()

    async def _vector(self, text: str, memory_action: str | None) -> list[float]:
        if memory_action == "search":
            [vector] = await self._embedder.queries([text])
            return list(map(float, vector))
        [vector] = await self._embedder.documents([text])
        return list(map(float, vector if vector is not None else [0.0] * self.dimensions))


@dataclass(frozen=True)
class _Sparse:
    indices: NDArray[np.int64]
    values: NDArray[np.float64]


class _SparseEncoder:
    """fastembed's `Qdrant/bm25` by the product's tokens and weights. mem0 encodes its queries as documents, too."""

    def __init__(self) -> None:
        self._bm25 = Bm25("english")

    def embed(self, texts: Iterable[str]) -> Iterator[_Sparse]:
        for words in map(self._bm25.document, texts):
            yield _Sparse(np.array(words.indices, np.int64), np.array(words.values, np.float64))
