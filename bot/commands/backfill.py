"""/backfill: what was said in an observed channel before it was switched on. Its members are told before it is read."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Self

import discord
import structlog
from discord import app_commands, ui

from bot.capture.catchup import Catchup
from bot.capture.client import Client
from bot.capture.convert import Observable as Place
from bot.capture.reader import Progress
from bot.commands.access import manages
from bot.commands.audit import note
from bot.commands.notice import Notices, past_notice
from bot.commands.places import observing, parent_of_private, place_meant, refuse_unreadable
from bot.commands.replies import NO_PINGS, UNREACHABLE, Interaction, Refused, sentence_for, show, think
from bot.commands.since import parse_since, suggest_since
from bot.commands.text import ago, counted, dated
from bot.commands.views import Confirm, OwnedView
from bot.errors import StorageUnavailable
from bot.model import snowflake_time
from bot.settings import Settings
from bot.storage.audit import Action, Audit
from bot.storage.observations import Observation, Observations, Source

log = structlog.get_logger(__name__)

EVERY_SECONDS = 2.0  # between two edits of the progress; Discord takes five in five seconds

_NOT_READ = "Nothing was read"
_ASKED_AGO = timedelta(minutes=1)  # at most; "30d" is then no more than 30 days ago


class Backfills:
    """The past being read: one interval a channel at a time, each in a task that ends with the client at the latest.

    What is cut short by a restart is read on by the catch-up.
    """

    def __init__(
        self,
        observations: Observations,
        catchup: Catchup,
        notices: Notices,
        audit: Audit,
        settings: Settings,
        clock: Callable[[], datetime],
    ) -> None:
        self._observations = observations
        self._catchup = catchup
        self._notices = notices
        self._audit = audit
        self._settings = settings
        self._clock = clock
        self._running: dict[int, Backfill] = {}
        self._beginning = asyncio.Lock()

    def suggestions(self, current: str) -> list[app_commands.Choice[str]]:
        """What to offer while someone types from when on."""
        return suggest_since(current, self._clock())

    def since(self, place: Place, text: str, option: str = "since") -> datetime:
        """From when on to read: as `parse_since`, but no earlier than there was the place."""
        return max(parse_since(text, self._clock(), option), snowflake_time(place.id))

    def told(self, place: Place, since: datetime) -> str:
        """What will happen, for whoever has to agree to it."""
        terms = self._notices.terms(place.guild.id)
        days, facts_days = terms.config.raw_days, terms.config.facts_days
        asked_first = "who have not agreed to be remembered, or what others wrote before they did"
        without = asked_first if terms.mode == "opt_in" else "who have opted out"
        sentences = [
            f"I will read {place.mention} from {dated(since)} on and remember what was said.",
            f"Its members are told there; nothing is kept of those {without}.",
        ]
        if since < self._clock() - timedelta(days=days) - _ASKED_AGO:
            facts = f"go {counted(facts_days, 'day')} after what they tell was said" if facts_days else "stay"
            sentences.append(
                f"Messages older than {counted(days, 'day')} are kept for {counted(days, 'day')} from now on, like new "
                f"ones; the facts noted from them {facts}."
            )
        return " ".join(sentences)

    async def ask(self, interaction: Interaction, place: Place, since: datetime) -> None:
        """Have a second look at what will happen, then do it."""
        if running := self._running.get(place.id):
            await Stop(interaction.user, running).show(interaction, f"I am at it already. {running.told()}")
            return
        self._until(place, since)

        async def begin(press: Interaction) -> None:
            await self._confirmed(press, place, since)

        await Confirm(interaction.user, "Read it", begin).show(interaction, self.told(place, since))

    async def _confirmed(self, press: Interaction, place: Place, since: datetime) -> None:
        async with self._beginning:
            if not manages(press):
                raise Refused("You may not have channels read any more.")
            if running := self._running.get(place.id):
                raise Refused(f"I am at it already. {running.told()}")
            until = self._until(place, since)
            try:
                notice = await self._notices.post(place, past_notice(self._notices.terms(place.guild.id), since))
            except discord.HTTPException:
                raise Refused(f"{_NOT_READ}: I could not post the notice in {place.mention}.") from None
            try:
                await self.begin(press, place, since, until)
            except StorageUnavailable:
                with suppress(discord.HTTPException):
                    await notice.delete()  # it would not be true
                raise

    async def begin(self, press: Interaction, place: Place, since: datetime, until: datetime) -> None:
        """Open the interval, of which the channel was told, and start to read it; the answer shows how far it is."""
        interval = await self._observations.open_interval(
            place.guild.id, place.id, since, until, press.user.id, Source.BACKFILL, parent_of_private(place)
        )
        running = self._running[place.id] = Backfill(press, place, interval, self._observations, self._catchup)
        task = asyncio.create_task(running.run(), name="backfill")
        task.add_done_callback(lambda _: self._ended(running))
        if isinstance(press.client, Client):
            press.client.keep(task)
        told_since = since.isoformat(timespec="seconds")
        await note(self._audit, place.guild.id, press.user.id, Action.BACKFILLED, channel=place.id, since=told_since)

    def _ended(self, running: "Backfill") -> None:
        if self._running.get(running.place.id) is running:  # one that was stopped may end after the next has begun
            del self._running[running.place.id]

    async def forsake(self, place: Place) -> None:
        """Read no further in a place that is observed no longer. Raises `StorageUnavailable`."""
        for running in self._running.values():
            if observing(self._observations, running.place) is None:
                running.stop()
        for interval in self._observations.unread(place.guild.id):
            if _is_left(interval, place) and place.id not in self._running:
                await self._observations.mark_fetched(interval.id)

    def _until(self, place: Place, since: datetime) -> datetime:
        """The end of what is to be read: where observation begins. Raises `Refused` if nothing may be read."""
        live = observing(self._observations, place)
        if live is None:
            raise Refused(
                f"{_NOT_READ}: {place.mention} is not observed. Switch it on first with `/observe on`; its option "
                "`backfill` reads what was said before."
            )
        if since >= live.started_at:
            raise Refused(f"I remember {place.mention} since {ago(live.started_at)} already; give an earlier time.")
        if any(_is_left(one, place) for one in self._observations.unread(place.guild.id)):
            raise Refused(
                f"{_NOT_READ}: I have not finished reading the past of {place.mention} that I was asked for before; "
                "`/status` tells when I have."
            )
        refuse_unreadable(place, self._settings.discord, _NOT_READ)
        return live.started_at


class Backfill:
    """One interval being read, with an answer that shows how far it is.

    Discord lets an answer be changed for 15 minutes; reading goes on without one.
    """

    def __init__(
        self, asked: Interaction, place: Place, interval: Observation, observations: Observations, catchup: Catchup
    ) -> None:
        self._screen = asked
        self.place = place
        self._interval = interval
        self._observations = observations
        self._catchup = catchup
        self._reading: asyncio.Task[Progress] | None = None
        self._progress = Progress()
        self._end = interval.started_at  # right after the latest message read
        self.outcome: str | None = None

    async def run(self) -> None:
        """Read to the end of the interval, or until `stop` is called."""
        reading = self._reading = asyncio.create_task(self._catchup.backfill(self._interval, self._report))
        view = Stop(self._screen.user, self)
        view.timeout = None  # it lasts as long as the reading
        try:
            await self._show(view)
            while not reading.done():
                await asyncio.wait({reading}, timeout=EVERY_SECONDS)
                await self._show()
            self.outcome = await self._concluded(reading)
        except asyncio.CancelledError:
            reading.cancel()
            await asyncio.wait({reading})
            self.outcome = f"I am being restarted, and read the past of {self.place.mention} to its end afterwards."
            raise
        finally:
            view.stop()
            await self._show(None)

    def stop(self, press: Interaction | None = None) -> None:
        """Read no further; what was read stays. The answer to the press, if there is one, is where the end is told."""
        self._screen = press or self._screen
        if self._reading:
            self._reading.cancel()

    def told(self) -> str:
        """How far it is, or how it ended."""
        if self.outcome:
            return self.outcome
        one = self._progress
        so_far = [_amounts(one)]
        if one.places > 1:
            so_far.append(f"{one.places_done:,} of {one.places:,} places done (the channel and its threads)")
        if one.reached:
            so_far.append(f"now at {dated(one.reached)}")
        return f"Reading {self.place.mention} from {dated(self._interval.started_at)} on: {', '.join(so_far)}."

    def _report(self, progress: Progress) -> None:
        self._progress = progress
        if progress.reached and progress.reached >= self._end:
            self._end = progress.reached + timedelta(milliseconds=1)

    async def _concluded(self, reading: asyncio.Task[Progress]) -> str:
        """What to say at the end. When it was stopped, nothing further of the interval will ever be read."""
        place, ids = self.place.mention, {"channel_id": self.place.id, "observation_id": self._interval.id}
        try:
            if reading.cancelled():
                await self._observations.truncate(self._interval.id, self._end)
                log.info("backfill_stopped", read=self._progress.read, kept=self._progress.kept, **ids)
                return f"Stopped: {_amounts(self._progress)} of {place}. What is kept stays, and I read no further."
            self._progress = reading.result()
        except Exception as error:
            return f"{sentence_for(self._screen, error)} What I have read of {place} stays, and I try again by myself."
        log.info("backfill_finished", read=self._progress.read, kept=self._progress.kept, **ids)
        done = f"{_amounts(self._progress)} of {place} since {dated(self._interval.started_at)}"
        if left := self._progress.places - self._progress.places_done:
            return f"I could not finish: {done}, and {counted(left, 'place')} left. I try again by myself."
        return f"Done: {done}. What is kept can be recalled in a moment; facts are noted from it batch by batch."

    async def _show(self, view: ui.View | None = discord.utils.MISSING) -> None:
        if self._screen.is_expired() or self._screen.client.is_closed():
            return
        try:
            await self._screen.edit_original_response(content=self.told(), view=view, allowed_mentions=NO_PINGS)
        except UNREACHABLE as error:  # the answer was dismissed, or Discord is down
            log.debug("progress_undelivered", error=type(error).__name__, channel_id=self.place.id)


class Stop(OwnedView):
    """The button under the progress of a backfill."""

    def __init__(self, asker: discord.abc.User, running: Backfill) -> None:
        super().__init__(asker)
        self._running = running

    @ui.button(label="Cancel")
    async def cancel(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        if not manages(interaction):
            raise Refused("You may not stop this any more.")
        self.stop()
        await interaction.response.defer()
        if self._running.outcome:
            await show(interaction, self._running.outcome)
        else:
            self._running.stop(interaction)


def backfill_command(backfills: Backfills) -> app_commands.Command[Any, ..., None]:
    """`/backfill channel since`."""

    @app_commands.command(description="Read what was said in an observed channel earlier; its members are told there")
    @app_commands.describe(
        channel="A channel, forum or thread that I remember already",
        since="From when on: 24h, 7d, 4w, 1y or a date like 2026-05-01",
    )
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def backfill(interaction: Interaction, channel: Place, since: str) -> None:
        await think(interaction)
        place = place_meant(interaction, channel)
        await backfills.ask(interaction, place, backfills.since(place, since))

    @backfill.autocomplete("since")
    async def suggest(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return backfills.suggestions(current)

    return backfill


def _is_left(interval: Observation, place: Place) -> bool:
    return interval.channel_id == place.id and interval.source is Source.BACKFILL


def _amounts(progress: Progress) -> str:
    return f"{counted(progress.read, 'message')} read, {progress.kept:,} kept"
