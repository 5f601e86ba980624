"""What people tell of their health, faith, sexuality and the like: found, so that it need not be kept.

The categories are those of GDPR Art. 9 (racial or ethnic origin, political opinions and union membership, beliefs,
health, sex life and orientation) and Art. 10 (convictions), and beside them what Presidio recognises of persons
(phone numbers, addresses, numbers of identity documents; https://microsoft.github.io/presidio/supported_entities),
and money trouble.

Chat is full of such words meant otherwise ("this build gives me depression", "religious about tests"), so a strong
word alone is nothing: it must stand in a statement about a person, `frame` and `term` of a rule. A frame begins
with the writer ("I have", "ich bin", "my"), a relative, a mention, he or she, or a name at the start of a clause.

Limits: English and German only. It knows words, not sense: what is told in other words ("I cannot get out of bed"),
over several sentences or messages, or asked ("is Ann ill?") is not found; fiction and jokes told like statements
("he is gay, the main character") are. Metaphors are let pass where they are common, so "I have PTSD from the war"
passes, too. A name in lower case is no name, unless it is given.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache

from bot.sensitive.table import TABLE, Category

__all__ = ["Category", "sensitive"]


def sensitive(text: str, name: str = "") -> Category | None:
    """The category of the first sensitive statement found, None if there is none.

    `name` is how a person of whom the text may tell is called in it.
    """
    triggers = _TRIGGERS.keys() & _BEGINNING.findall(text.lower())
    if not triggers:  # so ends nearly every message, after some microseconds
        return None
    plain = text.translate(_MARKUP)
    if name:
        plain = plain.replace(name, "<@0>")
    lowered = plain.lower()
    rules = {rule for word in triggers for term, rule in _TRIGGERS[word] if _whole(term).search(lowered)}
    return next((TABLE[rule][0] for rule in sorted(rules) if _pattern(rule).search(plain)), None)


_BEGINNING = re.compile(r"\b_*([^\W_]{1,5})")  # the letters by which a word is looked up: endings vary
_MARKUP = str.maketrans({"\N{RIGHT SINGLE QUOTATION MARK}": "'", "*": None, "~": None, "|": None, "`": None, "_": None})
# At least six digits close together, no date, time or id of Discord's.
_NUMBER = r"\W{0,3}(?!\d{1,2}[:.]\d\d\b|\d{4}-\d\d-|\d{17})(?=(?:[^\d\n]{0,4}\d){6})[\w+(]"
_ENDING = r"(?:s|e[nrs]?)?(?!\w)"  # of plurals and cases


def _term(term: str) -> str:
    return re.escape(term).replace(r"\*", r"\w*").replace(r"\ ", r"\s+")


@cache
def _whole(term: str) -> re.Pattern[str]:
    return re.compile(rf"\b{_term(term)}{_ENDING}")


def _trigger(term: str) -> str:
    """How the longest word of a term begins."""
    words: list[str] = re.findall(r"\w+", term)
    return max(reversed(words), key=len)[:5]


@cache  # each takes ten milliseconds to compile, and many are never needed
def _pattern(number: int) -> re.Pattern[str]:
    _, frames, terms = TABLE[number]
    either = rf"(?:{'|'.join(map(_term, terms.split(' | ')))}){_ENDING}"
    pattern = "|".join(frames).replace(" ", r"\s").replace("<term>", either).replace("<number>", _NUMBER)
    return re.compile(pattern, re.IGNORECASE)


def _triggers() -> Mapping[str, Sequence[tuple[str, int]]]:
    """By how a word begins: the terms it may belong to, each with the number of its rule."""
    found: dict[str, list[tuple[str, int]]] = {}
    for number, (_, _, terms) in enumerate(TABLE):
        for term in terms.split(" | "):
            found.setdefault(_trigger(term), []).append((term, number))
    return found


_TRIGGERS = _triggers()
