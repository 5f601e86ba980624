"""BM25 keys: text to sparse vectors, with the token ids and weights of fastembed's `Qdrant/bm25` and no download.

The differences found: words are also split at underscores, and the Turkish dotted capital I has another id.

That is for English, which mem0 writes and reads too. In every other language full and half width are one, and a
run of Han, kana, hangul, Thai or the like, which has no spaces or has particles, is indexed as its characters and
pairs of characters (Nie et al., IRAL 2000; Lucene's CJKBigramFilter with `outputUnigrams`), not as one long word.
"""

import unicodedata
from collections.abc import Callable
from itertools import pairwise

import qdrant_edge as edge

from bot.errors import SettingsError
from bot.memory.index import SparseVector
from bot.storage.rows import clean
from bot.text import with_runs_as

NO_LANGUAGE = "none"
_ENGLISH = "english"
_LONGEST_TOKEN = 40  # longer ones are dropped, as `Qdrant/bm25` does


class Bm25:
    """The term-frequency half of BM25 (k 1.2, b 0.75, average length 256); the index holds the IDF half.

    The parameters are those of `Qdrant/bm25`, which mem0 uses, so points written by either compare.
    Pure CPU: call it in a worker thread for batches.
    """

    def __init__(self, language: str) -> None:
        """`language` names the stemmer and stop words; `none` has neither, and ignores accents.

        Raises `SettingsError` on another.
        """
        language = language.strip().lower()
        self.language = language
        self._model = edge.Bm25(_config(language))
        self._readable: Callable[[str], str] = clean if language == _ENGLISH else _segmented

    def document(self, text: str) -> SparseVector:
        """The sparse vector a text is stored under; empty for a text without words."""
        vector = self._model.embed_document(self._readable(text))
        return SparseVector(vector.indices, vector.values)

    def query(self, text: str) -> SparseVector:
        """The sparse vector to search with: weight 1 for each distinct word."""
        vector = self._model.embed_query(self._readable(text))
        return SparseVector(vector.indices, vector.values)

    def words(self, text: str) -> int:
        """How many different words of a text carry meaning: no stop words."""
        return len(self._model.embed_query(self._readable(text)).indices)


def languages() -> list[str]:
    """The languages with stop words, and `none`."""
    names = (name for name in dir(edge.Language) if not name.startswith("_"))
    return [*sorted(name.lower() for name in names), NO_LANGUAGE]


def _config(language: str) -> edge.Bm25Config:
    if language == NO_LANGUAGE:
        return edge.Bm25Config(
            stopwords=edge.StopwordsSet(),
            stemmer=edge.DisabledStemmer(),
            ascii_folding=True,
            max_token_len=_LONGEST_TOKEN,
        )
    if language not in languages():
        raise SettingsError(f"recall.language {language!r} is not known; use one of {', '.join(languages())}.")
    return edge.Bm25Config(language=language, max_token_len=_LONGEST_TOKEN)


def _segmented(text: str) -> str:
    return with_runs_as(_characters_and_pairs, unicodedata.normalize("NFKC", clean(text)))


def _characters_and_pairs(run: str) -> str:
    return f" {' '.join((*run, *map(''.join, pairwise(run))))} "
