"""A trial of a language model on the golden set, with the prompt and the check of its answers that the bot uses."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from bot.errors import AnswerRejected
from bot.extraction.answer import Checked, check
from bot.extraction.golden import Golden
from bot.extraction.llm import LLM, ChatAnswer
from bot.extraction.prompt import build
from bot.model import Fact, Report

_ATTEMPTS = 2  # as many as the bot makes before it tries a smaller window
_MISATTRIBUTED = ("unknown source", "foreign subject", "about someone else", "not in their own words")
_GOOD = 0.9
_PASSABLE = 0.75
_ENOUGH = 0.5
_SLOW = 120.0  # seconds: 1,000 messages are some twenty windows, which would take most of an hour


@dataclass(frozen=True, slots=True)
class Score:
    """What came of one conversation: labels met, and whom the facts were said to be about.

    `attributed` are the facts that rest on a labelled line, and those the check refused for whom they were said to be
    about; of these `right` are about whom the label says.
    """

    expected: int = 0
    found: int = 0
    traps: int = 0
    fallen: int = 0
    attributed: int = 0
    right: int = 0
    unlabelled: int = 0


@dataclass(frozen=True, slots=True)
class Tried:
    """One conversation of the trial: its score, and what asking took. `valid` of `asked` answers fit the schema."""

    name: str
    score: Score
    asked: int
    valid: int
    seconds: float
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A whole trial; shares lie in [0, 1], and are 0 where there was nothing to share."""

    model: str
    windows: Sequence[Tried] = field(default_factory=tuple)

    def total(self, count: Callable[[Score], int]) -> int:
        """A count of all conversations."""
        return sum(count(one.score) for one in self.windows)

    @property
    def precision(self) -> float:
        """Of the facts whose subject is known, those about the right one."""
        return _share(self.total(lambda score: score.right), self.total(lambda score: score.attributed))

    @property
    def recall(self) -> float:
        """Of the golden facts, those found."""
        return _share(self.total(lambda score: score.found), self.total(lambda score: score.expected))

    @property
    def traps_avoided(self) -> float:
        """Of the traps, those not fallen into."""
        traps = self.total(lambda score: score.traps)
        return _share(traps - self.total(lambda score: score.fallen), traps)

    @property
    def valid(self) -> float:
        """Of the answers, those that fit the schema."""
        return _share(sum(one.valid for one in self.windows), sum(one.asked for one in self.windows))

    @property
    def seconds(self) -> float:
        """Seconds for a conversation, on average."""
        return _share(sum(one.seconds for one in self.windows), len(self.windows))

    @property
    def prompt_tokens(self) -> int:
        """Tokens read, as the server counted."""
        return sum(one.prompt_tokens for one in self.windows)

    @property
    def answer_tokens(self) -> int:
        """Tokens written, as the server counted."""
        return sum(one.answer_tokens for one in self.windows)

    @property
    def tokens_per_second(self) -> float:
        """Tokens written in a second."""
        return _share(self.answer_tokens, sum(one.seconds for one in self.windows))


async def run(
    llm: LLM,
    model: str,
    goldens: Sequence[Golden],
    window_tokens: int,
    report: Report,
    clock: Callable[[], float] = monotonic,
) -> Trial:
    """Ask for the facts of each conversation. Raises `LLMUnavailable` if there is no answer to be had."""
    report("Loading the model", 0, 1)
    await llm.load()
    report("Loading the model", 1, 1)
    tried: list[Tried] = []
    for golden in goldens:
        report("Conversations", len(tried), len(goldens))
        tried.append(await _try(llm, golden, window_tokens, clock))
    report("Conversations", len(tried), len(goldens))
    return Trial(model, tuple(tried))


async def _try(llm: LLM, golden: Golden, window_tokens: int, clock: Callable[[], float]) -> Tried:
    prompt = build(golden.window, golden.person_facts, window_tokens)
    checked, asked, began = None, 0, clock()
    read = written = 0
    while checked is None and asked < _ATTEMPTS:
        asked += 1
        try:
            answer: ChatAnswer = await llm.chat(prompt.request)
            read, written = read + answer.prompt_tokens, written + answer.answer_tokens
            checked = check(answer.text, prompt)
        except AnswerRejected:
            continue
    seconds = clock() - began
    valid = 0 if checked is None else 1
    return Tried(golden.name, score(golden, checked or Checked(())), asked, valid, seconds, read, written)


def score(golden: Golden, checked: Checked) -> Score:
    """Hold the facts of one answer against the labels."""
    judged = Counter(_judge(golden, fact) for fact in checked.facts)
    refused = sum(checked.refused.get(reason, 0) for reason in _MISATTRIBUTED)
    return Score(
        expected=len(golden.facts),
        found=sum(
            any(label.tells(fact) and label.lines & set(fact.sources) for fact in checked.facts)
            for label in golden.facts
        ),
        traps=len(golden.traps),
        fallen=sum(
            any(label.tells(fact) and (not label.lines or label.lines >= set(fact.sources)) for fact in checked.facts)
            for label in golden.traps
        ),
        attributed=judged[True] + judged[False] + refused,
        right=judged[True],
        unlabelled=judged[None],
    )


def _judge(golden: Golden, fact: Fact) -> bool | None:
    """Whether a fact is about whom its lines tell of; None if no label says."""
    lines = set(fact.sources)
    subjects = {name for label in golden.facts if label.lines & lines for name in label.about}
    if subjects:
        return fact.subject_name in subjects
    trapped = any(label.lines >= lines or (label.words and label.tells(fact)) for label in golden.traps)
    return False if trapped else None


def advice(trial: Trial) -> str:
    """What an admin should make of it, in one sentence."""
    if trial.valid < _GOOD:
        return (
            f"Choose another model: {1 - trial.valid:.0%} of its answers did not fit the schema, and such messages are "
            "asked about again and again."
        )
    if trial.precision < _PASSABLE:
        return "Choose a larger model: this one too often notes a fact about the wrong person, or one nobody told."
    if trial.recall < _ENOUGH:
        return "Choose a larger model if you can: this one is right about people but overlooks half of what is said."
    if trial.seconds > _SLOW:
        return "It reads well but slowly: a smaller model, or a GPU, keeps up with a busy server."
    if trial.precision < _GOOD or trial.traps_avoided < _GOOD:
        return "It will do; a larger model falls for fewer jokes, questions and hearsay."
    return "A good choice: it keeps apart who said what, and leaves out what is none."


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
