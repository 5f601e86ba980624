"""What Discord shows of the commands in other languages than English."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files

import discord
from discord import app_commands
from discord.app_commands import TranslationContextLocation, TranslationContextTypes, locale_str

CATALOGUES = {discord.Locale.german: "de.toml"}
_DESCRIBED = {
    TranslationContextLocation.command_description,
    TranslationContextLocation.group_description,
    TranslationContextLocation.parameter_description,
    TranslationContextLocation.choice_name,
}


def catalogue(locale: discord.Locale) -> Mapping[str, str]:
    """The translations of a language, by the English text."""
    return tomllib.loads(files(__package__).joinpath(CATALOGUES[locale]).read_text("utf-8"))


class Translations(app_commands.Translator):
    """Descriptions, choices and entries of menus. Names that are typed stay: the docs and answers speak of them."""

    def __init__(self) -> None:
        self._texts = {locale: catalogue(locale) for locale in CATALOGUES}

    async def translate(
        self, string: locale_str, locale: discord.Locale, context: TranslationContextTypes
    ) -> str | None:
        menu = isinstance(context.data, app_commands.ContextMenu)
        if menu or context.location in _DESCRIBED:
            return self._texts.get(locale, {}).get(string.message)
        return None
