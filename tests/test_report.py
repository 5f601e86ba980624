"""What every benchmark makes of its command line."""

from pathlib import Path
from typing import Any

import pytest
from _report import main


def figures(messages: int) -> dict[str, Any]:
    return {"messages": messages}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--messages", "0"], "at least 1"), (["--json", "{}/none/figures.json"], "cannot be written: No such file")],
)
def test_what_cannot_be_measured_or_written_is_said_at_once(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence, and before an hour of measuring."""
    monkeypatch.setattr("sys.argv", ["capture.py", *(one.format(tmp_path) for one in arguments)])
    with pytest.raises(SystemExit) as ended:
        main(figures, "How fast.", messages=20)
    assert told in str(ended.value) + capsys.readouterr().err


def test_a_benchmark_says_that_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody wonders at the silence, and the figures alone are where they were asked for."""
    file = tmp_path / "figures.json"
    monkeypatch.setattr("sys.argv", ["capture.py", "--json", str(file)])
    main(figures, "How fast.", messages=20)
    assert capsys.readouterr() == ("", "capture: measuring, which takes a while\n")
    assert file.read_text("utf-8") == '{\n  "messages": 20\n}\n'
