"""Keyword search in SQL over messages and facts: the answer of last resort when the index is down."""

import operator
import re
from functools import reduce
from itertools import islice, pairwise
from typing import Any

from sqlalchemy import Column, ColumnElement, Float, Integer, Table, case, column, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.model import Hit, Memory, Scope, fact_memory, message_memory
from bot.storage.burial import retracted
from bot.storage.database import Database
from bot.storage.facts import facts_of
from bot.storage.rows import MESSAGE_COLUMNS, among, clean, message_of, to_ms
from bot.storage.tables import fact, message
from bot.text import runs_without_spaces

MOST_TERMS = 64
MOST_PAIRS = 12

# Space and ASCII punctuation, the double quote among it, and NUL, which would end the query. An
# apostrophe stays, and any other sign is left to the tokenizer: a term it splits is a phrase.
_BETWEEN_WORDS = re.compile(r"[\s\0!-&(-/:-@\[-`{-~]+")


class KeywordSearch:
    """FTS5 with Porter stemming, ranked by BM25 (https://www.sqlite.org/fts5.html#the_bm25_function).

    Chinese, Japanese, Korean, Thai and the like are found by pairs of characters instead, each of which counts one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def search(self, query: str, scope: Scope, limit: int) -> list[Hit]:
        """The best matches within the scope, best first; any text is a safe query.

        `signals` holds the score under `keyword`, higher is better.
        """
        match, pairs = _match(query), _pairs(query)
        if not match or not scope.access_ids:
            return []
        async with self._database.read() as connection:
            hits = [
                *await _messages(connection, match, pairs, scope, limit),
                *await _facts(connection, match, pairs, scope, limit),
            ]
            gone = await connection.run_sync(retracted, [memory for memory, _ in hits])
        hits.sort(key=lambda hit: (-hit[1], hit[0].id))
        return [Hit(memory, score, {"keyword": score}) for memory, score in hits if memory.id not in gone][:limit]


def _match(query: str) -> str:
    """The query's words, each quoted so that nothing in it is an operator, joined by OR."""
    words = dict.fromkeys(word for word in _BETWEEN_WORDS.split(clean(query)) if word)
    return " OR ".join(f'"{word}"' for word in islice(words, MOST_TERMS))


def _pairs(query: str) -> list[str]:
    """The pairs of neighbouring characters in runs without spaces, and characters that stand alone.

    FTS5 takes such a run as one word, so parts of it are looked for in the text itself.
    """
    runs = runs_without_spaces(clean(query))
    pairs = (pair for run in runs for pair in (map("".join, pairwise(run)) if len(run) > 1 else run))
    return list(islice(dict.fromkeys(pairs), MOST_PAIRS))


async def _messages(
    connection: AsyncConnection, match: str, pairs: list[str], scope: Scope, limit: int
) -> list[tuple[Memory, float]]:
    where = _within(message, message.c.author_id, message.c.created_at, scope)
    scores = await _scored(connection, message, message.c.id, match, pairs, where, limit)
    rows = await connection.execute(select(*MESSAGE_COLUMNS).where(among(message.c.id, scores)))
    return [(message_memory(message_of(row)), scores[row.id]) for row in rows]


async def _facts(
    connection: AsyncConnection, match: str, pairs: list[str], scope: Scope, limit: int
) -> list[tuple[Memory, float]]:
    where = _within(fact, fact.c.subject_id, fact.c.said_at, scope)
    scores = await _scored(connection, fact, fact.c.seq, match, pairs, where, limit)
    rows = (await connection.execute(select(fact).where(among(fact.c.seq, scores)))).all()
    facts = await connection.run_sync(facts_of, rows)
    return [(fact_memory(found), scores[row.seq]) for row, found in zip(rows, facts, strict=True)]


def _within(table: Table, about: Column[Any], said_at: Column[int], scope: Scope) -> ColumnElement[bool]:
    where = (table.c.guild_id == scope.guild_id) & among(table.c.access_id, scope.access_ids)
    if scope.channel_id is not None:
        where &= table.c.channel_id == scope.channel_id
    if scope.about_id is not None:
        where &= about == scope.about_id
    if scope.since is not None:
        where &= said_at >= to_ms(scope.since)
    if scope.until is not None:
        where &= said_at < to_ms(scope.until)
    return where


async def _scored(
    connection: AsyncConnection,
    table: Table,
    rowid: Column[int],
    match: str,
    pairs: list[str],
    where: ColumnElement[bool],
    limit: int,
) -> dict[int, float]:
    """Row id and score of the best matches, by words and by pairs of characters."""
    scores = await _ranked(connection, table, rowid, match, where, limit)
    if pairs:
        found = await _holding(connection, table, rowid, pairs, where, limit)
        scores = {id: scores.get(id, 0.0) + found.get(id, 0.0) for id in {**scores, **found}}
    return scores


async def _holding(
    connection: AsyncConnection,
    table: Table,
    rowid: Column[int],
    pairs: list[str],
    where: ColumnElement[bool],
    limit: int,
) -> dict[int, float]:
    """Row id and number of pairs of the texts that hold most of them. It reads every text in the scope."""
    held = reduce(operator.add, (case((func.instr(table.c.text, pair) > 0, 1.0), else_=0.0) for pair in pairs))
    counted = select(rowid.label("row"), held.label("score")).where(where).subquery()
    query = select(counted).where(counted.c.score > 0).order_by(counted.c.score.desc()).limit(limit)
    return {row.row: row.score for row in await connection.execute(query)}


async def _ranked(
    connection: AsyncConnection, table: Table, rowid: Column[int], match: str, where: ColumnElement[bool], limit: int
) -> dict[int, float]:
    """Row id and score of the best matches, best first."""
    name = f"{table.name}_fts"
    found = text(f"SELECT rowid, -bm25({name}) AS score FROM {name} WHERE {name} MATCH :match")  # noqa: S608
    ranked = found.bindparams(match=match).columns(column("rowid", Integer), column("score", Float)).subquery()
    query = (
        select(ranked.c.rowid, ranked.c.score)
        .join(table, rowid == ranked.c.rowid)
        .where(where)
        .order_by(ranked.c.score.desc())
        .limit(limit)
    )
    return {row.rowid: row.score for row in await connection.execute(query)}
