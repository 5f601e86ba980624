"""What a bot left in its data folder, read from outside: rows, facts and points, and the keys a point should have."""

import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from _chaos_services import DIMENSIONS

from bot.memory.bm25 import Bm25
from bot.memory.index import IndexPoint, Key
from bot.memory.shards import Shards
from bot.model import memory_id

DATABASE = "recollect.db"
INDEX = "index"
_PAGE = 1000
_bm25 = Bm25("english")


@dataclass(frozen=True, slots=True)
class Line:
    """A message as far as it makes keys."""

    id: int
    guild_id: int
    place_id: int
    author_id: int
    author: str
    text: str

    @property
    def point_id(self) -> str:
        """Its point in the index."""
        return memory_id(self.guild_id, self.place_id, self.author_id, [self.id])

    def __str__(self) -> str:
        return f"{self.author}: {self.text}"


@dataclass(frozen=True, slots=True)
class Row:
    """A held message."""

    line: Line
    extraction: str
    indexing: str


@dataclass(frozen=True, slots=True)
class FactRow:
    """A stored fact with the messages it rests on."""

    id: str
    text: str
    indexing: str
    sources: tuple[int, ...]


@dataclass(slots=True)
class Stores:
    """All of a data folder. `near` are the ids in each message's window, `words` those the keyword search knows."""

    rows: dict[int, Row] = field(default_factory=dict)
    near: dict[int, list[int]] = field(default_factory=dict)
    facts: dict[str, FactRow] = field(default_factory=dict)
    points: dict[str, IndexPoint] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)
    removals: int = 0
    doubts: int = 0

    @property
    def marks(self) -> tuple[int, ...]:
        """Numbers that change while work is being done."""
        done = sum(row.extraction == "done" for row in self.rows.values())
        states = [row.indexing for row in self.rows.values()] + [fact.indexing for fact in self.facts.values()]
        return len(self.rows), len(self.facts), done, states.count("complete"), self.removals


def read_database(folder: Path) -> Stores:
    """The SQL half, also while the bot is writing. Empty if there is no database yet."""
    if not (folder / DATABASE).exists():
        return Stores()
    with closing(sqlite3.connect(f"file:{folder / DATABASE}?mode=ro", uri=True, timeout=10)) as database:
        database.execute("BEGIN")  # one state throughout
        return Stores(
            rows={row.line.id: row for row in _rows(database)},
            near=_near(database),
            facts={fact.id: fact for fact in _facts(database)},
            words=_words(database),
            removals=_count(database, "removal"),
            doubts=_count(database, "doubt"),
        )


def read_index(folder: Path, guild_ids: Iterable[int]) -> dict[str, IndexPoint]:
    """Every point of these guilds, by id. Opening a shard changes its files: for a folder nobody uses any more."""
    shards = Shards(folder, DIMENSIONS, open_shards=4)
    points: dict[str, IndexPoint] = {}
    with closing(shards):
        for guild_id in guild_ids:
            after: str | None = None
            while True:
                page, after = shards.scroll(guild_id, after, _PAGE, keys=True)
                points |= {point.id: point for point in page}
                if after is None:
                    break
    return points


def windows(lines: Iterable[Line], near: Mapping[int, Sequence[int]]) -> Iterator[tuple[Line, str]]:
    """Each line with the window it is recorded to have; without what is not among the lines any more."""
    known = {line.id: line for line in lines}
    for id, line in known.items():
        yield line, "\n".join(str(known[other]) for other in near.get(id, ()) if other in known)


def has_keys(point: IndexPoint, line: str, window: str) -> bool:
    """Whether a point's keywords are those of this text in this window."""
    return terms_of(point, Key.BM25) == terms(line) and terms_of(point, Key.BM25_WINDOW) == terms(window)


def terms(text: str) -> set[int]:
    """The terms of a text as the index numbers them."""
    return set(_bm25.document(text).indices)


def terms_of(point: IndexPoint, key: Key) -> set[int]:
    """The terms of one of a point's keys."""
    return set(point.sparse[key].indices) if key in point.sparse else set()


def _rows(database: sqlite3.Connection) -> Iterator[Row]:
    query = "SELECT id, guild_id, channel_id, author_id, author_name, content, extraction, indexing FROM message"
    for *line, extraction, indexing in database.execute(query):
        yield Row(Line(*line), extraction, indexing)


def _near(database: sqlite3.Connection) -> dict[int, list[int]]:
    near: dict[int, list[int]] = {}
    for message_id, near_id in database.execute("SELECT message_id, near_id FROM surrounding ORDER BY near_id"):
        near.setdefault(message_id, []).append(near_id)
    return near


def _facts(database: sqlite3.Connection) -> Iterator[FactRow]:
    sources: dict[str, list[int]] = {}
    for fact_id, message_id in database.execute("SELECT fact_id, message_id FROM fact_source ORDER BY message_id"):
        sources.setdefault(fact_id, []).append(message_id)
    for id, text, indexing in database.execute("SELECT id, text, indexing FROM fact"):
        yield FactRow(id, text, indexing, tuple(sources.get(id, ())))


def _words(database: sqlite3.Connection) -> set[str]:
    found: set[str] = set()
    for table in ("message_fts", "fact_fts"):
        database.execute(f"CREATE VIRTUAL TABLE temp.{table}_words USING fts5vocab(main, {table}, row)")
        found |= {term for (term,) in database.execute(f"SELECT term FROM temp.{table}_words")}  # noqa: S608
    return found


def _count(database: sqlite3.Connection, table: str) -> int:
    [count] = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  (our own names)
    return int(count)


def same(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two vectors point the same way, up to what the index rounds."""
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product >= 0.99 * math.hypot(*one) * math.hypot(*other)
