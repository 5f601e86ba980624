"""The commands that write reference pages: what the bot can be asked, and what can be set."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bot.cli.common import cli, waiting

if TYPE_CHECKING:
    from bot.commands.tree import Tree


@cli.command()
def commands() -> None:
    """Print what the bot can be asked in Discord, as Markdown."""
    with waiting("Looking through the commands…"):
        page = asyncio.run(_reference())
    print(page, end="")


@cli.command()
def settings() -> None:
    """Print every setting with its default, as Markdown."""
    from bot.settings_reference import reference

    print(reference(), end="")


@asynccontextmanager
async def default_tree() -> AsyncIterator["Tree"]:
    """The commands of a bot with default settings, which is not connected and leaves nothing behind."""
    from bot.commands.tree import Tree
    from bot.rooms import Rooms
    from bot.settings import Settings

    with tempfile.TemporaryDirectory(prefix="recollect-") as folder:
        settings = Settings.model_validate({"storage": {"path": Path(folder) / "data"}})
        async with Rooms(settings) as rooms:
            if isinstance(rooms.client.tree, Tree):
                yield rooms.client.tree


async def _reference() -> str:
    from bot.commands.reference import reference

    async with default_tree() as tree:
        return reference(tree)
