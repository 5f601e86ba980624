"""Between records and rows: times as milliseconds, lists as JSON, ids by the thousand."""

import json
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Connection, Row, Select, bindparam, func, select

from bot.model import Attachment, Fact, FactKind, Mention, Message
from bot.storage.tables import message

AnyRow = Row[*tuple[Any, ...]]

MESSAGE_COLUMNS = (
    message.c.id,
    message.c.guild_id,
    message.c.channel_id,
    message.c.access_id,
    message.c.channel_name,
    message.c.author_id,
    message.c.author_name,
    message.c.content,
    message.c.created_at,
    message.c.edited_at,
    message.c.reply_to,
    message.c.mentions,
    message.c.attachments,
    message.c.revision,
)


def to_ms(when: datetime) -> int:
    """Milliseconds since 1970, the unit of every time in the database."""
    return round(when.timestamp() * 1000)


def ceil_ms(when: datetime) -> int:
    """`to_ms` rounded up: the time of a transaction that began after `when`, and of nothing that began before."""
    return math.ceil(when.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """The time a column holds."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def maybe_ms(when: datetime | None) -> int | None:
    """`to_ms` for a nullable column."""
    return None if when is None else to_ms(when)


def maybe_time(ms: int | None) -> datetime | None:
    """`from_ms` for a nullable column."""
    return None if ms is None else from_ms(ms)


def among(column: ColumnElement[Any], values: Iterable[int] | Iterable[str]) -> ColumnElement[bool]:
    """`column IN values` with the values as one parameter: any number fits, and the statement is cached once."""
    return column.in_(select(each(values)))


def each(values: Iterable[int] | Iterable[str]) -> ColumnElement[Any]:
    """A column with these values as its rows, passed as one parameter."""
    return func.json_each(json.dumps(list(values))).table_valued("value").c.value


def given(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """`among` for a statement made once: the parameter of this name is given `listed` values at each execution."""
    return column.in_(select(func.json_each(bindparam(name)).table_valued("value").c.value))


def listed(values: Iterable[int] | Iterable[str]) -> str:
    """Values as the parameter of a `given` condition."""
    return json.dumps(list(values))


def ids_of(connection: Connection, query: Select[int] | CompoundSelect[int]) -> list[int]:
    """The ids a query finds, in one row: each row waits for the interpreter, and a hundred thousand wait for long."""
    [[found]] = connection.execute(select(func.json_group_array(query.subquery().c[0])))
    ids: list[int] = json.loads(found)
    return ids


def clean(text: str) -> str:
    """Text that SQLite can hold: half of a surrogate pair, which JSON can smuggle in, becomes `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _json(values: list[list[Any]]) -> str:
    return json.dumps(values) if values else "[]"


def message_row(record: Message, captured_at: int) -> dict[str, Any]:
    """A message's columns at the start of both pipelines, ready for the driver (JSON as text)."""
    return {
        "id": record.id,
        "guild_id": record.guild_id,
        "channel_id": record.channel_id,
        "access_id": record.access_id,
        "channel_name": clean(record.channel_name),
        "author_id": record.author_id,
        "author_name": clean(record.author_name),
        "content": clean(record.content),
        "text": clean(record.text),
        "created_at": to_ms(record.created_at),
        "edited_at": maybe_ms(record.edited_at),
        "reply_to": record.reply_to,
        "mentions": _json([[mention.id, clean(mention.name)] for mention in record.mentions]),
        "attachments": _json([[clean(file.name), clean(file.description)] for file in record.attachments]),
        "revision": record.revision,
        "captured_at": captured_at,
        "extraction": "waiting",
        "attempts": 0,
        "lease": None,
        "lease_until": None,
        "dead_reason": None,
        "indexing": "pending",
    }


def message_of(row: AnyRow) -> Message:
    """The message in a row of `MESSAGE_COLUMNS`."""
    return Message(
        id=row.id,
        guild_id=row.guild_id,
        channel_id=row.channel_id,
        access_id=row.access_id,
        channel_name=row.channel_name,
        author_id=row.author_id,
        author_name=row.author_name,
        content=row.content,
        created_at=from_ms(row.created_at),
        edited_at=maybe_time(row.edited_at),
        reply_to=row.reply_to,
        mentions=tuple(Mention(id, clean(name)) for id, name in row.mentions),
        attachments=tuple(Attachment(clean(name), clean(description)) for name, description in row.attachments),
        revision=row.revision,
    )


def fact_row(record: Fact, created_at: int) -> dict[str, Any]:
    """A fact's columns as first stored."""
    return {
        "id": record.id,
        "guild_id": record.guild_id,
        "channel_id": record.channel_id,
        "access_id": record.access_id,
        "channel_name": clean(record.channel_name),
        "subject_id": record.subject_id,
        "subject_name": clean(record.subject_name),
        "text": clean(record.text),
        "kind": record.kind.value,
        "speaker_ids": list(record.speaker_ids),
        "speaker_name": clean(record.speaker_name),
        "confidence": record.confidence,
        "importance": record.importance,
        "entities": [clean(entity) for entity in record.entities],
        "sensitive": record.sensitive,
        "valid_from": record.valid_from.isoformat() if record.valid_from else None,
        "valid_until": record.valid_until.isoformat() if record.valid_until else None,
        "said_at": to_ms(record.said_at),
        "created_at": created_at,
    }


def fact_of(row: AnyRow, sources: Sequence[int], corrected: bool) -> Fact:
    """The fact in a row of the `fact` table."""
    return Fact(
        id=row.id,
        guild_id=row.guild_id,
        channel_id=row.channel_id,
        access_id=row.access_id,
        channel_name=row.channel_name,
        subject_id=row.subject_id,
        subject_name=row.subject_name,
        text=row.text,
        kind=FactKind(row.kind),
        speaker_ids=tuple(row.speaker_ids),
        speaker_name=row.speaker_name,
        sources=tuple(sources),
        confidence=row.confidence,
        importance=row.importance,
        said_at=from_ms(row.said_at),
        entities=tuple(row.entities),
        sensitive=row.sensitive,
        valid_from=date.fromisoformat(row.valid_from) if row.valid_from else None,
        valid_until=date.fromisoformat(row.valid_until) if row.valid_until else None,
        corrected=corrected,
    )
