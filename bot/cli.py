"""The command line."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from bot.errors import RecollectError

cli = typer.Typer(
    help="A self-hosted memory for Discord communities.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Config = Annotated[
    Path | None,
    typer.Option(help="The settings file; otherwise $BOT_CONFIG, otherwise ./config.toml.", show_default=False),
]


def main() -> None:
    """The console script. A failure we foresee is one sentence on stderr and exit code 1."""
    try:
        cli()
    except RecollectError as error:
        _fail(str(error))


def _fail(sentence: str) -> NoReturn:
    print(f"recollect: {sentence}", file=sys.stderr)
    raise SystemExit(1)


@cli.command()
def run(config: Config = None) -> None:
    """Run the bot until it is told to stop (Ctrl-C or SIGTERM)."""
    from bot.app import run as serve
    from bot.settings_sources import load
    from bot.telemetry import configure_logging

    settings = load(config)
    configure_logging(settings.log)
    asyncio.run(serve(settings))


@cli.command()
def adopt(
    guild: Annotated[int, typer.Argument(help="The id of the Discord server.")],
    channel: Annotated[
        int, typer.Argument(help="The id of the channel, not of a thread; whoever may read it will see them.")
    ],
    config: Config = None,
) -> None:
    """Give memories that another mem0 client stored without a server or a channel to a channel.

    Until then they are shown to nobody. Stop the bot first: it holds the data folder.
    """
    from bot.app import App
    from bot.settings_sources import load
    from bot.telemetry import configure_logging

    settings = load(config)
    configure_logging(settings.log)

    async def run_adopt() -> int:
        async with App(settings) as app:
            return await app.reconciler.adopt(guild, channel, access_id=channel)

    count = asyncio.run(run_adopt())
    print(f"{count} {'memory belongs' if count == 1 else 'memories belong'} to channel {channel} now.")


@cli.command()
def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Leave the data in this folder to look at.", show_default=False)
    ] = None,
    ollama: Annotated[
        str | None, typer.Option(help="Use a real Ollama at this URL instead of the stand-in.", show_default=False)
    ] = None,
) -> None:
    """Show the whole story in under a minute, with stand-ins for Discord, Ollama and OpenAI."""
    from bot.sandbox.demo import run_demo

    raise SystemExit(run_demo(keep=keep, ollama=ollama))


@cli.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def bench(context: typer.Context, name: Annotated[str, typer.Argument(help="Which benchmark, or `list`.")]) -> None:
    """Run a benchmark of a source checkout: `recollect bench capture --help` shows its options."""
    folder = Path(__file__).parent.parent / "benchmarks"
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
