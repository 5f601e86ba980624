"""The commands in other languages: whole, short enough, and told to Discord."""

from collections.abc import Iterator
from typing import Any

import discord
import pytest
from discord import app_commands
from town import Town

from bot.cli.reference import default_tree
from bot.commands.translations import CATALOGUES, Translations, catalogue

LONGEST, LONGEST_MENU = 100, 32  # Discord's bounds
FILE = "bot/commands/de.toml"


async def payloads() -> list[dict[str, Any]]:
    """The commands as Discord is told of them, with their translations."""
    async with default_tree() as tree:
        await tree.set_translator(translator := Translations())
        commands = tree._get_all_commands(guild=None)
        return [await command.get_translated_payload(tree, translator) for command in commands]


def texts(part: dict[str, Any]) -> Iterator[tuple[str, int, dict[str, str]]]:
    """Each text of a command that can be translated: in English, its greatest length, and its translations."""
    if "description" not in part:
        yield part["name"], LONGEST_MENU, part.get("name_localizations") or {}
        return
    yield part["description"], LONGEST, part.get("description_localizations") or {}
    for choice in part.get("choices") or []:
        yield choice["name"], LONGEST, choice.get("name_localizations") or {}
    for option in part.get("options") or []:
        yield from texts(option)


@pytest.mark.parametrize("locale", CATALOGUES)
async def test_every_text_of_every_command_is_translated(locale: discord.Locale) -> None:
    """None is missing, none is longer than Discord takes, and no translation is of a text that is gone."""
    found = [text for command in await payloads() for text in texts(command)]
    missing = sorted({english for english, _, translated in found if locale.value not in translated})
    assert not missing, f"add to {FILE}: {missing}"
    too_long = sorted({t[locale.value] for _, most, t in found if len(t[locale.value]) > most})
    assert not too_long, f"shorten in {FILE}: {too_long}"
    dead = sorted(set(catalogue(locale)) - {english for english, _, _ in found})
    assert not dead, f"remove from {FILE}: {dead}"
    assert all(text.strip() for text in catalogue(locale).values())


async def test_discord_is_told(town: Town) -> None:
    """What was registered has the German words, and names that are typed have none."""
    known = {command["name"]: command for command in town.server.world.application.commands[None]}
    recall = known["recall"]
    assert recall["description"].startswith("Find what was said")
    assert recall["description_localizations"]["de"].startswith("Findet")
    query = recall["options"][0]
    assert (query["name"], query["description_localizations"]["de"]) == (
        "query",
        "Was du wissen willst, in deinen eigenen Worten",
    )
    assert not recall.get("name_localizations") and not query.get("name_localizations")


async def test_choices_and_menus_are_translated_and_unknown_texts_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Discord shows a name instead of a description, the name is translated; what is not known stays."""
    words = {"Green tea": "Grüner Tee", "Remember this": "Merk dir das"}
    monkeypatch.setattr("bot.commands.translations.catalogue", lambda locale: words)
    client = discord.Client(intents=discord.Intents.none())
    tree = app_commands.CommandTree(client)

    @tree.command(description="Choose a tea")
    @app_commands.choices(tea=[app_commands.Choice(name="Green tea", value="green")])
    async def tea(interaction: discord.Interaction, tea: str) -> None: ...

    @tree.context_menu(name="Remember this")
    async def remember(interaction: discord.Interaction, message: discord.Message) -> None: ...

    await tree.set_translator(translator := Translations())
    chosen = await tea.get_translated_payload(tree, translator)
    assert chosen["options"][0]["choices"][0]["name_localizations"] == {"de": "Grüner Tee"}
    assert chosen["description_localizations"] == {}
    assert (await remember.get_translated_payload(tree, translator))["name_localizations"] == {"de": "Merk dir das"}
