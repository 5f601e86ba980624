"""What a group of captures and edits changes: newest content wins, and a tombstone beats them all."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, String, bindparam, cast, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from bot.model import Attachment, Mention, Message
from bot.storage import windows
from bot.storage.retraction import messages_edited
from bot.storage.rows import MESSAGE_COLUMNS, maybe_ms, message_of, message_row, to_ms
from bot.storage.tables import message, schedule, tombstone


@dataclass(frozen=True, slots=True)
class Edit:
    """New words for a message that is held."""

    id: int
    content: str
    mentions: tuple[Mention, ...]
    attachments: tuple[Attachment, ...]
    edited_at: datetime

    def applied_to(self, held: Message) -> Message:
        """The message with these words."""
        return replace(
            held,
            content=self.content,
            mentions=self.mentions,
            attachments=self.attachments,
            edited_at=self.edited_at,
        )


_ids = func.json_each(bindparam("ids")).table_valued("value").alias("given")
_KNOWN = (
    select(_ids.c.value.label("given"), tombstone.c.id.label("tombstone"), *MESSAGE_COLUMNS)
    .select_from(_ids)
    .outerjoin(message, message.c.id == _ids.c.value)
    .outerjoin(tombstone, tombstone.c.id == cast(_ids.c.value, String))
    .where(or_(message.c.id.is_not(None), tombstone.c.id.is_not(None)))
)
_columns = [column.name for column in message.c]
_values = itemgetter(*_columns)
_SIZES = tuple(1 << power for power in range(10, -1, -1))  # 1024 rows have 22,528 values; SQLite takes 32,766

_new_schedule = insert(schedule)
_COUNT = _new_schedule.on_conflict_do_update(
    index_elements=[schedule.c.guild_id],
    set_={"since_attempt": schedule.c.since_attempt + _new_schedule.excluded.since_attempt},
)
_STAMP = update(message).where(message.c.id == bindparam("held_id"))


def record(connection: Connection, changes: Sequence[Message | Edit], now: int, first_due: int) -> list[bool]:
    """Write a group of changes in order; for each whether it brought anything new.

    `now` and `first_due`, when the first batch of a new guild is due, are in milliseconds.
    """
    known = connection.execute(_KNOWN, {"ids": json.dumps([change.id for change in changes])}).all()
    buried = {row.given for row in known if row.tombstone is not None}
    plan = Plan({row.id: message_of(row) for row in known if row.id is not None}, buried)
    results = [plan.take(change) for change in changes]

    if plan.changed:
        messages_edited(connection, plan.changed, now)
    if plan.stamped:
        stamps = [{"held_id": id, "edited_at": maybe_ms(plan.held[id].edited_at)} for id in plan.stamped]
        connection.execute(_STAMP, stamps)
    if written := [plan.held[id] for id in (*plan.new, *plan.changed)]:
        _write(connection, [_values(message_row(one, now)) for one in written])
        windows.touch(connection, [(one.channel_id, one.id) for one in written])
    if guilds := Counter(plan.held[id].guild_id for id in plan.new):
        rows = [{"guild_id": id, "due_at": first_due, "since_attempt": count} for id, count in guilds.items()]
        connection.execute(_COUNT, rows)
    return results


def _write(connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Insert or replace rows, as few statements as there are sizes to make them of.

    With one statement a row, the full-text index would flush and this thread would queue for the
    interpreter as often, which takes longer than all the rest.
    """
    for size in _SIZES:
        while len(rows) >= size:
            connection.exec_driver_sql(_upsert(size), tuple(chain.from_iterable(rows[:size])))
            rows = rows[size:]


@cache
def _upsert(rows: int) -> str:
    """The statement that inserts or replaces this many rows, each with every column.

    Written out, because SQLAlchemy would hold the interpreter for milliseconds a row to compile it.
    """
    row = f"({', '.join('?' * len(_columns))})"
    newest = ", ".join(f"{name} = excluded.{name}" for name in _columns)
    return (
        f"INSERT INTO message ({', '.join(_columns)}) VALUES {', '.join([row] * rows)}"  # noqa: S608  (our own names)
        f" ON CONFLICT (id) DO UPDATE SET {newest}"
    )


class Plan:
    """Decides, change by change, what stands in the end."""

    def __init__(self, held: dict[int, Message], buried: set[int]) -> None:
        self.held = held
        self.new: set[int] = set()
        self.changed: set[int] = set()
        self.stamped: set[int] = set()  # the same words, known to be current at a later time
        self._buried = buried

    def take(self, change: Message | Edit) -> bool:
        """Whether the change brings anything new."""
        id, current = change.id, self.held.get(change.id)
        if id in self._buried:
            return False
        if current is None:
            if isinstance(change, Edit):
                return False
            self.held[id] = change if change.revision == 0 else replace(change, revision=0)
            self.new.add(id)
            return True
        if _stamp(change) <= _stamp(current):
            return False
        if (change.content, change.attachments) == (current.content, current.attachments):
            self.held[id] = replace(current, edited_at=change.edited_at)
            if id not in self.new and id not in self.changed:
                self.stamped.add(id)
            return False
        if isinstance(change, Edit):
            change = change.applied_to(current)
        self.held[id] = replace(change, revision=current.revision + 1)
        if id not in self.new:
            self.changed.add(id)
            self.stamped.discard(id)
        return True


def _stamp(change: Message | Edit) -> int:
    """When this content was written, in milliseconds."""
    if isinstance(change, Edit):
        return to_ms(change.edited_at)
    return to_ms(change.edited_at or change.created_at)
