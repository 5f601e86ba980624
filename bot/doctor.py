"""`recollect doctor`: every room's checks of one deployment, whether or not its bot runs."""

import asyncio
from collections.abc import Awaitable, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from bot.capture.doctor import DISCORD, check_discord
from bot.checks import Check, Verdict, bounded, failed, passed, told
from bot.core import open_index
from bot.errors import DataFolderError, NotRunning, RecollectError, SettingsError
from bot.extraction import doctor as extraction
from bot.extraction.ollama import OllamaLLM
from bot.extraction.providers import open_provider
from bot.memory import doctor as memory
from bot.memory.embeddings import open_embedder
from bot.settings import Settings, shown_url
from bot.settings_sources import load, secret_files
from bot.storage.doctor import Found, check_engine, held, in_use, read_database
from bot.upkeep import doctor as machine
from bot.upkeep.restore import INDEX
from bot.web.control import SOCKET, call

SETTINGS = "Settings"
_DISCORD_SECONDS = 9.0  # two steps, each within `PATIENCE`
_CORRECT = "Correct it and run this again; config.example.toml explains every setting."
_START_IT = "Start it, or correct its address in the settings."

Checks = Sequence[Check]


async def examine(config: Path | None) -> list[Check]:
    """Every check of the deployment whose settings these are. Raises nothing: what goes wrong is a row."""
    program = [machine.check_program(version("recollect")), check_engine()]
    try:
        settings, secrets = load(config), secret_files(config)
    except SettingsError as error:
        return [failed(SETTINGS, str(error), _CORRECT), *program]
    folder = settings.storage.path
    running = in_use(folder)
    database = await asyncio.to_thread(read_database, folder)
    groups: list[Awaitable[Checks]] = [
        bounded("Machine", _check_machine(settings, secrets, database), "Look at the disk: it does not answer."),
        bounded(machine.PORT, _check_port(settings, running), "Free the port or set web.port to another."),
        bounded(DISCORD, check_discord(settings, database.observed), "See the log.", _DISCORD_SECONDS),
        bounded(
            extraction.EXTRACTION, _check_extraction(settings), "Start it, or correct its address in the settings."
        ),
        bounded(memory.EMBEDDER, _check_embedder(settings), "Start it, or correct its address in the settings."),
        bounded(memory.INDEX, _check_index(settings, running), "Look at the disk and at what Qdrant logs."),
    ]
    found = await asyncio.gather(*groups)
    return [passed(SETTINGS, _told_of(settings)), *program, *chain.from_iterable(found)]


def _told_of(settings: Settings) -> str:
    index = shown_url(settings.qdrant.url) if settings.qdrant.url else "embedded"
    return f"index {index}, embeddings by {settings.embedding_model.provider}, facts by {settings.extraction.provider}"


async def _check_machine(settings: Settings, secrets: Sequence[Path], database: Found) -> Checks:
    def look() -> Checks:
        folder = settings.storage.path
        return [
            machine.check_folder(folder),
            machine.check_disk(folder),
            database.check,
            machine.check_journal(settings.journal_path),
            machine.check_secrets(secrets, folder),
        ]

    return await asyncio.to_thread(look)


async def _check_port(settings: Settings, running: bool) -> Checks:
    return [await machine.check_port(settings.web.host, settings.web.port, running)]


async def _check_extraction(settings: Settings) -> Checks:
    """Whoever reads conversations, and whoever takes over for them."""
    providers = [settings.extraction.provider, settings.extraction.fallback]
    return [check for one in providers if one for check in await _check_provider(settings, one)]


async def _check_provider(settings: Settings, provider: str) -> Checks:
    try:
        llm = open_provider(settings, provider)
    except SettingsError as error:
        return [told(extraction.EXTRACTION, Verdict.FAIL, str(error), _CORRECT)]
    try:
        answers = await extraction.check_llm(llm, provider)
        if answers.verdict is not Verdict.PASS or not isinstance(llm, OllamaLLM):
            return [answers]
        return [answers, await extraction.check_context(llm, settings)]
    finally:
        await llm.close()


async def _check_embedder(settings: Settings) -> Checks:
    try:
        embedder = open_embedder(settings)
    except SettingsError as error:
        return [told(memory.EMBEDDER, Verdict.FAIL, str(error), _CORRECT)]
    try:
        return [await memory.check_embedder(embedder, settings.embedding_model)]
    finally:
        if embedder is not None:
            await embedder.close()


def _start_embedder(settings: Settings) -> str:
    if settings.embedding.provider == "fastembed":
        return "Start the bot: it loads the model's files, which takes a while once; or name fastembed.folder."
    return _START_IT


async def _check_index(settings: Settings, running: bool) -> Checks:
    """A server is asked by us; a folder by the bot that has it open, and by us if there is none."""
    folder = settings.storage.path / INDEX
    if settings.qdrant.url:
        return await memory.check_server(settings, open_index(settings, folder))
    if running:
        return await _ask_the_bot(settings.storage.path)
    if not folder.is_dir():
        return [memory.none_yet(folder)]
    try:
        with held(settings.storage.path):
            return await memory.check_embedded(open_index(settings, folder))
    except DataFolderError:  # a bot was started meanwhile
        return [memory.unasked(settings.storage.path)]


async def _ask_the_bot(folder: Path) -> Checks:
    try:
        answer = await call(folder / SOCKET, "count", {}, lambda *_: None)
    except NotRunning:
        return [memory.unasked(folder)]
    except RecollectError as error:
        return [memory.broken(error)]
    return memory.check_points({row["guild"]: row["points"] for row in answer["points"]})
