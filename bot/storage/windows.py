"""A message's window: the two before it in its channel, itself, and the one after it."""

import json
from collections.abc import Iterable

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

BEFORE = 2
AFTER = 1

_TOUCH = text(
    """
    WITH place(channel_id, id) AS (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:places)
    )
    UPDATE message SET indexing = 'pending' WHERE indexing <> 'pending' AND id IN (
        SELECT (SELECT max(id) FROM message WHERE channel_id = place.channel_id AND id < place.id) FROM place
        UNION ALL
        SELECT (SELECT min(id) FROM message WHERE channel_id = place.channel_id AND id > place.id) FROM place
        UNION ALL
        SELECT (
            SELECT id FROM message WHERE channel_id = place.channel_id AND id > place.id ORDER BY id LIMIT 1 OFFSET 1
        ) FROM place
    )
    """
)

_AROUND = text(
    """
    SELECT here.id, near.id FROM json_each(:ids) AS wanted
    JOIN message AS here ON here.id = wanted.value
    JOIN message AS near ON near.channel_id = here.channel_id
    AND near.id >= coalesce((
        SELECT id FROM message WHERE channel_id = here.channel_id AND id < here.id
        ORDER BY id DESC LIMIT 1 OFFSET :before - 1
    ), 0)
    AND near.id <= coalesce((
        SELECT id FROM message WHERE channel_id = here.channel_id AND id > here.id
        ORDER BY id LIMIT 1 OFFSET :after - 1
    ), 9223372036854775807)
    ORDER BY here.id, near.id
    """
)


def touch(connection: Connection, places: Iterable[tuple[int, int]]) -> None:
    """Send the neighbours of changed (channel id, message id) places back to be indexed: their windows changed.

    A message stands in the windows of the one before it and of the two after it. It need not be
    held any more.
    """
    connection.execute(_TOUCH, {"places": json.dumps(list(places))})


async def around(connection: AsyncConnection, ids: Iterable[int], before: int, after: int) -> dict[int, list[int]]:
    """The ids in each held message's window of `before` messages, itself and `after` messages, in id order."""
    windows: dict[int, list[int]] = {}
    rows = await connection.execute(_AROUND, {"ids": json.dumps(list(ids)), "before": before, "after": after})
    for here, near in rows:
        windows.setdefault(here, []).append(near)
    return windows
