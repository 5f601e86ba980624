"""What a step of a retraction does, within one transaction: what goes, and what is refused from now on.

Times are in milliseconds. Facts and points are counted as they were held before.
"""

from collections.abc import Collection

from sqlalchemy import Connection, Select, delete, select

from bot.storage import extent
from bot.storage.burial import bury, drawn_from, place_key
from bot.storage.cascade import hide, remove_facts
from bot.storage.rows import among
from bot.storage.tables import (
    audit,
    consent_mode,
    doubt,
    erasure,
    fact,
    fact_source,
    guild_setting,
    observation,
    opt_in,
    removal,
    sample,
    schedule,
    tombstone,
)

OF_A_GUILD = (removal, erasure, schedule, observation, doubt, guild_setting, consent_mode, opt_in, audit, sample)
"""What there is of a guild besides its messages and facts; opt-outs and tombstones outlive it.

An observation takes its cursors along.
"""


def bury_places(connection: Connection, guild_id: int, places: Collection[int], at: int) -> set[int]:
    """Bury these places and the private threads observed below them; which those are. Nothing is in doubt there."""
    threads = set(connection.execute(extent.private_threads(guild_id, places)).scalars())
    gone = {*places, *threads}
    bury(connection, guild_id, map(place_key, gone), "deleted", at)
    connection.execute(delete(doubt).where(among(doubt.c.place_id, gone)))
    return threads


def drop_guild(connection: Connection, guild_id: int) -> None:
    """Remove what there is of a guild besides its messages and facts."""
    for table in OF_A_GUILD:
        connection.execute(delete(table).where(table.c.guild_id == guild_id))


def drop_facts(connection: Connection, query: Select[str], at: int, reason: str | None = None) -> int:
    """Remove the facts of a query; how many. With a reason they are refused from now on."""
    found = list(connection.execute(query).scalars())
    remove_facts(connection, found, at, reason)
    return len(found)


def forget_facts(connection: Connection, guild_id: int, query: Select[str], reason: str, at: int) -> int:
    """Remove the facts of a query and refuse them, and whatever else their messages say about their subjects."""
    forgotten = list(connection.execute(query).scalars())
    resting = (
        select(fact_source.c.message_id, fact.c.subject_id)
        .join(fact, fact.c.id == fact_source.c.fact_id)
        .where(among(fact.c.id, forgotten))
    )
    pairs = {drawn_from(row.message_id, row.subject_id) for row in connection.execute(resting)}
    bury(connection, guild_id, pairs, reason, at)
    remove_facts(connection, forgotten, at, reason)
    return len(forgotten)


def forget_points(connection: Connection, guild_id: int, points: set[str], reason: str, at: int) -> int:
    """Refuse points behind which there is no record; how many were not refused before."""
    foreign = points - set(connection.execute(select(fact.c.id).where(among(fact.c.id, points))).scalars())
    buried = set(connection.execute(select(tombstone.c.id).where(among(tombstone.c.id, foreign))).scalars())
    bury(connection, guild_id, foreign, reason, at)
    hide(connection, guild_id, foreign, at)
    return len(foreign - buried)
