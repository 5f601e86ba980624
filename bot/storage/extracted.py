"""The transaction in which the facts of a lease are stored and its messages done."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.dialects.sqlite import insert

from bot.model import Fact, Message, kept_fact_id, message_memory_id
from bot.storage.burial import burials, drawn_from, is_buried, keys_of
from bot.storage.cascade import extract_again, keep, remove_facts
from bot.storage.lease import NO_LEASE, Lease, back, held_by
from bot.storage.rows import among, fact_row, given, listed, to_ms
from bot.storage.states import LEASED
from bot.storage.tables import fact, fact_source, message

# Statements are made once: to make one anew for each window would take as long as to execute it.
_UNCHANGED = select(message.c.id, message.c.author_id).where(
    given(message.c.id, "ids"), LEASED, message.c.lease == bindparam("token")
)
_AS_SHOWN = select(message.c.id, message.c.author_id, message.c.revision).where(given(message.c.id, "ids"))
_DONE = update(message).where(given(message.c.id, "ids")).values(extraction="done", **NO_LEASE)
_TOUCHING = select(fact_source.c.fact_id).where(given(fact_source.c.message_id, "ids"))
_DRAWN = (
    select(fact_source.c.fact_id)
    .join_from(fact_source, message, message.c.id == fact_source.c.message_id, isouter=True)
    .where(fact_source.c.fact_id.in_(_TOUCHING))
    .group_by(fact_source.c.fact_id)
    .having(given(func.max(fact_source.c.message_id), "ids"), func.count(message.c.id) == func.count())
)
_STORED = select(fact.c.id).where(given(fact.c.id, "ids"))
_NEW_FACTS, _NEW_SOURCES = insert(fact), insert(fact_source)


def commit(connection: Connection, lease: Lease, facts: Sequence[Fact], shown: Collection[Message], now: int) -> int:
    """See `ExtractionQueue.commit`; `now` is in milliseconds."""
    authors = _unchanged(connection, lease)
    beside = _as_shown(connection, shown)
    if facts and not beside.keys() >= {one.id for one in shown}:
        connection.execute(back().where(held_by(lease)))
        return 0
    changed = {held.id for held in lease.messages} - authors.keys()
    again = {id for one in facts if not changed.isdisjoint(one.sources) for id in one.sources} & authors.keys()
    known = beside | authors
    sound = {one.id: one for one in facts if known.keys() >= set(one.sources)}
    for id in forgotten(connection, sound):
        del sound[id]
    kept = {kept_fact_id(message_memory_id(held)) for held in lease.messages}  # not drawn by an extraction
    remove_facts(connection, _drawn_before(connection, authors.keys()) - sound.keys() - kept, now)
    already = stored(connection, sound)
    fresh = [one for id, one in sound.items() if id not in already]
    store(connection, fresh, known, now)
    connection.execute(_DONE, {"ids": listed(authors)})
    if again:
        extract_again(connection, select(message.c.id.label("message_id")).where(among(message.c.id, again)))
    return len(fresh)


def _unchanged(connection: Connection, lease: Lease) -> dict[int, int]:
    """Id and author of the messages this lease still holds: an edit or a new claim has taken the others from it."""
    ids = listed(held.id for held in lease.messages)
    return {row.id: row.author_id for row in connection.execute(_UNCHANGED, {"ids": ids, "token": lease.token})}


def _as_shown(connection: Connection, shown: Collection[Message]) -> dict[int, int]:
    """Id and author of those of these messages that are still held in these words."""
    revisions = {one.id: one.revision for one in shown}
    held = connection.execute(_AS_SHOWN, {"ids": listed(revisions)}) if revisions else ()
    return {row.id: row.author_id for row in held if row.revision == revisions[row.id]}


def forgotten(connection: Connection, facts: Mapping[str, Fact]) -> set[str]:
    """Those of these facts that were forgotten, or that may be a forgotten one in other words."""
    keys = {id: _refused_by(one) for id, one in facts.items()}
    found = burials(connection, {key for some in keys.values() for key in some}) if keys else {}
    buried = {id for id, one in facts.items() if is_buried(found, keys[id], to_ms(one.said_at))}
    return buried - stored(connection, buried)


def _refused_by(one: Fact) -> set[str]:
    """The keys whose burial refuses a fact: its own, its places' and authors', and what is refused of its messages."""
    drawn = (drawn_from(source, one.subject_id) for source in one.sources)
    return {one.id, *drawn, *keys_of(one.guild_id, one.channel_id, one.access_id, one.speaker_ids)}


def stored(connection: Connection, ids: Collection[str]) -> set[str]:
    """Those of these facts that are held."""
    return set(connection.execute(_STORED, {"ids": listed(ids)}).scalars()) if ids else set()


def store(connection: Connection, facts: Sequence[Fact], authors: Mapping[int, int], now: int) -> None:
    """Hold facts that are new, with the authors of the messages they rest on."""
    if not facts:
        return
    connection.execute(_NEW_FACTS, [fact_row(one, now) for one in facts])
    sources = [
        {"fact_id": one.id, "message_id": id, "author_id": authors[id]} for one in facts for id in set(one.sources)
    ]
    connection.execute(_NEW_SOURCES, sources)
    keep(connection, [one.id for one in facts])


def _drawn_before(connection: Connection, ids: Collection[int]) -> set[str]:
    """The facts an earlier extraction drew from these messages: those of which one of these is the newest source.

    What else they rest on is extracted again, too (see `extract_again`). Where some of it is not held any more, nobody
    could state it again, and the fact stays.
    """
    return set(connection.execute(_DRAWN, {"ids": listed(ids)}).scalars())
