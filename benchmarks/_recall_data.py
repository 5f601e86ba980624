"""Conversations with questions whose evidence is known, turn by turn: LoCoMo and FriendsQA.

LoCoMo (Maharana et al., ACL 2024): two people talk in dated sessions; evidence is named by the ids of turns. FriendsQA
(Yang & Choi, SIGDIAL 2019): scenes of many people; evidence are the utterances an answer lies in.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from bot.errors import RecollectError

BETWEEN_TURNS = timedelta(seconds=10)
BETWEEN_SCENES = timedelta(hours=6)
FIRST_SCENE = datetime(2020, 1, 1, tzinfo=UTC)  # message ids begin with the time since 2015

# LoCoMo's fifth category asks for what was never said: it has no evidence to find.
_CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
_TURN_ID = re.compile(r"D:?(\d+):(\d+)")  # a few evidence fields name several, or have a colon too many


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing that was said. `text` tells of a shared picture as `[shares caption]`."""

    id: str
    conversation: str
    speaker: str
    text: str
    at: datetime

    @property
    def line(self) -> str:
        """`speaker: text`."""
        return f"{self.speaker}: {self.text}"


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the ids of the turns that answer it, never empty."""

    id: str
    text: str
    category: str
    evidence: frozenset[str]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Turns that are searched together, in the order they were said, and what is asked of them."""

    name: str
    turns: Sequence[Turn]
    questions: Sequence[Question]


def load(path: Path, format: str, pool: bool = False) -> list[Corpus]:
    """What a file holds, or all `*.json` of a folder; with `pool` as one corpus.

    Raises `RecollectError` with a sentence for an unknown format, a path that is not there and a file of another shape.
    """
    if format not in FORMATS:
        raise RecollectError(f"There is no format {format!r}; there are: {', '.join(FORMATS)}.")
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise RecollectError(f"{path} has no *.json in it.")
    corpora = list(chain.from_iterable(_read(file, format) for file in files))
    if not any(corpus.questions for corpus in corpora):
        raise RecollectError(f"{path} has no question with evidence.")
    return [_pooled(corpora)] if pool else corpora


def _read(file: Path, format: str) -> list[Corpus]:
    try:
        return list(FORMATS[format](json.loads(file.read_text("utf-8"))))
    except OSError as error:
        raise RecollectError(f"{file} cannot be read: {error.strerror}.") from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RecollectError(f"{file} is not in the format {format}.") from error


def _pooled(corpora: Sequence[Corpus]) -> Corpus:
    turns = [turn for corpus in corpora for turn in corpus.turns]
    return Corpus("pool", turns, [question for corpus in corpora for question in corpus.questions])


def _locomo(data: Any) -> Iterator[Corpus]:
    for sample in data:
        name = sample["sample_id"]
        turns = list(_sessions(name, sample["conversation"]))
        known = {turn.id for turn in turns}
        questions = []
        for number, asked in enumerate(sample["qa"]):
            named = {f"{name}/D{int(a)}:{int(b)}" for a, b in _TURN_ID.findall(" ".join(asked.get("evidence", [])))}
            if (evidence := frozenset(named & known)) and asked["category"] in _CATEGORIES:
                category = _CATEGORIES[asked["category"]]
                questions.append(Question(f"{name}/q{number}", asked["question"], category, evidence))
        yield Corpus(name, turns, questions)


def _sessions(name: str, conversation: Any) -> Iterator[Turn]:
    for number in sorted(int(match[1]) for match in map(re.compile(r"session_(\d+)$").match, conversation) if match):
        spoken = conversation[f"session_{number}_date_time"]
        began = datetime.strptime(spoken, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        for place, said in enumerate(conversation[f"session_{number}"]):
            caption = said.get("blip_caption")
            text = said["text"].strip() + (f" [shares {caption}]" if caption else "")
            at = began + place * BETWEEN_TURNS
            yield Turn(f"{name}/{said['dia_id']}", name, said["speaker"], text, at)


def _friendsqa(data: Any) -> Iterator[Corpus]:
    turns, questions = [], []
    for number, scene in enumerate(data["data"]):
        title, [part] = scene["title"], scene["paragraphs"]
        began = FIRST_SCENE + number * BETWEEN_SCENES
        known = {}
        for place, said in enumerate(part["utterances:"]):
            # People call each other by first names; of several who speak at once, the first stands for all.
            speaker = said["speakers"][0].split()[0] if said["speakers"] else "NOTE"
            id = known[said["uid"]] = f"{title}/{said['uid']}"
            turns.append(Turn(id, "friends", speaker, said["utterance"].strip(), began + place * BETWEEN_TURNS))
        for place, asked in enumerate(part["qas"]):
            evidence = frozenset(known[a["utterance_id"]] for a in asked["answers"] if a["utterance_id"] in known)
            if evidence:
                category = asked["id"].removeprefix(f"{title}_").removesuffix("_Paraphrased").lower()
                questions.append(Question(f"{title}/q{place}", asked["question"], category, evidence))
    yield Corpus("friends", turns, questions)


FORMATS: dict[str, Callable[[Any], Iterator[Corpus]]] = {"locomo": _locomo, "friendsqa": _friendsqa}
