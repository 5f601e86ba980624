"""The facts drawn from messages."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, select, update

from bot.model import Fact, Scope, utcnow
from bot.storage.database import Database
from bot.storage.rows import AnyRow, among, fact_of, given, listed
from bot.storage.states import oldest_to_index
from bot.storage.tables import citation, fact, fact_source

_UNINDEXED = select(fact.c.id).where(given(fact.c.id, "ids"), fact.c.indexing.in_(["pending", "taken"]))


class FactStore:
    """Reads facts and keeps track of which are in the index; `ExtractionQueue.commit` writes them."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utcnow) -> None:
        self._database = database
        self._clock = clock

    async def get(self, ids: Iterable[str]) -> dict[str, Fact]:
        """The held ones of these facts."""
        return {one.id: one for one in await self._facts(select(fact).where(among(fact.c.id, ids)))}

    async def about(self, guild_id: int, subject_id: int | None) -> list[Fact]:
        """The facts about a member, or about the server itself, oldest first."""
        where = (fact.c.guild_id == guild_id) & (fact.c.subject_id == subject_id)
        return await self._facts(select(fact).where(where).order_by(fact.c.said_at, fact.c.seq))

    async def concerning(self, guild_id: int, user_id: int) -> list[Fact]:
        """The facts about a member or resting on their words, oldest first: what goes when they are forgotten."""
        on_their_words = select(fact_source.c.fact_id).where(fact_source.c.author_id == user_id)
        where = (fact.c.guild_id == guild_id) & ((fact.c.subject_id == user_id) | fact.c.id.in_(on_their_words))
        return await self._facts(select(fact).where(where).order_by(fact.c.seq))

    async def newest(self, scope: Scope, limit: int) -> list[Fact]:
        """The newest facts about the scope's member in the channels it may see, newest first."""
        where = (fact.c.guild_id == scope.guild_id) & (fact.c.subject_id == scope.about_id)
        where &= among(fact.c.access_id, scope.access_ids)
        newest = select(fact).where(where).order_by(fact.c.said_at.desc(), fact.c.seq.desc())
        return await self._facts(newest.limit(limit))

    async def resting_on(self, message_ids: Iterable[int]) -> list[Fact]:
        """The facts that rest on any of these messages, oldest first."""
        resting = select(fact_source.c.fact_id).where(among(fact_source.c.message_id, message_ids))
        return await self._facts(select(fact).where(fact.c.id.in_(resting)).order_by(fact.c.seq))

    async def to_index(self, limit: int, embedding: bool, without: Collection[int] = ()) -> list[Fact]:
        """The oldest facts whose keys are missing or stale; with `embedding` also those lacking only vectors.

        Facts of the guilds in `without` are left out. The others count as taken: `mark_indexed` tells
        which of them lost a message from their window meanwhile and stay in line.
        """
        oldest = oldest_to_index(fact.c.seq, limit, embedding, without)
        facts = await self._facts(select(fact).where(fact.c.seq.in_(oldest)).order_by(fact.c.seq))
        if facts:
            chosen = among(fact.c.id, [one.id for one in facts])
            async with self._database.write() as connection:
                await connection.execute(
                    update(fact).where(chosen, fact.c.indexing == "pending").values(indexing="taken")
                )
        return facts

    async def mark_indexed(self, facts: Sequence[Fact], complete: bool) -> list[str]:
        """Note that the index holds these facts; the ids no longer held, whose points must go.

        One whose window changed since it was taken stays in line.
        """
        ids = [one.id for one in facts]
        taken = among(fact.c.id, ids) & fact.c.indexing.in_(["taken", "keywords"])
        async with self._database.write() as connection:
            held = set((await connection.execute(select(fact.c.id).where(among(fact.c.id, ids)))).scalars())
            await connection.execute(update(fact).where(taken).values(indexing="complete" if complete else "keywords"))
        return [id for id in ids if id not in held]

    async def _facts(self, query: Select[*tuple[Any, ...]]) -> list[Fact]:
        async with self._database.read() as connection:
            return await connection.run_sync(facts_of, (await connection.execute(query)).all())


def facts_of(connection: Connection, rows: Sequence[AnyRow]) -> list[Fact]:
    """The facts in these rows of the `fact` table, with the messages they rest on or, if corrected, link to."""
    sources = _messages_of(connection, fact_source, [row.id for row in rows])
    corrected = [id for id, resting_on in sources.items() if not resting_on]
    if corrected:
        sources |= _messages_of(connection, citation, corrected)
    return [fact_of(row, sources[row.id], corrected=row.id in corrected) for row in rows]


def _messages_of(connection: Connection, table: Table, fact_ids: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {id: [] for id in fact_ids}
    query = select(table.c.fact_id, table.c.message_id).where(among(table.c.fact_id, fact_ids))
    for row in connection.execute(query.order_by(table.c.message_id)):
        found[row.fact_id].append(row.message_id)
    return found


def unindexed_facts(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Those of these facts whose window the index does not hold as it is now."""
    return set(connection.execute(_UNINDEXED, {"ids": listed(ids)}).scalars())
