"""What every benchmark does around its measuring: options in, JSON or a table out."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(run: Callable[..., dict[str, Any]], description: str | None, **options: Any) -> None:
    """Call `run` with the options of the command line; `options` are their names and defaults.

    Figures go to stdout as a table, or as JSON to where `--json` says (`-` is stdout). Progress is for stderr.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=f"({default})")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON to a file, or to stdout with -")
    arguments = vars(parser.parse_args())
    target = arguments.pop("json")
    figures = run(**arguments)
    if target is None:
        for name, value in figures.items():
            print(f"{name:>20}  {value}")
    elif target == "-":
        print(json.dumps(figures, indent=2))
    else:
        Path(target).write_text(json.dumps(figures, indent=2) + "\n")


def progress(line: str) -> None:
    """Say on stderr how far it is."""
    print(line, file=sys.stderr, flush=True)
