"""The schema's revision: compared at every start, migrated with Alembic only when it differs.

`python -m bot.storage.schema "Keep reactions"` drafts the migration for a change of `tables.py`.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, create_engine, inspect, text

from bot.errors import DataFolderError

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
VERSIONS = MIGRATIONS / "versions"


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
    if revision == known[-1]:
        return
    if revision is not None and revision not in known:
        raise DataFolderError(
            f"The database {path} is of a newer version (schema {revision}): update Recollect, or use another folder."
        )
    migrate(connection)


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
