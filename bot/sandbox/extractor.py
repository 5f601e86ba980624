"""What the Ollama stand-in answers: facts found by simple patterns, the same for the same prompt every time.

It reads the numbered lines of our prompt and answers in the schema sent with it. It also reads the
prompt of mem0's `add`, so that both can be measured against one server. What asks for plain text is
left to `answerer`. It understands nothing:
"I love hiking" becomes "Ann loves hiking", and what fits no pattern is no fact.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bot.sandbox.answerer import answer_question

_LINE = re.compile(r"^(\d+) \d\d:\d\d ([^:>(]+?)(?: >\d+| \(to [^)]*\))?: (.*)$", re.MULTILINE)
_MEM0_MESSAGES = re.compile(r"^## New Messages\n(.*?)\n\n## Observation Date$", re.MULTILINE | re.DOTALL)
_MEM0_LINE = re.compile(r"^(?:user|assistant): (?:([^:\n]{1,40}): )?(.+)$", re.MULTILINE)
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\S)[^.!?\n]*)*")
_LONGEST = 300

_I = r"(?:^|[,;:(]\s*|\b(?:and|but|because|since|so)\s)I"
_LIKING = "like|love|prefer|hate|enjoy|want"
_HABIT = (
    "work|live|study|teach|coach|play|collect|visit|own|brew|bake|speak|repair|design|write|sing|paint|climb|cycle|"
    "keep|use|drive"
)
_DONE = "moved|bought|started|finished|met|won|built|lost"


def _pattern(kind: str, pattern: str, sentence: str) -> tuple[str, re.Pattern[str], str]:
    return kind, re.compile(pattern, re.IGNORECASE), sentence


# In this order; the first that fits speaks for the sentence. {verbs} is {verb} in the third person.
_ABOUT_SERVER = (
    _pattern(
        "decision",
        r"\b(?:we(?:'ve| have)? (?:decided|agreed)|(?:it's|it is) decided|change of plan(?: then)?)\b[:,]?\s*"
        r"(?:that |to |on )?(?P<rest>\w.{5,})",
        "The community decided: {rest}",
    ),
    _pattern("plan", r"\bwe(?:'re| are) going to (?P<rest>.{4,})", "The community is going to {rest}"),
)
_ABOUT_SPEAKER = (
    _pattern(
        "preference", rf"{_I} (?:really |just |still )?(?P<verb>{_LIKING}) (?P<rest>.{{3,}})", "{name} {verbs} {rest}"
    ),
    _pattern("preference", rf"{_I} don't (?P<rest>(?:{_LIKING}|eat|drink) .+)", "{name} doesn't {rest}"),
    _pattern("skill", rf"{_I} can (?P<rest>.{{4,}})", "{name} can {rest}"),
    _pattern("plan", rf"{_I}(?: will|'ll) (?P<rest>.{{4,}})", "{name} will {rest}"),
    _pattern("plan", rf"{_I}(?:'m| am) going to (?P<rest>.{{4,}})", "{name} is going to {rest}"),
    _pattern(
        "personal",
        rf"{_I}(?:'m| am) (?P<rest>(?:an? |allergic |vegan|vegetarian|from |born |called ).*)",
        "{name} is {rest}",
    ),
    _pattern(
        "personal", rf"{_I}(?:'ve| have) (?P<rest>(?:been|played|worked|lived|an?|two|three) .+)", "{name} has {rest}"
    ),
    _pattern("event", rf"{_I} (?P<verb>{_DONE}) (?P<rest>.{{4,}})", "{name} {verb} {rest}"),
    _pattern("personal", rf"{_I} (?P<verb>{_HABIT}) (?P<rest>.{{4,}})", "{name} {verbs} {rest}"),
    _pattern("personal", r"\bmy (?P<verb>[\w' -]{2,40}?)(?: is|'s) (?P<rest>.{2,})", "{name}'s {verb} is {rest}"),
)
_REPORTED = {"i": "they", "i'm": "they are", "i've": "they have", "i'll": "they will", "me": "them", "my": "their"}
_FIRST_PERSON = re.compile(r"\b(I'm|I've|I'll|I|me|my)\b", re.IGNORECASE)
_SENSITIVE = re.compile(r"\b(?:allergic|diagnos|pregnan|therap|church|mosque|voted for|salary)", re.IGNORECASE)
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][\w-]+(?: [A-Z][\w-]+)*")


@dataclass(frozen=True, slots=True)
class _Found:
    subject: str | None  # None: the server
    kind: str
    text: str


def answer(body: Mapping[str, Any]) -> str:
    """The text that answers a chat request's body."""
    messages = body.get("messages") or [{}]
    prompt = str(messages[-1].get("content", ""))
    if new_messages := _MEM0_MESSAGES.search(prompt):
        return json.dumps({"memory": list(_mem0_memories(new_messages[1]))}, ensure_ascii=False)
    if not isinstance(schema := body.get("format"), dict):
        return "{}" if schema == "json" else answer_question(str(messages[0].get("content", "")), prompt)
    fact = schema.get("properties", {}).get("facts", {}).get("items", {}).get("properties", {})
    subjects = set(fact.get("subject", {}).get("enum", ()))
    facts = [
        _as_asked(found, int(number))
        for number, name, words in _LINE.findall(prompt)
        for found in _find(name, words)
        if (found.subject or "SERVER") in subjects
    ]
    return json.dumps({"facts": facts}, ensure_ascii=False)


def _as_asked(found: _Found, line: int) -> dict[str, Any]:
    return {
        "sources": [line],
        "subject": found.subject or "SERVER",
        "text": found.text,
        "kind": found.kind,
        "confidence": 4,
        "importance": 4 if found.subject is None else 3,
        "entities": list(dict.fromkeys(_NAME.findall(found.text)))[:8],
        "sensitive": _SENSITIVE.search(found.text) is not None,
        "valid_from": None,
        "valid_until": None,
    }


def _mem0_memories(messages: str) -> Iterator[dict[str, str]]:
    number = 0
    for name, words in _MEM0_LINE.findall(messages):
        for found in _find(name or "User", words):
            yield {"id": str(number), "text": found.text, "attributed_to": "user"}
            number += 1


def _find(name: str, words: str) -> Iterator[_Found]:
    """The facts in what one person said."""
    for sentence in _SENTENCE.findall(words.replace("\u2019", "'")):
        sentence = sentence.strip()[:_LONGEST]
        if text := _say(_ABOUT_SERVER, name, sentence):
            yield _Found(None, *text)
        elif text := _say(_ABOUT_SPEAKER, name, sentence):
            yield _Found(name, *text)


def _say(patterns: Iterable[tuple[str, re.Pattern[str], str]], name: str, sentence: str) -> tuple[str, str] | None:
    """Kind and text of the fact that the first fitting pattern makes of a sentence."""
    for kind, pattern, template in patterns:
        if match := pattern.search(sentence):
            verb = match.groupdict().get("verb", "")
            rest = _FIRST_PERSON.sub(lambda word: _REPORTED[word[0].lower()], match["rest"])
            return kind, template.format(name=name, verb=verb, verbs=_third_person(verb), rest=rest)
    return None


def _third_person(verb: str) -> str:
    if verb.endswith(("ch", "sh", "s", "x")):
        return f"{verb}es"
    if verb.endswith("y") and verb[-2:-1] not in "aeou":
        return f"{verb[:-1]}ies"
    return f"{verb}s"
