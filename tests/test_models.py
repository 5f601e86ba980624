"""`recollect models try`: the command as shipped, and its table."""

import json
import os
from pathlib import Path

import pytest
from processes import recollect

from bot.cli.models import model_of, show_trial, with_model
from bot.extraction.trial import Score, Trial, Tried
from bot.sandbox.ollama import OllamaServer
from bot.settings import Settings


async def test_a_model_is_tried_from_the_command_line(tmp_path: Path) -> None:
    """Another model than the configured one, as JSON; nothing is left in any folder."""
    async with OllamaServer(models=["qwen3:4b"]) as server:
        arguments = ("models", "try", "--model", "qwen3:4b", "--json")
        code, out, err = await recollect(tmp_path, *arguments, BOT_OLLAMA__URL=server.url)
    assert (code, err) == (0, "")
    trial = json.loads(out)
    assert trial["model"] == "qwen3:4b (Ollama)"
    assert trial["attribution_precision"] == 1.0 and trial["recall"] > 0.3
    assert len(trial["windows"]) == server.calls
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("provider", ["ollama", "openai", "anthropic", "compatible"])
def test_the_model_to_try_may_be_any_of_the_provider(provider: str) -> None:
    """The setting it stands for is the provider's own; without one it is the configured model."""
    compatible = {"base_url": "http://vllm:8000/v1", "model": "qwen3"}
    settings = Settings.model_validate({"extraction": {"provider": provider}, "compatible": compatible})
    assert with_model(settings, None) is settings
    other = with_model(settings, "other")
    assert model_of(other) == "other" != model_of(settings)
    assert other.model_dump(exclude={provider}) == settings.model_dump(exclude={provider})


def test_the_table_tells_each_conversation_and_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readable in 110 columns, with the advice below."""
    monkeypatch.setenv("COLUMNS", "110")
    windows = (
        Tried("Bees", Score(2, 1, 3, 1, 2, 2), 1, 1, 2.0, 400, 80),
        Tried("Wasps", Score(2, 2, 1, 0, 2, 2), 2, 1, 4.0, 800, 160),
        Tried("Hornets", Score(1, 0, 1, 0, 0, 0), 2, 0, 2.0, 400, 60),
    )
    show_trial(Trial("llama (Ollama)", windows))
    told = capsys.readouterr().out
    for words in (
        "llama (Ollama)",
        "1 of 2",
        "2 of 3",
        "valid at last",
        "not valid",
        "60% of 5",
        "100% of 4",
        "40% valid",
    ):
        assert words in told
    assert "1,600 tokens read, 300 tokens written, 38 written a second." in told
    assert "Choose another model: 60% of its answers" in told
