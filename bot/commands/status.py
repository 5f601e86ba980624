"""/status: what waits, what runs, what is held; for those who manage the server."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Self

import discord
from discord import app_commands, ui

from bot.commands.access import member
from bot.commands.charts import WEEK, status_picture
from bot.commands.replies import Interaction, show, think
from bot.commands.text import ago, counted, cut
from bot.commands.views import OwnedView
from bot.errors import RecollectError
from bot.extraction.worker import BatchWorker
from bot.model import ServiceHealth
from bot.storage.doubts import Doubt, Doubts
from bot.storage.messages import MessageStore, QueueStats
from bot.storage.observations import Observations
from bot.storage.queue import ExtractionQueue
from bot.storage.samples import Sample, Samples

HEALTH_SECONDS = 5.0
FIELD_UNITS = 1024  # Discord's limit for a field
MOST_REFUSALS = 5
FULL = "disk is full"  # in SQLite's words
PICTURE = "status.png"

HealthCheck = Callable[[], Awaitable[ServiceHealth]]


@dataclass(frozen=True, slots=True)
class Status:
    """A guild's state as an admin wants to know it.

    `refused` counts events since the start, of all guilds. `behind` are the channels and threads still
    being caught up with, `refusals` those the bot may not read, and why. `waiting_since` is when the
    oldest waiting message was captured. `problems` are sentences about the guild or the whole bot. `samples` are a
    week's, with what is held now as the last.
    """

    queue: QueueStats
    last_batch: datetime | None
    next_batch: datetime | None
    observed: int
    refused: int
    services: tuple[ServiceHealth, ...]
    waiting_since: datetime | None = None
    behind: int = 0
    refusals: Mapping[int, str] = field(default_factory=dict)
    doubts: tuple[Doubt, ...] = ()
    problems: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()


async def read_status(
    guild_id: int,
    messages: MessageStore,
    queue: ExtractionQueue,
    worker: BatchWorker,
    observations: Observations,
    doubts: Doubts,
    samples: Samples,
    health: Callable[[int], Mapping[str, HealthCheck]],
    refused: Callable[[], int],
    behind: Callable[[int], int],
    refusals: Callable[[int], Mapping[int, str]],
    problems: Callable[[int], Sequence[str]],
    clock: Callable[[], datetime],
) -> Status:
    """Ask everyone; `health` is by guild, then by the service's name. Raises `StorageUnavailable`."""
    schedules = [schedule for schedule in await queue.guilds() if schedule.guild_id == guild_id]
    stats, now = await messages.stats(guild_id), clock()
    newest = Sample(now, stats.waiting + stats.leased, stats.held, stats.facts)
    return Status(
        queue=stats,
        last_batch=schedules[0].finished_at if schedules else None,
        next_batch=await worker.next_due(guild_id),
        observed=len(observations.active(guild_id)),
        refused=refused(),
        services=await read_health(health(guild_id), HEALTH_SECONDS),
        waiting_since=(await messages.oldest_waiting()).get(guild_id),
        behind=behind(guild_id),
        refusals=refusals(guild_id),
        doubts=tuple(await doubts.all(guild_id)),
        problems=tuple(problems(guild_id)),
        samples=(*await samples.since(guild_id, now - WEEK), newest),
    )


async def read_health(health: Mapping[str, HealthCheck], within: float) -> tuple[ServiceHealth, ...]:
    """Ask every service at once; one that does not answer `within` so many seconds counts as down."""
    return tuple(await asyncio.gather(*(_asked(name, check, within) for name, check in health.items())))


def status_card(status: Status, now: datetime, patience: timedelta) -> discord.Embed:
    """The card of `/status`; what is zero and only matters otherwise is left out.

    `patience` is how long a message may wait before that needs a look.
    """
    queue = status.queue
    embed = discord.Embed(title="Recollect", colour=discord.Colour.blurple())
    waiting = counted(queue.waiting, "message")
    if queue.oldest_waiting_at:
        waiting += f", the oldest from {ago(queue.oldest_waiting_at)}"
    if queue.leased:
        waiting += f"; {counted(queue.leased, 'message')} being read now"
    embed.add_field(name="Waiting for facts", value=waiting, inline=False)
    embed.add_field(name="Last batch", value=ago(status.last_batch) if status.last_batch else "none yet")
    embed.add_field(name="Next batch", value=_when(status.next_batch, now) if queue.waiting else "when messages wait")
    memories = f"{counted(queue.held, 'message')} and {counted(queue.facts, 'fact')}"
    if queue.not_indexed:
        memories += f"; {counted(queue.not_indexed, 'memory', 'memories')} not in the index yet"
    embed.add_field(name="Memories", value=memories, inline=False)
    observed = counted(status.observed, "channel") if status.observed else "no channel; `/setup` has me begin"
    if status.behind:
        observed += (
            f"; {counted(status.behind, 'channel or thread', 'channels and threads')} still being caught up with"
        )
    embed.add_field(name="Observed", value=observed, inline=False)
    if troubles := _troubles(status, now, patience):
        embed.add_field(name="Needs a look", value=cut("\n".join(troubles), FIELD_UNITS), inline=False)
    services = "\n".join(f"{'✅' if one.ok else '⚠️'} **{one.name}**: {one.detail}" for one in status.services)
    return embed.add_field(name="Services", value=cut(services, FIELD_UNITS) or "none", inline=False)


def status_command(
    read: Callable[[int], Awaitable[Status]],
    review: Callable[[Interaction], Awaitable[None]],
    patience: timedelta,
    clock: Callable[[], datetime],
) -> app_commands.Command[Any, ..., None]:
    """`/status`; `review` answers a press on the button that is there while something is in doubt."""

    @app_commands.command(description="How I am doing: what waits, which services run and how much I hold")
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def status(interaction: Interaction) -> None:
        await think(interaction)
        now = await read(member(interaction).guild.id)
        card, files = status_card(now, clock(), patience), []
        if picture := await status_picture(now.samples, clock()):
            card.set_image(url=f"attachment://{PICTURE}")
            files = [picture.file(PICTURE)]
        if now.doubts:
            await InDoubt(interaction.user, review).show(interaction, embeds=[card], files=files)
        else:
            await show(interaction, embeds=[card], files=files)

    return status


class InDoubt(OwnedView):
    """The button below a status with doubts."""

    def __init__(self, asker: discord.abc.User, review: Callable[[Interaction], Awaitable[None]]) -> None:
        super().__init__(asker)
        self._review = review

    @ui.button(label="Review…")
    async def review(self, interaction: Interaction, button: ui.Button[Self]) -> None:
        await think(interaction)
        await self._review(interaction)


def _troubles(status: Status, now: datetime, patience: timedelta) -> list[str]:
    queue, missing = status.queue, sum(len(doubt.missing) for doubt in status.doubts)
    told = list(status.problems)
    if status.waiting_since and now - status.waiting_since >= patience:
        told.append(f"A message from {ago(status.waiting_since)} still waits for the language model")
    if queue.dead:
        told.append(
            f"{counted(queue.dead, 'message')} set aside: the language model gave no valid answer; "
            "`recollect deadletters replay` has it try again"
        )
    if status.refused:
        told.append(f"{counted(status.refused, 'event')} the database refused since the start")
    told += [f"I cannot read <#{id}>: {reason}" for id, reason in islice(status.refusals.items(), MOST_REFUSALS)]
    if len(status.refusals) > MOST_REFUSALS:
        more = counted(len(status.refusals) - MOST_REFUSALS, "other channel or thread", "other channels and threads")
        told.append(f"I cannot read {more} either")
    if missing:
        told.append(
            f"{counted(missing, 'message')} in {counted(len(status.doubts), 'place')} are gone from Discord, "
            "too many to be sure that they were deleted: press Review…"
        )
    return told


def unsaved(refusal: tuple[datetime, str]) -> str:
    """What the database's last refusal means and what to do, as a sentence; `refusal` is when and why."""
    at, reason = refusal
    todo = "the disk is full: make room where my data is" if FULL in reason else reason.rstrip(".")
    return f"I could not save something {ago(at)}: {todo}. Once I can, I read again on Discord what I missed"


def _when(due: datetime | None, now: datetime) -> str:
    return ago(due) if due and due > now else "now"


async def _asked(name: str, check: HealthCheck, within: float) -> ServiceHealth:
    try:
        async with asyncio.timeout(within):
            return await check()
    except TimeoutError:
        return ServiceHealth(name, False, f"It did not answer within {within:g} seconds.")
    except RecollectError as error:
        return ServiceHealth(name, False, str(error))
