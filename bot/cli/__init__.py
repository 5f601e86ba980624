"""The command line."""

import gc
import sys
from typing import NoReturn

from bot.cli import doctor, healthcheck, models, moving, operations, reference, reindexing, running
from bot.cli.common import cli
from bot.errors import RecollectError, ServiceUnavailable
from bot.telemetry import keep_private

__all__ = [
    "cli",
    "doctor",
    "healthcheck",
    "main",
    "models",
    "moving",
    "operations",
    "reference",
    "reindexing",
    "running",
]


def main() -> None:
    """Run a command. A failure we foresee is one sentence on stderr and exit code 1."""
    keep_private()
    gc.set_threshold(50_000, 20, 100)  # what a start imports stays: looking through it takes a tenth of the time
    try:
        cli()
    except ServiceUnavailable as error:
        sentence = str(error)  # what is wrong, and often after a colon what to do
        _fail(sentence if ": " in sentence else f"{sentence.rstrip('.')}. `recollect doctor` says what it needs.")
    except RecollectError as error:
        _fail(str(error))
    except PermissionError as error:
        whose = f"{error.filename} is closed to this user ({error.strerror})"
        _fail(f"{whose}: give the command as the user the bot runs as, or let this one read and write there.")
    except NotADirectoryError as error:
        _fail(f"{error.filename} cannot be, for a part of it is a file: name another place.")


def _fail(sentence: str) -> NoReturn:
    print(f"recollect: {sentence}", file=sys.stderr)
    raise SystemExit(1)
