"""The schema's revision: compared at every start, migrated with Alembic only when it differs."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from bot.errors import DataFolderError

MIGRATIONS = Path(__file__).parent / "migrations"


def revisions() -> list[str]:
    """Every revision, oldest first: the number that begins the name of each file in `versions/`."""
    return sorted(path.stem.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


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
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
