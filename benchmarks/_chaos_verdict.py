"""Judging a run: what people said and did not take back, against everything the bot holds."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from _chaos_script import TOKEN
from _chaos_services import DIMENSIONS
from _chaos_stores import FactRow, Line, Stores, has_keys, same, terms, terms_of, windows

from bot.memory.index import IndexPoint, Key
from bot.sandbox.discord import Message
from bot.sandbox.openai import embed

_FINISHED = "complete"


@dataclass(slots=True)
class Verdict:
    """By the id of what is wrong, why. A message is lost once, whatever it lacks."""

    lost: dict[str, str] = field(default_factory=dict)
    duplicates: dict[str, str] = field(default_factory=dict)
    leaked: dict[str, str] = field(default_factory=dict)

    def reasons(self) -> dict[str, int]:
        """How often each thing is wrong."""
        return dict(Counter(why for found in (self.lost, self.duplicates, self.leaked) for why in found.values()))


def lines(live: Iterable[Sequence[Message]]) -> list[Line]:
    """The messages of every place as they should be held."""
    return [
        Line(one.id, one.place.guild.id, one.place.id, one.author.id, one.author.display_name, one.content)
        for place in live
        for one in place
    ]


def missing(live: Iterable[Line], stores: Stores) -> dict[str, str]:
    """The messages that are not held, extracted and indexed as they are now, by the rows alone."""
    drawn = _drawn(stores)
    lost = {}
    for line in live:
        if why := _lacks(line, stores, drawn):
            lost[str(line.id)] = why
    return lost


def settled(live: Sequence[Line], stores: Stores) -> bool:
    """Whether the rows say that nothing is left to do."""
    unfinished = any(fact.indexing != _FINISHED for fact in stores.facts.values())
    return not (missing(live, stores) or unfinished or stores.removals or stores.rows.keys() - {one.id for one in live})


def judge(live: Sequence[Line], taken_back: set[str], stores: Stores) -> Verdict:
    """Compare what is held, points included, with what people said and did not take back."""
    verdict = Verdict(lost=missing(live, stores))
    drawn = _drawn(stores)
    for line, window in windows(live, stores.near):
        facts = [stores.facts[id] for id in drawn.get(line.id, ())]
        if why := _lacks_keys(stores.points.get(line.point_id), line, window) or _lacks_points(facts, stores):
            verdict.lost.setdefault(str(line.id), why)
    verdict.duplicates = _duplicates(live, stores)
    verdict.leaked = _leaks({line.id for line in live}, taken_back, stores)
    return verdict


def tells_of(card: Mapping[str, Any], message: Message) -> bool:
    """Whether a card of an answer is about a message as it is now, itself or by a fact, and links to it."""
    link = f"/channels/{message.place.guild.id}/{message.place.id}/{message.id})"
    parts = [card["description"], *(note["value"] for note in card.get("fields", []))]
    return any(link in part for part in parts) and TOKEN.findall(message.content)[0] in card["description"]


def _drawn(stores: Stores) -> dict[int, list[str]]:
    """The ids of the facts drawn from each message: a fact's first token tells which it is about."""
    about = {TOKEN.findall(row.line.text)[0]: id for id, row in stores.rows.items() if TOKEN.search(row.line.text)}
    drawn: dict[int, list[str]] = {}
    for fact in stores.facts.values():
        if (told := TOKEN.search(fact.text)) and told[0] in about:
            drawn.setdefault(about[told[0]], []).append(fact.id)
    return drawn


def _lacks(line: Line, stores: Stores, drawn: Mapping[int, Sequence[str]]) -> str | None:
    row = stores.rows.get(line.id)
    if row is None:
        return "not held"
    if row.line != line:
        return "held in other words"
    if row.extraction != "done":
        return f"not extracted: {row.extraction}"
    if row.indexing != _FINISHED:
        return f"not indexed: {row.indexing}"
    if line.id not in drawn:
        return "no fact drawn from it"
    return None


def _lacks_keys(point: IndexPoint | None, line: Line, window: str) -> str | None:
    if point is None:
        return "no point in the index"
    if point.payload["data"] != line.text:
        return "indexed in other words"
    if not has_keys(point, str(line), window):
        return "wrong keywords in the index"
    wanted = {Key.DENSE: str(line), Key.WINDOW: window}
    if not all(key in point.dense and same(point.dense[key], embed(wanted[key], DIMENSIONS)) for key in wanted):
        return "wrong vectors in the index"
    return None


def _lacks_points(facts: Iterable[FactRow], stores: Stores) -> str | None:
    for fact in facts:
        point = stores.points.get(fact.id)
        if point is None or point.payload["data"] != fact.text or Key.DENSE not in point.dense:
            return "its fact is not in the index"
    return None


def _duplicates(live: Sequence[Line], stores: Stores) -> dict[str, str]:
    """Of the facts drawn from one message, and the points made of it, all but one."""
    facts: dict[str, str] = {fact.id: fact.text for fact in stores.facts.values()}
    facts |= {id: str(one.payload["data"]) for id, one in stores.points.items() if one.payload["kind"] == "fact"}
    found: dict[str, str] = {}
    first: set[str] = set()
    for id, text in facts.items():
        told = next(iter(TOKEN.findall(text)), text)
        if told in first:
            found[id] = "the same fact twice"
        first.add(told)
    expected, ids = {line.point_id for line in live}, {line.id for line in live}
    for id, point in stores.points.items():
        if point.payload["kind"] == "message" and id not in expected and ids.issuperset(point.payload["sources"]):
            found[id] = "a second point of a message"
    return found


def _leaks(live: set[int], taken_back: set[str], stores: Stores) -> dict[str, str]:
    """Every record that holds words taken back, or rests on a message that was."""
    found: dict[str, str] = {}
    for row in stores.rows.values():
        if row.line.id not in live or not taken_back.isdisjoint(TOKEN.findall(row.line.text)):
            found[str(row.line.id)] = "a held message"
    for id, fact in stores.facts.items():
        if not live.issuperset(fact.sources) or not taken_back.isdisjoint(TOKEN.findall(fact.text)):
            found[id] = "a fact"
    gone = {term for word in taken_back for term in terms(word)}
    for id, point in stores.points.items():
        words = TOKEN.findall(json.dumps(dict(point.payload)))
        if not live.issuperset(point.payload["sources"]) or not taken_back.isdisjoint(words):
            found[id] = "a point of the index"
        elif any(gone & terms_of(point, key) for key in (Key.BM25, Key.BM25_WINDOW)):
            found[id] = "a key of the index"
    return found | {word: "a word of the keyword search" for word in stores.words & taken_back}
