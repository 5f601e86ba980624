"""Which language model the settings name. Each client is imported where it is wanted: the others cost no memory."""

from collections.abc import Callable
from datetime import datetime

from bot.errors import SettingsError
from bot.extraction.fallback import FallbackLLM
from bot.extraction.llm import LLM, NAMES
from bot.extraction.seldom import SeldomProbed
from bot.model import utcnow
from bot.settings import Settings
from bot.storage.breaker import Breakers
from bot.storage.state import StateStore

_NO_ANTHROPIC = (
    "Extraction with Anthropic needs its client: in the checkout, run `pip install '.[anthropic]'`, or build the image "
    "with EXTRAS=anthropic."
)


def open_provider(settings: Settings, provider: str) -> LLM:
    """The model of one provider, whether or not it is the one in use.

    Raises `SettingsError` if its client is not installed.
    """
    if provider == "anthropic":
        try:
            from bot.extraction.anthropic import AnthropicLLM
        except ImportError as error:
            raise SettingsError(_NO_ANTHROPIC) from error
        return AnthropicLLM(settings.anthropic)
    if provider == "openai":
        from bot.extraction.openai import openai_llm

        return openai_llm(settings.openai)
    if provider == "compatible":
        from bot.extraction.openai import compatible_llm

        return compatible_llm(settings.compatible)
    from bot.extraction.ollama import OllamaLLM

    return OllamaLLM(settings.ollama)


def open_llm(
    settings: Settings,
    breakers: Breakers | None = None,
    state: StateStore | None = None,
    clock: Callable[[], datetime] = utcnow,
    watch: Callable[[LLM], LLM] = lambda llm: llm,
) -> LLM:
    """The configured model, with `extraction.fallback` behind it where there is one.

    Without `breakers` and `state`, in which the fallback remembers, it is the model alone. Raises `SettingsError`.
    """
    extraction = settings.extraction
    llm = watch(_probed(open_provider(settings, extraction.provider), clock))
    if not extraction.fallback or breakers is None or state is None:
        return llm
    other = watch(_probed(open_provider(settings, extraction.fallback), clock))
    return FallbackLLM(
        llm,
        other,
        breakers.of(llm.name),
        state,
        extraction.fallback_after,
        extraction.fallback_daily_tokens,
        clock,
    )


def _probed(llm: LLM, clock: Callable[[], datetime]) -> LLM:
    return llm if llm.name == NAMES["ollama"] else SeldomProbed(llm, clock)


def llm_name(settings: Settings) -> str:
    """The name of the configured model's service for people, its fallback aside: people's questions never go there."""
    return NAMES[settings.extraction.provider]
