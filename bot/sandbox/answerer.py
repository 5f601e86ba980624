"""What the Ollama stand-in says when it is asked for plain text: sentences made of the prompt's own lines.

It reads lines numbered `[1]`, picks those that share words with the question below them and cites each. It
understands nothing; where no line fits it says what the prompt asks it to say then.
"""

import re
from collections.abc import Set

_LINE = re.compile(r"^\[(\d+)\] (?:.*?: )?(.+)$", re.MULTILINE)
_QUESTION = re.compile(r"^Question: (.+)$", re.MULTILINE)
_OTHERWISE = re.compile(r"\bexactly: *(\S+)")
_WORD = re.compile(r"\w{3,}")
_COMMON = frozenset(
    "about all and any are because but can did does for from had has have her his how into its not now our she that"
    " the their them then there they this was were what when where which who whom whose why will with you your".split()
)
_MOST_LINES = 3
_LONGEST = 200
_NOTHING = "This is a stand-in for a language model, and it found nothing to say."


def answer_question(system: str, prompt: str) -> str:
    """An answer to `prompt` in which each sentence cites the line it is made of.

    Without a question every line is worth telling.
    """
    lines = [(int(number), words[:_LONGEST]) for number, words in _LINE.findall(prompt)]
    if question := _QUESTION.findall(prompt):
        asked = _words(question[-1])
        lines = sorted((line for line in lines if _shared(line, asked)), key=lambda line: -_shared(line, asked))
    if not lines:
        otherwise = _OTHERWISE.search(system)
        return otherwise[1] if otherwise else _NOTHING
    return " ".join(f"{words.rstrip('.!?… ')} [{number}]." for number, words in lines[:_MOST_LINES])


def _shared(line: tuple[int, str], asked: Set[str]) -> int:
    return len(_words(line[1]) & asked)


def _words(text: str) -> set[str]:
    """The words that tell something, without a plural's s."""
    return {word.removesuffix("s") for word in _WORD.findall(text.casefold()) if word not in _COMMON}
