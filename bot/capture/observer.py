"""What of Discord's events is kept: the policy, and the way into the queue."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

import discord
import structlog

from bot.capture.convert import PLACES, Observable, Place, by_a_person, is_public_thread, to_record
from bot.capture.discretion import Discretion
from bot.capture.retries import Retries, Write
from bot.errors import StorageUnavailable
from bot.model import Message, snowflake_time, utcnow
from bot.settings import DiscordSettings
from bot.storage.consent import Consent
from bot.storage.messages import MessageStore
from bot.storage.observations import Observation, Observations
from bot.storage.retraction import Retraction

log = structlog.get_logger(__name__)

_LATELY = timedelta(minutes=15)
_CROWD = 1000  # waiting changes beyond which edits are not kept in memory with their words


class Observer:
    """Captures, changes and retracts messages as Discord's events say.

    A method returns once its change is committed. What the database refuses is logged and counted
    in `refused`; edits and deletions, which leave stale words behind, are retried until `close`, and
    `missed` is told the place of a message that was not captured. `newest_id` is the latest message
    of Discord's seen so far.
    """

    def __init__(
        self,
        messages: MessageStore,
        retraction: Retraction,
        observations: Observations,
        consent: Consent,
        settings: DiscordSettings,
        discretion: Discretion,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        self._messages = messages
        self._retraction = retraction
        self._observations = observations
        self._consent = consent
        self._allow_age_restricted = settings.allow_age_restricted
        self._discretion = discretion
        self._clock = clock
        self._retries = Retries()
        self._refused_last: tuple[datetime, str] | None = None  # and why
        self.refused = 0
        self.missed: Callable[[int], None] = lambda place_id: None
        self.newest_id = 0

    def accept(self, message: discord.Message) -> Message | None:
        """The record to keep of a message, None if the policy keeps nothing of it.

        Kept are words and files of people, said where and when a channel was observed, by those
        who consented then; edited words must pass by the time of the edit as well. In an interval
        opened afterwards nothing is kept of those who do not consent now, whenever they wrote. The
        bot's own output falls out with every other bot's, and what tells of something sensitive
        where the guild has that left out. Nor is a question to the bot kept, where it answers mentions.
        """
        self.newest_id = max(self.newest_id, message.id)
        place = message.channel
        if not isinstance(place, PLACES) or not by_a_person(message) or not (message.content or message.attachments):
            return None
        author_id = message.author.id
        if not self._may_keep(place, author_id, message.created_at) or not self.may_observe(place):
            return None
        if message.edited_at is not None and not self._may_keep(place, author_id, message.edited_at):
            return None
        if self._discretion.is_question(message, place):
            return None
        record = to_record(message, place)
        if category := self._discretion.objection(record):
            log.info("sensitive_left_out", guild_id=place.guild.id, message_id=message.id, category=category.value)
            return None
        return record

    def may_observe(self, place: Observable) -> bool:
        """Whether the settings let this channel be observed at all: age-restricted ones only if they say so."""
        return self._allow_age_restricted or not place.is_nsfw()

    def observes(self, place: Observable) -> bool:
        """Whether this channel is switched on now."""
        return any(one.channel_id == place.id for one in self._observations.active(place.guild.id))

    async def observe(self, place: Observable, at: datetime) -> None:
        """Observe a channel because the settings name it, from this time on. Raises `StorageUnavailable`."""
        await self._observations.switch_on(place.guild.id, place.id, by_user_id=None, at=at)

    def unannounced(self) -> list[Observation]:
        """The intervals opened afterwards of which members are still to be told."""
        return self._observations.unannounced()

    async def announced(self, intervals: Iterable[Observation]) -> None:
        """Note that members were told. Raises `StorageUnavailable`."""
        await self._observations.mark_announced(intervals)

    def ever_observed(self, guild_id: int, *place_ids: int) -> bool:
        """Whether one of these channels or threads is or once was observed."""
        return not self._observations.ever(guild_id).isdisjoint(place_ids)

    def has_private_threads(self, guild_id: int, channel_id: int) -> bool:
        """Whether a private thread of this channel is or once was observed."""
        return bool(self._observations.private_threads(guild_id, channel_id))

    async def message(self, message: discord.Message) -> None:
        """Capture a message, if it is one to keep."""
        if record := self.accept(message):
            try:
                await self._messages.capture(record)
            except StorageUnavailable as error:
                self._refused("message", [message.id], error)
                self.missed(record.channel_id)

    async def edited(self, message: discord.Message) -> None:
        """Let the new words of a message replace the held ones.

        Discord also reports link previews, pins and new threads as edits; those carry no time of an
        edit. If the message is not held, its new words are captured. If the new words may not be
        kept, or there are none any more, the message is retracted for good: the held words are not
        what its author says now.
        """
        place, ids = message.channel, [message.id]
        if message.edited_at is None or not isinstance(place, PLACES) or not by_a_person(message):
            return
        guild_id = place.guild.id
        if record := self.accept(message):
            retract = partial(self._retraction.messages_deleted, guild_id, ids)
            await self.certainly("edit", ids, partial(self._messages.capture, record), retract)
        elif self.ever_observed(guild_id, *_observed_with(place)):
            unheld = ids if self._may_keep(place, message.author.id, message.created_at) else []
            await self.certainly("edit", ids, partial(self._retract, guild_id, ids, unheld))

    async def deleted(self, guild_id: int, place: discord.abc.Snowflake, message_ids: Iterable[int]) -> None:
        """Retract messages. `place` is their channel or thread, or its bare id if discord.py does not know it.

        Those of observed channels are kept from ever coming back even if they are not held: events
        are handled side by side, so a deletion may overtake its message.
        """
        ids = list(message_ids)
        unheld = [id for id in ids if self._observed(guild_id, place, snowflake_time(id))]
        await self.certainly("deletion", ids, partial(self._retract, guild_id, ids, unheld))

    async def place_deleted(self, guild_id: int, place_id: int) -> None:
        """Retract everything said in a channel or thread that Discord no longer has, and observe it no longer.

        A channel's threads go with it.
        """
        await self.certainly("deletion of a place", [place_id], partial(self._forget_place, guild_id, place_id))

    async def certainly(self, change: str, ids: list[int], write: Write, if_crowded: Write | None = None) -> None:
        """Carry out a change that Discord will not announce again: now, or when the database is usable again.

        `if_crowded` is what to retry instead when much is waiting already: an edit then takes the
        old words away, which needs no memory for the new ones.
        """
        try:
            await write()
        except StorageUnavailable as error:
            self._refused(change, ids, error)
            self._retries.add(if_crowded if if_crowded and len(self._retries) >= _CROWD else write)

    def refusal(self) -> tuple[datetime, str] | None:
        """When and why the database refused an event, if one was refused in the last few minutes."""
        last = self._refused_last
        return last if last and self._clock() - last[0] < _LATELY else None

    async def close(self) -> None:
        """Try a last time to commit the edits and deletions that the database refused."""
        await self._retries.close()

    async def _retract(self, guild_id: int, ids: list[int], unheld: list[int]) -> None:
        """Retract those of these messages that are held, and those of `unheld` in any case."""
        gone = list(unheld)
        if len(gone) < len(ids):
            gone += (await self._messages.get(set(ids).difference(gone))).keys()
        if gone:
            await self._retraction.messages_deleted(guild_id, gone)

    async def _forget_place(self, guild_id: int, place_id: int) -> None:
        below = self._observations.private_threads(guild_id, place_id)
        gone = await self._retraction.place_deleted(guild_id, place_id, below)
        await self._observations.place_gone(guild_id, [place_id, *below])
        log.info("place_deleted", guild_id=guild_id, place_id=place_id, messages=gone.messages, facts=gone.facts)

    def _may_keep(self, place: Place, author_id: int, at: datetime) -> bool:
        """Whether what this author writes here at this time may be kept: observed, and with their consent."""
        guild_id = place.guild.id
        if not self._consent.allows(guild_id, author_id, at):
            return False
        if any(self._observations.observed_live(guild_id, id, at) for id in _observed_with(place)):
            return True
        return self._observed(guild_id, place, at) and not self._consent.keeps_out(guild_id, author_id)

    def _observed(self, guild_id: int, place: discord.abc.Snowflake, at: datetime) -> bool:
        return any(self._observations.observed(guild_id, id, at) for id in _observed_with(place))

    def _refused(self, change: str, message_ids: list[int], error: StorageUnavailable) -> None:
        self.refused += len(message_ids)
        self._refused_last = self._clock(), str(error)
        log.error("refused", change=change, message_ids=message_ids, reason=str(error))


def _observed_with(place: discord.abc.Snowflake) -> tuple[int, ...]:
    """An observed channel covers its public threads and forum posts; a private thread is observed by itself."""
    return (place.id, place.parent_id) if is_public_thread(place) else (place.id,)
