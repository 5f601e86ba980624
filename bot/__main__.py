"""`recollect`, the console script, and `python -m bot`."""


def main() -> None:
    """Run the command line. Ctrl-C while it is being imported, which takes a moment, is no reason for a traceback."""
    try:
        from bot.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
