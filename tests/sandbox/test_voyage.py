"""The Voyage stand-in, asked as Voyage's own documentation shows."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest

from bot.sandbox.voyage import MODELS, VoyageServer


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with (
        VoyageServer(api_key="pa-right") as server,
        httpx.AsyncClient(base_url=server.url, headers={"Authorization": "Bearer pa-right"}) as client,
    ):
        yield client


async def test_it_answers_as_voyage_does(client: httpx.AsyncClient) -> None:
    """Vectors in order, as numbers or base64, of the default size or the one asked for, with the tokens they took."""
    body = {"model": "voyage-4-lite", "input": ["hello there", "good bye"]}
    plain = (await client.post("/embeddings", json=body)).json()
    packed = (
        await client.post("/embeddings", json=body | {"encoding_format": "base64", "output_dimension": 256})
    ).json()

    assert [item["index"] for item in plain["data"]] == [0, 1]
    assert [len(item["embedding"]) for item in plain["data"]] == [1024, 1024]
    assert plain["usage"] == {"total_tokens": 5}
    assert all(isinstance(item["embedding"], str) for item in packed["data"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": "voyage-9"}, "Model voyage-9 is not supported"),
        ({"output_dimension": 300}, "'output_dimension' is not valid"),
        ({"input_type": "riddle"}, "'input_type' is not valid"),
        ({"input": ["fine", ""]}, "cannot contain empty strings"),
        ({"input": ["x"] * 1001}, "batch size limit is 1000"),
        ({"model": "voyage-4-large", "input": ["x" * 4000] * 121}, f"batch is {MODELS['voyage-4-large']}"),
        ({"input": ["fine", "x" * 130_000], "truncation": False}, "The example at index 1 has too many tokens"),
    ],
)
async def test_limits_are_enforced(client: httpx.AsyncClient, body: dict[str, object], said: str) -> None:
    """What Voyage refuses is refused, with its status and its one key."""
    answer = await client.post("/embeddings", json={"model": "voyage-4-lite", "input": ["fine"]} | body)
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


async def test_a_key_is_wanted(client: httpx.AsyncClient) -> None:
    """No key and another one are refused alike."""
    for headers in ({"Authorization": "Bearer pa-wrong"}, {"Authorization": ""}):
        answer = await client.post("/embeddings", headers=headers, json={"model": "voyage-4-lite", "input": "hello"})
        assert (answer.status_code, answer.json()) == (401, {"detail": "Provided API key is invalid."})


async def test_it_runs_by_itself() -> None:
    """`python -m bot.sandbox.voyage` says where it listens and stops on interrupt."""
    command = [sys.executable, "-m", "bot.sandbox.voyage", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = (await process.stdout.readline()).decode()
    assert told.startswith("Voyage stand-in at http://127.0.0.1:")
    async with httpx.AsyncClient(headers={"Authorization": "Bearer pa-any"}) as client:
        url = f"{told.split()[-1]}/embeddings"
        assert (await client.post(url, json={"model": "voyage-4", "input": "hello"})).status_code == 200
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0
