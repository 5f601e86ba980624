"""The command that moves the memories to another index."""

import asyncio
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.cli.common import AsJson, Config, cli, configured, counted, progress_bars, tell, told_when_stopped, waiting
from bot.errors import NotRunning
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.upkeep.moving import Order

KeyFile = Annotated[
    Path | None, typer.Option(help="A file with that server's API key; else qdrant.api_key.", show_default=False)
]
Collection = Annotated[
    str | None, typer.Option(help="The collection there; else qdrant.collection.", show_default=False)
]


@cli.command(short_help="Copy every memory to another index, each compared.")
def migrate(
    source: Annotated[str, typer.Option("--from", metavar="PLACE", help="edge:FOLDER, a URL, or local:FOLDER.")],
    target: Annotated[str, typer.Option("--to", metavar="PLACE", help="Where to: the same three.")],
    into: Annotated[bool, typer.Option("--into", help="Keep other memories that are there already.")] = False,
    from_api_key_file: KeyFile = None,
    to_api_key_file: KeyFile = None,
    from_collection: Collection = None,
    to_collection: Collection = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Where to note how far it is; else in storage.path.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Copy every memory to another index, and prove that it arrived; repeat the command after any interruption.

    A place is the embedded index (edge:data), a Qdrant server (http://127.0.0.1:6333), or a folder of qdrant-client's
    local mode (local:FOLDER). What is copied from stays as it is.
    """
    with waiting("Getting ready…"):
        from bot.upkeep.moving import Order

    order = Order(
        source=_absolute(source),
        target=_absolute(target),
        source_collection=from_collection,
        target_collection=to_collection,
        source_key_file=_full(from_api_key_file),
        target_key_file=_full(to_api_key_file),
        into=into,
        checkpoint=_full(checkpoint),
    )
    with told_when_stopped():
        done = asyncio.run(_move(configured(config), order))
    tell(done, _sentences(done), as_json)


async def _move(settings: Settings, order: "Order") -> dict[str, Any]:
    """Have the bot do it that runs in one of the folders concerned; without one, do it ourselves."""
    from bot.upkeep.moving import move_stopped, understood
    from bot.web.control import SOCKET, call

    folders = dict.fromkeys((settings.storage.path, *understood(order, settings).folders))
    with progress_bars() as report:
        for folder in folders:
            try:
                return await call(folder / SOCKET, "migrate", asdict(order), report)
            except NotRunning:
                continue
        return await move_stopped(order, settings, report)


def _absolute(place: str) -> str:
    """A place as it is called from anywhere."""
    kind, colon, folder = place.partition(":")
    named = kind in ("edge", "local") and folder
    return f"{kind}{colon}{os.path.abspath(Path(folder).expanduser())}" if named else place


def _full(file: Path | None) -> str | None:
    return None if file is None else str(file.absolute())


def _sentences(done: dict[str, Any]) -> str:
    held = f"{counted(done['memories'], 'memory', 'memories')} of {counted(done['guilds'], 'server')}"
    rounded = f"; {done['rounded']:,} of them with the last bits of a vector rounded there" if done["rounded"] else ""
    return f"{done['target']} holds {held}, each compared with its original{rounded}. {done['next']}"
