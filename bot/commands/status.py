"""/status: what waits, what runs, what is held; for those who manage the server."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import discord
from discord import app_commands

from bot.commands.access import member
from bot.commands.replies import Interaction, show, think
from bot.commands.text import ago, counted, cut
from bot.errors import RecollectError
from bot.extraction.worker import BatchWorker
from bot.model import ServiceHealth
from bot.storage.messages import MessageStore, QueueStats
from bot.storage.observations import Observations
from bot.storage.queue import ExtractionQueue

HEALTH_SECONDS = 5.0
FIELD_UNITS = 1024  # Discord's limit for a field

HealthCheck = Callable[[], Awaitable[ServiceHealth]]


@dataclass(frozen=True, slots=True)
class Status:
    """A guild's state as an admin wants to know it; `refused` counts events since the start, of all guilds."""

    queue: QueueStats
    last_batch: datetime | None
    next_batch: datetime | None
    observed: int
    refused: int
    services: tuple[ServiceHealth, ...]


async def read_status(
    guild_id: int,
    messages: MessageStore,
    queue: ExtractionQueue,
    worker: BatchWorker,
    observations: Observations,
    health: Mapping[str, HealthCheck],
    refused: Callable[[], int],
) -> Status:
    """Ask everyone; `health` is by the service's name. Raises `StorageUnavailable`."""
    schedules = [schedule for schedule in await queue.guilds() if schedule.guild_id == guild_id]
    return Status(
        queue=await messages.stats(guild_id),
        last_batch=schedules[0].finished_at if schedules else None,
        next_batch=await worker.next_due(guild_id),
        observed=len(observations.active(guild_id)),
        refused=refused(),
        services=await read_health(health, HEALTH_SECONDS),
    )


async def read_health(health: Mapping[str, HealthCheck], within: float) -> tuple[ServiceHealth, ...]:
    """Ask every service at once; one that does not answer `within` so many seconds counts as down."""
    return tuple(await asyncio.gather(*(_asked(name, check, within) for name, check in health.items())))


def status_card(status: Status, now: datetime) -> discord.Embed:
    """The card of `/status`; what is zero and only matters otherwise is left out."""
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
    embed.add_field(name="Observed", value=counted(status.observed, "channel"), inline=False)
    if troubles := _troubles(status):
        embed.add_field(name="Needs a look", value="\n".join(troubles), inline=False)
    services = "\n".join(f"{'✅' if one.ok else '⚠️'} **{one.name}**: {one.detail}" for one in status.services)
    return embed.add_field(name="Services", value=cut(services, FIELD_UNITS) or "none", inline=False)


def status_command(
    read: Callable[[int], Awaitable[Status]], clock: Callable[[], datetime]
) -> app_commands.Command[Any, ..., None]:
    """`/status`."""

    @app_commands.command(description="What waits, what runs and what I hold")
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def status(interaction: Interaction) -> None:
        await think(interaction)
        await show(interaction, embeds=[status_card(await read(member(interaction).guild.id), clock())])

    return status


def _troubles(status: Status) -> list[str]:
    queue = status.queue
    told = [
        (queue.dead, f"{counted(queue.dead, 'message')} set aside: the language model gave no valid answer"),
        (status.refused, f"{counted(status.refused, 'event')} the database refused since the start"),
    ]
    return [sentence for number, sentence in told if number]


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
