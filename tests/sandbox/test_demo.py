"""`recollect demo`, as a newcomer runs it."""

import asyncio
import os
import re
import signal
import sqlite3
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from processes import PATIENCE, environment, recollect

from bot.sandbox.conversation import load
from bot.sandbox.ollama import OllamaServer


async def told_at_once(folder: Path, run: str, **changes: object) -> tuple[int, str, str]:
    """The demo without its pauses: exit code, stdout and stderr. `changes` are to the constants of a member's day."""
    constants = "; ".join(f"member_day.{name} = {value!r}" for name, value in changes.items()) or "pass"
    script = (
        "from bot.sandbox import demo, member_day, telling; telling._TALKING_SECONDS = 0.5; "
        f"{constants}; raise SystemExit(demo.{run})"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        env=environment(folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(2 * PATIENCE):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_it_tells_the_whole_story_and_everything_holds(tmp_path: Path) -> None:
    """Exit 0, a summary in which every promise held, the data left where --keep says, and a picture for the README."""
    code, out, err = await recollect(tmp_path, "demo", "--keep", "kept", "--picture", "demo.svg")
    assert (code, err) == (0, "")
    told, summary = out.split("What was promised, and what happened")
    sent = len(load().posts)
    for held in (
        "notices posted = channels watched  3 = 3",
        f"messages captured = messages sent  {sent} = {sent}",
        "recalled while the LLM was down    as a message: the decision, word for word",
        "asked while the LLM was down       told so, the decision's card all the same",
        "/status told of the outage",
        "facts made after it came back",
        "the recalled card, with its link   https://discord.com/channels/",
        "the answer, with its links         “16 May” opens Nadia's message that says so",
        "what Klaus missed                  4 of 4 links lead to what was said since",
        "private memory, asked by Klaus     absent, since #organisers is hidden from Klaus",
        "private memory, asked by Nadia     there, since Nadia reads #organisers",
        "/memory mine showed                20 of Klaus's 20 messages, none of others",
        "/memory export held                20 of Klaus's 20 messages, none of #organisers",
        "what /forget removed               Forgotten: 3 messages and 1 fact.",
        "the same recall now                empty",
    ):
        assert f"✓ {held}" in summary
    assert "✗" not in out
    assert "stand-in" in told and "understands" in told
    assert max(map(len, told.splitlines()[:40])) <= 80
    with sqlite3.connect(tmp_path / "kept" / "recollect.db") as database:
        texts = [text for (text,) in database.execute("SELECT text FROM message UNION ALL SELECT text FROM fact")]
    database.close()
    assert len(texts) > sent
    assert not any("Mira" in text or "AKIA" in text for text in texts)
    drawn = ET.parse(tmp_path / "demo.svg").getroot()  # noqa: S314  (our own file)
    seen = "".join(drawn.itertext()).replace("\N{NO-BREAK SPACE}", " ")
    for shown in ("/ask question", "noted from Nadia", "Memories", "the same recall now", "Everything held"):
        assert shown in seen
    assert "sets the bot up" not in seen
    assert not re.search("Mira|Weller", (tmp_path / "kept" / "demo.log").read_text("utf-8"))


async def test_a_promise_that_does_not_hold_is_an_exit_code_and_a_line(tmp_path: Path) -> None:
    """The demo checks what it shows: asked about something else, the decision is not what comes back."""
    code, out, err = await told_at_once(tmp_path, "run_demo()", _QUESTION="zucchini")
    assert (code, err) == (1, "")
    assert "✗ the answer, with its links         none says so" in out
    assert "✗ the recalled card, with its link   none" in out
    assert "✓ the same recall now                empty" in out
    assert "Not everything held" in out


async def test_a_real_ollama_is_used_and_taken_away_just_the_same(tmp_path: Path) -> None:
    """With --ollama the questions go to that server, and the story is the same."""
    async with OllamaServer() as server:
        code, out, err = await told_at_once(tmp_path, f"run_demo(ollama={server.url!r})")
        assert (code, err) == (0, "")
        assert server.calls > 0
    assert "your own Ollama" in out
    assert "✗" not in out


async def test_an_ollama_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    """A URL that is none, a server that is not there and a model that was not pulled end the demo before it begins."""
    async with OllamaServer(models=()) as server:
        ends = {
            "localhost": "--ollama takes a URL such as http://127.0.0.1:11434.",
            "http://127.0.0.1:9": "Ollama at http://127.0.0.1:9 cannot be reached (ConnectError).",
            server.url: f"Ollama at {server.url} does not have the model llama3.1:8b: run `ollama pull llama3.1:8b`.",
        }
        for url, sentence in ends.items():
            assert await recollect(tmp_path, "demo", "--ollama", url) == (1, "", f"recollect: {sentence}\n")


async def test_a_picture_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """Nothing is told before it is known where the picture goes."""
    sentence = "recollect: no/demo.svg cannot be written: No such file or directory.\n"
    assert await recollect(tmp_path, "demo", "--picture", "no/demo.svg") == (1, "", sentence)


async def test_control_c_ends_it_quietly(tmp_path: Path) -> None:
    """One word, no traceback, exit code 130."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "demo"),
        env=environment(tmp_path, PYTHONUNBUFFERED="1", TMPDIR=str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    async with asyncio.timeout(PATIENCE):
        await process.stdout.readuntil(b"the language model is gone")
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130
    assert out.decode().endswith("Stopped.\n")
    assert "Traceback" not in err.decode()
    assert os.listdir(tmp_path) == []


async def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """--keep never mixes the demo's data with anybody's."""
    (tmp_path / "mine.txt").write_text("precious")
    code, _, err = await recollect(tmp_path, "demo", "--keep", str(tmp_path))
    assert (code, err) == (1, f"recollect: {tmp_path} is not empty; name a new folder for the demo's data.\n")
    (tmp_path / "file").touch()
    code, _, err = await recollect(tmp_path, "demo", "--keep", str(tmp_path / "file" / "below"))
    assert code == 1
    assert "cannot be used" in err
