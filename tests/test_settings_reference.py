"""docs/settings.md, which lists every setting."""

from pathlib import Path

import pytest

from bot.cli.reference import settings
from bot.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"


def test_the_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    """What `recollect settings` prints is what the docs say."""
    settings()
    assert PAGE.read_text("utf-8") == capsys.readouterr().out, "docs/settings.md is out of date: run `make docs`."


def test_every_setting_has_its_row() -> None:
    """With its default as the file has it, its variables, its choices, and a sentence."""
    page = PAGE.read_text("utf-8")
    for section, table in Settings.model_fields.items():
        for key, field in table.annotation.model_fields.items():  # type: ignore[union-attr]
            row = next(line for line in page.splitlines() if f"`BOT_{section}__{key}`".upper() in line)
            assert row.startswith(f"| `{key}` | `")
            assert (field.description or "").replace("|", "\\|") in row
            assert (field.description or "").endswith(".") or key in {"raw_days", "facts_days"}, (section, key)
    assert '| `interval` | `"1h"` | `BOT_BATCH__INTERVAL` |' in page
    assert "`BOT_DISCORD__TOKEN` (`DISCORD_TOKEN`)" in page
    assert 'One of `"opt_out"`, `"opt_in"`.' in page
