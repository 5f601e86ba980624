"""/flush: a batch now instead of at its time."""

import asyncio
from collections.abc import Callable
from typing import Any

from discord import app_commands

from bot.commands.access import member
from bot.commands.replies import Interaction, show, think
from bot.commands.text import counted
from bot.extraction.batch import BatchReport
from bot.extraction.worker import BatchWorker
from bot.storage.messages import MessageStore

# Discord takes an answer for 15 minutes, a large batch may take longer: it goes on without the command.
PATIENCE_SECONDS = 14 * 60.0


def flush_command(
    worker: BatchWorker, messages: MessageStore, refused: Callable[[], int]
) -> app_commands.Command[Any, ..., None]:
    """`/flush`; `refused` counts the events that the database refused since the start."""

    @app_commands.command(description="Turn the waiting messages into facts now")
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def flush(interaction: Interaction) -> None:
        await think(interaction)
        guild_id = member(interaction).guild.id
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                report = await worker.flush(guild_id)
        except TimeoutError:
            report = BatchReport(
                stopped_by="This takes longer than Discord lets me answer, so I go on without telling you"
            )
        await show(interaction, told(report, (await messages.stats(guild_id)).waiting, refused()))

    return flush


def told(report: BatchReport, waiting: int, refused: int) -> str:
    """A batch in a few sentences; `waiting` messages are left, and `refused` events were not saved."""
    sentences = []
    if report.stopped_by:
        sentences.append(f"{report.stopped_by.rstrip('.')}.")
        left = counted(waiting, "message waits", "messages wait")
        if refused:
            sentences.append(f"{left}; {counted(refused, 'event')} could not be saved since the start: see `/status`.")
        else:
            sentences.append(f"{left} and nothing is lost.")
    if report.messages:
        sentences.append(f"{counted(report.messages, 'message')} read, {counted(report.facts, 'fact')} noted.")
    if report.dead:
        sentences.append(f"{counted(report.dead, 'message')} set aside: the language model gave no valid answer.")
    return " ".join(sentences) or "Nothing is waiting."
