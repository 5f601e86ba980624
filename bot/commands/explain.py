"""Why a memory was found, in words that need no knowledge of how recall works."""

from bot.commands.text import dated, escaped
from bot.memory import boosts
from bot.model import Hit, Memory

NAME_UNITS = 40
_MOST = 10  # with the longest names they fill half of a field's 1,024
_WEAKEST = 0.005  # what rounds to 0.00 explains nothing
_TELLING = 0.5  # of a boost's weight: nearly every memory says something and is of some importance

_SHARES = {
    "dense": "meaning",
    "bm25": "words",
    "dense_window": "the talk around it (meaning)",
    "bm25_window": "the talk around it (words)",
}
_REASONS = {
    "keyword": "words",
    "session": "part of a conversation that fits",
    "substance": "more than a few words",
    "importance": "important",
    "recency": "recent",
}
_WEIGHTS = {
    "date": boosts.DATE,
    "session": boosts.SESSION,
    "substance": boosts.SUBSTANCE,
    "importance": boosts.IMPORTANCE,
    "recency": boosts.RECENCY,
}
_STEPPED_BACK = "ranked lower: said right after another match"


def why(hit: Hit) -> str:
    """What a hit was found by, strongest first: `meaning 0.92 · words 0.61 · you name Ana`; empty if nobody knows.

    What held it back comes last.
    """
    found = {signal: share for signal, share in hit.signals.items() if share >= 0}
    telling = {signal: share for signal, share in found.items() if share >= _least(signal)}
    strongest = sorted(telling or found, key=lambda signal: -found[signal])[:_MOST]
    reasons = [_reason(signal, found[signal], hit.memory) for signal in strongest]
    if hit.signals.get("reaction", 0.0) <= -_WEAKEST:
        reasons.append(_STEPPED_BACK)
    return " · ".join(reasons)


def _least(signal: str) -> float:
    """The smallest share worth telling."""
    return max(_WEAKEST, _TELLING * _WEIGHTS.get(signal, 0.0))


def _reason(signal: str, share: float, memory: Memory) -> str:
    match signal:
        case "speaker":
            return f"you name {escaped(' '.join(memory.speaker_name.split()), NAME_UNITS) or 'who said it'}"
        case "date":
            return f"said {dated(memory.said_at)}, near the time you name"
        case _ if reason := _REASONS.get(signal):
            return reason
        case _:
            name = _SHARES.get(signal) or escaped(signal.replace("_", " "), NAME_UNITS)
            return f"{name} {share:.2f}"
