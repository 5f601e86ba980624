"""Where a message stands, as conditions.

The values are written out, not bound: SQLite uses a partial index only for a condition it can
read when it plans (https://www.sqlite.org/partialindex.html#queries_using_partial_indexes).
"""

from sqlalchemy import ColumnElement, literal_column

from bot.storage.tables import fact, message

WAITING: ColumnElement[bool] = message.c.extraction == literal_column("'waiting'")
LEASED: ColumnElement[bool] = message.c.extraction == literal_column("'leased'")
DEAD: ColumnElement[bool] = message.c.extraction == literal_column("'dead'")
NOT_COMPLETE: ColumnElement[bool] = message.c.indexing != literal_column("'complete'")
FACT_NOT_COMPLETE: ColumnElement[bool] = fact.c.indexing != literal_column("'complete'")
