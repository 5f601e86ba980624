"""/audit: who removed or changed what, and when; never words. Also how commands record it.

What admins may know of a member's own doings is that they happened: an entry of what somebody forgot, corrected or
exported of their own carries no count, since that would tell how much of them stands in channels an admin cannot read.
Counts are kept where a manager reached into what others said, and are of what that manager could read.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

import discord
import structlog
from discord import app_commands, ui

from bot.commands.access import manages, member
from bot.commands.replies import Interaction, Refused, show, think
from bot.commands.text import ago, counted, cut, dated
from bot.commands.views import OwnedView
from bot.errors import StorageUnavailable
from bot.storage.audit import Action, Audit, AuditEntry

log = structlog.get_logger(__name__)

PAGE_LINES = 15
VALUE_UNITS = 150


async def note(audit: Audit, guild_id: int, actor_id: int | None, action: Action, **details: int | str | None) -> None:
    """Record a deed once it is done, without the details that are None.

    An entry that cannot be written neither undoes nor hides the deed: it is logged instead.
    """
    told = {name: value for name, value in details.items() if value is not None}
    try:
        await audit.record(guild_id, actor_id, action, **told)
    except StorageUnavailable as error:
        log.error("audit_not_recorded", guild_id=guild_id, actor_id=actor_id, action=action, reason=str(error), **told)


def audit_command(audit: Audit) -> app_commands.Command[Any, ..., None]:
    """`/audit`."""

    @app_commands.command(name="audit", description="Who had me forget, remember or change what, and when")
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def command(interaction: Interaction) -> None:
        await think(interaction)
        await Log(interaction.user, audit).turn(interaction)

    return command


class Log(OwnedView):
    """The pages of the log, newest first. A page begins where the one before it ended, whatever is added meanwhile."""

    def __init__(self, asker: discord.abc.User, audit: Audit) -> None:
        super().__init__(asker)
        self._audit = audit
        self._before: list[int | None] = [None]  # of each page up to this one, the id that its entries precede
        self._last: int | None = None

    async def turn(self, interaction: Interaction) -> None:
        """Show the page one is at. The interaction is deferred already."""
        if not manages(interaction):
            raise Refused("You may not read this any more.")
        found = await self._audit.entries(member(interaction).guild.id, PAGE_LINES + 1, self._before[-1])
        if not found:
            self.stop()
            await show(interaction, "Nobody has removed or changed anything yet.")
            return
        shown = found[:PAGE_LINES]
        self._last = shown[-1].id
        self.newer.disabled = len(self._before) == 1
        self.older.disabled = len(found) == len(shown)
        if self.newer.disabled and self.older.disabled:
            self.remove_item(self.newer).remove_item(self.older)
        text = "\n".join(line(entry) for entry in shown)
        await self.show(interaction, embeds=[discord.Embed(title="Who did what", description=text)])

    @ui.button(label="Newer", emoji="◀️")
    async def newer(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await interaction.response.defer()
        self._before.pop()
        await self.turn(interaction)

    @ui.button(label="Older", emoji="▶️")
    async def older(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await interaction.response.defer()
        self._before.append(self._last)
        await self.turn(interaction)


def line(entry: AuditEntry) -> str:
    """An entry as one line: when, who, what."""
    actor = "I" if entry.actor_id is None else f"<@{entry.actor_id}>"
    return f"{ago(entry.at)} {actor} {_deed(entry.action, entry.details)}"


def _deed(action: Action, details: Mapping[str, int | str]) -> str:
    channel = f"<#{details.get('channel')}>"
    match action:
        case Action.FORGOT:
            return _forgot(details)
        case Action.CORRECTED:
            return "corrected a fact"
        case Action.REMEMBERED:
            return "had me remember a message"
        case Action.PURGED:
            early = ", and stopped before it was all gone" if details.get("stopped") else ""
            return f"purged {_counts(details)} {limits(details)}{early}"
        case Action.CONFIGURED:
            return f"set {details.get('name')}: {cut(str(details.get('value')), VALUE_UNITS)}"
        case Action.OBSERVED:
            return f"switched {channel} on"
        case Action.UNOBSERVED:
            return f"switched {channel} off"
        case Action.BACKFILLED:
            return f"had me read {channel} from {_time(details.get('since'))} on"
        case Action.EXPORTED:
            return "exported what I hold of them"
        case Action.OPTED_OUT:
            return "opted out"
        case Action.OPTED_IN:
            return "opted in"


def _forgot(details: Mapping[str, int | str]) -> str:
    if "of" in details:
        return "had me forget everything of them"
    if "messages" not in details:
        return "had me forget memories of their own"
    place = f" that were gone from <#{details['channel']}>" if "channel" in details else ""
    return f"had me forget {_counts(details)}{place}"


def limits(details: Mapping[str, Any]) -> str:
    """What a purge was limited to, in words, from the details of its entry."""
    parts = []
    if "member" in details:
        parts.append(f"of <@{details['member']}>")
    if "channel" in details:
        parts.append(f"in <#{details['channel']}>")
    if "since" in details:
        parts.append(f"from {_time(details['since'])} on")
    if "until" in details:
        parts.append(f"until {_time(details['until'])}")
    return " ".join(parts)


def _counts(details: Mapping[str, int | str]) -> str:
    return " and ".join(counted(int(details.get(f"{noun}s", 0)), noun) for noun in ("message", "fact"))


def _time(value: int | str | None) -> str:
    """A time of the log, which is an ISO one, as every reader sees it in their own zone."""
    return dated(datetime.fromisoformat(str(value))) if value else "the beginning"
