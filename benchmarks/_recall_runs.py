"""Rankings and evidence as files in TREC's formats, so that anyone can score them: `trec_eval qrels recollect.run`."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from _recall_data import Question
from _recall_systems import Answer, Ranking

from bot.errors import RecollectError

# Whoever scores a run sorts it by score alone, in single precision: each has to be lower than the one before.
_LEAST_STEP = 1e-5

Asked = list[tuple[Question, Answer]]


def write_runs(folder: Path, asked: Mapping[str, Asked]) -> None:
    """Write `SYSTEM.run` for each system and `qrels` for all; the questions' words and categories are in the data."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for system, answers in asked.items():
            _write(folder / f"{system}.run", (line for one in answers for line in _run(system, *one)))
        questions = [question for question, _ in next(iter(asked.values()))]
        _write(folder / "qrels", (f"{one.id} 0 {id} 1" for one in questions for id in sorted(one.evidence)))
    except OSError as error:
        raise RecollectError(f"The runs cannot be written to {folder}: {error.strerror}.") from error


def _run(system: str, question: Question, answer: Answer) -> Iterator[str]:
    for rank, (id, score) in enumerate(_falling(answer.ranking), 1):
        yield f"{question.id} Q0 {id} {rank} {score:.6f} {system}"


def _falling(ranking: Ranking) -> Iterator[tuple[str, float]]:
    before = float("inf")
    for id, score in ranking:
        before = min(score, before - _LEAST_STEP)
        yield id, before


def _write(file: Path, lines: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
