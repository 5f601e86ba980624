"""The command that says what a deployment lacks, and how to mend it."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from bot.cli.common import AsJson, Config, cli, waiting

if TYPE_CHECKING:
    from bot.checks import Check

_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red"}


@cli.command(short_help="Check everything the bot needs, and say how to mend it.")
def doctor(config: Config = None, as_json: AsJson = False) -> None:
    """Check everything the bot needs, and say how to mend what it lacks; also while it runs.

    The exit code is 1 if a check failed.
    """
    with waiting("Looking into everything…"):
        from bot.checks import Verdict
        from bot.doctor import examine
        from bot.settings import LogSettings
        from bot.telemetry import configure_logging

        configure_logging(LogSettings(level="error"))  # what is wrong becomes a row
        checks = asyncio.run(examine(config))
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        _show(checks)
    raise typer.Exit(any(check.verdict is Verdict.FAIL for check in checks))


def _show(checks: Sequence["Check"]) -> None:
    """A table: under each thing that is not well, how to mend it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "check", "what was found", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for check in checks:
        found = Text(check.detail)
        if check.fix:
            found.append(f"\n→ {check.fix}", style="italic")
        table.add_row(Text(check.verdict, style=_STYLES[check.verdict]), Text(check.name), found)
    counts = Counter(str(check.verdict) for check in checks)
    console = Console(highlight=False)
    console.print(table)
    console.print(", ".join(f"{counts[verdict]} {verdict}" for verdict in _STYLES))
