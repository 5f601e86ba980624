"""What the demo prints, on a terminal and without one."""

import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from bot.sandbox import picture
from bot.sandbox.markup import Markup
from bot.sandbox.screen import Check, Screen

MARKUP = Markup(datetime(2026, 5, 1, tzinfo=UTC), channels={8: "general"})
CARD: dict[str, Any] = {
    "flags": 64,
    "content": "Found something.",
    "embeds": [
        {"author": {"name": "Nadia · decision"}, "description": "The fair is on **16 May**.", "color": 0xF1C40F},
        {"title": "Status", "url": "https://a.example/", "fields": [{"name": "Waiting", "value": "3 in <#8>"}]},
        {"description": "third", "image": {"url": "https://cdn.example/a/week.png"}, "footer": {"text": "Page 1 of 2"}},
    ],
    "attachments": [{"filename": "week.png", "size": 900}, {"filename": "memories.zip", "size": 5325}],
    "components": [
        {"type": 1, "components": [{"type": 2, "style": 1, "label": "Next"}, {"type": 2, "style": 2, "label": "Back"}]},
        {
            "type": 1,
            "components": [
                {"type": 3, "placeholder": "Which?", "options": [{"label": "One", "default": True}, {"label": "Two"}]}
            ],
        },
        {
            "type": 17,
            "components": [
                {"type": 10, "content": "in a container"},
                {"type": 14},
                {
                    "type": 9,
                    "components": [{"type": 10, "content": "beside it"}],
                    "accessory": {"type": 2, "style": 5, "label": "Open", "url": "https://a.example/"},
                },
            ],
        },
    ],
}


def printed(width: int = 80, terminal: bool = False) -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(Console(file=out, width=width, force_terminal=terminal, highlight=False)), out


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_message_fits_any_terminal(width: int) -> None:
    """No line is wider than the terminal or than is good to read, and everything is there."""
    screen, out = printed(width)
    screen.message(CARD, MARKUP, reader="Mika")
    lines = out.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= min(width, 100)
    words = " ".join(out.getvalue().replace("│", " ").replace("▌", " ").split())
    for expected in ("Recollect", "Found something.", "Nadia · decision", "The fair is on 16 May.", "3 in #general"):
        assert expected in words
    for expected in ("[Next] [Back]", "Which?", "☑ One", "☐ Two", "in a container", "beside it", "[Open ↗]"):
        assert expected in words
    assert "🖼 week.png" in words
    assert words.count("week.png") == 1
    assert "📎 memories.zip · 5.2 KB" in words
    assert "only Mika can see this" in words


def test_a_long_page_is_cut_to_its_first_cards() -> None:
    """The demo shows the best cards and says how many more there were."""
    screen, out = printed()
    screen.message(CARD, MARKUP, cards=1)
    assert "16 May" in out.getvalue()
    assert "third" not in out.getvalue()
    assert "and 2 more on this page" in out.getvalue()


@pytest.mark.parametrize(("terminal", "shown"), [(False, "talking: 2 of 3"), (True, "2/3")])
def test_progress_counts_steps(terminal: bool, shown: str) -> None:
    """A bar on a terminal, one plain line without one."""
    screen, out = printed(terminal=terminal)
    with screen.progress("talking", 3) as note:
        note(1, "Bea: [hi]")
        note(2, "Tom: no.")
    assert shown in out.getvalue()
    assert ("\x1b" in out.getvalue()) is terminal


def test_the_summary_tells_what_held() -> None:
    """Each promise has its mark and its result."""
    screen, out = printed()
    checks = [Check("messages captured", "279 of 279", True), Check("recall afterwards", "still found", False)]
    screen.check(checks[1])
    screen.summary(checks, "[bold]Took[/] 12 s")
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "✗ recall afterwards: still found" in lines
    assert "✓ messages captured 279 of 279" in lines
    assert "Took 12 s" in lines


def test_a_picture_holds_its_chapters_and_fetches_nothing(tmp_path: Path) -> None:
    """Of a long line it shows the beginning; the screen shows all of everything."""
    out = io.StringIO()
    canvas = picture.canvas()
    screen = Screen(Console(file=out, width=80), canvas)
    link = f"https://a.example/{'x' * 100}"
    for title, pictured in (("Monday", False), ("Friday", True), ("Sunday", False)):
        screen.chapter(title, pictured)
        screen.check(Check(f"on {title}", link, True))
    assert [out.getvalue().count(f"on {title}: {link}") for title in ("Monday", "Friday", "Sunday")] == [1, 1, 1]

    picture.save(canvas, tmp_path / "p.svg", "a story")
    svg = (tmp_path / "p.svg").read_text("utf-8").replace("&#160;", " ")
    assert "on Friday" in svg and "xxx…" in svg and "a story" in svg
    assert "on Monday" not in svg and "on Sunday" not in svg
    assert not re.search("@font-face|@import|href|url\\([^#]", svg)
