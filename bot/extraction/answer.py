"""The model's answer, checked: what fits the schema and the community's rules becomes facts."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from bot.errors import AnswerRejected
from bot.extraction.prompt import SERVER, Prompt
from bot.extraction.text import one_line
from bot.model import Fact, FactKind, Message, memory_id
from bot.policy import is_claim, person_fact_allowed, sensitive_allowed, server_fact_allowed
from bot.sensitive import sensitive

MAX_ANSWER_CHARACTERS = 256 * 1024
_MAX_TEXT = 500
_MAX_ENTITIES = 16
_MAX_SOURCES = 50
_SCALE = 5
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Checked:
    """The facts of one answer, and how many were refused for which reason."""

    facts: tuple[Fact, ...]
    refused: Mapping[str, int] = field(default_factory=dict)


def check(answer: str, prompt: Prompt) -> Checked:
    """The facts an answer to `prompt` holds.

    A single fact that breaks a rule is refused and counted. Raises `AnswerRejected` if the answer as
    a whole is not what was asked for: no JSON, another shape, absurdly long or many facts.
    """
    facts: dict[str, Fact] = {}
    refused: Counter[str] = Counter()
    for shape in _parse(answer, len(prompt.lines)):
        try:
            fact = _fact(_Stated.model_validate(shape.model_dump()), prompt)
        except ValidationError as error:
            refused[str(error.errors()[0]["loc"][0]) if error.errors()[0]["loc"] else "dates"] += 1
        except _Refused as reason:
            refused[str(reason)] += 1
        else:
            facts[fact.id] = fact
    return Checked(tuple(facts.values()), dict(refused))


class _Refused(Exception):
    """A fact breaks a rule; the message is the reason as counted in the log."""


class _Shape(BaseModel):
    """A fact as the schema demands it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    sources: list[int]
    subject: str
    text: str
    kind: str
    confidence: int
    importance: int
    entities: list[str]
    sensitive: bool
    valid_from: str | None
    valid_until: str | None


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    facts: list[_Shape]


def _iso_date(value: Any) -> Any:
    """An empty string means no date; small models write it for null."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _ISO_DATE.fullmatch(value):
        raise ValueError("not a calendar date")
    return value


_Date = Annotated[date | None, BeforeValidator(_iso_date)]
_Grade = Annotated[int, Field(ge=1, le=_SCALE)]
_Line = Annotated[str, BeforeValidator(one_line)]


class _Stated(BaseModel):
    """A fact with sound values."""

    sources: Annotated[list[int], Field(min_length=1, max_length=_MAX_SOURCES)]
    subject: str
    text: Annotated[_Line, StringConstraints(min_length=1, max_length=_MAX_TEXT)]
    kind: FactKind
    confidence: _Grade
    importance: _Grade
    entities: Annotated[
        list[Annotated[_Line, StringConstraints(min_length=1, max_length=100)]], Field(max_length=_MAX_ENTITIES)
    ]
    sensitive: bool
    valid_from: _Date
    valid_until: _Date

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.valid_from and self.valid_until and self.valid_until < self.valid_from:
            raise ValueError("valid_until lies before valid_from")
        return self


def _parse(answer: str, lines: int) -> Sequence[_Shape]:
    if len(answer) > MAX_ANSWER_CHARACTERS:
        raise AnswerRejected(f"the answer is {len(answer):,} characters long")
    try:
        shapes = _Answer.model_validate_json(answer).facts
    except ValidationError as error:
        # The details of a pydantic error quote the answer, which quotes messages: keep only its kind.
        raise AnswerRejected(f"the answer does not fit the schema ({error.errors()[0]['type']})") from None
    if len(shapes) > 2 * lines + 10:
        raise AnswerRejected(f"the answer holds {len(shapes)} facts from {lines} lines")
    return shapes


def _fact(stated: _Stated, prompt: Prompt) -> Fact:
    stated = stated.model_copy(update={"sensitive": stated.sensitive or _tells_something_sensitive(stated)})
    if not sensitive_allowed(prompt.drop_sensitive, stated.sensitive):
        raise _Refused("sensitive")
    if not prompt.lines.keys() >= set(stated.sources):
        raise _Refused("unknown source")
    cited = [prompt.lines[number] for number in sorted(set(stated.sources))]
    # A reply takes its sense from what it answers.
    quotes = prompt.window.quotes
    sources = [
        *{quotes[message.id].id: quotes[message.id] for message in cited if message.id in quotes}.values(),
        *cited,
    ]
    if stated.subject == SERVER:
        if not server_fact_allowed(stated.kind):
            raise _Refused("personal fact about the server")
        return _build(stated, None, SERVER, sources)
    subject = prompt.people.get(stated.subject)
    if subject is None:
        raise _Refused("foreign subject")
    if _names_another(stated, prompt.people):
        raise _Refused("about someone else")
    speakers = {message.author_id: message.author_name for message in cited}
    if not person_fact_allowed(prompt.person_facts, subject, speakers):
        raise _Refused("not in their own words" if prompt.person_facts == "self" else "about a person")
    if is_claim(subject, speakers):
        return _build(_as_claim(stated, cited, prompt), subject, stated.subject, sources)
    # The subject makes the statement; what others said may be part of it, so it goes with their words, too.
    return _build(stated, subject, stated.subject, sources, speaker_name=speakers[subject])


def _tells_something_sensitive(stated: _Stated) -> bool:
    """Whether the words give it away, whatever the model says of them."""
    return sensitive(stated.text, "" if stated.subject == SERVER else stated.subject) is not None


def _names_another(stated: _Stated, people: Iterable[str]) -> bool:
    """Whether the sentence begins with another person's name: then it is about them, whatever its subject says."""

    def begins_with(name: str) -> bool:
        return re.match(rf"{re.escape(name)}\b", stated.text, re.IGNORECASE) is not None

    return not begins_with(stated.subject) and any(begins_with(name) for name in people if name != stated.subject)


def _as_claim(stated: _Stated, cited: Sequence[Message], prompt: Prompt) -> _Stated:
    """What one person said about another, with the speaker named in the sentence."""
    speaker = prompt.name_of(cited[-1].author_id)
    named = re.search(rf"\b{re.escape(speaker)}\b", stated.text, re.IGNORECASE)
    text = stated.text if named else f"{speaker} said: {stated.text}"[:_MAX_TEXT]
    return stated.model_copy(update={"kind": FactKind.CLAIM, "text": text})


def _build(
    stated: _Stated,
    subject_id: int | None,
    subject_name: str,
    sources: Sequence[Message],
    speaker_name: str = "",
) -> Fact:
    newest = max(sources, key=lambda message: message.id)
    speakers = dict((message.author_id, message.author_name) for message in sources)
    ids = tuple(sorted(message.id for message in sources))
    return Fact(
        id=memory_id(newest.guild_id, newest.channel_id, subject_id, ids, stated.text),
        guild_id=newest.guild_id,
        channel_id=newest.channel_id,
        access_id=newest.access_id,
        channel_name=newest.channel_name,
        subject_id=subject_id,
        subject_name=subject_name,
        text=stated.text,
        kind=stated.kind,
        speaker_ids=tuple(speakers),
        speaker_name=speaker_name or ", ".join(speakers.values()),
        sources=ids,
        confidence=stated.confidence / _SCALE,
        importance=stated.importance / _SCALE,
        said_at=newest.created_at,
        entities=tuple(dict.fromkeys(stated.entities)),
        sensitive=stated.sensitive,
        valid_from=stated.valid_from,
        valid_until=stated.valid_until,
    )
