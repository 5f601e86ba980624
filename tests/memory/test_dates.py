"""The times a question names."""

import math
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.memory.bm25 import languages
from bot.memory.dates import AFTERWARDS, ANOTHER_YEAR, BEFOREHAND, Span, nearness, spans, warm

ASKED_AT = datetime(2024, 5, 20, 14, 30, tzinfo=UTC)  # a Monday
TODAY = date(2024, 5, 20)


def named(query: str, language: str = "english", asked_at: datetime = ASKED_AT) -> list[tuple[str, str]]:
    """First and last day of each span that weighs in full."""
    return [
        (f"{span.start:%Y-%m-%d}", f"{span.end - timedelta(microseconds=1):%Y-%m-%d}")
        for span in spans(query, asked_at, language)
        if span.weight == 1
    ]


def day(iso: str) -> list[tuple[str, str]]:
    """One span of one day."""
    return [(iso, iso)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("what did we decide on 3 May 2024?", day("2024-05-03")),
        ("what did we decide on May 3rd, 2024", day("2024-05-03")),
        ("the 3rd of May 2024", day("2024-05-03")),
        ("minutes of 2024-05-03", day("2024-05-03")),
        ("what was on 3.5.2024?", day("2024-05-03")),
        ("what was on 13/05/2024?", day("2024-05-13")),
        ("what did John do on 3 June, 2023?", day("2023-06-03")),
        ("who called on Sept. 3", day("2023-09-03")),
        ("what happened in March 2023", [("2023-03-01", "2023-03-31")]),
        ("what happened in march", [("2024-03-01", "2024-03-31")]),
        ("what happened in July", [("2023-07-01", "2023-07-31")]),
        ("the February release", [("2024-02-01", "2024-02-29")]),
        ("how many trips in 2023?", [("2023-01-01", "2023-12-31")]),
    ],
)
def test_dates_are_read(query: str, expected: list[tuple[str, str]]) -> None:
    """Days, months and years, the last before the question where no year is named."""
    assert named(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("who was online today", day("2024-05-20")),
        ("what did I miss yesterday?", day("2024-05-19")),
        ("and the day before yesterday", day("2024-05-18")),
        ("what happened last night", day("2024-05-19")),
        ("an hour ago", day("2024-05-20")),
        ("what was said on Friday", day("2024-05-17")),
        ("3 days ago", day("2024-05-17")),
        ("two weeks ago", [("2024-05-06", "2024-05-12")]),
        ("what did we decide last week?", [("2024-05-13", "2024-05-19")]),
        ("plans of this month", [("2024-05-01", "2024-05-31")]),
        ("last month", [("2024-04-01", "2024-04-30")]),
        ("our trip last year", [("2023-01-01", "2023-12-31")]),
        ("four years ago", [("2020-01-01", "2020-12-31")]),
        ("last weekend", [("2024-05-18", "2024-05-19")]),
        ("last May", [("2023-05-01", "2023-05-31")]),
        ("in the past two weeks", [("2024-05-06", "2024-05-20")]),
        ("over the last few days", [("2024-05-17", "2024-05-20")]),
    ],
)
def test_times_relative_to_the_question_are_read(query: str, expected: list[tuple[str, str]]) -> None:
    """What is told from the asker's time is counted from it; weeks begin on Monday."""
    assert named(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("since January", [("2024-01-01", "2024-05-20")]),
        ("after 3 May", [("2024-05-04", "2024-05-20")]),
        ("before March", [("2015-01-01", "2024-02-29")]),
        ("until Friday", [("2015-01-01", "2024-05-17")]),
        ("between 3 and 7 May", [("2024-05-03", "2024-05-07")]),
        ("on 3-7 May 2023", [("2023-05-03", "2023-05-07")]),
        ("May 3 to 7", [("2024-05-03", "2024-05-07")]),
        ("between March and May 2023", [("2023-03-01", "2023-05-31")]),
        ("from December to February", [("2023-12-01", "2024-02-29")]),
        ("in March and April", [("2024-03-01", "2024-03-31"), ("2024-04-01", "2024-04-30")]),
        ("two weeks before August 11, 2023", [("2023-07-24", "2023-08-11")]),
        ("last weekend before April 10, 2023", [("2023-04-03", "2023-04-10")]),
        ("the day after 3 May", [("2024-05-03", "2024-05-04")]),
    ],
)
def test_spans_are_read(query: str, expected: list[tuple[str, str]]) -> None:
    """Between two dates, or open to one side; a length of time before a date reaches up to it."""
    assert named(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "",
        "what does Ada like?",
        "may I ask",
        "May we use it?",
        "room 3 may be free",
        "this may be it",
        "we march on",
        "what did June and April say",
        "the sun sat on a wed mon",
        "is it the second one",
        "python 3.11 or 3.12",
        "is there 24/7 support",
        "what changed in 3.5.2",
        "error 2023",
        "in 2023.1",
        "10.0.0.1",
        "32 May",
        "31 June",
        "50 weeks of fun",
        "what will we do next week",
        "in August 2030",
    ],
)
def test_other_words_and_numbers_are_no_dates(query: str) -> None:
    """A wrong date misleads: everyday words, versions, impossible and future dates are left alone."""
    assert spans(query, ASKED_AT, "english") == ()


@pytest.mark.parametrize(
    ("language", "query", "expected"),
    [
        ("german", "was war letzte Woche?", [("2024-05-13", "2024-05-19")]),
        ("german", "vor zwei Wochen", [("2024-05-06", "2024-05-12")]),
        ("german", "am 3. Mai 2024", day("2024-05-03")),
        ("german", "am 3.5.2024", day("2024-05-03")),
        ("german", "im März", [("2024-03-01", "2024-03-31")]),
        ("german", "seit Januar", [("2024-01-01", "2024-05-20")]),
        ("german", "zwischen 3. und 7. Mai", [("2024-05-03", "2024-05-07")]),
        ("german", "die Katze so mo", []),
        ("german", "what happened last week", [("2024-05-13", "2024-05-19")]),
        ("french", "le 3 mai 2024", day("2024-05-03")),
        ("french", "la semaine dernière", [("2024-05-13", "2024-05-19")]),
        ("spanish", "el 3 de mayo de 2024", day("2024-05-03")),
        ("russian", "две недели назад", [("2024-05-06", "2024-05-12")]),
        ("chinese", "上周我们决定了什么", [("2024-05-13", "2024-05-19")]),
        ("japanese", "2024年5月3日の話", day("2024-05-03")),
        ("none", "last week", [("2024-05-13", "2024-05-19")]),
    ],
)
def test_dates_are_read_in_the_language_of_the_settings(
    language: str, query: str, expected: list[tuple[str, str]]
) -> None:
    """The community's language is understood, and English beside it."""
    assert named(query, language) == expected


@pytest.mark.parametrize("language", languages())
def test_every_language_of_the_settings_can_be_asked_in(language: str) -> None:
    """Whatever `recall.language` may be, its dates are read, English ones at least."""
    warm(language)
    assert named("on 2024-05-03", language) == day("2024-05-03")


def test_a_date_without_a_year_may_be_of_an_earlier_one() -> None:
    """The last is meant rather, but the ones before are not ruled out; there is not a 29 February every year."""
    last, *others = spans("on February 29", ASKED_AT, "english")
    assert (last.start.date(), last.weight) == (date(2024, 2, 29), 1.0)
    assert [(span.start.date(), span.weight) for span in others] == [
        (date(2020, 2, 29), ANOTHER_YEAR),
        (date(2016, 2, 29), ANOTHER_YEAR),
    ]


def test_days_are_those_of_utc() -> None:
    """The asker's clock may be in any zone; the day is that of the same moment in UTC."""
    late = datetime(2024, 5, 20, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    (span,) = spans("today", late, "english")
    assert (span.start, span.end) == (datetime(2024, 5, 21, tzinfo=UTC), datetime(2024, 5, 22, tzinfo=UTC))


def test_a_question_full_of_dates_is_read_in_part() -> None:
    """Reading takes time, so only the first few dates of a question count."""
    assert len(named(" ".join(f"on {number} May 2024, " for number in range(1, 19)))) == 4


def test_a_time_is_nearest_inside_a_span_and_nearer_after_it_than_before() -> None:
    """People talk of what happened afterwards for longer than of what is to come."""
    span = Span(datetime(2024, 5, 3, tzinfo=UTC), datetime(2024, 5, 4, tzinfo=UTC))
    assert nearness(span.start, [span]) == nearness(span.end, [span]) == 1.0
    assert nearness(span.end + AFTERWARDS, [span]) == pytest.approx(1 / math.e)
    assert nearness(span.start - BEFOREHAND, [span]) == pytest.approx(1 / math.e)
    assert nearness(span.start - timedelta(days=2), [span]) < nearness(span.end + timedelta(days=2), [span])
    assert nearness(span.end + timedelta(days=365), [span]) < 1e-6


def test_the_best_span_counts_with_its_weight() -> None:
    """Of several spans the one that fits best decides; without any, nothing is near."""
    sure = Span(datetime(2024, 5, 3, tzinfo=UTC), datetime(2024, 5, 4, tzinfo=UTC))
    doubtful = Span(datetime(2023, 5, 3, tzinfo=UTC), datetime(2023, 5, 4, tzinfo=UTC), 0.5)
    assert nearness(doubtful.start, [sure, doubtful]) == 0.5
    assert nearness(sure.start, [doubtful, sure]) == 1.0
    assert nearness(sure.start, ()) == 0.0


WORDS = st.sampled_from(
    "in on of since before after between and to last past the week weeks ago May march 3 31 3rd 2023 2024-02-30 "
    "99/99/99 Monday weekend two few yesterday , - . 31.12.2023 29 February 12:30 three days year 0 next may".split()
)


@given(st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=60), st.sampled_from(["english", "german"]))
def test_any_question_can_be_asked(query: str, language: str) -> None:
    """Nothing people write raises, and every span has begun by then, ends after it begins and has a weight."""
    for span in spans(query, ASKED_AT, language):
        assert span.start < span.end
        assert span.start <= ASKED_AT
        assert 0 < span.weight <= 1
