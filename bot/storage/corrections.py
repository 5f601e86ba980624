"""A fact replaced by what the member it is about says instead.

The correction is a fact under a new id: the old one, and whatever else its messages say about the member, is refused
from now on like something forgotten, so that no extraction brings it back. The correction itself rests on the word
that the member gave, and on no message: it only links to those the old fact rested on (`citation`). So it outlives
their edits, their deletion and their extraction anew, and goes when it is forgotten, with everything about the member,
with its place or when facts expire, counted from the correction.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection, insert, select

from bot.model import Fact, utcnow
from bot.storage.cascade import of_guild
from bot.storage.database import Database
from bot.storage.facts import facts_of
from bot.storage.rows import ceil_ms, fact_row, from_ms
from bot.storage.steps import forget_facts
from bot.storage.tables import citation, fact


class Corrections:
    """Writes corrections. `on_corrected` is called after each: the index has one fact to lose and one to gain."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime] = utcnow,
        on_corrected: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._on_corrected = on_corrected

    async def correct(self, guild_id: int, member_id: int, name: str, fact_id: str, text: str) -> Fact | None:
        """Put `text`, said by the member now under this name, in the place of a fact about them.

        None if the fact is gone by now. Raises `StorageUnavailable`; then the old fact stands.
        """

        def write(connection: Connection) -> Fact | None:
            here = (fact.c.id == fact_id) & of_guild(fact, guild_id)
            row = connection.execute(select(fact).where(here, fact.c.subject_id + 0 == member_id)).first()
            if row is None:
                return None
            at = ceil_ms(self._clock())
            corrected = _in_own_words(facts_of(connection, [row])[0], member_id, name, text, from_ms(at))
            forget_facts(connection, guild_id, select(fact.c.id).where(fact.c.id == fact_id), "corrected", at)
            connection.execute(insert(fact).values(fact_row(corrected, at)))
            links = [{"fact_id": corrected.id, "message_id": id} for id in corrected.sources]
            if links:
                connection.execute(insert(citation), links)
            return corrected

        corrected = await self._database.transact(write)
        if corrected is not None:
            self._on_corrected()
        return corrected


def _in_own_words(old: Fact, member_id: int, name: str, text: str, at: datetime) -> Fact:
    """The fact as corrected: nothing that was read out of the old words, as names and dates are, stays in it."""
    return replace(
        old,
        id=str(uuid4()),  # of its own: by its words it could be one that was forgotten
        text=text,
        speaker_ids=(member_id,),
        speaker_name=name,
        confidence=1.0,
        said_at=at,
        entities=(),
        sensitive=False,
        valid_from=None,
        valid_until=None,
        corrected=True,
    )
