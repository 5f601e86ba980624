"""What falls with a message or fact: the consequences of an edit, a deletion or an expiry, within one transaction.

Whoever removes or replaces text here also marks the guild's residue. Times are in milliseconds.
"""

from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, literal, select, true, update
from sqlalchemy.dialects.sqlite import insert

from bot.model import memory_id
from bot.storage import residue, windows
from bot.storage.burial import EXPIRED, bury, bury_selected
from bot.storage.rows import among, each, given, listed
from bot.storage.tables import citation, fact, fact_source, message, removal

# Made once: to make it anew for each window would take as long as to execute it.
_NO_REMOVAL = delete(removal).where(given(removal.c.point_id, "ids"))


def messages_edited(connection: Connection, guild_ids: Iterable[int], ids: Collection[int], at: int) -> None:
    """Remove what rests on messages of these guilds whose words changed: facts and keys, to be made again."""
    residue.mark(connection, guild_ids, at)
    windows.touch(connection, ids)
    _remove_facts_on(connection, ids, at)


def facts_outdated(connection: Connection, edited: Mapping[int, int], at: int) -> None:
    """Remove facts that rest on messages no longer held and are older than the edit: `edited` says when it was."""
    query = (
        select(fact.c.id, fact.c.created_at, fact_source.c.message_id)
        .join(fact, fact.c.id == fact_source.c.fact_id)
        .where(among(fact_source.c.message_id, edited))
    )
    rows = connection.execute(query)
    outdated = {row.id for row in rows if row.created_at < edited[row.message_id]}
    _extract_again(connection, outdated, without=edited)
    remove_facts(connection, outdated, at)


def remove_messages(
    connection: Connection, guild_id: int, ids: Collection[int], at: int, reason: str | None
) -> tuple[int, int]:
    """Remove messages and every fact that rests on one of them; how many of each there were.

    With a reason they are refused from now on, whether they were held or not.
    """
    if reason is not None:
        bury(connection, guild_id, ids, reason, at)
    facts = _remove_facts_on(connection, ids, at, reason)
    _unlink(connection, ids)
    return _take_out(connection, guild_id, ids, at), facts


def erase_messages(
    connection: Connection, guild_id: int, ids: Collection[int], at: int, reason: str
) -> tuple[int, int]:
    """`remove_messages` for those of an erasure: none needs a tombstone or a removal of its own."""
    facts = _remove_facts_on(connection, ids, at, reason)
    _unlink(connection, ids)
    residue.mark(connection, [guild_id], at)
    return _delete(connection, guild_id, ids), facts


def expire_messages(connection: Connection, guild_id: int, ids: Collection[int], at: int) -> int:
    """Remove messages past their time and refuse them from now on; how many were held.

    Facts that rest on them stay, but their windows are indexed again without these words.
    """
    bury(connection, guild_id, ids, EXPIRED, at)
    touch_facts(connection, ids)
    return _take_out(connection, guild_id, ids, at)


def extract_again(connection: Connection, ids: Select[int], without: Collection[int] = ()) -> None:
    """Send these messages back to be extracted, and with each the others on which a fact drawn from it rests.

    A fact was drawn from the newest message it rests on, and falls when that is extracted again: what the others told
    would be lost with it. Those `without` are left as they are. Who waits already has brought its others along.
    """
    again = ids.cte("again", recursive=True)
    sent, drawn = message.alias("sent"), fact_source.alias("drawn")
    resting, later = fact_source.alias("resting"), fact_source.alias("later")
    newer = select(later).where(later.c.fact_id == drawn.c.fact_id, later.c.message_id > drawn.c.message_id).exists()
    along = (
        select(resting.c.message_id)
        .join_from(again, sent, sent.c.id == again.c.message_id)
        .join(drawn, drawn.c.message_id == sent.c.id)
        .join(resting, resting.c.fact_id == drawn.c.fact_id)
        .where(sent.c.extraction == "done", ~among(sent.c.id, without), ~newer)
    )
    chosen = message.c.id.in_(select(again.union(along))) & ~among(message.c.id, without)
    waiting = update(message).where(chosen, message.c.extraction == "done").values(extraction="waiting", attempts=0)
    connection.execute(waiting)


def remove_facts(connection: Connection, ids: Collection[str], at: int, reason: str | None = None) -> None:
    """Remove facts and their points; with a reason they are also refused from now on."""
    if not ids:
        return
    chosen = among(fact.c.id, ids)
    if reason is not None:
        bury_selected(connection, select(fact.c.id, fact.c.guild_id).where(chosen), reason, at)
    points = select(fact.c.id, fact.c.guild_id, literal(at)).where(chosen)
    connection.execute(insert(removal).from_select(list(removal.c.keys()), points).on_conflict_do_nothing())
    residue.mark(connection, connection.execute(select(fact.c.guild_id).where(chosen)).scalars(), at)
    connection.execute(delete(fact).where(chosen))


def hide(connection: Connection, guild_id: int, points: Collection[str], at: int) -> None:
    """Have these points removed from the index, and shown to nobody until then."""
    if not points:
        return
    residue.mark(connection, [guild_id], at)
    rows = select(each(points), literal(guild_id), literal(at)).where(true())
    connection.execute(insert(removal).from_select(list(removal.c.keys()), rows).on_conflict_do_nothing())


def keep(connection: Connection, points: Iterable[str]) -> None:
    """Have these points removed no more: what is held again must not fall to the removal of its former self."""
    connection.execute(_NO_REMOVAL, {"ids": listed(points)})


def touch_facts(connection: Connection, message_ids: Iterable[int]) -> None:
    """Send the facts that rest on these messages, which make their windows, back to be indexed."""
    resting = fact.c.id.in_(resting_on(message_ids)) & (fact.c.indexing != "pending")
    connection.execute(update(fact).where(resting).values(indexing="pending"))


def of_guild(table: Table, guild_id: int) -> ColumnElement[bool]:
    """Whether a row chosen by its id is the guild's; computed, lest SQLite walk all of the guild's rows instead."""
    return table.c.guild_id + 0 == guild_id


def resting_on(message_ids: Iterable[int]) -> Select[str]:
    """The ids of the facts that rest on any of these messages."""
    where: ColumnElement[bool] = among(fact_source.c.message_id, message_ids)
    return select(fact_source.c.fact_id).where(where).distinct()


def _remove_facts_on(connection: Connection, ids: Collection[int], at: int, reason: str | None = None) -> int:
    resting = connection.execute(resting_on(ids)).scalars().all()
    _extract_again(connection, resting, without=ids)
    remove_facts(connection, resting, at, reason)
    return len(resting)


def _unlink(connection: Connection, ids: Collection[int]) -> None:
    """Take the links to these messages off corrected facts, also in the index; they rest on no message, and stay."""
    linked = connection.execute(select(citation.c.fact_id).where(among(citation.c.message_id, ids))).scalars().all()
    if linked:
        stale = among(fact.c.id, linked) & (fact.c.indexing != "pending")
        connection.execute(update(fact).where(stale).values(indexing="pending"))
        connection.execute(delete(citation).where(among(citation.c.message_id, ids)))


def _extract_again(connection: Connection, facts: Collection[str], without: Collection[int]) -> None:
    """Send the other messages these facts rest on back to be extracted, as far as they are still held."""
    resting = among(fact_source.c.fact_id, facts) & ~among(fact_source.c.message_id, without)
    extract_again(connection, select(fact_source.c.message_id).where(resting), without)


def _take_out(connection: Connection, guild_id: int, ids: Collection[int], at: int) -> int:
    """Remove what the guild holds of these messages, with their points and out of their neighbours' windows."""
    columns = (message.c.id, message.c.channel_id, message.c.author_id)
    held = connection.execute(select(*columns).where(among(message.c.id, ids), of_guild(message, guild_id))).all()
    points = [memory_id(guild_id, row.channel_id, row.author_id, [row.id]) for row in held]
    hide(connection, guild_id, points, at)
    return _delete(connection, guild_id, [row.id for row in held])


def _delete(connection: Connection, guild_id: int, ids: Collection[int]) -> int:
    """Remove messages of a guild, also out of their neighbours' windows; how many were held."""
    windows.part(connection, ids)
    return connection.execute(delete(message).where(among(message.c.id, ids), of_guild(message, guild_id))).rowcount
