"""The benchmark of recall: a short run of it, its figures by hand, and what it reads and writes."""

import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from _embedders import open_named
from _recall_data import Question, load
from _recall_metrics import judge, summary
from _recall_runs import write_runs
from _recall_systems import Answer, LuceneBm25, reciprocal_ranks, tokens
from processes import recollect
from recall import OPTIONS, run

from bot.errors import RecollectError
from bot.sandbox.openai import OpenAIServer

TALK = {
    "session_1": [
        ("Ann", "I planted forty tulips behind the shed."),
        ("Ben", "Lovely! Which colour are they?"),
        ("Ann", "All purple, like the ones in Delft."),
        ("Ben", "I am learning to weld, my first project is a bicycle rack."),
    ],
    "session_2": [
        ("Ann", "How is the welding going?"),
        ("Ben", "The rack fell apart on Tuesday."),
        ("Ann", "Oh no. My sister Cleo moved to Bergen, by the way."),
        ("Ben", "What does she do there?"),
        ("Ann", "She repairs pianos for the opera house."),
    ],
}
ASKED: list[dict[str, Any]] = [
    {"question": "What did Ann plant behind the shed?", "evidence": ["D1:1"], "category": 4},
    {"question": "Which bicycle project did Ben weld, and did the rack fall apart?", "evidence": ["D1:4; D2:6"]},
    {"question": "Who repairs pianos for the opera house in Bergen?", "evidence": ["D2:9", "D2:7"], "category": 1},
    {"question": "What did Cleo never say?", "evidence": ["D2:7"], "category": 5},
    {"question": "What has no evidence?", "evidence": [], "category": 4},
]


def sample(name: str = "conv-1") -> dict[str, Any]:
    """A conversation as LoCoMo has them."""
    conversation: dict[str, Any] = {"speaker_a": "Ann", "speaker_b": "Ben"}
    number = 0
    for session, (key, said) in enumerate(TALK.items(), 1):
        conversation[f"{key}_date_time"] = f"1:5{session} pm on {session} May, 2023"
        conversation[key] = []
        for speaker, text in said:
            number += 1
            conversation[key].append({"speaker": speaker, "dia_id": f"D{session}:{number}", "text": text})
    return {"sample_id": name, "conversation": conversation, "qa": [{"category": 1, **asked} for asked in ASKED]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with one file of one conversation."""
    folder = tmp_path / "locomo"
    folder.mkdir()
    (folder / "talk.json").write_text(json.dumps([sample()]))
    return folder


async def test_the_benchmark_reports_every_figure(data: Path, tmp_path: Path) -> None:
    """A run over a small conversation finds what is easy to find, and writes its rankings and its plot."""
    runs, plot = tmp_path / "runs", tmp_path / "recall.svg"
    async with OpenAIServer() as server:
        code, out, err = await recollect(
            tmp_path,
            *("bench", "recall", str(data), "--format", "locomo", "--embedder", "openai", "--peer", "mem0,bm25,rrf"),
            *("--pool", "--runs", str(runs), "--plot", str(plot), "--json", "-"),
            OPENAI_API_KEY="k",
            BOT_OPENAI__BASE_URL=server.url,
            BOT_OPENAI__DIMENSIONS="64",
        )
    assert code == 0, err
    figures = json.loads(out)
    assert (figures["questions"], figures["memories"]) == (3, 9)
    assert figures["systems"].keys() == {"recollect", "mem0", "bm25", "rrf"}
    promised = {"R@5", "R@10", "R@20", "MRR", "nDCG@10", "by_category", "p50_ms", "p95_ms", "tokens_top10"}
    for system in figures["systems"].values():
        assert promised <= system.keys()
        assert system["by_category"]["single-hop"]["n"] == 1
        assert system["R@10"] == 100
    assert figures["systems"]["recollect"]["stages"].keys() == {"embed", "search", "sql", "rest"}
    assert figures["systems"]["recollect"]["search_p95_ms"] > 0
    assert (runs / "qrels").read_text().splitlines()[0] == "conv-1/q0 0 conv-1/D1:1 1"
    for system in figures["systems"]:
        assert (runs / f"{system}.run").read_text().startswith("conv-1/q0 Q0 conv-1/D1:1 1 ")
    assert "recollect" in plot.read_text()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"peer": "sphinx"}, "There is no peer 'sphinx'; there are: mem0, dense, bm25, rrf."),
        ({"format": "csv"}, "There is no format 'csv'; there are: locomo, friendsqa."),
        ({"format": "friendsqa"}, "is not in the format friendsqa."),
        ({"importance": "falling"}, "There is no importance 'falling'; there is: random."),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(options: dict[str, str], sentence: str, data: Path) -> None:
    """A wrong name ends the benchmark with one line that tells the right ones."""
    given = {name: options.get(name, default) for name, default in OPTIONS.items()}

    with pytest.raises(RecollectError, match=re.escape(sentence)):
        run(str(data), **given)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("fastembed:/nowhere", "There is no model in /nowhere: it is no folder."),
        ("fastembed:", "There is no embedder 'fastembed:'; there are: fastembed:PATH, openai."),
        ("sphinx", "There is no embedder 'sphinx'; there are: fastembed:PATH, openai."),
    ],
)
def test_an_embedder_that_cannot_be_had_is_said_in_a_sentence(name: str, sentence: str) -> None:
    """Neither a name nobody knows nor a folder without a model is tried."""
    with pytest.raises(RecollectError, match=re.escape(sentence)):
        open_named(name)


def test_a_ranking_is_judged_by_where_its_evidence_is() -> None:
    """Two of three turns are found, at ranks 2 and 6."""
    figures = judge(["x", "a", "y", "z", "v", "b", "w"], {"a", "b", "c"})

    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert figures == {
        "R@5": pytest.approx(1 / 3),
        "R@10": pytest.approx(2 / 3),
        "R@20": pytest.approx(2 / 3),
        "MRR": 0.5,
        "nDCG@10": pytest.approx((1 / math.log2(3) + 1 / math.log2(7)) / ideal),
    }
    assert set(judge(["x"], {"a"}).values()) == {0.0}


def test_figures_are_means_over_questions_in_percent() -> None:
    """Each question counts once, whatever its category."""
    figures = summary([("easy", judge(["a"], {"a"})), ("easy", judge(["a"], {"a"})), ("hard", judge(["x"], {"a"}))])

    assert figures["R@10"] == 66.67
    assert figures["by_category"]["easy"] == {"n": 2, "R@5": 100, "R@10": 100, "R@20": 100, "MRR": 100, "nDCG@10": 100}
    assert figures["by_category"]["hard"]["MRR"] == 0


def test_bm25_scores_as_its_formula_says() -> None:
    """A word in one of two documents, of two words each."""
    scores = LuceneBm25([["tulip", "shed"], ["weld", "rack"]]).scores(tokens("The tulips!"))

    assert scores.tolist() == pytest.approx([math.log(1 + 1.5 / 1.5) * 2.2 / 2.2, 0])


def test_reciprocal_ranks_leave_out_what_a_list_did_not_find() -> None:
    """The second of one list alone has less than the best of both."""
    fused = reciprocal_ranks([LuceneBm25([["a", "b"], ["b"], ["c"]]).scores([w]) for w in ("a", "b")])

    assert fused.tolist() == pytest.approx([1 / 61 + 1 / 62, 1 / 61, 0])


def test_conversations_are_apart_unless_they_are_pooled(data: Path) -> None:
    """A pool has the turns of all files; a turn's id says which conversation it is from."""
    (data / "more.json").write_text(json.dumps([sample("conv-2")]))
    apart, [pool] = load(data, "locomo"), load(data, "locomo", pool=True)

    assert [corpus.name for corpus in apart] == ["conv-2", "conv-1"]
    assert len(pool.turns) == sum(len(corpus.turns) for corpus in apart) == 18
    assert len({turn.id for turn in pool.turns}) == 18
    assert apart[1].questions[1].evidence == {"conv-1/D1:4", "conv-1/D2:6"}
    assert apart[1].turns[5].at == datetime(2023, 5, 2, 13, 52, 10, tzinfo=UTC)


def test_a_shared_picture_is_part_of_what_was_said(tmp_path: Path) -> None:
    """LoCoMo describes pictures by a caption."""
    talk = sample()
    talk["conversation"]["session_1"][0]["blip_caption"] = "a purple tulip"
    (tmp_path / "talk.json").write_text(json.dumps([talk]))

    [corpus] = load(tmp_path / "talk.json", "locomo")
    assert corpus.turns[0].line == "Ann: I planted forty tulips behind the shed. [shares a purple tulip]"


def test_scenes_of_many_people_are_one_community(tmp_path: Path) -> None:
    """FriendsQA's evidence are the utterances that hold an answer; speakers go by their first names."""
    said = [(["Ross Geller"], "A boy !"), ([], "[ Applause ]"), (["All", "Joey Tribbiani"], "Jordie !")]
    answers = [{"utterance_id": 2, "answer_text": "Jordie"}, {"utterance_id": 0, "answer_text": "boy"}]
    scene = {
        "utterances:": [{"uid": uid, "speakers": who, "utterance": text} for uid, (who, text) in enumerate(said)],
        "qas": [
            {"id": "s01_What_Paraphrased", "question": "What is it ?", "answers": answers},
            {"id": "s01_Why", "question": "Why ?", "answers": [{"utterance_id": 9, "answer_text": "x"}]},
        ],
    }
    (tmp_path / "friends.json").write_text(json.dumps({"data": [{"title": "s01", "paragraphs": [scene]}]}))

    [corpus] = load(tmp_path / "friends.json", "friendsqa")
    assert [turn.line for turn in corpus.turns] == ["Ross: A boy !", "NOTE: [ Applause ]", "All: Jordie !"]
    assert corpus.questions == [Question("s01/q0", "What is it ?", "what", frozenset({"s01/0", "s01/2"}))]


def test_scores_in_a_run_fall_so_that_every_scorer_sees_one_order(tmp_path: Path) -> None:
    """Scorers sort by score alone: equal scores are written as falling ones."""
    question = Question("q", "?", "easy", frozenset({"a"}))
    write_runs(tmp_path / "runs", {"ours": [(question, Answer([("b", 2.0), ("a", 2.0), ("c", 1.0)], 0.1))]})

    rows = [line.split() for line in (tmp_path / "runs" / "ours.run").read_text().splitlines()]
    assert [(row[2], row[3]) for row in rows] == [("b", "1"), ("a", "2"), ("c", "3")]
    assert float(rows[0][4]) > float(rows[1][4]) > float(rows[2][4])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As is a folder with nothing in it."""
    for path, sentence in ((tmp_path / "gone.json", "cannot be read"), (tmp_path, "has no")):
        with pytest.raises(RecollectError, match=sentence):
            load(path, "locomo")
