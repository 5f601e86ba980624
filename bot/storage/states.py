"""Where a message or fact stands, as conditions.

The values are written out, not bound: SQLite uses a partial index only for a condition it can
read when it plans (https://www.sqlite.org/partialindex.html#queries_using_partial_indexes).
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, literal_column, select, union_all

from bot.storage.rows import among
from bot.storage.tables import message

WAITING: ColumnElement[bool] = message.c.extraction == literal_column("'waiting'")
LEASED: ColumnElement[bool] = message.c.extraction == literal_column("'leased'")
DEAD: ColumnElement[bool] = message.c.extraction == literal_column("'dead'")


def indexing_is(indexing: Column[Any], state: str) -> ColumnElement[bool]:
    """Whether a row of `message` or `fact` is in this state, other than complete, on its way into the index."""
    return (indexing == state) & (indexing != literal_column("'complete'"))


def oldest_to_index(
    key: Column[Any], limit: int, embedding: bool, without: Collection[int], by: Sequence[Column[Any]] = ()
) -> Select[Any]:
    """The smallest keys whose rows the index lacks; with `embedding` also those it holds without vectors.

    With `by` those of the smallest values there, in that order. Rows of the guilds in `without` are left out.
    Each state's rows come in order from the partial index, so no more than a few times `limit` are read.
    """
    states = ("pending", "taken", "keywords") if embedding else ("pending", "taken")
    columns, order = key.table.c, (*by, key)
    elsewhere = [~among(columns.guild_id, without)] if without else []
    parts = [
        select(*order).where(indexing_is(columns.indexing, state), *elsewhere).order_by(*order).limit(limit).subquery()
        for state in states
    ]
    rows = union_all(*(select(part) for part in parts)).subquery()
    return select(rows.c[key.name]).order_by(*rows.c).limit(limit)
