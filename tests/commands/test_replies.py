"""Sentences for failures that are foreseen."""

from typing import Any
from unittest.mock import Mock

import discord
import pytest
from discord import app_commands

from bot.commands.replies import SERVER_ONLY, Refused, explain
from bot.errors import StorageUnavailable


def refused(kind: type[discord.HTTPException], status: int) -> discord.HTTPException:
    return kind(Mock(status=status, reason="no"), "no")


def wrong(kind: discord.AppCommandOptionType) -> app_commands.TransformerError:
    transformer: Any = Mock(_error_display_name="thing")
    return app_commands.TransformerError("**it**", kind, transformer)


def failed(error: Exception) -> app_commands.CommandInvokeError:
    command: Any = Mock(spec=app_commands.Command)
    command.name = "recall"
    return app_commands.CommandInvokeError(command, error)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (Refused("No."), "No."),
        (failed(StorageUnavailable()), str(StorageUnavailable())),
        (failed(StorageUnavailable("The database could not be used: disk full.")), str(StorageUnavailable())),
        (app_commands.NoPrivateMessage(), SERVER_ONLY),
        (app_commands.MissingPermissions(["manage_guild"]), "You need the Manage Server permission for this."),
        (app_commands.MissingPermissions(["ban_members"]), "You need the Ban Members permission for this."),
        (app_commands.CheckFailure(), "You may not use this here."),
        (wrong(discord.AppCommandOptionType.channel), "I cannot see that channel"),
        (wrong(discord.AppCommandOptionType.user), r"I cannot use “\*\*it\*\*” here"),
        (app_commands.CommandNotFound("old", []), "This command has changed"),
        (refused(discord.Forbidden, 403), "Discord does not let me do that"),
        (refused(discord.NotFound, 404), "What I was to do this with is gone"),
        (refused(discord.HTTPException, 401), "What I was to do this with is gone"),
        (refused(discord.DiscordServerError, 503), "Discord did not answer"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_foreseen_failures_have_a_sentence(error: Exception, sentence: str) -> None:
    """Each says in plain words what is the matter."""
    assert (explain(error) or "").startswith(sentence)


def test_unforeseen_failures_have_none() -> None:
    """They are for the log."""
    assert explain(ValueError("oops")) is None
    assert explain(failed(ValueError("oops"))) is None
