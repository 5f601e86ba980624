"""Windows: which messages the model reads in one call.

Whole conversations are packed together, as sections, until a window is full. Only a conversation
larger than a window is divided, where its people paused longest.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate, islice

from bot.extraction.prompt import CONTEXT_TOKENS, MOST_QUOTES, short_name
from bot.extraction.text import most_tokens, one_line
from bot.model import Message, Window
from bot.storage.lease import Taken

_MOST_LINES = 100  # in a window of short remarks; each may make a fact of the answer
CONTEXT_SHARE = 3  # context takes at most a third of what a window may: the answer needs the rest


def pack(talks: Sequence[Sequence[Message]], budget: int) -> list[Window]:
    """Windows of at most `budget` tokens that hold every message of one channel's conversations once.

    The conversations stay in order within a window. A message larger than the budget gets a window
    of its own; the prompt shows what fits of it.
    """
    pieces = [piece for talk in talks for piece in _divide(tuple(talk), budget)]
    filled: list[tuple[int, list[tuple[Message, ...]]]] = []
    for piece, size in sorted(pieces, key=lambda piece: piece[0][0].id):
        for place, (taken, sections) in enumerate(filled):
            if taken + size <= budget:
                sections.append(piece)
                filled[place] = (taken + size, sections)
                break
        else:
            filled.append((size, [piece]))
    return [Window(sections[0][0].guild_id, sections[0][0].channel_id, tuple(sections)) for _, sections in filled]


def tokens(messages: Sequence[Message], budget: int) -> int:
    """What the lines of these messages take of a window, at most; what they quote is bounded by `MOST_QUOTES`."""
    return sum(_line_tokens(message, budget) for message in messages)


def _line_tokens(message: Message, budget: int) -> int:
    words = most_tokens(one_line(message.text))
    return min(
        max(_prefix_tokens(message.author_name, message.reply_to is not None) + words, budget // _MOST_LINES), budget
    )


@lru_cache(maxsize=1024)
def _prefix_tokens(author_name: str, answers: bool) -> int:
    return most_tokens(f"99 23:59 {short_name(author_name)}{' >99' if answers else ''}: \n")


def halve(window: Window) -> tuple[Window, Window] | None:
    """The window in two, between conversations if there are several; None if it is a single message.

    The parts have no context: the line that nobody can read may be there.
    """
    window = replace(window, context=())
    sections = window.sections
    if len(sections) == 1:
        (only,) = sections
        if len(only) == 1:
            return None
        middle = len(only) // 2
        return replace(window, sections=(only[:middle],)), replace(window, sections=(only[middle:],))
    middle = _middle([len(section) for section in sections])
    return replace(window, sections=sections[:middle]), replace(window, sections=sections[middle:])


def refreshed(window: Window, taken: Taken, budget: int) -> Window:
    """The window with the current form of its messages and what surrounds them; those not leased are left out.

    Of the context stay the last lines that fit. A reply quotes what it answers if the same people may read both.
    """
    held = {message.id: message for message in taken.lease.messages}
    sections = (tuple(held[m.id] for m in section if m.id in held) for section in window.sections)
    answered = {message.id: taken.answered.get(message.reply_to or 0) for message in held.values()}
    quotes = {id: one for id, one in answered.items() if one and one.access_id == held[id].access_id}
    return replace(
        window,
        sections=tuple(section for section in sections if section),
        context=_last(taken.context, budget // CONTEXT_SHARE),
        quotes=dict(islice(quotes.items(), MOST_QUOTES)),
    )


def _last(context: Sequence[Message], budget: int) -> tuple[Message, ...]:
    """The last of these messages that take at most `budget` tokens as lines of context."""
    fitting = sum(size <= budget for size in accumulate(map(context_tokens, reversed(context))))
    return tuple(context[len(context) - fitting :])


def context_tokens(message: Message) -> int:
    """What a message takes as a line of context, at most."""
    return min(most_tokens(one_line(message.text)), CONTEXT_TOKENS) + most_tokens(message.author_name) + 3


def _divide(talk: tuple[Message, ...], budget: int) -> list[tuple[tuple[Message, ...], int]]:
    """A conversation in as few pieces as fit, with their sizes, cut at long pauses where there is a choice."""
    sizes = [tokens([message], budget) for message in talk]
    pieces, start, total = [], 0, sum(sizes)
    while total > budget:
        # With less than this in the first piece, the rest would take one piece more.
        least = total - (total - 1) // budget * budget
        ends = list(enumerate(accumulate(sizes[start:]), start + 1))
        fitting = [end for end, size in ends if size <= budget]
        cut = max(
            [end for end, size in ends if least <= size <= budget] or fitting[-1:],
            key=lambda end: (talk[end].created_at - talk[end - 1].created_at, end),
        )
        size = sum(sizes[start:cut])
        pieces.append((talk[start:cut], size))
        total -= size
        start = cut
    return [*pieces, (talk[start:], total)]


def _middle(sizes: Sequence[int]) -> int:
    """Where to cut a list so that both parts, neither empty, are as equal as can be."""
    total, before = sum(sizes), 0
    best, difference = 1, total
    for place in range(1, len(sizes)):
        before += sizes[place - 1]
        if abs(total - 2 * before) < difference:
            best, difference = place, abs(total - 2 * before)
    return best
