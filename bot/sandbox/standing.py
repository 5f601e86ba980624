"""`recollect sandbox`: the stand-ins by themselves, for a bot that somebody starts, stops and breaks by hand."""

import asyncio
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

from bot.sandbox.discord import DiscordServer
from bot.sandbox.discord.load import Crowd
from bot.sandbox.ollama import MODEL, OllamaServer
from bot.sandbox.openai import OpenAIServer

_EMBEDS = "nomic-embed-text"
_KEY = "sk-sandbox"
_PAUSE = 5.0  # seconds between two messages


async def stand_in(tell: Callable[[str], None]) -> None:
    """Play Discord, Ollama and OpenAI on 127.0.0.1 until cancelled; `tell` is given the lines that lead a bot there.

    Its data goes into a folder that is removed at the end, so that nobody mixes it with what they hold.
    """
    with tempfile.TemporaryDirectory(prefix="recollect-sandbox-") as folder:
        async with (
            DiscordServer() as discord,
            OllamaServer(models=(MODEL, _EMBEDS)) as ollama,
            OpenAIServer(api_key=_KEY) as openai,
        ):
            crowd = Crowd(discord.world, channels=2)
            variables = {
                "BOT_STORAGE__PATH": str(Path(folder) / "data"),
                "DISCORD_TOKEN": discord.token,
                "BOT_DISCORD__API_URL": discord.api_url,
                "BOT_DISCORD__GATEWAY_URL": discord.gateway_url,
                "BOT_DISCORD__OBSERVE": str([channel.id for channel in crowd.channels]),
                "BOT_OLLAMA__URL": ollama.url,
                "OPENAI_API_KEY": _KEY,
                "BOT_OPENAI__BASE_URL": openai.url,
            }
            tell("# Until Ctrl-C, Discord, Ollama and OpenAI are played here. In another terminal:")
            for name, value in variables.items():
                tell(f"export {name}={shlex.quote(value)}")
            tell("# Then: recollect doctor, recollect run. In two channels somebody says something every few seconds.")
            while True:
                crowd.speak()
                await asyncio.sleep(_PAUSE)
