"""Tombstones: what must never come back, by message, fact, place or author, and what they hide.

A tombstone with the reason `expired` stands for raw text past its time: the record it names is refused
and hidden like any other, but facts that rest on the message stay.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, String, cast, literal, select, true
from sqlalchemy.dialects.sqlite import insert

from bot.model import Memory, MemoryKind
from bot.storage.rows import AnyRow, each, given, listed, to_ms
from bot.storage.tables import removal, tombstone

EXPIRED = "expired"

PLACE, AUTHOR = "channel/", "author/"  # how the keys of places and authors begin
_new = insert(tombstone)
_LEAVING = select(removal.c.point_id).where(given(removal.c.point_id, "ids"))
# Written out, because every group of captures asks and SQLAlchemy would take longer than the answer.
_UNDER = "SELECT id, reason, at FROM tombstone WHERE id IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Burial:
    """Why and when (in milliseconds) something was buried."""

    reason: str
    at: int


def drawn_from(message_id: int, subject_id: int | None) -> str:
    """The key of whatever a message says about a subject, None for the server."""
    return f"{message_id}/{'SERVER' if subject_id is None else subject_id}"


def place_key(place_id: int) -> str:
    """The key of everything said in a channel or thread."""
    return f"{PLACE}{place_id}"


def author_key(guild_id: int, user_id: int) -> str:
    """The key of everything a member wrote before the time of the tombstone."""
    return f"{AUTHOR}{guild_id}/{user_id}"


def keys_of(guild_id: int, channel_id: int, access_id: int, author_ids: Iterable[int]) -> set[str]:
    """The keys of the places and authors that a message or fact falls with."""
    return {place_key(channel_id), place_key(access_id), *(author_key(guild_id, id) for id in author_ids)}


def begins_with(beginning: str) -> ColumnElement[bool]:
    """Whether a tombstone is one of a place or of an author, as a range of the primary key."""
    after = beginning[:-1] + chr(ord(beginning[-1]) + 1)
    return (tombstone.c.id >= beginning) & (tombstone.c.id < after)


def bury(connection: Connection, guild_id: int, keys: Iterable[int] | Iterable[str], reason: str, at: int) -> None:
    """Refuse these messages, facts or places from now on."""
    bury_selected(connection, select(cast(each(keys), String), literal(guild_id)).where(true()), reason, at)


def bury_selected(connection: Connection, chosen: Select[str, int], reason: str, at: int) -> None:
    """Refuse what a query of keys and guilds yields from now on.

    What is buried already stays so, but something deleted counts as deleted even if it had expired before.
    """
    journalled = reason == EXPIRED  # nothing to tell after a restore: it expires there as well
    rows = chosen.add_columns(literal(reason), literal(at), literal(journalled))
    again = {"reason": _new.excluded.reason, "at": _new.excluded.at, "journalled": _new.excluded.journalled}
    worse = (tombstone.c.reason == EXPIRED) & (_new.excluded.reason != EXPIRED)
    connection.execute(
        _new.from_select(["id", "guild_id", "reason", "at", "journalled"], rows).on_conflict_do_update(
            index_elements=[tombstone.c.id], set_=again, where=worse
        )
    )


def bury_author(connection: Connection, guild_id: int, user_id: int, reason: str, at: int) -> None:
    """Refuse what a member wrote before this time; a later time takes the place of an earlier one."""
    row = _new.values(id=author_key(guild_id, user_id), guild_id=guild_id, reason=reason, at=at, journalled=False)
    connection.execute(
        row.on_conflict_do_update(
            index_elements=[tombstone.c.id],
            set_={"reason": row.excluded.reason, "at": row.excluded.at, "journalled": False},
            where=tombstone.c.at < row.excluded.at,
        )
    )


def burials(connection: Connection, keys: Collection[str]) -> dict[str, Burial]:
    """Those of these keys that are buried."""
    return _by_key(connection.exec_driver_sql(_UNDER, _as_parameter(keys)))


def is_buried(found: Mapping[str, Burial], keys: Iterable[str], said_at: int) -> bool:
    """Whether any of a record's keys is buried; an author's only counts for what was said before."""
    return any(
        (burial := found.get(key)) is not None and (said_at < burial.at or not key.startswith(AUTHOR)) for key in keys
    )


def hidden(connection: Connection, point_ids: Iterable[str]) -> set[str]:
    """Those of these points that wait for their removal."""
    return set(connection.execute(_LEAVING, {"ids": listed(point_ids)}).scalars())


def retracted(connection: Connection, memories: Iterable[Memory]) -> set[str]:
    """Ids of those of these memories that must not be shown: on their way out, or buried in whatever way."""
    shown = list(memories)
    own = {one.id: _own_keys(one) for one in shown}
    all_keys = {one.id: own[one.id] | _resting_keys(one) for one in shown}
    found = burials(connection, set().union(*all_keys.values()))
    lasting = {key: burial for key, burial in found.items() if burial.reason != EXPIRED}
    gone = hidden(connection, own)
    return gone | {
        one.id
        for one in shown
        if found and (not own[one.id].isdisjoint(found) or is_buried(lasting, all_keys[one.id], to_ms(one.said_at)))
    }


def _own_keys(memory: Memory) -> set[str]:
    """The keys of the memory itself: its point, and of a message its id."""
    return {memory.id, *map(str, memory.sources if memory.kind is MemoryKind.MESSAGE else ())}


def _resting_keys(memory: Memory) -> set[str]:
    places = keys_of(memory.guild_id, memory.channel_id, memory.access_id, memory.speaker_ids)
    return places if memory.corrected else places | set(map(str, memory.sources))


def _as_parameter(keys: Collection[str]) -> tuple[str]:
    return (json.dumps(list(keys)),)


def _by_key(rows: Iterable[AnyRow]) -> dict[str, Burial]:
    return {row.id: Burial(row.reason, row.at) for row in rows}
