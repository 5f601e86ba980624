"""A picture of what was printed: an SVG that fetches nothing from elsewhere, as READMEs need it."""

import io
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

WIDTH = 88
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
_BLACK, _WHITE, _GREY = (33, 34, 44), (230, 230, 230), (120, 124, 140)
_RED, _GREEN, _YELLOW = (255, 85, 85), (80, 250, 123), (241, 250, 140)
_BLUE, _MAGENTA, _CYAN = (120, 140, 255), (255, 121, 198), (139, 233, 253)
_THEME = TerminalTheme(
    (40, 42, 54),
    _WHITE,
    [_BLACK, _RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN, _WHITE],
    [_GREY, _RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN, (255, 255, 255)],
)


def canvas() -> Console:
    """A console that nobody sees and whose prints `save` draws, in colour whatever the terminal can do."""
    return Console(
        file=io.StringIO(),
        record=True,
        width=WIDTH,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        highlight=False,
    )


def save(drawn: Console, file: Path, title: str) -> None:
    """Write what a canvas shows; raises `OSError` if the file cannot be written."""
    svg = drawn.export_svg(title=title, theme=_THEME, unique_id="screen")
    # Without rich's web font: the picture says how wide each run of letters is, so that any font does.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", _FONTS)
    lines = (line.rstrip() for line in svg.splitlines())
    file.write_text("\n".join(lines).strip() + "\n", encoding="utf-8")
