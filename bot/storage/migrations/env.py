"""What Alembic runs: with the connection it is given, within that connection's transaction."""

from typing import Any

from alembic import context

from bot.storage.tables import metadata


def is_ours(obj: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Whether autogenerate compares this: the keyword search's virtual tables are not in the metadata."""
    return not (kind == "table" and reflected and name is not None and "_fts" in name)


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    include_object=is_ours,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
