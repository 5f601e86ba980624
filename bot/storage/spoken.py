"""What was said in a place since somebody last spoke there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from sqlalchemy import ColumnElement, Connection, select

from bot.model import DISCORD_EPOCH_MS, Message, Scope, message_memory, snowflake_time
from bot.storage.burial import retracted
from bot.storage.database import Database
from bot.storage.rows import MESSAGE_COLUMNS, among, message_of, to_ms
from bot.storage.tables import message

_LAST_ID_OF_A_MS = (1 << 22) - 1  # a message's id begins with its time


@dataclass(frozen=True, slots=True)
class Said:
    """The newest messages after `since`, in id order.

    `own_last` is when the member last spoke there, None if no message of theirs is held; `cut` says that more
    was said than is here.
    """

    messages: tuple[Message, ...]
    since: datetime
    own_last: datetime | None
    cut: bool


class Spoken:
    """Reads what was said lately."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def since(
        self, scope: Scope, member_id: int, begin: Callable[[datetime | None], datetime], limit: int
    ) -> Said:
        """At most `limit` messages of a scope's places after a moment: `begin` of when the member last spoke there.

        Of the scope count `guild_id`, `access_ids` (with their public threads) and `channel_id`. What was
        retracted or has expired is left out. Raises `StorageUnavailable` as `Database.look`.
        """
        return await self._database.look(lambda connection: _read(connection, scope, member_id, begin, limit))

    async def standing(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Those of these messages that are still held in the same words, and not retracted. Raises as `since`."""

        def read(connection: Connection) -> tuple[Message, ...]:
            query = select(message.c.id, message.c.revision).where(among(message.c.id, (one.id for one in messages)))
            held = {row.id: row.revision for row in connection.execute(query)}
            return _shown(connection, [one for one in messages if held.get(one.id) == one.revision])

        return await self._database.look(read)


def _read(
    connection: Connection, scope: Scope, member_id: int, begin: Callable[[datetime | None], datetime], limit: int
) -> Said:
    own_last = _own_last(connection, scope, member_id)
    since = begin(own_last)
    after = (to_ms(since) - DISCORD_EPOCH_MS << 22) + _LAST_ID_OF_A_MS
    newest = sorted(_ids_after(connection, scope, after, limit + 1))
    rows = connection.execute(select(*MESSAGE_COLUMNS).where(among(message.c.id, newest[-limit:])))
    messages = sorted(map(message_of, rows), key=attrgetter("id"))
    return Said(_shown(connection, messages), since, own_last, cut=len(newest) > limit)


def _own_last(connection: Connection, scope: Scope, member_id: int) -> datetime | None:
    """When a member last spoke in these places."""
    own: list[int] = []
    for access_id in scope.access_ids:
        where = (message.c.author_id == member_id) & (message.c.access_id == access_id)
        if scope.channel_id is None:
            where &= message.c.guild_id == scope.guild_id
        else:
            where &= message.c.channel_id == scope.channel_id
        newest = select(message.c.id).where(where).order_by(message.c.id.desc()).limit(1)
        own += connection.execute(newest).scalars()
    return snowflake_time(max(own)) if own else None


def _ids_after(connection: Connection, scope: Scope, after: int, limit: int) -> Iterator[int]:
    """The newest messages after an id: `limit` of each place that decides who may read, and of its threads."""
    for access_id in scope.access_ids:
        for place in _places(scope, access_id):
            newest = select(message.c.id).where(place, message.c.id > after).order_by(message.c.id.desc()).limit(limit)
            yield from connection.execute(newest).scalars()


def _places(scope: Scope, access_id: int) -> Iterator[ColumnElement[bool]]:
    here = message.c.access_id == access_id
    if scope.channel_id is not None:
        yield here & (message.c.channel_id == scope.channel_id)
    else:
        yield here & (message.c.channel_id == access_id)
        yield here & (message.c.access_id != message.c.channel_id)


def _shown(connection: Connection, messages: Sequence[Message]) -> tuple[Message, ...]:
    memories = [message_memory(one) for one in messages]
    gone = retracted(connection, memories)
    return tuple(one for one, memory in zip(messages, memories, strict=True) if memory.id not in gone)
