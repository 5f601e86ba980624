"""The commands that run something: the bot, the demo, a benchmark."""

import asyncio
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.common import Config, cli, configured, waiting
from bot.errors import RecollectError


@cli.command()
def run(config: Config = None) -> None:
    """Run the bot until it is told to stop (Ctrl-C or SIGTERM)."""
    import structlog

    settings = configured(config)
    structlog.get_logger(__name__).info("starting", version=version("recollect"))  # what follows takes a second or two

    from bot.app import run as serve

    asyncio.run(serve(settings))


@cli.command(short_help="Show the whole story in under a minute, with nothing set up.")
def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Leave the data in this folder to look at.", show_default=False)
    ] = None,
    ollama: Annotated[
        str | None, typer.Option(help="Use a real Ollama at this URL instead of the stand-in.", show_default=False)
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write a picture of a recall and the end to this SVG file.", show_default=False)
    ] = None,
) -> None:
    """Show the whole story in under a minute, with stand-ins for Discord, Ollama and OpenAI."""
    from bot.sandbox.demo import run_demo

    raise SystemExit(run_demo(keep=keep, ollama=ollama, picture=picture))


@cli.command(short_help="Run stand-ins for every service, to try the bot by hand.")
def sandbox() -> None:
    """Run stand-ins for Discord, Ollama and OpenAI on this machine, and say which variables lead a bot to them.

    No account, no key and no model: to try the bot by hand, and to break what it needs.
    """
    with waiting("Starting the stand-ins…"):
        from bot.sandbox.standing import stand_in

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either way everything is put away
    with suppress(KeyboardInterrupt):
        asyncio.run(stand_in(partial(print, flush=True)))


@cli.command(
    short_help="Run a benchmark of a source checkout, or list them.",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def bench(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Which benchmark, or `list`.")] = "list"
) -> None:
    """Run a benchmark of a source checkout: `recollect bench capture --help` shows its options."""
    folder = Path(__file__).parents[2] / "benchmarks"
    if not folder.is_dir():
        raise RecollectError("The benchmarks are not part of the installed package; run this in a source checkout.")
    known = sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))
    if name in {"list", "--help"}:
        print("\n".join(known))
    elif name not in known:
        raise RecollectError(f"There is no benchmark {name}; there are: {', '.join(known)}.")
    else:
        # A process of its own, so that what is measured carries nothing of this one.
        finished = subprocess.run([sys.executable, folder / f"{name}.py", *context.args], check=False)  # noqa: S603  (our own file)
        raise SystemExit(finished.returncode)
