"""Finding what was deleted or edited on Discord while nobody listened, by reading again what is held.

Absence is taken for a deletion only with care. A message counts as missing if it lies strictly
between two messages of one page, which has no gaps, or if Discord says of it alone that it does not
exist; and only while the bot may see the place, read its history and read what messages say. If many
are missing an admin is asked first.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from traceback import format_tb

import discord
import structlog

from bot.capture.convert import PLACES, Place, to_record
from bot.capture.history import PlaceGone, Unreachable, Unreadable
from bot.capture.reader import Reader
from bot.errors import StorageUnavailable
from bot.model import Attachment, Message
from bot.storage.doubts import Doubts
from bot.storage.places import Places
from bot.storage.retraction import Retraction
from bot.telemetry import Outages

log = structlog.get_logger(__name__)

_PLACES_AT_ONCE = 2
_PLACES_A_PASS = 500  # of a guild: each archived thread takes two requests even if nothing has changed
_MANY = 0.2  # of the messages looked for
_ASKED_FOR_ALONE = 50  # messages of a place at a time
_STEP = 2000  # messages of a place at a time, if there is no bound
_END = (1 << 63) - 1
_PRECISION = timedelta(milliseconds=1)  # of times in the database


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What was found so far: of `compared` messages those forgotten as gone, edited, and left to an admin."""

    compared: int = 0
    forgotten: int = 0
    edited: int = 0
    doubted: int = 0
    places_done: int = 0
    places: int = 0


@dataclass(slots=True, eq=False)
class Sweep:
    """The comparison of all that is held of a guild, from the latest message down, in as many passes as it takes."""

    guild_id: int
    found: Rechecked = Rechecked()
    done: set[int] = field(default_factory=set)  # places
    tried: set[int] = field(default_factory=set)  # places of which nothing, or not all, could be compared so far
    before: dict[int, int] = field(default_factory=dict)  # by place: everything held from this id on is compared
    steps: int = 0
    outage: Exception | None = None  # of the last pass

    def add(self, **counts: int) -> None:
        """Count what was found."""
        self.found = replace(self.found, **{name: getattr(self.found, name) + n for name, n in counts.items()})


class Comparison:
    """Compares what is held with Discord, and forgets or renews what differs.

    `messages` of a place are compared in a pass; 0 compares none and only looks if the place still exists.
    """

    def __init__(
        self, reader: Reader, retraction: Retraction, places: Places, doubts: Doubts, messages: int = _STEP
    ) -> None:
        self._reader = reader
        self._history = reader.history
        self._observer = reader.observer
        self._retraction = retraction
        self._places = places
        self._doubts = doubts
        self._messages = messages
        self._outages = Outages(log)

    async def all(self, guild_id: int, report: Callable[[Rechecked], None]) -> None:
        """Compare everything held of a guild the bot is in, but for places that Discord does not let it read.

        Raises `Unreadable` or `StorageUnavailable` if that could not be done to the end.
        """
        sweep, before = Sweep(guild_id), -1
        while sweep.steps > before:  # without a step what is left is refused
            before = sweep.steps
            await self.go_on(sweep, report, self._messages or _STEP)
            if sweep.outage is not None:
                raise sweep.outage

    async def keep_on(self, sweep: Sweep) -> bool:
        """Make one pass, whatever is out of order; whether anything is left to compare then."""
        try:
            left = await self.go_on(sweep, lambda found: None, places=_PLACES_A_PASS)
        except (Unreadable, StorageUnavailable) as error:
            self._outages.began("cannot_recheck", str(error), guild_id=sweep.guild_id)
            sweep.outage = error if isinstance(error, Unreachable | StorageUnavailable) else None
            return True
        self._outages.over("cannot_recheck", guild_id=sweep.guild_id)
        return left

    async def go_on(
        self,
        sweep: Sweep,
        report: Callable[[Rechecked], None],
        messages: int | None = None,
        places: int | None = None,
    ) -> bool:
        """Make one pass over the places that are left, at most `places` of them; whether any is left then.

        Raises `Unreadable` if nothing can be read there now, and `StorageUnavailable`.
        """
        sweep.outage = None
        self._history.guild(sweep.guild_id)
        await self._history.check_content()
        left = [id for id in await self._places.held(sweep.guild_id) if id not in sweep.done]
        sweep.found = replace(sweep.found, places=len(sweep.done) + len(left))
        # Last those tried before, lest what Discord refuses keep the others waiting.
        todo = deque(sorted(left, key=sweep.tried.__contains__)[:places])

        async def work() -> None:
            while todo:
                await self._try(sweep, todo.popleft(), self._messages if messages is None else messages)
                report(replace(sweep.found, places_done=len(sweep.done)))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_PLACES_AT_ONCE):
                tasks.create_task(work())
        return len(sweep.done) < sweep.found.places

    async def _try(self, sweep: Sweep, place_id: int, messages: int) -> None:
        sweep.tried.add(place_id)
        try:
            if await self._compare_place(sweep, place_id, messages):
                sweep.done.add(place_id)
            sweep.steps += 1
            self._outages.over("cannot_recheck", place_id=place_id)
        except (Unreadable, StorageUnavailable) as error:
            self._outages.began("cannot_recheck", str(error), place_id=place_id)
            if isinstance(error, Unreachable | StorageUnavailable):
                sweep.outage = error
        except Exception as error:
            stack = "".join(format_tb(error.__traceback__))
            log.error("recheck_failed", place_id=place_id, error=type(error).__name__, stack=stack)

    async def _compare_place(self, sweep: Sweep, place_id: int, messages: int) -> bool:
        """Compare the latest messages of a place that are left; whether none is left then."""
        try:
            place = await self._history.place(sweep.guild_id, place_id)
        except PlaceGone:
            await self._observer.place_deleted(sweep.guild_id, place_id)
            return True
        if not messages or not isinstance(place, PLACES):
            return True
        held = await self._places.messages(place_id, sweep.before.get(place_id, _END), messages)
        asked = await self._doubts.asked(place_id)
        difference = await self._difference(place, {id: at for id, at in held.items() if id not in asked})
        await self._settle(sweep, place, difference)
        if difference.unsettled:
            sweep.before[place_id] = max(difference.unsettled) + 1
        elif held:
            sweep.before[place_id] = min(held)
        return not difference.unsettled and len(held) < messages

    async def _difference(self, place: Place, held: Mapping[int, datetime]) -> "_Difference":
        """How Discord's history differs from the messages held of a place, given with the time of their words."""
        left, found = sorted(held), _Difference()
        changed: dict[int, discord.Message] = {}
        alone: list[int] = []
        while left:
            page = await self._history.around(place, left[-1])
            there = {message.id for message in page}
            first, last = (min(there), max(there)) if there else (_END, _END)
            changed |= {one.id: one for one in page if one.id in held and _is_newer(one, held[one.id])}
            if left[-1] < first:  # Discord has nothing that is as old
                alone += reversed(left)
                break
            while left and left[-1] >= first:
                if (id := left.pop()) not in there:
                    (found.missing if id < last else alone).append(id)
        for id in alone[:_ASKED_FOR_ALONE]:
            if not await self._history.exists(place, id):
                found.missing.append(id)
        found.changed += changed.values()
        found.unsettled += alone[_ASKED_FOR_ALONE:]
        found.compared = len(held) - len(found.unsettled)
        return found

    async def _settle(self, sweep: Sweep, place: Place, difference: "_Difference") -> None:
        """Forget what is gone and renew what was edited, if what was read can still be trusted."""
        missing, compared = difference.missing, difference.compared
        if missing or difference.changed:
            self._history.check(place)
            await self._history.check_content()
        if len(missing) > max(1, _MANY * compared):
            await self._doubts.put(sweep.guild_id, place.id, missing, compared)
            sweep.add(doubted=len(missing))
            log.warning(
                "deletions_doubted",
                place_id=place.id,
                missing=len(missing),
                held=compared,
                hint="too many to be sure: an admin decides with Review… in /status",
            )
        elif missing:
            gone = await self._retraction.messages_deleted(sweep.guild_id, missing)
            sweep.add(forgotten=gone.messages)
            log.info("deletions_found", place_id=place.id, messages=gone.messages, facts=gone.facts)
        sweep.add(compared=compared, edited=await self._renew(place, difference.changed))

    async def _renew(self, place: Place, changed: Sequence[discord.Message]) -> int:
        """Let edited words replace the held ones, and retract what may not be kept as it is now; how many changed."""
        accepted = [message for message in changed if self._observer.accept(message)]
        renewed = await self._reader.keep(place.guild.id, accepted)
        held = await self._reader.messages.get(message.id for message in changed if message not in accepted)
        for message in changed:
            if message.id in held and _words(to_record(message, place)) not in (_words(held[message.id]), ("", ())):
                await self._observer.edited(message)
                renewed += 1
        return renewed


@dataclass(slots=True, eq=False)
class _Difference:
    missing: list[int] = field(default_factory=list)
    changed: list[discord.Message] = field(default_factory=list)
    unsettled: list[int] = field(default_factory=list)  # may be missing; to be asked for the next time
    compared: int = 0


def _is_newer(message: discord.Message, words_of: datetime) -> bool:
    return message.edited_at is not None and message.edited_at - words_of > _PRECISION


def _words(record: Message) -> tuple[str, tuple[Attachment, ...]]:
    return record.content, record.attachments
