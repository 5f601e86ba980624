"""The Ollama stand-in, through the real client library and mem0's."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from bot.sandbox.ollama import BROKEN, BUSY, CUT_SHORT, HANG, MODEL, OllamaServer, Reply, count_tokens

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def server() -> AsyncIterator[OllamaServer]:
    async with OllamaServer() as server:
        yield server


@pytest.fixture
async def client(server: OllamaServer) -> AsyncIterator[ollama.AsyncClient]:
    client = ollama.AsyncClient(server.url, timeout=10)
    yield client
    await client.close()


async def test_it_lists_its_models(client: ollama.AsyncClient) -> None:
    """/api/tags names the model and says what it really is."""
    (model,) = (await client.list()).models
    assert model.model == MODEL
    assert model.details and model.details.family == "stand-in"


async def test_an_answer_is_the_same_streamed_or_not(server: OllamaServer, client: ollama.AsyncClient) -> None:
    """A stream's parts add up to the single answer, and its last part carries the counts."""
    server.answer = lambda body: "word " * 300
    whole = await client.chat(MODEL, HELLO)
    parts = [part async for part in await client.chat(MODEL, HELLO, stream=True)]
    assert len(parts) > 2
    assert "".join(part.message.content or "" for part in parts) == whole.message.content == "word " * 300
    assert (parts[-1].done, parts[-1].done_reason) == (True, "stop")
    assert parts[-1].prompt_eval_count == whole.prompt_eval_count == count_tokens("hello")


async def test_a_loaded_model_is_listed_until_its_time_is_over(
    server: OllamaServer, client: ollama.AsyncClient
) -> None:
    """/api/ps shows the context a model was loaded with; `keep_alive` 0 unloads it at once."""
    assert (await client.ps()).models == []
    await client.chat(MODEL, HELLO, options={"num_ctx": 8192})
    (running,) = (await client.ps()).models
    assert running.context_length == 8192
    await client.chat(MODEL, HELLO, options={"num_ctx": 8192}, keep_alive=0)
    assert (await client.ps()).models == []


async def test_errors_have_the_real_shape(server: OllamaServer, client: ollama.AsyncClient) -> None:
    """Missing model, busy queue and crashed runner are what the client library makes of the real ones."""
    with pytest.raises(ollama.ResponseError, match="model 'gone:1b' not found") as missing:
        await client.chat("gone:1b", HELLO)
    assert missing.value.status_code == 404
    for reply in (BUSY, BROKEN):
        server.replies.append(reply)
        with pytest.raises(ollama.ResponseError) as error:
            await client.chat(MODEL, HELLO)
        assert error.value.status_code == reply.status
    server.replies.append(Reply(text="half an ans", broken_off=True, error="runner died"))
    with pytest.raises(ollama.ResponseError, match="runner died"):
        [part async for part in await client.chat(MODEL, HELLO, stream=True)]


async def test_an_answer_ends_at_num_predict(server: OllamaServer, client: ollama.AsyncClient) -> None:
    """A longer answer is cut and says so, as `CUT_SHORT` says it for any answer."""
    server.answer = lambda body: "word " * 300
    cut = await client.chat(MODEL, HELLO, options={"num_predict": 10})
    assert (cut.done_reason, len(cut.message.content or "")) == ("length", 40)
    server.replies.append(CUT_SHORT)
    assert (await client.chat(MODEL, HELLO)).done_reason == "length"


async def test_a_prompt_that_does_not_fit_is_cut_silently(server: OllamaServer, client: ollama.AsyncClient) -> None:
    """As the real one, it reads half a context and tells only by the count."""
    answer = await client.chat(MODEL, [{"role": "user", "content": "word " * 5000}], options={"num_ctx": 2048})
    assert answer.prompt_eval_count == 1026


async def test_it_stops_listening_and_comes_back_on_the_same_port(
    server: OllamaServer, client: ollama.AsyncClient
) -> None:
    """A client with an open connection loses it, is refused, and is served again later."""
    url = server.url
    await client.list()
    await server.stop()
    with pytest.raises(ConnectionError):
        await client.list()
    await server.start()
    assert server.url == url
    assert (await client.list()).models


async def test_a_hanging_answer_ends_with_the_server(server: OllamaServer, client: ollama.AsyncClient) -> None:
    """A request it never answers does not keep it from stopping."""
    server.replies.append(HANG)
    asking = asyncio.create_task(client.chat(MODEL, HELLO))
    await server.asked.wait()
    await server.stop()
    with pytest.raises(httpx.HTTPError):
        await asking


async def test_a_cold_model_loads_first(server: OllamaServer, client: ollama.AsyncClient) -> None:
    """The first answer waits for the load; a client without that patience gives up."""
    server.load_seconds = 30
    impatient = ollama.AsyncClient(server.url, timeout=0.2)
    with pytest.raises(httpx.ReadTimeout):
        await impatient.chat(MODEL, HELLO)
    await impatient.close()
    server.load_seconds = 0
    assert (await client.chat(MODEL, HELLO)).done


def our_prompt(*lines: str) -> dict[str, Any]:
    subjects = {"type": "string", "enum": ["Ann", "SERVER"]}
    fact = {"type": "object", "properties": {"subject": subjects}}
    schema = {"type": "object", "properties": {"facts": {"type": "array", "items": fact}}}
    return {"messages": [{"role": "user", "content": "\n".join(lines)}], "format": schema}


@pytest.mark.parametrize(
    ("line", "subject", "text"),
    [
        ("1 12:00 Ann: I moved to Leipzig in March.", "Ann", "Ann moved to Leipzig in March"),
        ("1 12:00 Ann >3: well, I love my old bike!", "Ann", "Ann loves their old bike"),
        ("1 12:00 Ann: my daughter's called Mira", "Ann", "Ann's daughter is called Mira"),
        (
            '1 12:00 Ann (to Ben "hi"): we decided: the fair is on 9 May',
            "SERVER",
            "The community decided: the fair is on 9 May",
        ),
        ("1 12:00 Ben: I moved to Leipzig in March.", None, None),
        ("1 12:00 Ann: nothing much", None, None),
    ],
)
async def test_it_finds_facts_by_patterns(
    server: OllamaServer, line: str, subject: str | None, text: str | None
) -> None:
    """The default answer is plain pattern work on our lines, within the schema's subjects."""
    found = json.loads(server.answer(our_prompt("Channel #x", "", line)))["facts"]
    assert [(fact["subject"], fact["text"], fact["sources"]) for fact in found] == (
        [(subject, text, [1])] if text else []
    )


SYSTEM = "Answer from the memories. If they do not hold the answer, answer exactly: NOT_THERE\nBe brief."
MEMORIES = """\
[1] 2024-05-03 #fair Ann: The fair begins at noon.
[2] 2024-05-03 #fair Ben: bring a friend: it is fun
[3] 2024-05-04 #fair noted from Cleo: Cleo sells honey at the fair"""


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When does the fair begin?", "The fair begins at noon [1]."),
        ("Who sells honey at fairs?", "Cleo sells honey at the fair [3]."),
        ("Who has a dog?", "NOT_THERE"),
    ],
)
async def test_it_answers_from_numbered_lines(
    server: OllamaServer, client: ollama.AsyncClient, question: str, answer: str
) -> None:
    """Asked for plain text it cites the lines that share the most words with the question, or says what it shall."""
    prompt = f"<user_memories>\n{MEMORIES}\n</user_memories>\n\nQuestion: {question}"
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
    assert (await client.chat(MODEL, messages)).message.content == answer


async def test_it_lists_how_each_conversation_begins(server: OllamaServer, client: ollama.AsyncClient) -> None:
    """Without a question it cites the first line of each block."""
    prompt = "Monday\n[1] Mon 09:00 Ann: Who is in?\n[2] Mon 09:01 Ben: Me.\n\nTuesday\n[3] Tue 10:00 Cleo: It rains…"
    answer = (await client.chat(MODEL, [{"role": "user", "content": prompt}])).message.content
    assert answer == "- Who is in [1].\n- It rains… [3]."


async def test_plain_text_comes_in_small_pieces(server: OllamaServer, client: ollama.AsyncClient) -> None:
    """As somebody would read it; a test may hold back what follows the first piece."""
    server.replies.append(Reply(text="word " * 10, gate=(gate := asyncio.Event())))
    parts = await client.chat(MODEL, HELLO, stream=True)
    assert (await anext(parts)).message.content == "word word word w"
    gate.set()
    assert "".join([part.message.content or "" async for part in parts]) == ("word " * 10)[16:]


MEM0 = """
import sys
from mem0.configs.llms.ollama import OllamaConfig
from mem0.configs.prompts import ADDITIVE_EXTRACTION_PROMPT, generate_additive_extraction_prompt
from mem0.llms.ollama import OllamaLLM

llm = OllamaLLM(OllamaConfig(model=sys.argv[1], ollama_base_url=sys.argv[2]))
prompt = generate_additive_extraction_prompt(new_messages="user: Ann: I keep bees\\nuser: Ben: nice\\n")
messages = [{"role": "system", "content": ADDITIVE_EXTRACTION_PROMPT}, {"role": "user", "content": prompt}]
print(llm.generate_response(messages, {"type": "json_object"}))
"""


async def test_mem0_reads_its_answer(server: OllamaServer, tmp_path: Path) -> None:
    """mem0's own extraction prompt gets mem0's own shape back."""
    # In a process of its own: importing mem0 creates its folder and starts its telemetry.
    mem0 = await asyncio.create_subprocess_exec(
        *[sys.executable, "-c", MEM0, MODEL, server.url],
        env={"MEM0_DIR": str(tmp_path), "MEM0_TELEMETRY": "False", "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    answer, _ = await mem0.communicate()
    assert json.loads(answer) == {"memory": [{"id": "0", "text": "Ann keeps bees", "attributed_to": "user"}]}
    assert server.prompt_tokens > 8000


async def test_it_embeds(client: ollama.AsyncClient, server: OllamaServer) -> None:
    """A vector a text of the model's own size, alike for alike texts; a long one is cut, unless that is forbidden."""
    server.models.add("nomic-embed-text")
    answer = await client.embed("nomic-embed-text", ["the cat", "the cat", "x" * 9000])
    assert [len(vector) for vector in answer.embeddings] == [768] * 3
    assert answer.embeddings[0] == answer.embeddings[1] != answer.embeddings[2]
    assert answer.prompt_eval_count == 2 + 2 + 2048

    for model, options, status, said in (
        ("nomic-embed-text", {"input": "x" * 9000, "truncate": False}, 400, "exceeds the context length"),
        ("bge-m3", {"input": "hello"}, 404, 'model "bge-m3" not found, try pulling it first'),
        (MODEL, {"input": "hello"}, 501, "this model does not support embeddings"),
    ):
        with pytest.raises(ollama.ResponseError, match=said) as caught:
            await client.embed(model, **options)
        assert caught.value.status_code == status


def test_it_runs_by_itself() -> None:
    """`python -m bot.sandbox.ollama` prints its address as a line of JSON and serves."""
    command = [sys.executable, "-m", "bot.sandbox.ollama", "--port", "0", "--model", "tiny:1b"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        told = json.loads(process.stdout.readline())
        assert told["stand_in"] is True
        with ollama.Client(told["url"]) as client:
            assert client.list().models[0].model == "tiny:1b"
        process.terminate()
