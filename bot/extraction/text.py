"""Text from messages, made fit for a prompt: one harmless line, and how many tokens it takes."""

import unicodedata

from bot.text import graphemes, with_named_emoji, without_piles

_UNSEEN = frozenset({"Cc", "Cf", "Cs"})  # control, format (bidi overrides, invisible "tag" letters) and surrogates
_JOINERS = frozenset("\u200c\u200d")  # Persian and Indic spelling, and emoji families, need them


def one_line(text: str) -> str:
    """The visible words on one line: no control, bidi or invisible characters, no piles of combining marks."""
    words = " ".join(with_named_emoji(text).split())
    if not words.isprintable():  # as no text is with one of those in it
        words = "".join(c for c in words if c in _JOINERS or unicodedata.category(c) not in _UNSEEN)
    return words if words.isascii() else without_piles(words).strip()


def most_tokens(text: str) -> int:
    """How many tokens `text` takes at most, for planning what fits.

    Two ASCII characters a token (English prose has four or more, source code about two and a half),
    one for a two-byte character, two for a three-byte one, four for an emoji: byte-level tokenizers
    never need more than one token a byte. Random letters or a script the tokenizer does not know
    may reach twice this figure, which the other half of the context (see `batch.window_tokens`) takes.
    """
    if text.isascii():
        return (len(text) + 1) // 2
    points = [ord(character) for character in text if not character.isascii()]
    others = sum(1 if point < 0x800 else 2 if point < 0x10000 else 4 for point in points)
    return (len(text) - len(points) + 1) // 2 + others


def least_tokens(text: str) -> int:
    """How many tokens `text` takes at least, for noticing that a prompt was cut: no token spans two words."""
    return len(text.split())


def cut(text: str, tokens: int) -> str:
    """The beginning of `text` that takes at most so many tokens (by `most_tokens`), cut between graphemes."""
    if most_tokens(text) <= tokens:
        return text
    room = tokens - most_tokens("…")
    kept: list[str] = []
    for cluster in graphemes(text):
        room -= most_tokens(cluster)
        if room < 0:
            break
        kept.append(cluster)
    return "".join(kept).rstrip() + "…"
