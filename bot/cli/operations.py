"""The commands that work on the memory, whether or not the bot runs: each asks for an operation of `App.operations`."""

from typing import Annotated

import typer

from bot.cli.common import Config, ask, cli


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
