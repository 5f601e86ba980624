"""Facts taken apart."""

import pytest

from bot.memory.statement import Slot, statement


@pytest.mark.parametrize(
    ("text", "slot", "frame", "values"),
    [
        ("The fair is on Saturday, 9 May", Slot.VALUE, "fair is", ("saturday", "9", "may")),
        ("The fair will take place on the 9th", Slot.VALUE, "fair is", ("9",)),
        ("The community agreed that the fair was moved to 2026-05-09", Slot.VALUE, "fair is", ("2026-05-09",)),
        ("The raid starts at 8 pm sharp", Slot.VALUE, "raid starts", ("8", "pm")),
        ("Ada has three cats", Slot.COUNT, "ada has", ("3",)),
    ],
)
def test_a_value_is_found_behind_its_frame(text: str, slot: Slot, frame: str, values: tuple[str, ...]) -> None:
    """However the sentence around it is worded."""
    found = statement(text)
    assert (found.slot, " ".join(found.frame), found.values) == (slot, frame, values)


@pytest.mark.parametrize(
    ("text", "slot", "filler"),
    [
        ("Ada has moved to New York", Slot.NAME, "new york"),
        ("Ada works for Acme", Slot.NAME, "acme"),
        ("Our treasurer is Ben Smith", Slot.ROLE, "ben smith"),
        ("Ada's favourite tea is sencha", Slot.ATTRIBUTE, "sencha"),
        ("Ada prefers tea over coffee", Slot.PREFERENCE, "tea over coffee"),
    ],
)
def test_other_slots_are_known_by_their_words(text: str, slot: Slot, filler: str) -> None:
    """Places, companies, roles, favourites and preferences."""
    found = statement(text)
    assert (found.slot, " ".join(found.filler)) == (slot, filler)


@pytest.mark.parametrize(
    "text",
    ["", "...", "is", "Ada likes tea", "Ada is a teacher", "Ada may come", "The club is open", "Ada lives in a flat"],
)
def test_most_statements_have_no_slot(text: str) -> None:
    """What may add up has none."""
    assert statement(text).slot is None


def test_a_negation_is_counted_and_left_out() -> None:
    """The stems of a statement and of its denial are the same."""
    plain, denied = statement("Ada smokes cigars"), statement("Ada no longer smokes any cigars")
    assert plain.stems() == denied.stems()
    assert [plain.negations, denied.negations] == [0, 1]
    assert statement("Ada can't swim").stems() == statement("Ada can swim").stems()
