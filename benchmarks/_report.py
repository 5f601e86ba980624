"""What every benchmark does around its measuring: options in, JSON or a table out."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bot.errors import RecollectError
from bot.telemetry import keep_private


def main(run: Callable[..., dict[str, Any]], description: str | None, *positional: str, **options: Any) -> None:
    """Call `run` with what the command line says: positional arguments, and options by their names and defaults.

    An option that is False by default is a switch. Figures go to stdout as a table, or as JSON to where `--json` says
    (`-` is stdout). Progress is for stderr; so is the sentence of a `RecollectError`, which ends it with 1.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in positional:
        parser.add_argument(name, metavar=name.upper())
    for name, default in options.items():
        flag = f"--{name.replace('_', '-')}"
        if default is False:
            parser.add_argument(flag, action="store_true")
        else:
            kind = _count if isinstance(default, int) else type(default)
            parser.add_argument(flag, type=kind, default=default, help=f"({default})")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON to a file, or to stdout with -")
    keep_private()
    arguments = vars(parser.parse_args())
    target = arguments.pop("json")
    if target not in (None, "-"):
        _check_writable(Path(target))
    progress(f"{parser.prog.removesuffix('.py')}: measuring, which takes a while")
    try:
        figures = run(**arguments)
    except RecollectError as error:
        raise SystemExit(str(error)) from None
    if target is None:
        for name, value in figures.items():
            print(f"{name:>20}  {value}")
    elif target == "-":
        print(json.dumps(figures, indent=2))
    else:
        Path(target).write_text(json.dumps(figures, indent=2) + "\n")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too few: it takes at least 1")
    return number


def _check_writable(file: Path) -> None:
    """Nobody wants to hear after an hour that the figures cannot be written."""
    try:
        file.open("a").close()
    except OSError as error:
        raise SystemExit(f"{file} cannot be written: {error.strerror}.") from None


def progress(line: str) -> None:
    """Say on stderr how far it is."""
    print(line, file=sys.stderr, flush=True)
