"""Each guild's BM25, by the language that is spoken there."""

from collections.abc import Callable, Collection
from functools import cache

from bot.memory.bm25 import Bm25
from bot.memory.index import SparseVector


class Lexicon:
    """BM25 by guild. `language_of` names the language of a guild now, which may change at any time.

    While an index still holds keys in a language that was spoken before, queries are made in both: a word that has
    the same form in both counts once, any other finds the memories of its own language.
    """

    def __init__(self, language_of: Callable[[int], str]) -> None:
        self._language_of = language_of
        self._spoken: dict[int, str] = {}
        self._left: dict[int, frozenset[str]] = {}

    def of(self, guild_id: int) -> Bm25:
        """The BM25 of what is written from now on. Raises `SettingsError` for a language that is not known."""
        language = self._language_of(guild_id)
        before = self._spoken.get(guild_id, language)
        if before != language:
            self._left[guild_id] = self._left.get(guild_id, frozenset()) | {before}
        self._spoken[guild_id] = language
        return _bm25(language)

    def query(self, guild_id: int, text: str) -> SparseVector:
        """The sparse vector to search a guild with: weight 1 for each distinct word, in each language of its keys."""
        languages = [self.of(guild_id).language, *self._left.get(guild_id, ())]
        indices = dict.fromkeys(index for one in languages for index in _bm25(one).query(text).indices)
        return SparseVector(list(indices), [1.0] * len(indices))

    def holds(self, guild_id: int, languages: Collection[str]) -> None:
        """Note in which languages there are keys in the guild's index."""
        self._left[guild_id] = frozenset(languages) - {self.of(guild_id).language}


_bm25 = cache(Bm25)
