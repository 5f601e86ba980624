"""What was taken back, as ids alone: what the journal outside the data folder is still to be told, and the way back.

A row with `journalled` unset waits. Entries carry no words and no names.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, String, and_, bindparam, cast, func, literal_column, select, update
from sqlalchemy.dialects.sqlite import insert

from bot.storage.database import Database
from bot.storage.retraction import Retraction
from bot.storage.rows import among
from bot.storage.tables import consent_mode, fact, fact_source, opt_out, state, tombstone

JOURNAL_SIZE = "journal_size"
"""Name of the state that says how many bytes of the journal this database knows."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Buried:
    """A row of `tombstone`; `at` in milliseconds."""

    id: str
    guild_id: int
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class OptedOut:
    """A row of `opt_out`; times in milliseconds, `ended_at` None while it lasts."""

    guild_id: int
    user_id: int
    started_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class ModeSet:
    """A row of `consent_mode`; the time in milliseconds."""

    guild_id: int
    mode: str
    started_at: int


Entry = Buried | OptedOut | ModeSet

_waiting = tombstone.c.journalled == literal_column("0")  # written out, for the partial index
_theirs: ColumnElement[bool] = and_(
    opt_out.c.guild_id == bindparam("of_guild"),
    opt_out.c.user_id == bindparam("of_user"),
    opt_out.c.started_at == bindparam("since"),
)
_that_mode: ColumnElement[bool] = and_(
    consent_mode.c.guild_id == bindparam("of_guild"),
    consent_mode.c.mode == bindparam("was"),
    consent_mode.c.started_at == bindparam("since"),
)


class Ledger:
    """The database's side of the journal. Every method can be repeated."""

    def __init__(self, database: Database, retraction: Retraction) -> None:
        self._database = database
        self._retraction = retraction
        self._idle_at: int | None = None  # the database's count of writes when nothing waited

    async def waiting(self, limit: int) -> list[Entry]:
        """The oldest entries the journal does not have. Expired messages are none of its business."""
        writes = self._database.writes
        if writes == self._idle_at:
            return []
        buried = select(tombstone.c.id, tombstone.c.guild_id, tombstone.c.reason, tombstone.c.at)
        buried = buried.where(_waiting, tombstone.c.reason != "expired").order_by(tombstone.c.at).limit(limit)
        opted = select(opt_out.c.guild_id, opt_out.c.user_id, opt_out.c.started_at, opt_out.c.ended_at)
        opted = opted.where(opt_out.c.journalled == literal_column("0")).order_by(opt_out.c.id).limit(limit)
        modes = select(consent_mode.c.guild_id, consent_mode.c.mode, consent_mode.c.started_at)
        modes = modes.where(consent_mode.c.journalled == literal_column("0")).order_by(consent_mode.c.id).limit(limit)
        async with self._database.read() as connection:
            entries: list[Entry] = [
                *(ModeSet(*row) for row in await connection.execute(modes)),
                *(OptedOut(*row) for row in await connection.execute(opted)),
                *(Buried(*row) for row in await connection.execute(buried)),
            ]
        self._idle_at = None if entries else writes
        return entries

    async def written(self, entries: Sequence[Entry], journal_size: int) -> None:
        """Note that the journal, now of this many bytes, has these entries; what changed meanwhile waits again."""

        def note(connection: Connection) -> None:
            if buried := _of(Buried, entries):
                is_same = (tombstone.c.id == bindparam("buried")) & (tombstone.c.at == bindparam("since"))
                marks = [{"buried": one.id, "since": one.at} for one in buried]
                connection.execute(update(tombstone).where(is_same).values(journalled=True), marks)
            if opted := _of(OptedOut, entries):
                same = and_(_theirs, opt_out.c.ended_at.is_not_distinct_from(bindparam("until")))
                connection.execute(update(opt_out).where(same).values(journalled=True), [*map(_keys, opted)])
            if modes := _of(ModeSet, entries):
                that = update(consent_mode).where(_that_mode).values(journalled=True)
                connection.execute(that, [*map(_mode_keys, modes)])
            _know(connection, journal_size)

        await self._database.transact(note)

    async def start_over(self) -> None:
        """Have everything written again, to a journal that is empty."""

        def unmark(connection: Connection) -> None:
            connection.execute(update(tombstone).values(journalled=tombstone.c.reason == "expired"))
            connection.execute(update(opt_out).values(journalled=False))
            connection.execute(update(consent_mode).values(journalled=False))
            _know(connection, 0)

        await self._database.transact(unmark)

    async def apply_places_and_messages(self, entries: Sequence[Entry]) -> int:
        """Take back what these entries name, in a database that does not know of them all; how many it did not know.

        The first of two passes over a journal: opt-outs, modes, messages, places and members. Removing a message
        also removes what rested on it, which must not count as forgetting that.
        """
        opted, modes = _of(OptedOut, entries), _of(ModeSet, entries)
        await self._database.transact(lambda connection: _opt_out(connection, opted))
        await self._database.transact(lambda connection: _set_modes(connection, modes))
        news = await self._unknown(one for one in _of(Buried, entries) if not _about_facts(one.id))
        for (guild_id, reason), group in _by_guild_and_reason(news).items():
            messages = [int(one.id) for one in group if one.id.isdecimal()]
            if messages:
                await self._retraction.messages_deleted(guild_id, messages, reason)
            for one in group:
                what, _, rest = one.id.partition("/")
                if what == "channel":
                    await self._retraction.place_deleted(guild_id, int(rest))
                elif what == "author":
                    await self._retraction.member_forgotten(guild_id, int(rest.rpartition("/")[2]), reason)
        await self._note(news)
        return len(news)

    async def apply_facts(self, entries: Sequence[Entry]) -> int:
        """The second pass over a journal: facts, by id or by what they were drawn from; how many were not known."""
        news = await self._unknown(one for one in _of(Buried, entries) if _about_facts(one.id))
        for (guild_id, reason), group in _by_guild_and_reason(news).items():
            ids = {one.id for one in group if "/" not in one.id}
            reworded = await self._drawn_from(await self._of_facts_not_held(group))
            await self._retraction.facts_forgotten(guild_id, ids | reworded, reason)
            await self._retraction.points_forgotten(guild_id, ids, reason)
        await self._note(news)
        return len(news)

    async def _unknown(self, buried: Iterable[Buried]) -> list[Buried]:
        wanted = {one.id: one for one in buried}
        query = select(tombstone.c.id, tombstone.c.at).where(
            among(tombstone.c.id, wanted), tombstone.c.reason != "expired"
        )
        async with self._database.read() as connection:
            known = {row.id: row.at for row in await connection.execute(query)}
        return [one for id, one in wanted.items() if known.get(id, -1) < one.at]

    async def _of_facts_not_held(self, group: Sequence[Buried]) -> list[str]:
        """What facts were drawn from that this database does not hold: it may hold them in other words.

        Where it holds every fact that was forgotten at a time, what else was drawn from the same was not forgotten.
        """
        pairs = [one for one in group if "/" in one.id]
        facts = {one.id: one.at for one in group if "/" not in one.id}
        async with self._database.read() as connection:
            held = set((await connection.execute(select(fact.c.id).where(among(fact.c.id, facts)))).scalars())
        accounted = {facts[id] for id in held} - {at for id, at in facts.items() if id not in held}
        return [one.id for one in pairs if one.at not in accounted]

    async def _drawn_from(self, pairs: Sequence[str]) -> set[str]:
        """Ids of the held facts about a subject that rest on a message, by "<message id>/<subject id or SERVER>"."""
        messages = [int(pair.partition("/")[0]) for pair in pairs]
        subject = func.coalesce(cast(fact.c.subject_id, String), "SERVER")
        drawn = cast(fact_source.c.message_id, String) + "/" + subject
        query = select(fact_source.c.fact_id).join(fact, fact.c.id == fact_source.c.fact_id)
        query = query.where(among(fact_source.c.message_id, messages), among(drawn, pairs))
        async with self._database.read() as connection:
            return set((await connection.execute(query)).scalars())

    async def _note(self, buried: Sequence[Buried]) -> None:
        """Keep the entries as the journal has them: a forgotten member may have written again since."""
        rows = [
            {"id": one.id, "guild_id": one.guild_id, "reason": one.reason, "at": one.at, "journalled": True}
            for one in buried
        ]
        new = insert(tombstone)
        kept = new.on_conflict_do_update(
            index_elements=[tombstone.c.id],
            set_={name: new.excluded[name] for name in ("reason", "at", "journalled")},
        )
        if rows:
            await self._database.transact(lambda connection: connection.execute(kept, rows))


def _know(connection: Connection, journal_size: int) -> None:
    row = insert(state).values(name=JOURNAL_SIZE, value=str(journal_size))
    connection.execute(row.on_conflict_do_update(index_elements=[state.c.name], set_={"value": row.excluded.value}))


def _opt_out(connection: Connection, opted: Sequence[OptedOut]) -> None:
    for one in opted:
        keys = _keys(one)
        known = connection.execute(select(opt_out.c.id, opt_out.c.ended_at).where(_theirs), keys).first()
        if known is None:
            row = {"guild_id": one.guild_id, "user_id": one.user_id, "started_at": one.started_at}
            connection.execute(insert(opt_out).values(**row, ended_at=one.ended_at, journalled=True))
        elif known.ended_at is None and one.ended_at is not None:
            ended = update(opt_out).where(opt_out.c.id == known.id)
            connection.execute(ended.values(ended_at=one.ended_at, journalled=True))


def _set_modes(connection: Connection, modes: Sequence[ModeSet]) -> None:
    for one in modes:
        if connection.execute(select(consent_mode.c.id).where(_that_mode), _mode_keys(one)).first() is None:
            row = {"guild_id": one.guild_id, "mode": one.mode, "started_at": one.started_at}
            connection.execute(insert(consent_mode).values(**row, journalled=True))


def _mode_keys(one: ModeSet) -> dict[str, Any]:
    return {"of_guild": one.guild_id, "was": one.mode, "since": one.started_at}


def _keys(one: OptedOut) -> dict[str, Any]:
    return {"of_guild": one.guild_id, "of_user": one.user_id, "since": one.started_at, "until": one.ended_at}


def _of(kind: type[T], entries: Iterable[Entry]) -> list[T]:
    return [one for one in entries if isinstance(one, kind)]


def _about_facts(id: str) -> bool:
    """Whether a tombstone is a fact's: "<uuid>" or "<message id>/<subject>", not "<message id>" or "channel/…"."""
    first, _, rest = id.partition("/")
    return not first.isdecimal() if not rest else first.isdecimal()


def _by_guild_and_reason(buried: Iterable[Buried]) -> dict[tuple[int, str], list[Buried]]:
    groups: defaultdict[tuple[int, str], list[Buried]] = defaultdict(list)
    for one in buried:
        groups[one.guild_id, one.reason].append(one)
    return groups
