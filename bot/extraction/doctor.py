"""Checks of whoever reads conversations."""

from bot.checks import Check, Verdict, failed, passed, told
from bot.errors import LLMUnavailable
from bot.extraction.llm import LLM
from bot.extraction.ollama import OllamaLLM
from bot.settings import Settings

CONTEXT = "Context size"

_OLLAMA_FIX = "Start Ollama (`ollama serve`), or set ollama.url to where it listens."
_FIX = "Correct the address, the key and the model under [{}] in the settings."


def start_it(provider: str) -> str:
    """What to do when it does not answer."""
    return _OLLAMA_FIX if provider == "ollama" else _FIX.format(provider)


async def check_llm(llm: LLM, provider: str) -> Check:
    """Whether a question would be answered now."""
    health = await llm.health()
    if health.ok:
        return passed(llm.name, health.detail)
    return told(llm.name, Verdict.FAIL, health.detail, start_it(provider))


async def check_context(llm: OllamaLLM, settings: Settings) -> Check:
    """Whether the model was made for prompts as long as the settings allow."""
    ollama, window = settings.ollama, settings.batch.window_tokens
    try:
        context = await llm.context()
    except LLMUnavailable as error:
        return told(CONTEXT, Verdict.FAIL, str(error), _OLLAMA_FIX)
    asked = f"ollama.num_ctx asks for {ollama.num_ctx:,} tokens, a window takes {window:,}"
    if context is None:
        return passed(CONTEXT, f"{asked}; {ollama.model} does not say how many it reads")
    if context >= ollama.num_ctx:
        return passed(CONTEXT, f"{asked}; {ollama.model} reads {context:,}")
    return failed(
        CONTEXT,
        f"{ollama.model} reads {context:,} tokens at most, but {asked}",
        f"Set ollama.num_ctx to {context} or less and batch.window_tokens to at most half of it,"
        " or choose a model with a larger context.",
    )
