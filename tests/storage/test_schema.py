"""The schema: made at once or by migrations it is the same; these run only when needed and refuse what is newer."""

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
from bot.storage.tables import message


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
    """Name and SQL of every table, index and trigger, Alembic's and the full-text search's included.

    Without line breaks, and without quotes: a table that a migration made anew has its name in them.
    """
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    return {row.name: " ".join(row.sql.replace('"', "").split()).replace("( ", "(").replace(" )", ")") for row in rows}


def made_by(file: Path, revision: str) -> None:
    """A database as the version with this schema made it."""
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        command.upgrade(schema._config(connection, schema.VERSIONS), revision)
    engine.dispose()


def test_a_new_database_is_as_all_migrations_make_it(connection: Connection) -> None:
    """tables.py and the migrations agree to the last trigger, and so do the revisions they leave behind."""
    schema.migrate(connection)
    migrated, revision = definitions(connection), schema.stored(connection)
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.begin() as new:
        schema.create(new)
        assert definitions(new) == migrated
        assert schema.stored(new) == revision == schema.revisions()[-1]
    engine.dispose()


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


async def test_alembic_is_imported_only_for_an_older_database(tmp_path: Path) -> None:
    """The first start and the next ones of the same version do without Alembic, which costs memory and time."""
    script = f"""
import asyncio, pathlib, sys
from bot.storage.database import Database
async def main():
    database = await Database.open(pathlib.Path({str(tmp_path)!r}))
    await database.close()
asyncio.run(main())
print("alembic" in sys.modules)
"""

    async def imports_alembic() -> bool:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
        return (await process.communicate())[0] == b"True\n"

    assert not await imports_alembic()
    assert not await imports_alembic()
    (tmp_path / FILE).unlink()
    made_by(tmp_path / FILE, "0003")
    assert await imports_alembic()
    file = sqlite3.connect(tmp_path / FILE)
    assert file.execute("SELECT version_num FROM alembic_version").fetchone() == (schema.revisions()[-1],)
    file.close()


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

    made_by(tmp_path / FILE, "0003")
    migrate = schema.migrate
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrate", fail)
        with pytest.raises(RuntimeError):
            await Database.open(tmp_path)
    file = sqlite3.connect(tmp_path / FILE)
    assert file.execute("SELECT version_num FROM alembic_version").fetchone() == ("0003",)
    file.close()
    await (await Database.open(tmp_path)).close()
