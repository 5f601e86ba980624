"""The commands that work on the memory, whether or not the bot runs: each asks for an operation of `App.operations`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.common import AsJson, Config, ask, cli


@cli.command()
def adopt(
    guild: Annotated[int, typer.Argument(help="The id of the Discord server.")],
    channel: Annotated[
        int, typer.Argument(help="The id of the channel, not of a thread; whoever may read it will see them.")
    ],
    config: Config = None,
) -> None:
    """Give memories that another mem0 client stored without a server or a channel to a channel.

    Until then they are shown to nobody.
    """
    count = ask(config, "adopt", guild=guild, channel=channel)["memories"]
    print(f"{count} {'memory belongs' if count == 1 else 'memories belong'} to channel {channel} now.")


@cli.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Exports in DiscordChatExporter's format Json.")],
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Remember what was said in channels before, from exports that DiscordChatExporter made.

    What is held already is left as it is. A file that is damaged stops none of the others.
    """
    results = ask(config, "import", files=[str(file.absolute()) for file in files])["files"]
    if as_json:
        print(json.dumps(results))
    for one in results:
        if one["problem"]:
            print(f"recollect: {one['sentence']}", file=sys.stderr)
        elif not as_json:
            print(one["sentence"])
    if any(one["problem"] for one in results):
        raise SystemExit(1)
