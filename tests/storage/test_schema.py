"""Migrations: they make exactly the tables, run only when needed, and refuse what they do not know."""

import asyncio
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from records import said
from sqlalchemy import Connection, insert, select, text

from bot.errors import DataFolderError
from bot.storage import schema
from bot.storage.database import FILE, Database
from bot.storage.rows import message_row
from bot.storage.tables import message, metadata


@pytest.fixture(autouse=True)
def migrated_before() -> None:
    """No database is: here one sees it being migrated."""


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A transaction in an empty database."""
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def definitions(connection: Connection) -> dict[str, str]:
    """Name and SQL of every table and index that is not Alembic's, the full-text search's or SQLite's own.

    Without quotes: a table that a migration made anew has its name in them.
    """
    query = text("SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL")
    rows = connection.execute(query).all()
    return {
        row.name: row.sql.replace('"', "") for row in rows if "_fts" not in row.name and row.name != "alembic_version"
    }


def test_the_migrations_make_exactly_the_tables(connection: Connection) -> None:
    """A migrated database has the very tables and indexes tables.py declares, partial ones included."""
    metadata.create_all(connection)
    declared = definitions(connection)
    metadata.drop_all(connection)
    schema.migrate(connection)
    assert definitions(connection) == declared


def test_windows_of_which_nothing_was_recorded_are_made_anew(connection: Connection) -> None:
    """What an older version indexed goes back in line: no deletion could find its words in those keys."""
    command.upgrade(schema._config(connection, schema.VERSIONS), "0002")
    for id, indexing in enumerate(("pending", "taken", "keywords", "complete")):
        connection.execute(
            insert(message), message_row(said(id), 0) | {"mentions": [], "attachments": [], "indexing": indexing}
        )
    schema.migrate(connection)
    assert set(connection.execute(select(message.c.indexing)).scalars()) == {"pending"}


def test_the_head_is_what_alembic_says(connection: Connection) -> None:
    """The newest revision, read from file names at every start, is Alembic's head; the line has no branches."""
    script = ScriptDirectory(str(schema.MIGRATIONS))
    assert schema.revisions()[-1] == script.get_current_head()
    assert schema.revisions() == [one.revision for one in script.walk_revisions()][::-1]


def test_a_migration_can_be_drafted(tmp_path: Path) -> None:
    """Drafting numbers the next migration after the last and finds nothing to do while tables.py is unchanged."""
    for path in schema.VERSIONS.glob("*.py"):
        shutil.copy(path, tmp_path)
    path = schema.draft("Keep reactions", tmp_path)
    assert path.name == f"{len(schema.revisions()) + 1:04}_keep_reactions.py"
    drafted = path.read_text()
    assert f'down_revision = "{schema.revisions()[-1]}"' in drafted.replace("'", '"')
    assert "op." not in drafted.replace("alembic import op", "")
    assert "downgrade" not in drafted


async def test_alembic_is_not_even_imported_when_nothing_is_to_do(tmp_path: Path) -> None:
    """The second start of the same version does without Alembic, which costs memory and time."""
    script = f"""
import asyncio, pathlib, sys
from bot.storage.database import Database
async def main():
    database = await Database.open(pathlib.Path({str(tmp_path)!r}))
    await database.close()
asyncio.run(main())
print("alembic" in sys.modules)
"""
    for answer in (b"True\n", b"False\n"):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
        assert (await process.communicate())[0] == answer


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """A revision this version does not know is refused in one sentence, and the data left as it is."""
    await (await Database.open(tmp_path)).close()
    file = sqlite3.connect(tmp_path / FILE)
    file.execute("UPDATE alembic_version SET version_num = '9999'")
    file.commit()
    file.close()
    with pytest.raises(DataFolderError, match=rf"^{re.escape(f'The database {tmp_path / FILE} is of a newer')}.+[.]$"):
        await Database.open(tmp_path)


async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration is one transaction: after a failure in its middle, the next start begins from the beginning."""

    def fail(connection: Connection) -> None:
        migrate(connection)
        raise RuntimeError("power cut")

    migrate = schema.migrate
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrate", fail)
        with pytest.raises(RuntimeError):
            await Database.open(tmp_path)
    file = sqlite3.connect(tmp_path / FILE)
    assert file.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    file.close()
    await (await Database.open(tmp_path)).close()
