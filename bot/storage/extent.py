"""What belongs to a place, a guild or a member, as queries for the ids of messages and facts."""

from collections.abc import Collection

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Select,
    String,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    union,
    union_all,
)

from bot.model import DISCORD_EPOCH_MS
from bot.storage.burial import AUTHOR, PLACE, begins_with
from bot.storage.cascade import of_guild
from bot.storage.rows import among
from bot.storage.tables import fact, fact_source, message, observation, tombstone

Messages = Select[int] | CompoundSelect[int]

# Written out, for the partial index over what is said in threads.
_IN_A_THREAD = message.c.access_id != message.c.channel_id


def facts_of_places(guild_id: int, places: Collection[int]) -> Select[str]:
    """The facts of channels and threads, and of the public threads of those channels."""
    here = or_(among(fact.c.channel_id, places), among(fact.c.access_id, places))
    return select(fact.c.id).where(fact.c.guild_id == guild_id, here)


def messages_of_places(guild_id: int, places: Collection[int], limit: int) -> Messages:
    """At least some of the messages said there and in public threads below, up to twice the limit."""
    said = select(message.c.id).where(among(message.c.channel_id, places), of_guild(message, guild_id))
    below = select(message.c.id).where(among(message.c.access_id, places), _IN_A_THREAD, of_guild(message, guild_id))
    return union_all(said.limit(limit).subquery().select(), below.limit(limit).subquery().select())


def private_threads(guild_id: int, places: Collection[int]) -> Select[int]:
    """The private threads of channels, as far as they were observed."""
    below = among(observation.c.parent_id, places)
    return select(observation.c.channel_id).where(observation.c.guild_id == guild_id, below)


def facts_of_guild(guild_id: int) -> Select[str]:
    """Every fact of a guild."""
    return select(fact.c.id).where(fact.c.guild_id == guild_id)


def messages_of_guild(guild_id: int, limit: int) -> Messages:
    """Some messages of a guild."""
    return select(message.c.id).where(message.c.guild_id == guild_id).limit(limit)


def facts_about(guild_id: int, user_id: int) -> Select[str]:
    """The facts about a member."""
    return select(fact.c.id).where(fact.c.guild_id == guild_id, fact.c.subject_id == user_id)


def written_by(guild_id: int, user_id: int, limit: int, before: int | None = None) -> Messages:
    """Some of a member's messages: those held, and those no longer held on which a fact still rests.

    With a time, only those written before it.
    """
    held = held_of(guild_id, user_id, before)
    cited = (
        select(fact_source.c.message_id)
        .join(fact, fact.c.id == fact_source.c.fact_id)
        .where(fact.c.guild_id == guild_id, fact_source.c.author_id == user_id)
    )
    if before is not None:
        cited = cited.where(fact_source.c.message_id < _first_id(literal(before)))
    return held.union(cited).limit(limit)


def held_of(guild_id: int, user_id: int, before: int | None = None) -> Select[int]:
    """A member's messages that are held; with a time, only those written before it."""
    held = select(message.c.id).where(message.c.guild_id == guild_id, message.c.author_id == user_id)
    return held if before is None else held.where(message.c.created_at < before)


def captured_before(guild_id: int, before: int, after_id: int, limit: int) -> Messages:
    """The next messages captured before a time, in id order: they were said before it, which their ids tell."""
    return (
        select(message.c.id)
        .where(message.c.id > after_id, message.c.id < _first_id(literal(before)), of_guild(message, guild_id))
        .where(message.c.captured_at < before)
        .order_by(message.c.id)
        .limit(limit)
    )


def buried_places_with_remains() -> Select[int, int]:
    """Guild and id of the places that are buried and of which messages or facts are held."""
    place_id = cast(func.substr(tombstone.c.id, len(PLACE) + 1), BigInteger)
    said = exists().where(message.c.channel_id == place_id)
    below = exists().where(message.c.access_id == place_id, _IN_A_THREAD)
    # Facts are found by no index: they are read once, and not for each of the places.
    of_facts = union(*(select(literal(PLACE) + cast(place, String)) for place in (fact.c.channel_id, fact.c.access_id)))
    learnt = tombstone.c.id.in_(of_facts)
    return select(tombstone.c.guild_id, place_id).where(begins_with(PLACE), or_(said, below, learnt))


def buried_authors_with_remains() -> Select[int, int, str, int]:
    """Guild, user, reason and time of the members who are buried and of whose older messages anything is held.

    That is a message, or a fact that rests on one.
    """
    guild_id = tombstone.c.guild_id
    before_the_user = func.length(literal(AUTHOR) + cast(guild_id, String) + "/")
    user_id = cast(func.substr(tombstone.c.id, before_the_user + 1), BigInteger)
    written = exists().where(
        message.c.guild_id == guild_id, message.c.author_id == user_id, message.c.created_at < tombstone.c.at
    )
    cited = exists().where(
        fact_source.c.author_id == user_id,
        fact_source.c.message_id < _first_id(tombstone.c.at),
        fact.c.id == fact_source.c.fact_id,
        fact.c.guild_id == guild_id,
    )
    return select(guild_id, user_id, tombstone.c.reason, tombstone.c.at).where(begins_with(AUTHOR), or_(written, cited))


def _first_id(at: ColumnElement[int]) -> ColumnElement[int]:
    """The smallest id of a message said at this time in milliseconds."""
    return (at - DISCORD_EPOCH_MS).bitwise_lshift(22)
