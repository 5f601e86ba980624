"""The schema's revision: compared at every start, migrated with Alembic only when it is an older one.

A new database is made as `tables.py` declares it, without Alembic, which a first start would wait for and keep in
memory. `python -m bot.storage.schema "Keep reactions"` drafts the migration for a change of `tables.py`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, create_engine, inspect, text

from bot.errors import DataFolderError
from bot.storage.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
VERSIONS = MIGRATIONS / "versions"

# As Alembic makes it: MigrationContext's `_version`.
_ALEMBIC_VERSION = (
    "CREATE TABLE alembic_version"
    " (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def revisions(versions: Path = VERSIONS) -> list[str]:
    """Every revision, oldest first: the number that begins the name of each file in `versions/`."""
    return sorted(path.stem.split("_")[0] for path in versions.glob("[0-9]*.py"))


def stored(connection: Connection) -> str | None:
    """The revision of a database, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def upgrade(connection: Connection, path: Path) -> None:
    """Bring the database to the newest revision within the connection's transaction.

    Raises `DataFolderError` if a newer version of the program wrote it.
    """
    known, revision = revisions(), stored(connection)
    if revision is None:
        create(connection)
    elif revision not in known:
        raise DataFolderError(
            f"The database {path} is of a newer version (schema {revision}): update Recollect, or use another folder."
        )
    elif revision != known[-1]:
        migrate(connection)


def create(connection: Connection) -> None:
    """Make in an empty database what all migrations together make."""
    metadata.create_all(connection, checkfirst=False)
    for statement in (*_full_text("message", "id"), *_full_text("fact", "seq"), _ALEMBIC_VERSION):
        connection.exec_driver_sql(statement)
    connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revisions()[-1]})


def migrate(connection: Connection) -> None:
    """Run the migrations the database lacks."""
    from alembic import command

    command.upgrade(_config(connection, VERSIONS), "head")


def draft(what: str, versions: Path = VERSIONS) -> Path:
    """Write the next migration: what turns the newest revision into `tables.py`, to be read and corrected by hand."""
    from alembic import command

    number = f"{len(revisions(versions)) + 1:04}"
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection)
        command.revision(_config(connection, versions), what, autogenerate=True, rev_id=number)
    engine.dispose()
    return next(versions.glob(f"{number}_*.py"))


def _full_text(table: str, rowid: str) -> Iterator[str]:
    """An FTS5 index over a table's `text` that keeps no text of its own, and the triggers that maintain it.

    https://www.sqlite.org/fts5.html#external_content_tables
    """
    yield (
        f"CREATE VIRTUAL TABLE {table}_fts USING fts5("
        f"text, content='{table}', content_rowid='{rowid}', tokenize='porter unicode61 remove_diacritics 2')"
    )
    index = f"INSERT INTO {table}_fts"
    add = f"{index}(rowid, text) VALUES (new.{rowid}, new.text);"
    drop = f"{index}({table}_fts, rowid, text) VALUES ('delete', old.{rowid}, old.text);"
    yield f"CREATE TRIGGER {table}_fts_insert AFTER INSERT ON {table} BEGIN {add} END"
    yield f"CREATE TRIGGER {table}_fts_delete AFTER DELETE ON {table} BEGIN {drop} END"
    yield (
        f"CREATE TRIGGER {table}_fts_update AFTER UPDATE OF text ON {table}"
        f" WHEN old.text IS NOT new.text BEGIN {drop} {add} END"
    )


def _config(connection: Connection, versions: Path) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("version_locations", str(versions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


if __name__ == "__main__":
    print(draft(sys.argv[1]))
