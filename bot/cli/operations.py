"""The commands that work on the memory, whether or not the bot runs: each asks for an operation of `App.operations`."""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.common import (
    AsJson,
    Config,
    ask,
    cli,
    configured,
    counted,
    progress_bars,
    tell,
    told_when_stopped,
    waiting,
)


@cli.command(short_help="Give a channel what another mem0 client stored.")
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
    belong = f"{count:,} {'memory belongs' if count == 1 else 'memories belong'} to channel {channel} now."
    print(belong if count else "There is no memory without a server and a channel.")


@cli.command(short_help="Write everything that is held to one file.")
def backup(
    file: Annotated[Path, typer.Argument(help="Where to write it: outside the data folder.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Write everything that is held to one file, also while the bot runs."""
    made = ask(config, "backup", needs_data=True, file=str(file.absolute()), replace=force)
    held = f"{counted(made['messages'], 'message')}, {counted(made['facts'], 'fact')}"
    tell(made, f"{file} holds {held} and their index ({made['size'] / 1e6:,.1f} MB).", as_json)


@cli.command(short_help="Make a data folder from a backup.")
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `recollect backup` wrote.")],
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Make an empty or absent data folder from a backup, less what was deleted or forgotten since.

    What that is says the journal, the file of `journal.path`. Without it, recall stays off until the bot has
    compared everything with Discord.
    """
    with waiting("Getting ready…"):
        from bot.core import open_index
        from bot.upkeep.restore import restore as bring_back

    settings = configured(config)
    with told_when_stopped(), progress_bars() as report:
        made = asyncio.run(bring_back(settings, file, partial(open_index, settings), report))
    held = f"{settings.storage.path} holds {counted(made.messages, 'message')} and {counted(made.facts, 'fact')} again"
    after = (
        f"there is no journal of this backup at {settings.journal_path}, so recall stays off"
        " until the running bot has compared them with Discord."
        if made.recheck
        else f"{counted(made.taken_back, 'entry', 'entries')} of the journal newer than the backup applied."
    )
    tell(asdict(made), f"{held}; {after}", as_json)


@cli.command(short_help="Take the last bytes of removed text off the disk now.")
def purge(as_json: AsJson = False, config: Config = None) -> None:
    """Take the last bytes of removed text off the disk now, not only within `retention.purge_within`."""
    done = ask(config, "purge", needs_data=True)
    sentences = []
    if done["guilds"]:
        sentences.append(f"Nothing that was removed is left in the files of {counted(done['guilds'], 'server')}.")
    if done["postponed"]:
        sentences.append(f"Files of {counted(len(done['postponed']), 'server')} have to wait: the log says why.")
    tell(done, " ".join(sentences) or "Nothing was removed since the last time.", as_json)


deadletters = typer.Typer(help="Messages put aside because the language model gave no usable answer about them.")
cli.add_typer(
    deadletters, name="deadletters", no_args_is_help=True, short_help="Messages no usable answer was given about."
)
OfGuild = Annotated[int | None, typer.Option("--guild", help="Only those of the server with this id.")]


@deadletters.command("list")
def list_dead_letters(guild: OfGuild = None, as_json: AsJson = False, config: Config = None) -> None:
    """Say which messages were put aside, and why."""
    found = ask(config, "deadletters", needs_data=True, guild=guild)
    lines = [
        f"{one['at']}  guild {one['guild']}  channel {one['channel']}  message {one['id']}: {one['reason']}"
        for one in found["letters"]
    ]
    tell(found, "\n".join(lines) or "No message was put aside.", as_json)


@deadletters.command("replay")
def replay_dead_letters(
    ids: Annotated[list[int] | None, typer.Argument(metavar="id", help="Ids of messages; otherwise all.")] = None,
    guild: OfGuild = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Have messages that were put aside read again."""
    made = ask(config, "replay", needs_data=True, guild=guild, ids=ids or None)
    none = "None of these messages was put aside: `recollect deadletters list` names those that were."
    again = f"{counted(made['replayed'], 'message')} will be read again."
    tell(made, again if made["replayed"] else none if ids else "No message was put aside.", as_json)


@cli.command("import", short_help="Read what was said before from exported channels.")
def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="file", help="Exports in DiscordChatExporter's format Json.")],
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Remember what was said in channels before, from exports that DiscordChatExporter made.

    What is held already is left as it is. A file that is damaged stops none of the others.
    """
    results = ask(config, "import", files=[os.path.abspath(file) for file in files])["files"]
    if as_json:
        print(json.dumps(results))
    for one in results:
        if one["problem"]:
            print(f"recollect: {one['sentence']}", file=sys.stderr)
        elif not as_json:
            print(one["sentence"])
    if any(one["problem"] for one in results):
        raise SystemExit(1)
