"""The command that changes the embedding model."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from bot.cli.common import AsJson, Config, ask, cli, counted, tell
from bot.errors import RecollectError


@cli.command(short_help="Change the embedding model while the bot runs, or go back.")
def reindex(
    embedder: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER[:MODEL[:DIMENSIONS]]",
            help="Embed every memory by this model, and use it from then on: openai, ollama, voyage or fastembed.",
            show_default=False,
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Go back to the former model.")] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Remove the index that is kept for --undo.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Change the embedding model, also while the bot runs: it goes on remembering and answering.

    Another index is filled beside the one in use, compared with it, and takes its place. After an interruption,
    repeat the command.
    """
    if (embedder is not None) + undo + discard != 1:
        raise RecollectError("Say one of --embedder, --undo and --discard.")
    done = ask(config, "reindex", needs_data=True, embedder=embedder, undo=undo, discard=discard)
    tell(done, _discarded(done) if discard else _sentences(done, undo), as_json)


def _discarded(done: Mapping[str, Any]) -> str:
    return "The other index is removed." if done["discarded"] else "There is only the index in use."


def _sentences(done: Mapping[str, Any], undone: bool) -> str:
    found = f"{counted(done['points'], 'memory', 'memories')} are found by {done['model']} now"
    sentences = [f"{found}; {done['embedded']:,} had to be embedded, in {done['seconds']:,.1f} s."]
    if done["settings"]:
        values = [f"{name} = {json.dumps(value)}" for name, value in done["settings"].items()]
        set_these = f"{', '.join(values[:-1])} and {values[-1]}"
        sentences.append(f"Before the bot starts again, set {set_these}.")
    if not done["answering"]:
        sentences.append("Questions are answered by keywords until then.")
    if undone:
        sentences.append(f"The index of {done['former']} is kept until `recollect reindex --discard`.")
    else:
        sentences.append(
            f"The index of {done['former']} is kept: `recollect reindex --undo` goes back to it, "
            "`recollect reindex --discard` removes it."
        )
    return " ".join(sentences)
