"""What statements are made of: words without their case, and the words that turn a statement around."""

from collections.abc import Iterable

_AROUND_WORDS = ".,;:!…'\"“”„«»()[]{}<>*_~`|"

_NEGATIONS = frozenset(
    "not no never none nobody nothing neither nor without cannot "
    "nicht kein keine keinen nie pas jamais nunca jamás mai niet geen não inte ikke nie не нет değil".split()
)


def folded(text: str) -> str:
    """The text in lower case, with plain apostrophes."""
    return text.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; signs that mean something (`c++ #3 50% why?`) stay."""
    return bare(folded(text).split())


def bare(parts: Iterable[str]) -> list[str]:
    """What stands between spaces, without the punctuation around it."""
    return [word for part in parts if (word := part.strip(_AROUND_WORDS))]


def negates(word: str) -> bool:
    """Whether a word turns its statement around, in English or one of its neighbours."""
    return word in _NEGATIONS or word.endswith("n't")
