"""What the Ollama stand-in says when it is asked for plain text: sentences made of the prompt's own lines.

It reads lines numbered `[1]`, picks those that share the most words with the question below them and cites each; where
there is no question, it lists how each block of lines begins. It understands nothing; where no line fits it says what
the prompt asks it to say then.
"""

import re
from collections.abc import Sequence, Set

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
    """An answer to `prompt` in which each sentence cites the line it is made of."""
    if question := _QUESTION.findall(prompt):
        told = " ".join(map(_cited, _closest(_LINE.findall(prompt), _words(question[-1]))))
    else:
        blocks = map(_LINE.search, prompt.split("\n\n"))
        told = "\n".join(f"- {_cited(line.groups())}" for line in blocks if line)
    if told:
        return told
    otherwise = _OTHERWISE.search(system)
    return otherwise[1] if otherwise else _NOTHING


def _closest(lines: Sequence[Sequence[str]], asked: Set[str]) -> Sequence[Sequence[str]]:
    """The first few of the lines that share the most words with the question; none if none shares any."""
    shared = [len(_words(line[1]) & asked) for line in lines]
    most = max(shared, default=0)
    return [line for line, number in zip(lines, shared, strict=True) if 0 < number == most][:_MOST_LINES]


def _cited(line: Sequence[str]) -> str:
    number, words = line
    return f"{words[:_LONGEST].rstrip('.!? ')} [{number}]."


def _words(text: str) -> set[str]:
    """The words that tell something, without a plural's s."""
    return {word.removesuffix("s") for word in _WORD.findall(text.casefold()) if word not in _COMMON}
