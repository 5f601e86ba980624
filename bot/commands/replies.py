"""How commands and buttons answer: privately, without pings, and with one sentence when something fails."""

import asyncio
import secrets
import traceback
from collections.abc import Awaitable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

import aiohttp
import discord
import structlog
from discord import app_commands

from bot.capture.client import Client
from bot.commands.text import escaped
from bot.errors import RecollectError, ServiceUnavailable, StorageUnavailable

log = structlog.get_logger(__name__)

Interaction = discord.Interaction[discord.Client]
T = TypeVar("T")

UNREACHABLE = (discord.DiscordException, aiohttp.ClientError, OSError)  # what a request to Discord may raise
NO_PINGS = discord.AllowedMentions.none()
CUT_OFF = "I had to stop before this was finished, because I am being restarted; try again in a minute."
SERVER_ONLY = "I remember servers, not direct messages: use me in a server."


class Refused(RecollectError):
    """This cannot be done; the message says why in one sentence for people."""


def own(interaction: Interaction) -> None:
    """Have the client wait for this task, which answers the interaction, before it closes."""
    if isinstance(interaction.client, Client) and (task := asyncio.current_task()):
        interaction.client.own(task, partial(_apologise, interaction))


async def think(interaction: Interaction, *, public: bool = False) -> None:
    """Tell Discord that an answer follows, private unless said otherwise: it wants to hear so within three seconds."""
    await interaction.response.defer(ephemeral=not public, thinking=True)


async def while_thinking(interaction: Interaction, answer: Coroutine[Any, Any, T], *, public: bool = False) -> T:
    """The answer, looked for while Discord is told that it follows; what fails fails after that."""
    looking = asyncio.create_task(answer)
    try:
        await think(interaction, public=public)
        return await looking
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def show(
    interaction: Interaction,
    content: str | None = None,
    *,
    embeds: Sequence[discord.Embed] = (),
    files: Sequence[discord.File] = (),
    view: discord.ui.View | None = None,
) -> None:
    """Make this the answer: in place of "thinking…", or of the message whose button was pressed."""
    done = interaction.response.is_done()
    edit = interaction.edit_original_response if done else interaction.response.edit_message
    await edit(content=content, embeds=embeds, attachments=files, view=view, allowed_mentions=NO_PINGS)


async def tell(interaction: Interaction, sentence: str) -> None:
    """One private sentence: the answer to a command, beside the message of a button."""
    if not interaction.response.is_done():
        await interaction.response.send_message(sentence, ephemeral=True, allowed_mentions=NO_PINGS)
    elif interaction.type is discord.InteractionType.application_command:
        await show(interaction, sentence)
    else:
        await interaction.followup.send(sentence, ephemeral=True, allowed_mentions=NO_PINGS)


async def fail(interaction: Interaction, error: Exception, *, instead: bool = False) -> None:
    """Answer a failed command or button with its one sentence; a failure nobody foresaw is logged under an id.

    With `instead` the sentence takes the place of the message whose button was pressed.
    """
    await _deliver((show if instead else tell)(interaction, sentence_for(interaction, error)))


def sentence_for(interaction: Interaction, error: Exception) -> str:
    """What to say of a failure; one that nobody foresaw is logged under an id."""
    if isinstance(cause := _cause(error), StorageUnavailable):
        log.warning("storage_unavailable", reason=str(cause))  # people are told none of it
    return explain(error) or _logged(interaction, error)


def explain(error: Exception) -> str | None:
    """The sentence for a failure that is foreseen, otherwise None."""
    match error:
        case app_commands.CommandInvokeError():
            return explain(error.original)
        case StorageUnavailable():
            return str(StorageUnavailable())
        case RecollectError():
            return str(error)
        case app_commands.NoPrivateMessage():
            return SERVER_ONLY
        case app_commands.MissingPermissions():
            return f"You need the {_permissions(error.missing_permissions)} permission for this."
        case app_commands.CheckFailure():
            return "You may not use this here."
        case app_commands.TransformerError(type=discord.AppCommandOptionType.channel):
            return "I cannot see that channel, or it is of a kind I do not read; give me View Channel there first."
        case app_commands.TransformerError():
            return f"I cannot use “{escaped(str(error.value), 100)}” here; pick one of what Discord offers."
        case app_commands.CommandNotFound() | app_commands.CommandSignatureMismatch():
            return "This command has changed; reload Discord and try again."
        case discord.Forbidden():
            return "Discord does not let me do that: I am missing a permission here."
        case discord.NotFound() | discord.HTTPException(status=401):  # dismissed while it was written, or too late
            return "What I was to do this with is gone from Discord by now; ask me again."
        case discord.DiscordServerError():
            return "Discord did not answer; try again in a moment."
    return None


def reason(error: Exception) -> str:
    """Why a command failed, in a word: what it was asked cannot be done, a service is down, or it is a bug."""
    if isinstance(_cause(error), ServiceUnavailable):
        return "service_unavailable"
    return "refused" if explain(error) else "unexpected"


async def _apologise(interaction: Interaction) -> None:
    if interaction.type is not discord.InteractionType.autocomplete:
        await _deliver(tell(interaction, CUT_OFF))


async def _deliver(answering: Awaitable[None]) -> None:
    try:
        await answering
    except UNREACHABLE as error:  # the interaction expired, or Discord is down
        code = error.code if isinstance(error, discord.HTTPException) else None
        log.warning("answer_undelivered", error=type(error).__name__, code=code)


def _logged(interaction: Interaction, error: Exception) -> str:
    """Log an error by its kind and the place it came from, since its text may quote what somebody wrote."""
    cause = _cause(error)
    error_id = secrets.token_hex(4)
    log.error(
        "interaction_failed",
        error_id=error_id,
        command=interaction.command.qualified_name if interaction.command else interaction.type.name,
        guild_id=interaction.guild_id,
        error=type(cause).__name__,
        caused_by=type(cause.__cause__).__name__ if cause.__cause__ else None,
        stack="".join(traceback.format_tb(cause.__traceback__)),
    )
    return f"Something went wrong; the admin finds the cause in the log under `{error_id}`."


def _cause(error: Exception) -> Exception:
    return error.original if isinstance(error, app_commands.CommandInvokeError) else error


def _permissions(names: Sequence[str]) -> str:
    return " and ".join("Manage Server" if name == "manage_guild" else name.replace("_", " ").title() for name in names)
