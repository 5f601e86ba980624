"""How often one person may ask."""

import pytest

from bot.commands import limits
from bot.commands.limits import Limit
from bot.commands.replies import Refused


def test_so_many_questions_a_minute_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is refused with the time to wait, and others are not; nobody who asked lately is forgotten."""
    monkeypatch.setattr(limits, "_REMEMBER_AT_MOST", 2)
    now = 1_000.0
    limit = Limit(2, lambda: now)
    limit.take(1)
    now += 20
    limit.take(1)
    limit.take(2)
    limit.take(3)
    with pytest.raises(Refused, match=r"^You may ask me 2 questions a minute; ask again in 40 seconds\.$"):
        limit.take(1)
    now += 39.5
    with pytest.raises(Refused, match=r"ask again in 1 second\."):
        limit.take(1)
    now += 1
    limit.take(1)
