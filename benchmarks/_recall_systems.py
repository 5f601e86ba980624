"""What a system under test is, and the peers that are plain lists: dense, BM25, and both fused by rank."""

import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from _embedders import Remembering
from _recall_data import Corpus
from _recall_metrics import DEPTH
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Ranking = list[tuple[str, float]]  # ids of turns and their scores, best first


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system found for a question, the seconds it took, and where they went."""

    ranking: Ranking
    seconds: float
    stages: dict[str, float] = field(default_factory=dict)


Ask = Callable[[str], Awaitable[Answer]]


async def list_peers(corpus: Corpus, embedder: Remembering, names: Iterable[str]) -> dict[str, Ask]:
    """Those of the peers `dense`, `bm25` and `rrf` that are named, over one corpus: their key is `speaker: text`."""
    lines = [turn.line for turn in corpus.turns]
    ids = [turn.id for turn in corpus.turns]
    vectors = np.array(await embedder.documents(lines), np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    words = LuceneBm25([tokens(line) for line in lines])

    async def dense(question: str) -> Scores:
        [vector] = await embedder.queries([question])
        scores: Scores = vectors @ np.asarray(vector, np.float64)
        return scores

    async def bm25(question: str) -> Scores:
        return words.scores(tokens(question))

    async def rrf(question: str) -> Scores:
        return reciprocal_ranks([await dense(question), await bm25(question)])

    def asking(score: Callable[[str], Awaitable[Scores]]) -> Ask:
        async def ask(question: str) -> Answer:
            started = time.perf_counter()
            scores = await score(question)
            ranking = [(ids[place], float(scores[place])) for place in np.argsort(-scores, kind="stable")[:DEPTH]]
            return Answer(ranking, time.perf_counter() - started)

        return ask

    known = {"dense": dense, "bm25": bm25, "rrf": rrf}
    return {name: asking(known[name]) for name in names if name in known}


LIST_PEERS = ("dense", "bm25", "rrf")


class LuceneBm25:
    """BM25 with Lucene's never negative IDF (Kamphuis et al., ECIR 2020), k1 1.2 and b 0.75."""

    def __init__(self, documents: Sequence[Sequence[str]], k1: float = 1.2, b: float = 0.75) -> None:
        self._count = len(documents)
        lengths = np.array([len(words) for words in documents], float)
        norms = k1 * (1 - b + b * lengths / max(lengths.mean(), 1e-9))
        found: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for place, words in enumerate(documents):
            for word, times in Counter(words).items():
                found[word].append((place, times))
        self._postings = {}
        for word, postings in found.items():
            places, times = np.array(postings).T
            idf = math.log(1 + (self._count - len(places) + 0.5) / (len(places) + 0.5))
            self._postings[word] = (places, idf * times * (k1 + 1) / (times + norms[places]))

    def scores(self, words: Iterable[str]) -> Scores:
        """The score of every document; a word asked for twice counts twice."""
        scores = np.zeros(self._count)
        for word in words:
            if word in self._postings:
                places, weights = self._postings[word]
                scores[places] += weights
        return scores


def reciprocal_ranks(lists: Sequence[Scores], k: int = 60) -> Scores:
    """Reciprocal rank fusion (Cormack, Clarke & Büttcher, SIGIR 2009) of what each list scores above 0."""
    fused = np.zeros(len(lists[0]))
    for scores in lists:
        best = np.argsort(-scores, kind="stable")[:DEPTH]
        best = best[scores[best] > 0]
        fused[best] += 1 / (k + np.arange(1, len(best) + 1))
    return fused


def tokens(text: str) -> list[str]:
    """The stems of the words that are not English stop words."""
    return _stems([word for word in re.findall(r"[a-z0-9]+", text.lower()) if word not in _STOP_WORDS])


def _stems(words: list[str]) -> list[str]:
    from py_rust_stemmers import SnowballStemmer

    stems: list[str] = SnowballStemmer("english").stem_words(words)
    return stems


# NLTK's list, as `Qdrant/bm25` has it, with contractions split as the words are.
_STOP_WORDS = frozenset(
    """
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it
    its itself they them their theirs themselves what which who whom this that these those am is are was were be been
    being have has had having do does did doing a an the and but if or because as until while of at by for with about
    against between into through during before after above below to from up down in out on off over under again further
    then once here there when where why how all any both each few more most other some such no nor not only own same so
    than too very s t can will just don should now d ll m o re ve y ain aren couldn didn doesn hadn hasn haven isn ma
    mightn mustn needn shan shouldn wasn weren won wouldn
    """.split()
)
