"""`recollect`, the console script, and `python -m bot`."""

import os
import sys
import threading


def main() -> None:
    """Run the command line. Ctrl-C while it is being imported, which takes a moment, is no reason for a traceback."""
    try:
        from bot.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        _leave(130)
    except SystemExit as ended:
        _leave(ended.code if isinstance(ended.code, int) else 0)


def _leave(code: int) -> None:
    """End with this exit code, also while a thread goes on with what was given up, such as a model's download."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.stdout.flush()
        os._exit(code)  # an ordinary exit waits for every thread
    raise SystemExit(code)


if __name__ == "__main__":
    main()
