"""What a group of captures changes: newest content wins, and a tombstone beats them all."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, bindparam, exists, select, update
from sqlalchemy.dialects.sqlite import insert

from bot.model import Message, message_memory_id
from bot.storage.burial import EXPIRED, Burial, burials, is_buried, keys_of
from bot.storage.cascade import facts_outdated, keep, messages_edited
from bot.storage.rows import MESSAGE_COLUMNS, given, listed, maybe_ms, message_of, message_row, to_ms
from bot.storage.tables import message, removal, schedule

# Statements are made once: to make one anew for each group would take as long as to execute it.
_KNOWN = select(*MESSAGE_COLUMNS).where(given(message.c.id, "ids"))
_columns = [column.name for column in message.c]
_renewed = [name for name in _columns if name not in ("id", "captured_at")]  # raw text counts from its capture
_values = itemgetter(*_columns)
_SIZES = tuple(1 << power for power in range(10, -1, -1))  # 1024 rows have 22,528 values; SQLite takes 32,766

_new_schedule = insert(schedule)
_COUNT = _new_schedule.on_conflict_do_update(
    index_elements=[schedule.c.guild_id],
    set_={"since_attempt": schedule.c.since_attempt + _new_schedule.excluded.since_attempt},
)
_REMOVALS = select(exists(select(removal)))
_STAMP = update(message).where(message.c.id == bindparam("held_id"))


def record(connection: Connection, captured: Sequence[Message], now: int, first_due: int) -> list[bool]:
    """Write a group of captures in order; for each whether it brought anything new.

    `now` and `first_due`, when the first batch of a new guild is due, are in milliseconds.
    """
    known = connection.execute(_KNOWN, {"ids": listed(one.id for one in captured)})
    held = {row.id: message_of(row) for row in known}
    plan = Plan(held, burials(connection, _keys(captured)))
    results = [plan.take(one) for one in captured]

    if plan.changed:
        messages_edited(connection, {plan.held[id].guild_id for id in plan.changed}, plan.changed, now)
    if plan.outdating:
        facts_outdated(connection, plan.outdating, now)
    if plan.stamped:
        stamps = [{"held_id": id, "edited_at": maybe_ms(plan.held[id].edited_at)} for id in plan.stamped]
        connection.execute(_STAMP, stamps)
    if written := [plan.held[id] for id in (*plan.new, *plan.changed)]:
        _write(connection, [_values(message_row(one, now)) for one in written])
    if plan.new and connection.execute(_REMOVALS).scalar_one():
        keep(connection, [message_memory_id(plan.held[id]) for id in plan.new])
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
    newest = ", ".join(f"{name} = excluded.{name}" for name in _renewed)
    return (
        f"INSERT INTO message ({', '.join(_columns)}) VALUES {', '.join([row] * rows)}"  # noqa: S608  (our own names)
        f" ON CONFLICT (id) DO UPDATE SET {newest}"
    )


class Plan:
    """Decides, capture by capture, what stands in the end."""

    def __init__(self, held: dict[int, Message], buried: Mapping[str, Burial]) -> None:
        self.held = held
        self.new: set[int] = set()
        self.changed: set[int] = set()
        self.stamped: set[int] = set()  # the same words, known to be current at a later time
        self.outdating: dict[int, int] = {}  # when expired messages, of which facts may be left, were edited
        self._buried = buried

    def take(self, captured: Message) -> bool:
        """Whether the capture brings anything new."""
        id, current = captured.id, self.held.get(captured.id)
        if self._buried and is_buried(self._buried, _keys([captured]), to_ms(captured.created_at)):
            self._refuse(captured)
            return False
        if current is None:
            self.held[id] = captured if captured.revision == 0 else replace(captured, revision=0)
            self.new.add(id)
            return True
        if _stamp(captured) <= _stamp(current):
            return False
        if (captured.content, captured.attachments) == (current.content, current.attachments):
            self.held[id] = replace(current, edited_at=captured.edited_at)
            if id not in self.new and id not in self.changed:
                self.stamped.add(id)
            return False
        self.held[id] = replace(captured, revision=current.revision + 1)
        if id not in self.new:
            self.changed.add(id)
            self.stamped.discard(id)
        return True

    def _refuse(self, captured: Message) -> None:
        burial = self._buried.get(str(captured.id))
        if burial is not None and burial.reason == EXPIRED and captured.edited_at is not None:
            self.outdating[captured.id] = max(_stamp(captured), self.outdating.get(captured.id, 0))


def _keys(captured: Sequence[Message]) -> set[str]:
    """The keys of which one may be buried, and a message with it: its own, its places' and its author's."""
    places = {(one.guild_id, one.channel_id, one.access_id, one.author_id) for one in captured}
    shared = (keys_of(guild_id, channel_id, access_id, [author]) for guild_id, channel_id, access_id, author in places)
    return {str(one.id) for one in captured}.union(*shared)


def _stamp(captured: Message) -> int:
    """When this content was written, in milliseconds."""
    return to_ms(captured.edited_at or captured.created_at)
