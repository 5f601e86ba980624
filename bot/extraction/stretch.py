"""A stretch of one channel: its conversations, and what else of it a window needs to be understood."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from bot.conversations import grouped, links
from bot.extraction.windows import context_tokens
from bot.model import Message, Window

# Of every three links two are found, and the third is mostly to one of the lines just before. A line outside the
# window is worth showing for each line inside that may answer it: certainly, or the less the more lines are between.
_FOUND = 3.0
_PER_LINE = 0.7
_REACH = 10  # lines
_ADDRESSED = 0.3  # a line that names whom it answers may hardly answer another
_FOR_OTHERS = 0.3  # nor may one that was said to somebody else be answered
_LEAST = 0.3


class Stretch:
    """Messages of one channel, in id order, with who answers whom."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self._links = links(messages)
        self._place = {message.id: place for place, message in enumerate(messages)}

    def conversations(self, ids: Collection[int]) -> list[list[Message]]:
        """These messages by conversation, the others being only what was said besides."""
        talks = ([m for m in talk if m.id in ids] for talk in grouped(self._messages, self._links))
        return sorted(filter(None, talks), key=lambda talk: talk[0].id)

    def context(self, window: Window, lines: int, budget: int) -> tuple[Message, ...]:
        """At most so many lines and tokens that the window's messages are likely to answer, oldest first."""
        inside = {self._place[message.id] for message in window.messages}
        worth: defaultdict[int, float] = defaultdict(float)
        for place in inside:
            for earlier, chance in self._answerable(place):
                if earlier not in inside:
                    worth[earlier] += chance
        chosen: list[int] = []
        for place, value in sorted(worth.items(), key=lambda item: (-item[1], -item[0])):
            if value < _LEAST or len(chosen) == lines:
                break
            size = context_tokens(self._messages[place])
            if size <= budget:
                chosen.append(place)
                budget -= size
        return tuple(self._messages[place] for place in sorted(chosen))

    def _answerable(self, place: int) -> Iterator[tuple[int, float]]:
        """The places of the lines that this one may answer, with how much speaks for it."""
        message, link = self._messages[place], self._links[place]
        if link.parent is not None and self._messages[link.parent].id != message.reply_to:  # that is quoted
            yield link.parent, _FOUND
        chance = 1.0 if link.addressee is None else _ADDRESSED
        for earlier in range(place - 1, max(-1, place - 1 - _REACH), -1):
            for_others = self._links[earlier].addressee not in (None, message.author_id)
            yield earlier, chance * (_FOR_OTHERS if for_others else 1.0)
            chance *= _PER_LINE
