"""The rows of `recollect doctor`, and what becomes of a check that hangs or breaks down."""

import asyncio
import gc
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from bot.checks import Check, Verdict, bounded, passed, told

KEY = "sk-secret"


async def hang() -> Sequence[Check]:
    await asyncio.Event().wait()
    return []


async def break_down() -> Sequence[Check]:
    raise ValueError(f"the key is {KEY}")


async def answer() -> Sequence[Check]:
    return [passed("Disk", "there is one")]


async def test_a_check_that_hangs_is_a_failure_with_its_fix() -> None:
    """It is cancelled when its time is over."""
    [check] = await bounded("Disk", hang(), "Plug it in.", seconds=0.01)
    assert check == Check("Disk", Verdict.FAIL, "no answer within 0.01 seconds", "Plug it in.")


async def test_a_check_that_breaks_down_is_a_failure_that_quotes_nothing() -> None:
    """Neither the row nor the log has the words of the exception, which may quote a key."""
    with capture_logs() as logs:
        [check] = await bounded("Disk", break_down(), "Plug it in.")
    assert (check.verdict, check.detail) == (Verdict.FAIL, "the check broke down (ValueError)")
    assert "break_down" in logs[0]["stack"]
    assert KEY not in str(logs)
    assert await bounded("Disk", answer(), "Plug it in.") == [passed("Disk", "there is one")]


async def test_checks_that_are_stopped_before_they_begin_leave_no_warning() -> None:
    """After Ctrl-C nothing is said of coroutines that nobody awaited: here a warning is an error."""
    examination = asyncio.create_task(bounded("Disk", hang(), "Plug it in."))
    examination.cancel()
    with pytest.raises(asyncio.CancelledError):
        await examination
    gc.collect()


@pytest.mark.parametrize(
    ("sentence", "detail", "fix"),
    [
        ("There is no model: run `ollama pull x`.", "There is no model", "Run `ollama pull x`."),
        ("http://127.0.0.1:9 is down", "http://127.0.0.1:9 is down", "Start it."),
    ],
)
def test_a_sentence_becomes_what_is_wrong_and_what_to_do(sentence: str, detail: str, fix: str) -> None:
    """Our errors say both, in this order; where one says only the first, the check knows the second."""
    assert told("Model", Verdict.FAIL, sentence, "Start it.") == Check("Model", Verdict.FAIL, detail, fix)
