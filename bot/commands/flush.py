"""/flush: a batch now instead of at its time."""

import asyncio
from typing import Any

from discord import app_commands

from bot.commands.access import member
from bot.commands.replies import Interaction, show, think
from bot.commands.text import counted
from bot.extraction.worker import BatchReport, BatchWorker

# Discord takes an answer for 15 minutes, a large batch may take longer.
PATIENCE_SECONDS = 14 * 60.0


def flush_command(worker: BatchWorker) -> app_commands.Command[Any, ..., None]:
    """`/flush`."""

    @app_commands.command(description="Turn the waiting messages into facts now")
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.checks.has_permissions(manage_guild=True)
    async def flush(interaction: Interaction) -> None:
        await think(interaction)
        guild_id = member(interaction).guild.id
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                sentence = told(await worker.flush(guild_id))
        except TimeoutError:
            sentence = (
                "This takes longer than Discord lets me answer; the rest waits for the next batch. See `/status`."
            )
        await show(interaction, sentence)

    return flush


def told(report: BatchReport) -> str:
    """A batch in a sentence or two."""
    done = f"{counted(report.messages, 'message')} read, {counted(report.facts, 'fact')} noted."
    if report.dead:
        done += f" {counted(report.dead, 'message')} set aside: the language model gave no valid answer."
    if report.stopped_by:
        return f"{report.stopped_by} {done if report.messages else ''}".strip()
    return done if report.messages or report.dead else "Nothing is waiting."
