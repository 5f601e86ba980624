"""Whom a question names, among those who have spoken where the asker may read."""

import re
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from bot.storage.names import Names

_REMEMBER = 300.0  # seconds; for so long nobody misses a newcomer's name
_GUILDS = 100
_FEWEST_LETTERS = 3  # of a first name by itself: shorter ones are words as well
_SHORTEST_NAME = 2
_WORD = re.compile(r"\w+")
_POSSESSIVE = r"(?:['’]s?)?"  # noqa: RUF001  (people write both)


class Speakers:
    """The names people speak by, remembered for some minutes. `now` is a monotonic clock in seconds."""

    def __init__(self, names: Names, now: Callable[[], float] = time.monotonic) -> None:
        self._names = names
        self._now = now
        self._known: OrderedDict[int, tuple[float, Mapping[str, frozenset[int]]]] = OrderedDict()

    async def heard(self, guild_id: int, access_ids: Collection[int]) -> list[str]:
        """The names of those who have spoken in one of these places. Raises `StorageUnavailable`."""
        until, names = self._known.get(guild_id, (0.0, {}))
        if until <= self._now():
            names = await self._names.speakers(guild_id)
            self._known[guild_id] = self._now() + _REMEMBER, names
            self._known.move_to_end(guild_id)
            if len(self._known) > _GUILDS:
                self._known.popitem(last=False)
        return [name for name, places in names.items() if not places.isdisjoint(access_ids)]


def named(question: str, names: Iterable[str], telling: Callable[[str], int]) -> dict[str, list[str]]:
    """Those of these names that a question speaks of, whole or by their first word, with the words it uses.

    `telling` counts the words of a text that carry meaning: "The" by itself does not name The Dude.
    """
    said = {word.casefold() for word in _words(question)}
    found: dict[str, list[str]] = {}
    for name in names:
        words = _words(name)
        if not words or words[0].casefold() not in said:
            continue
        if len(words) > 1 and {word.casefold() for word in words} <= said and telling(name):
            found[name] = words
        elif len(words[0]) >= (_FEWEST_LETTERS if len(words) > 1 else _SHORTEST_NAME) and telling(words[0]):
            found[name] = words[:1]
    return found


def without(question: str, words: Sequence[str]) -> str:
    """The question without these names: what is asked, whoever it is about."""
    if not words:
        return question
    pattern = rf"\b(?:{'|'.join(map(re.escape, words))})\b{_POSSESSIVE}"
    return " ".join(re.sub(pattern, " ", question, flags=re.IGNORECASE).split())


def _words(text: str) -> list[str]:
    """The words of a text in plain letters: names are written in all that look like them."""
    return _WORD.findall(unicodedata.normalize("NFKC", text))
