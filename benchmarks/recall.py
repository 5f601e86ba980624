"""Recall: how much of what answers a question is among the first found, beside other systems on the same work.

Every turn of the conversations in DATA (a file, or a folder with *.json) is stored as one message and goes through the
shipped database, indexer and embedded index; each question goes through the shipped recall. The peers get the same
turns as `speaker: text`, in the same run with the same vectors: `mem0` is mem0's own search, `dense` cosine similarity,
`bm25` Lucene's BM25, `rrf` their reciprocal ranks. Each conversation is a community of its own, unless pooled.

R@k is the share of the evidence in the first k, a mean over questions, in percent as all figures of quality. Times are
in milliseconds from question to answer, the question's embedding included; `stages` says where they go. `tokens_top10`
counts the ten best turns, four bytes a token.

--runs DIR writes each system's rankings and the evidence in TREC's formats. --importance random gives every memory a
random importance. --cache FILE keeps the vectors of the turns for the next run. --plot FILE draws R@10 by system.
"""

import asyncio
import math
import random
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _embedders import Remembering, open_named
from _recall_data import Corpus, load
from _recall_mem0 import mem0_search
from _recall_metrics import judge, summary
from _recall_ours import recollect
from _recall_plot import draw
from _recall_runs import Asked, write_runs
from _recall_systems import LIST_PEERS, Ask, list_peers
from _report import main
from rich.console import Console
from rich.progress import Progress

from bot.app import fit_the_interpreter
from bot.errors import RecollectError
from bot.settings import LogSettings
from bot.telemetry import configure_logging

OURS = "recollect"
MEM0 = "mem0"
PEERS = (MEM0, *LIST_PEERS)
IMPORTANCE_SEED = 1
OPTIONS = {
    "format": "locomo",
    "embedder": "openai",
    "peer": ",".join(PEERS),
    "pool": False,
    "runs": "",
    "importance": "",
    "plot": "",
    "cache": "",
}
_TOP = 10
_BYTES_A_TOKEN = 4


def run(
    data: str, format: str, embedder: str, peer: str, pool: bool, runs: str, importance: str, plot: str, cache: str
) -> dict[str, Any]:
    """Measure; see the module's description for the options."""
    peers = [name.strip() for name in peer.split(",") if name.strip()]
    if unknown := [name for name in peers if name not in PEERS]:
        raise RecollectError(f"There is no peer {unknown[0]!r}; there are: {', '.join(PEERS)}.")
    if importance not in ("", "random"):
        raise RecollectError(f"There is no importance {importance!r}; there is: random.")
    corpora = load(Path(data), format, pool)
    configure_logging(LogSettings(level="error"))
    asked = asyncio.run(_ask_all(corpora, embedder, peers, importance, cache))
    figures = {
        "systems": {name: _figures(answers, corpora) for name, answers in asked.items()},
        "questions": sum(len(corpus.questions) for corpus in corpora),
        "memories": sum(len(corpus.turns) for corpus in corpora),
        "format": format,
        "pool": pool,
        "embedder": embedder,
    }
    if runs:
        write_runs(Path(runs), asked)
    if plot:
        draw(Path(plot), {name: system["R@10"] for name, system in figures["systems"].items()})
    return figures


async def _ask_all(
    corpora: Sequence[Corpus], name: str, peers: Sequence[str], importance: str, cache: str
) -> dict[str, Asked]:
    """Every system's answer to every question."""
    asked: dict[str, Asked] = {system: [] for system in (OURS, *peers)}
    embedder = Remembering(open_named(name))
    async with AsyncExitStack() as opened:
        opened.push_async_callback(embedder.close)
        if cache:
            embedder.read(Path(cache))
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        progress = opened.enter_context(Progress(console=Console(stderr=True)))
        for number, corpus in enumerate(corpora):
            drawn = random.Random(IMPORTANCE_SEED) if importance else None
            taken = progress.add_task(f"{corpus.name}: embedding", total=2 * len(corpus.turns))
            embedder.embedded = partial(progress.advance, taken)
            async with recollect(corpus, embedder, folder / str(number), drawn) as ours:
                progress.update(taken, completed=2 * len(corpus.turns))
                asked[OURS] += await _ask(OURS, ours.ask, corpus, progress)
            for peer, ask in (await list_peers(corpus, embedder, peers)).items():
                asked[peer] += await _ask(peer, ask, corpus, progress)
        if cache:
            embedder.write(Path(cache))
        if MEM0 in peers:
            added = progress.add_task("adding to mem0", total=sum(len(corpus.turns) for corpus in corpora))
            searches = mem0_search(corpora, embedder, folder / MEM0, partial(progress.advance, added))
            asks = await opened.enter_async_context(searches)
            for corpus in corpora:
                asked[MEM0] += await _ask(MEM0, asks[corpus.name], corpus, progress)
    return asked


async def _ask(name: str, ask: Ask, corpus: Corpus, progress: Progress) -> Asked:
    """One system's answers to a corpus's questions."""
    bar = progress.add_task(f"{corpus.name}: asking {name}", total=len(corpus.questions))
    if corpus.questions:
        await ask(corpus.questions[0].text)  # the first finds nothing warm
    fit_the_interpreter()  # as the bot does, and for every system
    answers = []
    for question in corpus.questions:
        answers.append((question, await ask(question.text)))
        progress.advance(bar)
    return answers


def _figures(asked: Asked, corpora: Sequence[Corpus]) -> dict[str, Any]:
    """What one system reached, and what it took."""
    judged = []
    for question, answer in asked:
        judged.append((question.category, judge([id for id, _ in answer.ranking], question.evidence)))
    figures: dict[str, Any] = summary(judged)
    figures |= _times([answer.seconds for _, answer in asked])
    stages = {name: [answer.stages[name] for _, answer in asked] for name in asked[0][1].stages}
    if stages:
        figures["search_p95_ms"] = _times(stages["search"])["p95_ms"]
        figures["stages"] = {name: _times(seconds) for name, seconds in stages.items()}
    size = {turn.id: math.ceil(len(turn.line.encode()) / _BYTES_A_TOKEN) for corpus in corpora for turn in corpus.turns}
    tops = [sum(size[id] for id, _ in answer.ranking[:_TOP]) for _, answer in asked]
    figures["tokens_top10"] = round(float(np.mean(tops)), 1)
    return figures


def _times(seconds: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95])
    return {"p50_ms": round(float(p50), 2), "p95_ms": round(float(p95), 2)}


if __name__ == "__main__":
    main(run, __doc__, "data", **OPTIONS)
