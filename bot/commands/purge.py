"""/purge: what was said by a member, in a channel or at a time goes for good, for those who manage the server.

It always begins with a count, and shows no words. A purge of a channel or a time reaches what the manager can read
now. A purge of a member reaches everything of theirs, wherever it stands, since it may have to be gone for reasons
that no channel's permissions know; counted, shown and noted in the log is only what the manager can read, so that
nobody learns how much there is elsewhere. The member is not opted out.
"""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import Any, Self

import discord
import structlog
from discord import app_commands, ui

from bot.commands.access import MemberVisibility, Place, manages, member
from bot.commands.audit import limits, note
from bot.commands.replies import UNREACHABLE, Interaction, Refused, show, think
from bot.commands.since import parse_since, suggest_since
from bot.commands.text import counted
from bot.commands.views import Confirm, OwnedView
from bot.errors import RecollectError, StorageUnavailable
from bot.memory.forget import Forget, Forgotten
from bot.storage.audit import Action, Audit
from bot.storage.observations import Observations
from bot.storage.purging import Selection
from bot.storage.retraction import Retracted

log = structlog.get_logger(__name__)

EVERY_SECONDS = 2.0  # between two edits of the progress; Discord takes five in five seconds

_NOT_SEARCHED = (
    "The memory index is down, so whatever other programs wrote into it is not among this; "
    "run this again when it is back."
)


@dataclass(frozen=True, slots=True)
class Purge:
    """What somebody asked to have removed, wherever that is."""

    what: Selection
    details: dict[str, int | str]  # of the log
    of_a_bot: bool = False  # of which nothing is ever kept

    @property
    def of_a_member(self) -> bool:
        return self.what.member_id is not None

    @property
    def told(self) -> str:
        """What it is limited to, in words."""
        return limits(self.details)


class Purges:
    """Counts, asks, and removes step by step."""

    def __init__(self, forget: Forget, visibility: MemberVisibility, observations: Observations, audit: Audit) -> None:
        self._forget = forget
        self._visibility = visibility
        self._observations = observations
        self._audit = audit

    def of(
        self,
        guild: discord.Guild,
        author: discord.abc.User | None,
        channel: Place | None,
        since: datetime | None,
        until: datetime | None,
    ) -> Purge:
        """What these options mean. Raises `Refused` if they limit nothing, or leave no time."""
        if author is None and channel is None and since is None and until is None:
            raise Refused("Say what to purge: a member, a channel, a time, or several of these.")
        if since and until and since >= until:
            raise Refused("`since` must be earlier than `until`.")
        places = {channel.id, *self._observations.private_threads(guild.id, channel.id)} if channel else None
        given = {
            "member": author.id if author else None,
            "channel": channel.id if channel else None,
            "since": since.isoformat(timespec="seconds") if since else None,
            "until": until.isoformat(timespec="seconds") if until else None,
        }
        details = {name: value for name, value in given.items() if value is not None}
        what = Selection(author.id if author else None, frozenset(places) if places else None, since, until)
        return Purge(what, details, of_a_bot=author is not None and author.bot)

    async def ask(self, interaction: Interaction, purge: Purge) -> None:
        """Say how much would go, and ask whether to."""
        seen = await self._seen(interaction, purge)
        if not (seen.messages or seen.facts):
            if purge.of_a_bot:
                raise Refused("I remember nothing that bots say, so there is nothing to purge.")
            if not purge.of_a_member:
                raise Refused(f"I hold nothing {purge.told} that you can read.")
        question = [
            f"This would purge {_amount(seen)} {purge.told}, for good and everywhere.",
            "Facts noted from the messages go too.",
        ]
        if purge.of_a_member:
            question.append(
                "Counted is what you can read; what is theirs elsewhere goes, too. It does not opt them out: what they "
                "say from now on is remembered as before."
            )
        if not seen.complete:
            question.append(_NOT_SEARCHED)
        view = Confirm(interaction.user, "Purge", lambda press: self._confirmed(press, purge, seen))
        await view.show(interaction, " ".join(question))

    async def _confirmed(self, press: Interaction, purge: Purge, seen: Retracted) -> None:
        if not manages(press):  # again: the confirmation may come minutes later
            raise Refused("You may not purge any more.")
        running = Running(press, self._forget, purge, seen)
        try:
            await running.run(await self._reached(press, purge))
        finally:
            if running.gone:
                await note(self._audit, member(press).guild.id, press.user.id, Action.PURGED, **running.details)
        await running.conclude()

    async def _seen(self, interaction: Interaction, purge: Purge) -> Forgotten:
        """What of it the manager can read now."""
        asker = member(interaction)
        visible = await self._visibility.for_member(asker)
        return await self._forget.count(asker.guild.id, replace(purge.what, access_ids=visible))

    async def _reached(self, interaction: Interaction, purge: Purge) -> Selection:
        if purge.of_a_member:
            return purge.what
        return replace(purge.what, access_ids=await self._visibility.for_member(member(interaction)))


class Running(OwnedView):
    """A purge on its way, with an answer that shows how far it is and a button that stops it."""

    def __init__(self, asked: Interaction, forget: Forget, purge: Purge, seen: Retracted) -> None:
        super().__init__(asked.user)
        self._asked = asked
        self._forget = forget
        self._purge = purge
        self._seen = seen
        self._is_stopped = False
        self.timeout = None  # it lasts as long as the purge
        self.gone: Forgotten | None = None

    @property
    def _told(self) -> Retracted:
        """What is gone, and no more than the manager was told of: of what they cannot read there is no number."""
        gone = self.gone or Retracted()
        return Retracted(min(gone.messages, self._seen.messages), min(gone.facts, self._seen.facts))

    @property
    def details(self) -> dict[str, int | str]:
        """What the log is to know of it."""
        stopped = {"stopped": 1} if self._is_stopped else {}
        return {"messages": self._told.messages, "facts": self._told.facts, **self._purge.details, **stopped}

    async def run(self, what: Selection) -> None:
        """Purge to the end, or until somebody stops it."""
        try:
            await self.show(self._asked, self._progress())
            await self._run(what)
        except RecollectError as error:
            self._is_stopped = True
            log.warning("purge_stopped", reason=str(error))
            why = "I cannot read or save anything right now." if isinstance(error, StorageUnavailable) else error
            raise Refused(f"{why} {_amount(self._told)} are gone; run this again for the rest.") from error
        finally:
            self.stop()

    async def conclude(self) -> None:
        """Tell how it ended."""
        if self._is_stopped:
            text = f"Stopped: {_amount(self._told)} {self._purge.told} are gone; the rest stays."
        else:
            text = f"Purged: {_amount(self._told)} {self._purge.told}."
        incomplete = self.gone is not None and not self.gone.complete
        await self._tell(f"{text} {_NOT_SEARCHED}" if incomplete else text, None)

    async def _run(self, what: Selection) -> None:
        shown_at = monotonic()
        async with aclosing(self._forget.purge(member(self._asked).guild.id, what)) as steps:
            async for self.gone in steps:
                if self._is_stopped:
                    return
                if monotonic() - shown_at >= EVERY_SECONDS:
                    await self._tell(self._progress(), self)
                    shown_at = monotonic()
        self._is_stopped = False  # too late: nothing was left

    @ui.button(label="Stop")
    async def halt(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        if not manages(interaction):
            raise Refused("You may not stop this any more.")
        self._is_stopped = True
        await interaction.response.defer()

    def _progress(self) -> str:
        return f"Purging what was said {self._purge.told}: {_amount(self._told)} gone so far."

    async def _tell(self, text: str, view: ui.View | None) -> None:
        try:
            await show(self._asked, text, view=view)
        except UNREACHABLE as error:  # the answer was dismissed, its token has expired, or Discord is down
            log.debug("progress_undelivered", error=type(error).__name__)


def purge_command(purges: Purges, clock: Callable[[], datetime]) -> app_commands.Command[Any, ..., None]:
    """`/purge member channel since until`."""

    @app_commands.command(name="purge", description="Remove what was said by a member, in a channel or at a time")
    @app_commands.describe(
        author="What they said, and what is known about them",
        channel="What was said in this channel and its threads",
        since="What was said since then: 24h, 7d, 4w or a date like 2026-05-01",
        until="What was said before then: 24h, 7d, 4w or a date like 2026-05-01",
    )
    @app_commands.rename(author="member")
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def command(
        interaction: Interaction,
        author: discord.User | None = None,
        channel: Place | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> None:
        await think(interaction)
        begin = parse_since(since, clock()) if since else None
        end = parse_since(until, clock(), "until") if until else None
        await purges.ask(interaction, purges.of(member(interaction).guild, author, channel, begin, end))

    @command.autocomplete("since")
    async def suggest(interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return suggest_since(current, clock())

    return command


def _amount(gone: Retracted) -> str:
    return f"{counted(gone.messages, 'message')} and {counted(gone.facts, 'fact')}"
