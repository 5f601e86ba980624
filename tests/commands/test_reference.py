"""docs/commands.md, which lists every command."""

import tempfile
from pathlib import Path

import discord
import pytest
from discord import app_commands

from bot.cli.reference import commands
from bot.commands.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_page_is_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `recollect commands` prints is what the docs say, and the command leaves nothing behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    commands()
    current = PAGE.read_text("utf-8") == capsys.readouterr().out
    assert current, "docs/commands.md is out of date: run `make docs`."
    assert list(tmp_path.iterdir()) == []


def test_each_kind_of_command_is_described() -> None:
    """Members' commands, admins' commands and menus each in their part, with what every argument takes."""
    tree = app_commands.CommandTree(discord.Client(intents=discord.Intents.none()))
    admin = app_commands.Group(
        name="tea", description="All about tea", default_permissions=discord.Permissions(manage_guild=True)
    )

    @admin.command(description="Set the tea | of the day")
    @app_commands.describe(kind="Which tea", cups="How many", where="In which channel")
    @app_commands.choices(
        kind=[app_commands.Choice(name="Green", value="g"), app_commands.Choice(name="Oolong", value="o")]
    )
    async def set(
        interaction: discord.Interaction,
        kind: str,
        cups: app_commands.Range[int, 1, 9],
        where: discord.TextChannel | discord.Thread,
        note: app_commands.Range[str, 1, 2000] = "",
    ) -> None: ...

    @tree.command(description="Drink a tea")
    async def drink(interaction: discord.Interaction) -> None: ...

    @tree.context_menu(name="Pour")
    async def pour(interaction: discord.Interaction, user: discord.Member) -> None: ...

    tree.add_command(admin)
    members, admins = reference(tree).split("## For admins")
    assert "### `/drink`\nDrink a tea.\n" in members
    admins, menus = admins.split("## In menus")
    assert "### `/tea set kind cups where [note]`\nSet the tea | of the day.\n" in admins
    assert "- `kind` (Green · Oolong): Which tea\n" in admins
    assert "- `cups` (whole number, 1 to 9): How many\n" in admins
    assert "- `where` (channel or thread): In which channel\n" in admins
    assert "- `note` (text, up to 2,000 characters): " in admins
    assert "| member | *Pour* | every member |" in menus
