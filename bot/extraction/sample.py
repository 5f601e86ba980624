"""A window every model can answer, for telling a bad model from bad messages."""

from datetime import UTC, datetime

from bot.model import Message, Window


def _said(id: int, who: str, words: str) -> Message:
    return Message(id, 0, 0, 0, "general", id, who, words, datetime(2024, 5, 3, 12, tzinfo=UTC))


SAMPLE = Window(
    guild_id=0,
    channel_id=0,
    sections=(
        (
            _said(1, "Ann", "I moved to Lisbon in April and work as a nurse now"),
            _said(2, "Ben", "congratulations! I still play the cello in Ghent"),
        ),
    ),
)
