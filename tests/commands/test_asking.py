"""The card of an answer."""

from datetime import UTC, datetime

from bot.commands.asking import answer_card
from bot.memory.answering import question, read
from bot.model import Hit, Memory, MemoryKind

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def _hit(number: int) -> Hit:
    memory = Memory(
        id=f"memory-{number}",
        kind=MemoryKind.MESSAGE,
        guild_id=1,
        channel_id=2,
        access_id=2,
        channel_name="general",
        subject_id=3,
        text=f"said {number}",
        speaker_ids=(3,),
        speaker_name=f"Speaker {number}",
        sources=(100 + number,),
        said_at=NOW,
        created_at=NOW,
    )
    return Hit(memory, 1.0)


def test_sources_are_numbered_in_the_order_in_which_they_are_cited() -> None:
    """Whatever numbers the model was shown, a reader finds 1, 2, … in the words and the same ones below them."""
    asked = question("who?", [_hit(number) for number in range(1, 5)], NOW, 1000)
    card = answer_card(read("Four says so [4], two as well [2][4].", 4), asked)
    words, _, sources = (card.description or "").partition("\n\n")
    first, second = ("https://discord.com/channels/1/2/104", "https://discord.com/channels/1/2/102")
    assert words == f"Four says so [[1]]({first}), two as well [[2]]({second})[[1]]({first})."
    assert [line.split(" · ")[0] for line in sources.splitlines()] == [
        f"[[1]]({first}) Speaker 4",
        f"[[2]]({second}) Speaker 2",
    ]
