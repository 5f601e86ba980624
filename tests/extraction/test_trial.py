"""The trial of a model: how answers are held against the labels, and what a good, a poor and a broken one come to."""

import json
from collections.abc import Mapping
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from workshop import facts, stated

from bot.errors import LLMUnavailable
from bot.extraction.answer import check
from bot.extraction.golden import Golden, Label, golden_set
from bot.extraction.ollama import OllamaLLM
from bot.extraction.prompt import build
from bot.extraction.trial import Score, Trial, Tried, advice, run, score
from bot.sandbox.ollama import GARBAGE, MODEL, OllamaServer, Reply
from bot.settings_services import OllamaSettings

GOLDENS = golden_set()
BEES = Golden(
    name="Bees",
    day=GOLDENS[0].day,
    lines=("Ann: I keep bees", "Ben: I'm the king of bees", "Ann: ok", "Ben: we meet on Friday"),
    facts=(
        Label(about=("Ann",), lines=frozenset({1}), words=("bees|hives",)),
        Label(about=("SERVER",), lines=frozenset({4}), words=("meet", "2026-03-13|friday")),
    ),
    traps=(
        Label(about=("Ben",), words=("king",)),
        Label(lines=frozenset({3})),
    ),
)


def scored(*told: Mapping[str, Any], golden: Golden = BEES) -> Score:
    """The score of an answer with these facts, by way of our own check."""
    return score(golden, check(facts(*told), build(golden.window, golden.person_facts, 2400)))


async def tried(server: OllamaServer) -> Trial:
    llm = OllamaLLM(OllamaSettings(url=server.url, timeout=timedelta(seconds=10)))
    seconds = count()
    try:
        return await run(llm, MODEL, GOLDENS, 2400, lambda *_: None, lambda: float(next(seconds)))
    finally:
        await llm.close()


def test_a_fact_is_found_by_subject_source_and_words() -> None:
    """All three have to fit; words may stand in the dates."""
    meeting = stated([4], "SERVER", "The community meets", kind="plan", valid_from="2026-03-13")
    assert scored(stated([1]), meeting) == Score(2, 2, 2, 0, 2, 2, 0)
    assert scored(stated([1], text="Ann keeps wasps")).found == 0
    assert scored(stated([1, 2])).found == 1
    assert scored(stated([3], text="Ann keeps bees")).found == 0
    assert scored() == Score(2, 0, 2, 0, 0, 0, 0)


def test_a_fact_about_the_wrong_one_counts_against_attribution() -> None:
    """Whether our check lets it through or refuses it; what no label speaks of counts neither way."""
    assert scored(stated([1], "SERVER", "Bees are kept", kind="knowledge")) == Score(2, 0, 2, 0, 1, 0, 0)
    assert scored(stated([1], "Ben", "Ben keeps bees")) == Score(2, 0, 2, 0, 1, 0, 0)
    assert scored(stated([2], "Ben", "Ben likes honey")) == Score(2, 0, 2, 0, 0, 0, 1)


def test_a_trap_is_fallen_into_by_what_it_names() -> None:
    """By its words, whatever the line, or by its line, whatever the words."""
    assert scored(stated([2], "Ben", "Ben is a king")) == Score(2, 0, 2, 1, 1, 0, 0)
    assert scored(stated([3], text="Ann agrees")) == Score(2, 0, 2, 1, 1, 0, 0)
    assert scored(stated([1, 3])).fallen == 0


def test_the_golden_set_is_sound() -> None:
    """Enough labels; every name and line is there; every kind of difficulty; and the whole of each fits a window."""
    labels = [(golden, label) for golden in GOLDENS for label in (*golden.facts, *golden.traps)]
    assert len(GOLDENS) >= 12 and len(labels) >= 60
    for golden, label in labels:
        prompt = build(golden.window, golden.person_facts, 2400)
        assert label.lines <= set(prompt.lines), golden.name
        assert set(label.about) <= {*prompt.people, "SERVER"}, golden.name
        assert all(word == word.lower() for word in label.words), golden.name
        assert label.lines or label.words, golden.name
    assert all(label.about and label.lines and label.words for golden in GOLDENS for label in golden.facts)
    assert len({golden.name for golden in GOLDENS}) == len(GOLDENS)


def test_a_malformed_line_of_the_golden_set_is_named() -> None:
    """Whoever adds one learns where it is wrong."""
    with pytest.raises(ValueError, match="Odd: line 1 is not `name: words`"):
        _ = Golden("Odd", BEES.day, ("nobody said this",)).window


async def test_the_stand_in_comes_out_careful_and_limited(server: OllamaServer) -> None:
    """It confuses nobody, falls for nothing and understands little, and so it says."""
    trial = await tried(server)
    assert (trial.precision, trial.valid, trial.traps_avoided) == (1.0, 1.0, 1.0)
    assert 0.35 < trial.recall < 0.5
    assert (trial.seconds, trial.prompt_tokens) == (1.0, server.prompt_tokens - _schemas(server))
    assert trial.tokens_per_second == trial.answer_tokens / len(GOLDENS) > 10
    assert "overlooks half" in advice(trial)


async def test_a_perfect_model_is_praised_and_a_muddled_one_not(server: OllamaServer) -> None:
    """Answers made from the labels find everything; with the speakers mixed up they find little."""
    server.answer = _oracle
    trial = await tried(server)
    assert (trial.precision, trial.recall, trial.valid, trial.traps_avoided) == (1.0, 1.0, 1.0, 1.0)
    assert advice(trial).startswith("A good choice")
    server.answer = _muddled
    trial = await tried(server)
    assert trial.precision < 0.2 and trial.recall < 0.2
    assert "wrong person" in advice(trial)


async def test_a_broken_model_scores_nothing(server: OllamaServer) -> None:
    """Each answer is asked for twice, as the bot does; one that comes valid the second time counts."""
    server.always = GARBAGE
    trial = await tried(server)
    assert (trial.precision, trial.recall, trial.valid) == (0, 0, 0)
    assert server.calls == 2 * len(GOLDENS)
    assert "100% of its answers did not fit" in advice(trial)
    server.always = None
    server.replies.append(GARBAGE)
    trial = await tried(server)
    assert trial.valid == len(GOLDENS) / (len(GOLDENS) + 1)
    server.always = Reply(status=503)
    with pytest.raises(LLMUnavailable):
        await tried(server)


@pytest.mark.parametrize(
    ("counts", "seconds", "told"),
    [
        (Score(10, 9, 10, 0, 10, 10), 5, "A good choice"),
        (Score(10, 9, 10, 0, 10, 10), 500, "slowly"),
        (Score(10, 9, 10, 4, 10, 10), 5, "It will do"),
        (Score(10, 9, 10, 0, 10, 6), 5, "wrong person"),
        (Score(10, 4, 10, 0, 10, 10), 5, "overlooks half"),
    ],
)
def test_the_advice_names_what_is_worst(counts: Score, seconds: float, told: str) -> None:
    """One sentence, on what matters most."""
    assert told in advice(Trial("m", (Tried("one", counts, 1, 1, seconds, 1, 1),)))


def _golden(body: Mapping[str, Any]) -> Golden:
    said = body["messages"][1]["content"]
    return next(golden for golden in GOLDENS if all(m.text.split("\n")[0] in said for m in golden.window.messages))


def _oracle(body: Mapping[str, Any]) -> str:
    """Facts made of the labels."""
    told = [
        stated(
            sorted(label.lines),
            label.about[0],
            f"{label.about[0]}: {' '.join(word.split('|')[0] for word in label.words)}",
            kind="plan" if label.about[0] == "SERVER" else "personal",
        )
        for label in _golden(body).facts
    ]
    return facts(*told)


def _muddled(body: Mapping[str, Any]) -> str:
    """The same, each about somebody else."""
    told = json.loads(_oracle(body))
    people = sorted({message.author_name for message in _golden(body).window.messages})
    for fact in told["facts"]:
        others = [name for name in people if name != fact["subject"]]
        fact |= {"subject": others[0], "text": fact["text"].replace(fact["subject"], others[0]), "kind": "personal"}
    return json.dumps(told)


def _schemas(server: OllamaServer) -> int:
    """The tokens the stand-in counts for schemas, which the server's own count leaves out."""
    from bot.sandbox.ollama import count_tokens

    return sum(count_tokens(json.dumps(body["format"])) for body in server.requests)
