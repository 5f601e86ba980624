"""What the commands share: the settings file, and asking the bot that runs, or else one opened for the moment."""

import asyncio
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from bot.errors import DataFolderError, NotRunning
from bot.model import Report
from bot.settings import Settings

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Config = Annotated[
    Path | None,
    typer.Option(help="The settings file; otherwise $BOT_CONFIG, otherwise ./config.toml.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"recollect {version('recollect')}")
        raise typer.Exit


@cli.callback()
def _of_all(
    _: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A self-hosted memory for Discord communities."""


def configured(config: Path | None) -> Settings:
    """The settings, with logs going where they say."""
    from bot.settings_sources import load
    from bot.telemetry import configure_logging

    settings = load(config)
    configure_logging(settings.log)
    return settings


def ask(config: Path | None, operation: str, *, needs_data: bool = False, **arguments: Any) -> dict[str, Any]:
    """Have an operation of `App.operations` done by the running bot; without one, by us, in its data folder.

    Raises `RecollectError` with the sentence to show; so for a folder without data, if that would be pointless.
    """
    with told_when_stopped():
        return asyncio.run(_ask(configured(config), operation, needs_data, arguments))


async def _ask(settings: Settings, operation: str, needs_data: bool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    from bot.storage.database import holds_data
    from bot.web.control import SOCKET, call

    with progress_bars() as report, suppress(NotRunning):
        return await call(settings.storage.path / SOCKET, operation, arguments, report)
    if needs_data and not holds_data(settings.storage.path):
        raise DataFolderError(f"There is no data in {settings.storage.path}: check storage.path.")
    async with AsyncExitStack() as stack:
        with waiting("Opening the data folder…"):
            from bot.app import App

            app = await stack.enter_async_context(App(settings))
        with progress_bars() as report:
            return await app.operations()[operation](arguments, report)


@contextmanager
def told_when_stopped() -> Iterator[None]:
    """After Ctrl-C, say that not everything was done."""
    try:
        yield
    except KeyboardInterrupt:
        print("recollect: Stopped before the end; repeat the command.", file=sys.stderr)
        raise


@contextmanager
def waiting(what_for: str) -> Iterator[None]:
    """Say on the terminal what takes a moment; nothing where stderr is a file."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(what_for) if console.is_terminal else nullcontext():
        yield


@contextmanager
def progress_bars() -> Iterator[Report]:
    """A bar on the terminal for each thing reported; nothing where stderr is a file."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    done = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    columns = (*done, TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress, _log_above_bars():
        bars: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if total == 0:
                return
            if what not in bars:
                bars[what] = progress.add_task(what, total=total, rate="")
            progress.update(bars[what], completed=done, total=total)
            if speed := progress.tasks[bars[what]].speed:
                progress.update(bars[what], rate=f"{speed:,.0f}/s")

        yield report


@contextmanager
def _log_above_bars() -> Iterator[None]:
    """While bars are drawn, `sys.stderr` is what keeps them below other lines: have the log written there."""
    handlers = [one for one in logging.getLogger().handlers if isinstance(one, logging.StreamHandler)]
    before = [(handler, handler.setStream(sys.stderr)) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in before:
            if stream is not None:
                handler.setStream(stream)


def tell(result: Mapping[str, Any], sentence: str, as_json: bool) -> None:
    """Print what came of a command."""
    print(json.dumps(result) if as_json else sentence)


def counted(count: int, one: str, many: str = "") -> str:
    """`1 message`, `1,200 messages`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
