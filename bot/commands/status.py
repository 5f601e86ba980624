"""/status: what waits, what runs, what is held; for those who manage the server."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import discord
from discord import app_commands

from bot.commands.access import server
from bot.commands.replies import Interaction, show, think
from bot.commands.text import ago, counted, cut
from bot.model import ServiceHealth
from bot.storage.messages import MessageStore, QueueStats
from bot.storage.observations import Observations
from bot.storage.queue import ExtractionQueue, GuildSchedule

HEALTH_SECONDS = 5.0
FIELD_UNITS = 1024  # Discord's limit for a field

HealthCheck = Callable[[], Awaitable[ServiceHealth]]


@dataclass(frozen=True, slots=True)
class Status:
    """A guild's state as an admin wants to know it; `refused` counts events since the start, of all guilds."""

    queue: QueueStats
    schedule: GuildSchedule | None
    observed: int
    refused: int
    services: tuple[ServiceHealth, ...]


async def read_status(
    guild_id: int,
    messages: MessageStore,
    queue: ExtractionQueue,
    observations: Observations,
    health: Mapping[str, HealthCheck],
    refused: Callable[[], int],
) -> Status:
    """Ask everyone at once; `health` is by the service's name.

    A service that does not answer in time counts as down. Raises `StorageUnavailable`.
    """
    services = asyncio.gather(*(_within_limit(name, check) for name, check in health.items()))
    stats, guilds, answers = await asyncio.gather(messages.stats(guild_id), queue.guilds(), services)
    return Status(
        queue=stats,
        schedule=next((guild for guild in guilds if guild.guild_id == guild_id), None),
        observed=len(observations.active(guild_id)),
        refused=refused(),
        services=tuple(answers),
    )


def status_card(status: Status) -> discord.Embed:
    """The card of `/status`; what is zero and only matters otherwise is left out."""
    queue, schedule = status.queue, status.schedule
    embed = discord.Embed(title="Recollect", colour=discord.Colour.blurple())
    waiting = counted(queue.waiting, "message")
    if queue.oldest_waiting_at:
        waiting += f", the oldest from {ago(queue.oldest_waiting_at)}"
    if queue.leased:
        waiting += f"; {counted(queue.leased, 'message')} being read now"
    embed.add_field(name="Waiting for facts", value=waiting, inline=False)
    if schedule:
        finished = ago(schedule.finished_at) if schedule.finished_at else "none yet"
        embed.add_field(name="Last batch", value=finished)
        embed.add_field(name="Next batch", value=f"{ago(schedule.due_at)} at the latest")
    embed.add_field(
        name="Memories", value=f"{counted(queue.held, 'message')} and {counted(queue.facts, 'fact')}", inline=False
    )
    embed.add_field(name="Observed", value=counted(status.observed, "channel"), inline=False)
    if troubles := _troubles(status):
        embed.add_field(name="Needs a look", value="\n".join(troubles), inline=False)
    services = "\n".join(f"{'✅' if one.ok else '⚠️'} **{one.name}**: {one.detail}" for one in status.services)
    return embed.add_field(name="Services", value=cut(services, FIELD_UNITS) or "none", inline=False)


def status_command(read: Callable[[int], Awaitable[Status]]) -> app_commands.Command[Any, ..., None]:
    """`/status`."""

    @app_commands.command(description="What waits, what runs and what I hold")
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def status(interaction: Interaction) -> None:
        await think(interaction)
        await show(interaction, embeds=[status_card(await read(server(interaction).id))])

    return status


def _troubles(status: Status) -> list[str]:
    queue = status.queue
    told = [
        (queue.not_indexed, f"{counted(queue.not_indexed, 'message')} not in the index yet"),
        (queue.dead, f"{counted(queue.dead, 'message')} set aside: the language model gave no valid answer"),
        (status.refused, f"{counted(status.refused, 'event')} the database refused since the start"),
    ]
    return [sentence for number, sentence in told if number]


async def _within_limit(name: str, check: HealthCheck) -> ServiceHealth:
    try:
        async with asyncio.timeout(HEALTH_SECONDS):
            return await check()
    except TimeoutError:
        return ServiceHealth(name, False, f"It did not answer within {HEALTH_SECONDS:.0f} seconds.")
