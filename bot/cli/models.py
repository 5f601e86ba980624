"""`recollect models`: which language model to choose."""

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.cli.common import AsJson, Config, cli, configured, counted, progress_bars, told_when_stopped
from bot.model import Report
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.extraction.trial import Trial

models = typer.Typer(help="Language models: try one before you trust it with a server.")
cli.add_typer(models, name="models", no_args_is_help=True)

_MODEL_SETTINGS = {"openai": "chat_model"}  # "model" with the others


@models.callback()
def _group() -> None:
    """Language models: try one before you trust it with a server."""


@models.command("try", short_help="Have the configured model read invented conversations.")
def try_model(
    model: Annotated[
        str | None, typer.Option(help="Another model of the configured provider.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Have the configured language model read a set of invented conversations, and say how well it did.

    Nothing of any server is read or kept. It takes a minute or two on a GPU, and far longer without one.
    """
    settings = with_model(configured(config), model)
    with told_when_stopped(), progress_bars() as report:
        trial = asyncio.run(_tried(settings, report))
    if as_json:
        print(json.dumps(_summary(trial)))
    else:
        show_trial(trial)


def with_model(settings: Settings, model: str | None) -> Settings:
    """The settings with another model of the configured provider, if one is named."""
    if model is None:
        return settings
    provider = settings.extraction.provider
    section = getattr(settings, provider).model_copy(update={_MODEL_SETTINGS.get(provider, "model"): model})
    return settings.model_copy(update={provider: section})


def model_of(settings: Settings) -> str:
    """The model the configured provider is asked for."""
    provider = settings.extraction.provider
    name: str = getattr(getattr(settings, provider), _MODEL_SETTINGS.get(provider, "model"))
    return name


async def _tried(settings: Settings, report: Report) -> "Trial":
    from bot.extraction.golden import golden_set
    from bot.extraction.providers import llm_name, open_llm
    from bot.extraction.trial import run

    llm, name = open_llm(settings), f"{model_of(settings)} ({llm_name(settings)})"
    try:
        return await run(llm, name, golden_set(), settings.batch.window_tokens, report)
    finally:
        await llm.close()


def _summary(trial: "Trial") -> dict[str, Any]:
    from bot.extraction.trial import advice

    return {
        "model": trial.model,
        "attribution_precision": round(trial.precision, 4),
        "recall": round(trial.recall, 4),
        "traps_avoided": round(trial.traps_avoided, 4),
        "valid_answers": round(trial.valid, 4),
        "seconds_per_window": round(trial.seconds, 3),
        "tokens_per_second": round(trial.tokens_per_second, 1),
        "prompt_tokens": trial.prompt_tokens,
        "answer_tokens": trial.answer_tokens,
        "advice": advice(trial),
        "windows": [
            {
                "name": one.name,
                "expected": one.score.expected,
                "found": one.score.found,
                "traps": one.score.traps,
                "fallen": one.score.fallen,
                "attributed": one.score.attributed,
                "right": one.score.right,
                "unlabelled": one.score.unlabelled,
                "asked": one.asked,
                "valid": one.valid,
                "seconds": round(one.seconds, 3),
            }
            for one in trial.windows
        ],
    }


def show_trial(trial: "Trial") -> None:
    """Print a trial as a table, with the advice below it."""
    from rich.console import Console
    from rich.table import Table

    from bot.extraction.trial import advice

    table = Table(
        "Conversation", "Facts found", "Right person", "Traps avoided", "Answer", "Seconds", title=trial.model
    )
    for one in trial.windows:
        score = one.score
        table.add_row(
            one.name,
            _of(score.found, score.expected),
            _of(score.right, score.attributed),
            _of(score.traps - score.fallen, score.traps),
            ("valid" if one.asked == 1 else "valid at last") if one.valid else "not valid",
            f"{one.seconds:.1f}",
        )
    facts, traps = trial.total(lambda score: score.expected), trial.total(lambda score: score.traps)
    table.add_section()
    table.add_row(
        "All",
        f"{trial.recall:.0%} of {facts}",
        f"{trial.precision:.0%} of {trial.total(lambda score: score.attributed)}",
        f"{trial.traps_avoided:.0%} of {traps}",
        f"{trial.valid:.0%} valid",
        f"{trial.seconds:.1f}",
    )
    console = Console()
    console.print(table)
    read, written = counted(trial.prompt_tokens, "token"), counted(trial.answer_tokens, "token")
    console.print(
        f"{read} read, {written} written, {trial.tokens_per_second:,.0f} written a second.",
        highlight=False,
        soft_wrap=True,
    )
    console.print(advice(trial), highlight=False, soft_wrap=True)


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole}" if whole else "-"
