"""The times a question names: "last week", "in March", "on 3 May 2024", "since June".

One regular expression, made of dateparser's data of the language and of English, finds the words that can only be
a date, and dateparser reads those: it is too slow (tens of milliseconds) and too generous ("may", "sat", "3.11") to
search whole questions. A wrong date misleads, a missed one leaves a question as it is; so what is an everyday word
or a plain number, too, counts only after a word like "in".

Discord does not tell anybody's time zone: days, weeks (from Monday) and months are those of UTC.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from itertools import islice
from typing import Any

AFTERWARDS = timedelta(days=7)
"""People go on talking of what has happened: after a span, nearness falls to 1/e in this time."""
BEFOREHAND = timedelta(days=3)
"""And sometimes of what is to come: before a span, nearness falls to 1/e in this time."""
ANOTHER_YEAR = 0.5
"""The weight of the years before the last, where none was named."""

_DAY = timedelta(days=1)
_EVER = datetime(2015, 1, 1, tzinfo=UTC)  # Discord's first year
_MOST_READ = 4  # dates of one question; reading one takes about a millisecond

_LOCALES = {
    "arabic": "ar", "azerbaijani": "az", "basque": "eu", "bengali": "bn", "catalan": "ca", "chinese": "zh",
    "danish": "da", "dutch": "nl", "finnish": "fi", "french": "fr", "german": "de", "greek": "el", "hebrew": "he",
    "hinglish": "hi", "hungarian": "hu", "indonesian": "id", "italian": "it", "japanese": "ja", "kazakh": "kk",
    "nepali": "ne", "norwegian": "nb", "portuguese": "pt", "romanian": "ro", "russian": "ru", "slovene": "sl",
    "spanish": "es", "swedish": "sv", "turkish": "tr",
}  # fmt: skip

# What may stand before a date, in the languages whose words for it we know. All but the last two open its span.
_SINCE = "since seit ab depuis dès desde dal dalla sinds vanaf sedan siden с".split()  # noqa: RUF001
_AFTER = "after nach après después dopo depois na efter etter после".split()
_BEFORE = "before vor avant antes prima voor före før до".split()
_UNTIL = "until till by bis hasta fino tot till til".split()
_BETWEEN = "between from zwischen vom entre tra fra tussen mellan mellem mellom".split()
_IN = "in of during early mid late last im ende anfang en de du nel del van i w в".split()
_ARTICLE = r"(?:(?:the|dem|den|der|le|la|el|il|het|o|jahr|år)\s+)?"
_JOINED = r"(?:\s*[-–]\s*|\s+(?:and|to|until|till|und|bis|et|au|y|al|e|a|en|tot|og|och|til)\s+)"  # noqa: RUF001

_EVERYDAY = frozenset("march april may june august mayo julio mars".split())  # months that are words or names, too
_MONTHS = "january february march april may june july august september october november december".split()
_WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_AGO = re.compile(r"(?:\d+|\\1) (?:minute|hour|day|week|month|year) ago|last \w+day")
_SPELT_NUMBER = re.compile(r"[\w'|()]+")  # one that does not look at what is around it

_NUMBER = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|er|º|\.)?"
_YEAR = r"(?:19|20)\d\d"
_NUMERIC = r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}\.\d{1,2}\.\d{4}|\d{1,2}/\d{1,2}/(?:\d{4}|\d\d)"
_CJK = r"\d{4}年(?:\d{1,2}月(?:\d{1,2}日)?)?|\d{1,2}月(?:\d{1,2}日)?"
_DOTTED = re.compile(r"(\d+)\.(\d+)\.(\d{4})")  # day first wherever it is written so
_TWO_DAYS = re.compile(rf"(?<![\d-])(\d\d?)(?:\w\w|º|\.)?{_JOINED}(?=\d\d?(?![\d-]))")  # the 3 of "3 to 7 May"
_UNIT = r"(?:day|week|month|year)"
_PARTS = r"last\s+night|tonight|this\s+(?:morning|afternoon|evening)|(?:last|this)\s+weekend"
_LENGTH = re.compile(rf"(?:(?:the|a|an|last|past) )?(?:(?P<count>.+) )?(?P<unit>{_UNIT})(?:end)?s?")
_CALENDAR = ("last week", "last month", "last year")
_VAGUE = {None: "1", "few": "3", "couple of": "2"}
_DIGITS = re.compile(r"\(\\d\S*?\)")  # dateparser's own pattern of a number
_VERB = r"(?!(?-i:may)\s+[a-z])"  # "room 3 may be free"
_BEGINS, _ENDS = r"(?<![\w./:-])", r"(?!\w|[.,:/-]\d)"


@dataclass(frozen=True, slots=True)
class Span:
    """A time that may be meant, from `start` until before `end`, both aware and in UTC.

    `weight` in (0, 1]: "in May" is rather the last May before the asker's time than an earlier one.
    """

    start: datetime
    end: datetime
    weight: float = 1.0


def spans(query: str, asked_at: datetime, language: str) -> tuple[Span, ...]:
    """The times a question names, as seen from `asked_at`: none for most questions.

    `language` is `recall.language` of the settings; English is understood beside any. The first call in a process
    loads dateparser: see `warm`.
    """
    return tuple(_reader(language).spans(query, asked_at.astimezone(UTC)))


def warm(language: str) -> None:
    """Load what the first question would wait for: a third of a second, 15 MB. Blocks: call it in a worker thread."""
    spans("2 weeks ago, on 3 May", _EVER, language)


def nearness(said_at: datetime, spans: Sequence[Span]) -> float:
    """How well a time fits the best of the spans: its weight inside, less by exp(-distance) outside, 0 if none."""
    return max((span.weight * math.exp(-_distance(said_at, span)) for span in spans), default=0.0)


def _distance(moment: datetime, span: Span) -> float:
    if moment < span.start:
        return (span.start - moment) / BEFOREHAND
    return max(moment - span.end, timedelta()) / AFTERWARDS


@cache
def _reader(language: str) -> "_Reader":
    locale = _LOCALES.get(language.strip().lower())
    return _Reader([locale, "en"] if locale else ["en"])


class _Reader:
    """Finds and reads the dates of some languages."""

    def __init__(self, locales: Sequence[str]) -> None:
        from dateparser.date import DateDataParser  # late: 15 MB

        self._parser = DateDataParser
        self._locales = list(locales)
        self._pattern = _pattern([_data(locale) for locale in locales])

    def spans(self, query: str, asked_at: datetime) -> Iterator[Span]:
        """The spans of each date found, in the order of the words; none of the future."""
        for match in islice(self._pattern.finditer(query), _MOST_READ):
            yield from (span for span in self._meant(match, asked_at) if span.start < min(span.end, asked_at))

    def _meant(self, match: re.Match[str], asked_at: datetime) -> Sequence[Span]:
        lead = (match["lead"] or "").casefold()
        first = self._named(match["first"] or match["unspaced"], asked_at)
        if not first:
            return ()
        if match["gap"]:
            return [self._widened(first[0], match["gap"], before=lead in _BEFORE)]
        if not match["second"]:
            return _opened(first, lead, asked_at)
        second = self._named(match["second"], asked_at)
        return [_across(first, second[0])] if second and lead in _BETWEEN else [*first, *second]

    def _named(self, words: str, asked_at: datetime) -> list[Span]:
        """What one date means: of several years, if it names none, the last first."""
        words = " ".join(words.casefold().split())
        if words.endswith("weekend"):
            return [_weekend(asked_at, last=words.startswith("last"))]
        if words.startswith(("past ", "last ")) and words not in _CALENDAR and (lately := _LENGTH.fullmatch(words)):
            return [Span(first.start, asked_at) for first in self._read(f"{_length(lately)} ago", asked_at)]
        if not (two_days := _TWO_DAYS.search(words)):
            return self._read(words, asked_at)
        first_day = int(two_days[1])
        until = self._read(words.replace(two_days[0], ""), asked_at)
        return [replace(day, start=day.start.replace(day=first_day)) for day in until if first_day < day.start.day]

    def _widened(self, span: Span, gap: str, before: bool) -> Span:
        """The span and the time to or from it: what was two weeks before 3 May may have been told by then."""
        said = _LENGTH.fullmatch(" ".join(gap.casefold().split()))
        if said is None:
            return span
        other = self._read(f"{_length(said)} ago" if before else f"in {_length(said)}", span.start)
        return Span(min(span.start, other[0].start), max(span.end, other[0].end)) if other else span

    def _read(self, words: str, now: datetime) -> list[Span]:
        parser = self._parser(
            languages=self._locales,
            use_given_order=True,
            settings={
                "RELATIVE_BASE": now.replace(tzinfo=None),
                "TIMEZONE": "UTC",
                "RETURN_AS_TIMEZONE_AWARE": True,
                "PREFER_DATES_FROM": "past",
                "PREFER_DAY_OF_MONTH": "first",
                "PREFER_MONTH_OF_YEAR": "first",
            },
        )
        data = parser.get_date_data(_DOTTED.sub(r"\3-\2-\1", words))
        if data.date_obj is None or data.date_obj < _EVER:
            return []
        span = _period(data.date_obj.astimezone(UTC), data.period)
        return [span] if "year" in data.parts else [span, *_years_before(span, data.period)]


def _period(moment: datetime, period: str) -> Span:
    """The day, week, month or year in which a moment lies."""
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "week":
        monday = day - day.weekday() * _DAY
        return Span(monday, monday + 7 * _DAY)
    if period == "month":
        first = day.replace(day=1)
        return Span(first, (first + 31 * _DAY).replace(day=1))
    if period == "year":
        return Span(day.replace(month=1, day=1), day.replace(year=day.year + 1, month=1, day=1))
    return Span(day, day + _DAY)


def _years_before(last: Span, period: str) -> Iterator[Span]:
    """The same day or month of the years before."""
    for year in range(last.start.year - 1, _EVER.year - 1, -1):
        with suppress(ValueError):  # 29 February
            yield replace(_period(last.start.replace(year=year), period), weight=ANOTHER_YEAR)


def _weekend(asked_at: datetime, last: bool) -> Span:
    """The latest weekend that has begun; the last one is over."""
    saturday = _period(asked_at - (asked_at.weekday() - 5) % 7 * _DAY, "day").start
    if last and saturday + 2 * _DAY > asked_at:
        saturday -= 7 * _DAY
    return Span(saturday, saturday + 2 * _DAY)


def _opened(read: list[Span], lead: str, asked_at: datetime) -> list[Span]:
    """What the word before a date makes of it. What is open to one side can only be of one year: the last."""
    if lead in _SINCE:
        return [Span(read[0].start, asked_at)]
    if lead in _AFTER:
        return [Span(read[0].end, asked_at)] if read[0].end < asked_at else []
    if lead in _BEFORE:
        return [Span(_EVER, read[0].start)]
    if lead in _UNTIL:
        return [Span(_EVER, read[0].end)]
    if lead == "last":
        return [replace(span, weight=1.0) for span in read if span.end <= asked_at][:1]
    return read


def _across(first: list[Span], last: Span) -> Span:
    """From the first date to the last; if the first names no year, it is the one next before."""
    starts = [span.start for span in first if span.start <= last.start]
    return Span(max(starts), last.end) if starts else last


def _length(said: re.Match[str]) -> str:
    """A length of time with a number: "3 days" of "the last few days"."""
    return f"{_VAGUE.get(said['count'], said['count'])} {said['unit']}s"


def _data(locale: str) -> Mapping[str, Any]:
    data: Mapping[str, Any] = import_module(f"dateparser.data.date_translation_data.{locale}").info
    return data


def _pattern(data: Sequence[Mapping[str, Any]]) -> re.Pattern[str]:
    """What finds a date `first`, another joined to it `second`, the word before `lead`, a length of time before `gap`.

    What may be another word or number is found after a `lead` only. `unspaced` is a date of a script without spaces.
    """
    month_names = [name for info in data for month in _MONTHS for name in info[month]]
    full_names = [name for info in data for month in _MONTHS for name in _full(info[month])]
    weekdays = [name for info in data for weekday in _WEEKDAYS for name in _full(info[weekday])]
    number = _any([spelt for info in data for spelt in _spelt_numbers(info)] + [r"\d{1,3}"])
    ago = [phrase for info in data if not info.get("no_word_spacing") for phrase in _agos(info, number)]
    unspaced = [phrase for info in data if info.get("no_word_spacing") for phrase in (_CJK, *_agos(info, number))]

    month = _VERB + _any(map(re.escape, month_names)) + r"\b\.?"
    day = rf"{_NUMBER}(?:{_JOINED}{_NUMBER})?"
    year = rf"(?:,?\s+(?:(?:of|de|del)\s+)?{_YEAR}\b)"
    dated = [
        rf"{day}(?:\s+(?:of|de|di))?\s+{month}{year}?",
        rf"{month}\s+{day}(?![\w:]){year}?",
        rf"{month}{year}",
        _NUMERIC,
    ]
    lately = rf"(?:last|past)\s+(?:(?:{number}|few|couple of)\s+)?{_UNIT}s?"
    said = rf"{_any([*ago, lately, _PARTS])}(?!\s+(?:before|after)\b)"
    sure = _any([*dated, said, *(re.escape(name) for name in [*full_names, *weekdays] if name not in _EVERYDAY)])
    led = _any([*map(re.escape, full_names), _YEAR])
    lead = _any([*_SINCE, *_AFTER, *_BEFORE, *_UNTIL, *_BETWEEN, *_IN])
    gap = rf"(?P<gap>(?:(?:the|a|an|last)\s+)?(?:{number}\s+)?{_UNIT}(?:end)?s?)\s+(?=(?:before|after)\s+(?!yesterday))"
    return re.compile(
        rf"{_BEGINS}(?:(?:{gap})?(?P<lead>{lead})[\s-]+{_ARTICLE})?(?P<first>{sure}|(?(lead){led}|(?!))){_ENDS}"
        rf"(?:{_JOINED}(?P<second>{sure}|{led}){_ENDS})?|(?P<unspaced>{_any(unspaced) if unspaced else '(?!)'})",
        re.IGNORECASE,
    )


def _full(names: Sequence[str]) -> list[str]:
    """The names that are no abbreviations: those may be any word ("sat", "mar", "die")."""
    enough = min(5, max(map(len, names)))
    return [name for name in names if len(name) >= enough and not re.search(r"\d", name)]


def _spelt_numbers(info: Mapping[str, Any]) -> Iterator[str]:
    """Patterns of "two", "deux", "vier"."""
    for simplification in info.get("simplifications", ()):
        for spelt, value in simplification.items():
            if value.isdecimal() and _SPELT_NUMBER.fullmatch(spelt):
                yield spelt.replace("(", "(?:")


def _agos(info: Mapping[str, Any], number: str) -> list[str]:
    """Patterns of "yesterday", "last week", "3 weeks ago"."""
    said = [phrase for key, phrases in info["relative-type"].items() if _AGO.fullmatch(key) for phrase in phrases]
    counted = [
        phrase for key, phrases in info["relative-type-regex"].items() if _AGO.fullmatch(key) for phrase in phrases
    ]
    return [*map(re.escape, said), *(_DIGITS.sub(lambda _: number, phrase) for phrase in counted)]


def _any(patterns: Iterable[str]) -> str:
    """Any of the patterns, the longest first, so that none is taken for the beginning of another."""
    return f"(?:{'|'.join(sorted(set(patterns), key=len, reverse=True))})"
