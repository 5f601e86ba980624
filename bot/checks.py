"""What `recollect doctor` finds out, one row a check, each with the fix. A room's own checks are in its `doctor.py`."""

import asyncio
import traceback
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum

import structlog

PATIENCE = 4.0  # seconds that one check has

log = structlog.get_logger(__name__)


class Verdict(StrEnum):
    """A warning is worth knowing and does not keep the bot from its work; a failure does."""

    PASS = "pass"  # noqa: S105  (a verdict, no password)
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found, and what to do about it (empty when all is well)."""

    name: str
    verdict: Verdict
    detail: str
    fix: str = ""


def passed(name: str, detail: str) -> Check:
    """All is well."""
    return Check(name, Verdict.PASS, detail)


def warned(name: str, detail: str, fix: str) -> Check:
    """Worth knowing."""
    return Check(name, Verdict.WARN, detail, fix)


def failed(name: str, detail: str, fix: str) -> Check:
    """To be mended."""
    return Check(name, Verdict.FAIL, detail, fix)


def told(name: str, verdict: Verdict, sentence: str, otherwise: str) -> Check:
    """A check from a sentence such as "what is wrong: what to do."; without the latter `otherwise` is to be done."""
    detail, _, fix = sentence.removesuffix(".").partition(": ")
    return Check(name, verdict, detail, f"{fix[0].upper()}{fix[1:]}." if fix else otherwise)


def unchecked(name: str, waits_for: str) -> Check:
    """A check for which another one has to pass first."""
    return warned(name, "not checked", f"Mend “{waits_for}” first, then run this again.")


def bounded(
    name: str, checking: Awaitable[Sequence[Check]], fix: str, seconds: float = PATIENCE
) -> Coroutine[None, None, Sequence[Check]]:
    """What comes of some checks; one failure with this fix if they take too long or break down themselves.

    They begin at once, so that none is left without ever having been awaited if the examination is stopped.
    """
    return _bounded(name, asyncio.ensure_future(checking), fix, seconds)


async def _bounded(name: str, checking: Awaitable[Sequence[Check]], fix: str, seconds: float) -> Sequence[Check]:
    try:
        async with asyncio.timeout(seconds):
            return await checking
    except TimeoutError:
        return [failed(name, f"no answer within {seconds:g} seconds", fix)]
    except Exception as error:  # its words may quote an address or a key
        stack = "".join(traceback.format_tb(error.__traceback__))
        log.error("check_failed", check=name, error=type(error).__name__, stack=stack)
        return [failed(name, f"the check broke down ({type(error).__name__})", fix)]
