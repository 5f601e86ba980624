"""A message's window: the two before it in its conversation, itself, and the one after it.

Conversations are told apart when a message is taken to be indexed, and what its window is made of is recorded
before the key is written. So whoever edits or removes words finds every key in which they may stand, however the
conversations would be told apart by then.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, groupby
from operator import attrgetter

from sqlalchemy import Connection, bindparam, func, select, text

from bot.conversations import conversations
from bot.model import Message
from bot.storage.rows import MESSAGE_COLUMNS, among, listed, message_of
from bot.storage.tables import message, surrounding

BEFORE = 2
AFTER = 1

# How much of a channel around a message tells its conversation. Only a reply links to anything farther away.
_HISTORY = 150  # messages: in busy chat 92 % of the windows begin as if all that was said were known, with 60 only 78 %
_FUTURE = 20  # messages
_REACH = timedelta(hours=2)
_REACH_OF_IDS = int(_REACH.total_seconds() * 1000) << 22  # a message's id begins with its time

_TOUCH_ALL = """
    UPDATE message SET indexing = 'pending' WHERE indexing <> 'pending' AND id IN (
        SELECT message_id FROM surrounding WHERE near_id IN (SELECT value FROM json_each(:ids))
    )
    """
_TOUCH = text(_TOUCH_ALL)
_TOUCH_OTHERS = text(f"{_TOUCH_ALL} AND id NOT IN (SELECT value FROM json_each(:ids))")  # noqa: S608  (our own text)
_TOUCH_AROUND = text(
    """
    UPDATE message SET indexing = 'pending' WHERE indexing <> 'pending' AND id IN (
        SELECT id FROM (SELECT id FROM message WHERE channel_id = :channel AND id < :id ORDER BY id DESC LIMIT :few)
        UNION ALL
        SELECT id FROM (SELECT id FROM message WHERE channel_id = :channel AND id > :id ORDER BY id LIMIT :few)
    )
    """
)
_FORGET = text("DELETE FROM surrounding WHERE message_id IN (SELECT value FROM json_each(:ids))")
_FORGET_NEAR = text("DELETE FROM surrounding WHERE near_id IN (SELECT value FROM json_each(:ids))")
_RECORD = text(
    """
    INSERT INTO surrounding (message_id, near_id)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:pairs)
    """
)
_SPANS = text(
    """
    SELECT here.channel_id, max(here.id - :reach, coalesce((
        SELECT id FROM message WHERE channel_id = here.channel_id AND id < here.id
        ORDER BY id DESC LIMIT 1 OFFSET :history - 1
    ), 0)) AS first, min(here.id + :reach, coalesce((
        SELECT id FROM message WHERE channel_id = here.channel_id AND id > here.id
        ORDER BY id LIMIT 1 OFFSET :future - 1
    ), 9223372036854775807)) AS last
    FROM json_each(:ids) AS wanted JOIN message AS here ON here.id = wanted.value
    ORDER BY here.channel_id, here.id
    """
)
_each_span = func.json_each(bindparam("spans")).table_valued("key", "value")
_channel_id, _first, _last = (func.json_extract(_each_span.c.value, f"$[{place}]") for place in range(3))
_STRETCHES = (
    select(_each_span.c.key.label("span"), *MESSAGE_COLUMNS)
    .join_from(_each_span, message, (message.c.channel_id == _channel_id) & message.c.id.between(_first, _last))
    .order_by(_each_span.c.key, message.c.id)
)

Windows = Mapping[int, Sequence[Message]]
"""Windows by the ids of their messages."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The windows that messages are about to have, and the ids of all others whose windows are outdated by these."""

    windows: Windows
    outdated: Sequence[int]


def touch(connection: Connection, ids: Iterable[int]) -> None:
    """Send every message whose window holds one of these, whose words change or go, back to be indexed.

    These themselves are as new: taken once more, they find those into whose windows they belong by their new words.
    """
    parameter = {"ids": listed(ids)}
    connection.execute(_TOUCH, parameter)
    connection.execute(_FORGET, parameter)


def part(connection: Connection, ids: Iterable[int]) -> None:
    """`touch` for messages that are about to be removed: only the others are sent to be indexed."""
    parameter = {"ids": listed(ids)}
    connection.execute(_TOUCH_OTHERS, parameter)
    connection.execute(_FORGET, parameter)
    connection.execute(_FORGET_NEAR, parameter)


def touch_around(connection: Connection, channel_id: int, id: int) -> None:
    """Send the messages before and after one back to be indexed that is gone, and was in windows nobody recorded."""
    connection.execute(_TOUCH_AROUND, {"channel": channel_id, "id": id, "few": _HISTORY})


def recorded(connection: Connection, ids: Iterable[int]) -> dict[int, set[int]]:
    """The ids in the recorded window of each of these messages, without those that have none."""
    windows: dict[int, set[int]] = {}
    for here, near in connection.execute(select(surrounding).where(among(surrounding.c.message_id, ids))):
        windows.setdefault(here, set()).add(near)
    return windows


def plan(connection: Connection, ids: Collection[int], room: int) -> Plan:
    """The windows of these messages as conversations are told apart now, and of up to `room` that they outdate.

    A window is outdated if it lacks something because of the messages among these that had none so far: a new one
    itself, or what belongs there since conversations are told apart with it. A message being new only once, making
    the outdated ones anew leads no further.
    """
    windows, outdated = _changes(connection, ids)
    along, _ = _changes(connection, outdated[: max(0, room)])
    return Plan({**windows, **along}, outdated)


def stands(connection: Connection, plan: Plan) -> bool:
    """Whether all messages in the windows of a plan made earlier are still held, in the same words."""
    planned = {one.id: one.revision for one in chain(*plan.windows.values())}
    query = select(message.c.id, message.c.revision).where(among(message.c.id, planned))
    return planned == {row.id: row.revision for row in connection.execute(query)}


def record(connection: Connection, windows: Windows) -> None:
    """Note of what these windows are made, in place of what was noted before."""
    connection.execute(_FORGET, {"ids": listed(windows)})
    pairs = [(id, near.id) for id, window in windows.items() for near in window]
    connection.execute(_RECORD, {"pairs": json.dumps(pairs)})


def _changes(connection: Connection, ids: Collection[int]) -> tuple[Windows, list[int]]:
    """The windows of these messages, and which others they outdate."""
    if not ids:
        return {}, []
    before = recorded(connection, ids)
    found = _found(connection, set(ids), set(ids) - before.keys())
    others = sorted(found.keys() - set(ids))
    before = recorded(connection, others)
    outdated = [id for id in others if id in before and not before[id].issuperset(one.id for one in found[id])]
    return {id: found[id] for id in ids if id in found}, outdated


def _found(connection: Connection, wanted: set[int], new: set[int]) -> dict[int, Sequence[Message]]:
    """The windows of the wanted messages, and of others that the new ones among them may have changed."""
    windows: dict[int, Sequence[Message]] = {}
    for span in _spans(connection, wanted):
        present = {one.id for one in span}
        targets = {one.reply_to for one in span if one.id in wanted and one.reply_to is not None}
        farther = _messages(connection, span[0].channel_id, targets - present)
        first_new = min(new & present, default=span[-1].id)
        for conversation in conversations([*farther, *span]):
            for position, one in enumerate(conversation):
                window = conversation[max(0, position - BEFORE) : position + AFTER + 1]
                concerned = one.id in wanted or one.id > first_new or any(near.id in new for near in window)
                if concerned and one.id in present:
                    windows[one.id] = window
    return windows


def _spans(connection: Connection, ids: Collection[int]) -> Iterator[list[Message]]:
    """The stretches of channels around these messages, each in id order; where two overlap, they are one."""
    limits = {"reach": _REACH_OF_IDS, "history": _HISTORY, "future": _FUTURE}
    spans: list[tuple[int, int, int]] = []
    for channel_id, first, last in connection.execute(_SPANS, {"ids": listed(ids), **limits}):
        if spans and spans[-1][0] == channel_id and first <= spans[-1][2]:
            spans[-1] = (channel_id, spans[-1][1], last)
        else:
            spans.append((channel_id, first, last))
    rows = connection.execute(_STRETCHES, {"spans": json.dumps(spans)})
    for _, stretch in groupby(rows, key=attrgetter("span")):
        yield [message_of(row) for row in stretch]


def _messages(connection: Connection, channel_id: int, ids: Collection[int]) -> list[Message]:
    if not ids:
        return []
    query = select(*MESSAGE_COLUMNS).where(among(message.c.id, ids), message.c.channel_id + 0 == channel_id)
    return [message_of(row) for row in connection.execute(query.order_by(message.c.id))]
