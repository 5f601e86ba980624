"""Why a memory was found, in words that need no knowledge of how recall works."""

from bot.commands.text import dated, escaped
from bot.model import Hit, Memory

NAME_UNITS = 40
_MOST = 10  # with the longest names they fill half of a field's 1,024
_WEAKEST = 0.005  # what rounds to 0.00 explains nothing

_SHARES = {
    "dense": "meaning",
    "bm25": "words",
    "dense_window": "its surroundings (meaning)",
    "bm25_window": "its surroundings (words)",
}
_REASONS = {
    "keyword": "words",
    "session": "part of a conversation that fits",
    "entity": "shares a name with a memory that fits",
    "substance": "says much",
    "importance": "important",
    "recency": "recent",
}


def why(hit: Hit) -> str:
    """What a hit was found by, strongest first: `meaning 0.92 · words 0.61 · you name Ana`; empty if nobody knows."""
    telling = {signal: share for signal, share in hit.signals.items() if share >= _WEAKEST}
    strongest = sorted(telling or hit.signals, key=lambda signal: -hit.signals[signal])[:_MOST]
    return " · ".join(_reason(signal, hit.signals[signal], hit.memory) for signal in strongest)


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
