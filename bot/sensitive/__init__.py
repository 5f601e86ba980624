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
from functools import cache

from bot.sensitive.table import TABLE, Category

__all__ = ["Category", "sensitive"]


def sensitive(text: str, name: str = "") -> Category | None:
    """The category of the first sensitive statement found, None if there is none.

    `name` is how a person of whom the text may tell is called in it.
    """
    words = _BEGINNING.findall(text.lower())
    if _TRIGGERS.isdisjoint(words):  # so ends nearly every message, after some microseconds
        return None
    plain = text.translate(_MARKUP)
    if name:
        plain = plain.replace(name, "<@0>")
    for number, (category, _, _) in enumerate(TABLE):
        if not _TRIGGERS_OF[number].isdisjoint(words) and _pattern(number).search(plain):
            return category
    return None


_BEGINNING = re.compile(r"\b[^\W_]{1,5}")  # the letters by which a word is looked up: endings vary
_MARKUP = str.maketrans({"\N{RIGHT SINGLE QUOTATION MARK}": "'", "*": None, "~": None, "|": None, "`": None, "_": None})
# At least six digits close together, no date, time or id of Discord's.
_NUMBER = r"\W{0,3}(?!\d{1,2}[:.]\d\d\b|\d{4}-\d\d-|\d{17})(?=(?:[^\d\n]{0,4}\d){6})[\w+(]"


def _term(term: str) -> str:
    return re.escape(term).replace(r"\*", r"\w*").replace(r"\ ", r"\s+")


def _trigger(term: str) -> str:
    """How the longest word of a term begins."""
    words: list[str] = re.findall(r"\w+", term)
    return max(reversed(words), key=len)[:5]


@cache  # each takes ten milliseconds to compile, and many are never needed
def _pattern(number: int) -> re.Pattern[str]:
    _, frames, terms = TABLE[number]
    either = rf"(?:{'|'.join(map(_term, terms.split(' | ')))})(?:s|e[nrs]?)?(?!\w)"
    pattern = "|".join(frames).replace(" ", r"\s").replace("<term>", either).replace("<number>", _NUMBER)
    return re.compile(pattern, re.IGNORECASE)


_TRIGGERS_OF = [frozenset(map(_trigger, terms.split(" | "))) for _, _, terms in TABLE]
_TRIGGERS = frozenset[str]().union(*_TRIGGERS_OF)
