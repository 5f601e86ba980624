"""The languages that keyword search speaks, by the names that people type."""

from collections.abc import Mapping

SEVERAL = "none"  # of keyword search: no stop words, and words as they are

# Besides the English name: the code of ISO 639-1, and what those who speak it call it.
_ALSO: Mapping[str, tuple[str, ...]] = {
    "arabic": ("ar", "العربية"),
    "azerbaijani": ("az", "azərbaycanca"),
    "basque": ("eu", "euskara"),
    "bengali": ("bn", "বাংলা"),
    "catalan": ("ca", "català"),
    "chinese": ("zh", "中文"),
    "danish": ("da", "dansk"),
    "dutch": ("nl", "Nederlands"),
    "english": ("en",),
    "finnish": ("fi", "suomi"),
    "french": ("fr", "français"),
    "german": ("de", "Deutsch"),
    "greek": ("el", "ελληνικά"),
    "hebrew": ("he", "עברית"),
    "hungarian": ("hu", "magyar"),
    "indonesian": ("id", "Bahasa Indonesia"),
    "italian": ("it", "italiano"),
    "japanese": ("ja", "日本語"),
    "kazakh": ("kk", "қазақша"),
    "nepali": ("ne", "नेपाली"),
    "norwegian": ("no", "nb", "nn", "norsk"),
    "portuguese": ("pt", "português"),
    "romanian": ("ro", "română"),
    "russian": ("ru", "русский"),
    "slovene": ("sl", "slovenian", "slovenščina"),
    "spanish": ("es", "español"),
    "swedish": ("sv", "svenska"),
    "tajik": ("tg", "тоҷикӣ"),
    "turkish": ("tr", "Türkçe"),
    SEVERAL: ("none", "mixed"),
}


def language_name(language: str) -> str:
    """What people call a language of keyword search."""
    return "several languages, or another" if language == SEVERAL else language.capitalize()


def language_meant(typed: str) -> str | None:
    """The language of a name, a code or what it is called by those who speak it; None if there is none such."""
    wanted = typed.strip().casefold()
    return next((language for language in _languages() if wanted in _names(language)), None)


def suggestions(typed: str) -> list[str]:
    """The names that fit what is typed so far, those that begin with it first, and before all the one for several."""
    wanted = typed.strip().casefold()
    fitting = [language for language in _languages() if any(wanted in name for name in _names(language))]
    fitting.sort(key=lambda language: not any(name.startswith(wanted) for name in _names(language)))
    return [language_name(language).capitalize() for language in fitting]


def _names(language: str) -> list[str]:
    return [name.casefold() for name in (language_name(language), *_ALSO.get(language, ()))]


def _languages() -> list[str]:
    from bot.memory.bm25 import languages

    return sorted(languages(), key=lambda language: language != SEVERAL)
