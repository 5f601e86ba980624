"""The `since` option."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.commands.replies import Refused
from bot.commands.since import parse_since, suggest_since

NOW = datetime(2026, 5, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("24h", NOW - timedelta(days=1)),
        (" 7 days ", NOW - timedelta(days=7)),
        ("2W", NOW - timedelta(weeks=2)),
        ("1y", NOW - timedelta(days=365)),
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T10:00+02:00", datetime(2026, 5, 1, 8, 0, tzinfo=UTC)),
    ],
)
def test_spans_and_dates_are_read(text: str, moment: datetime) -> None:
    """People write spans, days or exact times."""
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["soon", "7", "2026-13-01", "9999y", "3m", "-1d"])
def test_anything_else_is_explained(text: str) -> None:
    """What cannot be read is answered with what can."""
    with pytest.raises(Refused, match="24h, 7d, 4w, 1y or a date"):
        parse_since(text, NOW)


def test_the_future_has_no_memories() -> None:
    """A moment to come is refused."""
    with pytest.raises(Refused, match="future"):
        parse_since("2026-06-01", NOW)


def test_suggestions_follow_what_is_typed() -> None:
    """Something readable is shown as it will be read, anything else gets the usual spans."""
    assert [(one.name, one.value) for one in suggest_since("3d", NOW)] == [("since 2026-05-17 12:00 UTC", "3d")]
    assert [one.value for one in suggest_since("", NOW)] == ["24h", "7d", "4w", "1y"]
    assert [one.value for one in suggest_since("wha", NOW)] == ["24h", "7d", "4w", "1y"]
    assert suggest_since("", NOW)[3].name == "the last year"
