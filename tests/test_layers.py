"""The shape of the house: which room may import which, and who owns each outside library."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

BOT = Path(__file__).parent.parent / "bot"
# In the order in which the data moves; a room imports itself and the rooms before it.
ROOMS = [
    "errors",
    "model",
    "settings_types",
    "settings_services",
    "settings",
    "settings_sources",
    "settings_reference",
    "outside",
    "telemetry",
    "meters",
    "checks",
    "text",
    "policy",
    "sensitive",
    "conversations",
    "storage",
    "capture",
    "extraction",
    "memory",
    "upkeep",
    "core",
    "commands",
    "web",
    "doctor",
    "sandbox",
    "rooms",
    "app",
    "cli",
    "__main__",
]
OWNERS = {
    "discord": {"capture", "commands"},
    "sqlalchemy": {"storage"},
    "alembic": {"storage"},
    "aiosqlite": {"storage"},
    # Chat belongs to extraction, embeddings to memory: the same two services sell, or give, both.
    "ollama": {"extraction", "memory"},
    "anthropic": {"extraction"},
    "openai": {"extraction", "memory"},
    "fastembed": {"memory"},
    "PIL": {"commands"},
    "mem0": {"memory"},
    "qdrant_client": {"memory"},
    "qdrant_edge": {"memory"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "prometheus_client": {"web"},
    "ijson": {"capture"},
    "regex": {"text"},
}
# The demo is the one story told through the whole house, so it alone stands above the composition root.
ABOVE_APP = {"sandbox/demo.py"}
FILES = sorted(BOT.rglob("*.py"))


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield node.module or ""
            if node.module == "bot":
                yield from (f"bot.{alias.name}" for alias in node.names)


def room(file: Path) -> str:
    return file.relative_to(BOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(BOT)))
def test_a_room_imports_only_rooms_above_it(file: Path) -> None:
    """No import points downward in the order of the data's way."""
    if room(file) == "__init__":
        return
    place = ROOMS.index("cli" if file.relative_to(BOT).as_posix() in ABOVE_APP else room(file))
    for name in imports(file):
        if name.startswith("bot."):
            other = name.split(".")[1]
            assert ROOMS.index(other) <= place, f"{room(file)} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(BOT)))
def test_a_library_is_imported_by_its_owner_only(file: Path) -> None:
    """Each outside library has one owner among the rooms."""
    for name in imports(file):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or room(file) in owners, f"{room(file)} imports {name}, owned by {owners}"


def test_the_walk_sees_every_room() -> None:
    """Every file of the package belongs to a listed room."""
    assert {room(file) for file in FILES} - {"__init__"} == set(ROOMS)
