"""`recollect doctor`: every room's checks of one deployment, whether or not its bot runs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from bot.capture.doctor import DISCORD, check_discord
from bot.checks import PATIENCE, Check, Verdict, bounded, failed, passed, told
from bot.core import open_index
from bot.errors import DataFolderError, NotRunning, RecollectError, SettingsError
from bot.extraction import doctor as extraction
from bot.extraction.llm import NAMES
from bot.extraction.loaded import LoadedModels
from bot.extraction.ollama import OllamaLLM
from bot.extraction.providers import open_provider
from bot.memory import doctor as memory
from bot.memory.bm25 import Bm25
from bot.memory.embeddings import open_embedder
from bot.outside import in_house
from bot.settings import Settings, shown_url
from bot.settings_sources import load, secret_files
from bot.storage.doctor import DATABASE, Found, check_engine, held, in_use, read_database
from bot.upkeep import doctor as machine
from bot.upkeep.restore import INDEX
from bot.web.control import SOCKET, call

SETTINGS = "Settings"
_DISCORD_SECONDS = 8.0  # it has two steps, each with a limit of its own
_CORRECT = "Correct it and run this again; config.example.toml explains every setting."

Checks = Sequence[Check]


async def examine(config: Path | None) -> list[Check]:
    """Every check of the deployment whose settings these are. Raises nothing: what goes wrong is a row."""
    program = [machine.check_program(version("recollect")), check_engine()]
    try:
        settings, secrets = load(config), secret_files(config)
        Bm25(settings.recall.language)  # the start refuses an unknown one
    except SettingsError as error:
        return [failed(SETTINGS, str(error), _CORRECT), *program]
    folder = settings.storage.path
    running = in_use(folder)
    database = await asyncio.to_thread(read_database, folder)
    groups: list[Awaitable[Checks]] = [
        *_check_machine(settings, secrets, database),
        bounded(machine.PORT, _check_port(settings, running), "Free the port or set web.port to another."),
        bounded(DISCORD, check_discord(settings, database.observed), "Try again later.", _DISCORD_SECONDS),
        *(
            bounded(NAMES[provider], _check_provider(settings, provider), extraction.start_it(provider))
            for provider in (settings.extraction.provider, settings.extraction.fallback)
            if provider
        ),
        bounded(
            memory.EMBEDDER,
            _check_embedder(settings),
            _start_embedder(settings),
            memory.patience(settings.embedding_model) + PATIENCE,
        ),
        bounded(memory.INDEX, _check_index(settings, running), _start_index(settings)),
    ]
    found = await asyncio.gather(*groups)
    return [passed(SETTINGS, _told_of(settings)), *program, *chain.from_iterable(found)]


def _told_of(settings: Settings) -> str:
    index = shown_url(settings.qdrant.url) if settings.qdrant.url else "embedded"
    return f"index {index}, embeddings by {settings.embedding_model.provider}, facts by {settings.extraction.provider}"


def _check_machine(settings: Settings, secrets: Sequence[Path], database: Found) -> list[Awaitable[Checks]]:
    folder = settings.storage.path
    urls = {
        "discord.api_url": settings.discord.api_url,
        "discord.gateway_url": settings.discord.gateway_url,
        "ollama.url": settings.ollama.url,
        "openai.base_url": settings.openai.base_url,
        "voyage.base_url": settings.voyage.base_url,
        "anthropic.base_url": settings.anthropic.base_url,
        "compatible.base_url": settings.compatible.base_url,
        "qdrant.url": settings.qdrant.url,
    }
    looks: dict[str, Callable[[], Check]] = {
        machine.FOLDER: lambda: machine.check_folder(folder),
        machine.DISK: lambda: machine.check_disk(folder),
        DATABASE: lambda: database.check,
        machine.JOURNAL: lambda: machine.check_journal(settings.journal_path),
        machine.SECRETS: lambda: machine.check_secrets(secrets, folder),
        machine.ENCRYPTION: lambda: machine.check_encryption(urls, in_house),
    }

    async def look(at: Callable[[], Check]) -> Checks:
        return [await asyncio.to_thread(at)]

    return [bounded(name, look(at), "Look at the disk, and at who may read the folder.") for name, at in looks.items()]


async def _check_port(settings: Settings, running: bool) -> Checks:
    return [await machine.check_port(settings.web.host, settings.web.port, running)]


async def _check_provider(settings: Settings, provider: str) -> Checks:
    """Whoever reads conversations, or takes over for them."""
    try:
        llm = open_provider(settings, provider)
    except SettingsError as error:
        return [told(NAMES[provider], Verdict.FAIL, str(error), _CORRECT)]
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
        answers = partial(_ollama_answers, settings)
        return [await memory.check_embedder(embedder, settings.embedding_model, answers)]
    finally:
        if embedder is not None:
            await embedder.close()


async def _ollama_answers(settings: Settings) -> bool:
    models = LoadedModels(settings, lambda: settings.embedding_model)
    try:
        return await models.look() is not None
    finally:
        await models.close()


def _start_embedder(settings: Settings) -> str:
    if settings.embedding.provider == "fastembed":
        return "Start the bot: it loads the model's files, which takes a while once; or name fastembed.folder."
    return f"Let this machine reach it, or correct its address under [{settings.embedding.provider}] in the settings."


async def _check_index(settings: Settings, running: bool) -> Checks:
    """A server is asked by us; a folder by the bot that has it open, and by us if there is none."""
    folder = settings.storage.path / INDEX
    if settings.qdrant.url:
        return await memory.check_server(settings, open_index(settings, folder))
    if running:
        return await _ask_the_bot(settings.storage.path)
    try:
        if not folder.is_dir():
            return [memory.none_yet(folder)]
        with held(settings.storage.path):
            return await memory.check_embedded(open_index(settings, folder))
    except DataFolderError:  # a bot was started meanwhile
        return [memory.unasked(settings.storage.path)]
    except OSError as error:
        return [memory.unreadable(folder, error)]


def _start_index(settings: Settings) -> str:
    if settings.qdrant.url:
        return f"Start Qdrant, or set qdrant.url to where it listens, not {shown_url(settings.qdrant.url)}."
    return "Look at the disk: it is slow. What is too large for it belongs on a Qdrant server."


async def _ask_the_bot(folder: Path) -> Checks:
    try:
        answer = await call(folder / SOCKET, "count", {}, lambda *_: None)
    except NotRunning:
        return [memory.unasked(folder)]
    except RecollectError as error:
        return [memory.broken(error)]
    return memory.check_points({row["guild"]: row["points"] for row in answer["points"]})
