"""A language model's words shown as they come, about once a second."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from time import monotonic

import discord
import structlog

from bot.commands.replies import UNREACHABLE
from bot.errors import AnswerTooLong, LLMUnavailable
from bot.extraction.questions import Questions

LONGEST_SECONDS = 240.0
"""How long a question waits for its turn and its answer in all, so that the buttons below it live within its token."""
EVERY_SECONDS = 1.1  # Discord takes five edits in five seconds

log = structlog.get_logger(__name__)


async def streamed(
    questions: Questions, system: str, prompt: str, max_tokens: int, progress: Callable[[str], Awaitable[bool]]
) -> str:
    """The model's words; `progress` is told those so far, and says whether there was anything in them to show.

    A model that has more to say than it may has said enough. A progress that Discord does not take is followed by
    more soon, unless nothing is left to show it in (`discord.NotFound`). Raises `LLMUnavailable` and `AnswerRejected`.
    """
    text, shown_at = "", monotonic() - EVERY_SECONDS
    try:
        async with asyncio.timeout(LONGEST_SECONDS), aclosing(questions.stream(system, prompt, max_tokens)) as pieces:
            async for piece in pieces:
                text += piece
                if monotonic() - shown_at >= EVERY_SECONDS and await _taken(progress(text)):
                    shown_at = monotonic()
    except TimeoutError:
        raise LLMUnavailable("The language model takes too long right now.") from None
    except AnswerTooLong:
        text += "…"
    return text


async def _taken(showing: Awaitable[bool]) -> bool:
    try:
        return await showing
    except discord.NotFound:
        raise
    except UNREACHABLE as error:
        log.debug("progress_unshown", error=type(error).__name__)
        return True
