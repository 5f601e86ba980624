"""What several rooms need of members' text: graphemes, piles of marks, custom emoji, scripts without spaces."""

import re
from collections.abc import Callable, Iterator

import regex

# regex would hand on the GIL at every match, and beside a busy thread wait a millisecond to have it back: not for
# texts as short as these. So each call says `concurrent=False`.
_RUN_WITHOUT_SPACES = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー]+"
)
_GRAPHEME = regex.compile(r"\X")
_STACKED_MARKS = regex.compile(r"(\p{M}{4})\p{M}+")  # no script needs more than four on one letter
_CUSTOM_EMOJI = re.compile(r"<a?(:\w+:)\d+>")
_LONGEST_CLUSTER = 32  # code points; the longest emoji in use have ten


def graphemes(text: str) -> Iterator[str]:
    """What readers see as one character each; one of absurd length (joiners without end) is split."""
    for match in _GRAPHEME.finditer(text, concurrent=False):
        for start in range(0, len(match[0]), _LONGEST_CLUSTER):
            yield match[0][start : start + _LONGEST_CLUSTER]


def without_piles(text: str) -> str:
    """Without combining marks stacked higher than any script stacks them."""
    return str(_STACKED_MARKS.sub(r"\1", text, concurrent=False))


def with_named_emoji(text: str) -> str:
    """With `:name:` in place of each custom emoji."""
    return _CUSTOM_EMOJI.sub(r"\1", text)


def runs_without_spaces(text: str) -> list[str]:
    """Each several words in a script that sets none apart, or hangs particles on them."""
    return list(_RUN_WITHOUT_SPACES.findall(text, concurrent=False))


def with_runs_as(shown: Callable[[str], str], text: str) -> str:
    """With something else in place of each of the `runs_without_spaces`."""
    return str(_RUN_WITHOUT_SPACES.sub(lambda run: shown(run[0]), text, concurrent=False))
