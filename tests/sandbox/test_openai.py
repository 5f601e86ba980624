"""The OpenAI stand-in, through the real client library."""

import asyncio
import math
import subprocess
import sys
from collections.abc import AsyncIterator

import openai
import pytest

from bot.sandbox.listener import until_interrupted
from bot.sandbox.openai import Fault, OpenAIServer, embed


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer() as server:
        yield server


@pytest.fixture
async def client(server: OpenAIServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="key", base_url=server.url, max_retries=0, timeout=5) as client:
        yield client


async def create(client: openai.AsyncOpenAI, texts: list[str], **options: object) -> list[list[float]]:
    answer = await client.embeddings.create(input=texts, model="text-embedding-3-small", **options)  # type: ignore[arg-type]
    return [item.embedding for item in answer.data]


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


async def test_embeddings_are_unit_vectors_of_the_models_size(client: openai.AsyncOpenAI) -> None:
    """Without `dimensions` a vector has the model's own size, and length one."""
    [vector] = await create(client, ["hello there"])
    assert len(vector) == 1536
    assert math.isclose(cosine(vector, vector), 1, rel_tol=1e-5)


async def test_base64_and_floats_are_the_same_vector(client: openai.AsyncOpenAI) -> None:
    """Both encodings of the protocol carry the same numbers."""
    [encoded] = await create(client, ["hello there"], dimensions=64)
    [plain] = await create(client, ["hello there"], dimensions=64, encoding_format="float")
    assert encoded == pytest.approx(plain, abs=1e-6)


async def test_texts_that_share_words_are_similar(client: openai.AsyncOpenAI) -> None:
    """Similarity follows shared words and pieces of words."""
    question, answer, other = await create(
        client,
        ["when is the release party?", "the release party is on friday", "my cat sleeps all day long"],
    )
    assert cosine(question, answer) > cosine(question, other) + 0.2


async def test_usage_and_counters(server: OpenAIServer, client: openai.AsyncOpenAI) -> None:
    """Requests, inputs and tokens are counted as a bill would."""
    answer = await client.embeddings.create(input=["one", "two words"], model="text-embedding-3-small")
    assert (server.requests, server.inputs) == (1, 2)
    assert answer.usage.prompt_tokens == server.tokens > 0
    assert server.texts == ["one", "two words"]


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        ([""], {}),
        (["x"] * 2049, {}),
        (["x" * 40_000], {}),
        (["word " * 6000] * 41, {}),
        (["x"], {"dimensions": 5000}),
    ],
    ids=["empty", "too many", "too long", "too much in all", "too large"],
)
async def test_limits_are_enforced(client: openai.AsyncOpenAI, texts: list[str], options: dict[str, object]) -> None:
    """What the real API refuses is refused."""
    with pytest.raises(openai.BadRequestError):
        await create(client, texts, **options)


async def test_an_unknown_model_is_not_found(client: openai.AsyncOpenAI) -> None:
    """A model that does not exist answers 404."""
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(input=["x"], model="text-embedding-9")


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (Fault.RATE_LIMIT, openai.RateLimitError, "rate_limit_exceeded"),
        (Fault.QUOTA, openai.RateLimitError, "insufficient_quota"),
        (Fault.UNAUTHORIZED, openai.AuthenticationError, "invalid_api_key"),
        (Fault.ERROR, openai.InternalServerError, None),
    ],
)
async def test_faults_have_the_real_shapes(
    server: OpenAIServer,
    client: openai.AsyncOpenAI,
    fault: Fault,
    error: type[openai.APIStatusError],
    code: str | None,
) -> None:
    """Each fault arrives as the client's own exception, for as many requests as asked."""
    server.fault, server.fault_for = fault, 1
    with pytest.raises(error) as caught:
        await create(client, ["x"])
    assert caught.value.code == code
    assert await create(client, ["x"])
    assert (server.refused, server.requests) == (1, 1)


async def test_a_key_can_be_required(client: openai.AsyncOpenAI) -> None:
    """With a key set, any other is refused."""
    async with OpenAIServer(api_key="right") as server:
        right = client.with_options(base_url=server.url, api_key="right")
        assert await create(right, ["x"])
        with pytest.raises(openai.AuthenticationError):
            await create(right.with_options(api_key="wrong"), ["x"])


async def test_it_refuses_connections_and_comes_back_on_the_same_port(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    """A stopped server is unreachable; started again it listens where it did."""
    await server.stop()
    with pytest.raises(openai.APIConnectionError):
        await create(client, ["x"])
    await server.start()
    assert await create(client, ["x"])


async def test_a_hanging_request_ends_when_the_server_stops(server: OpenAIServer, client: openai.AsyncOpenAI) -> None:
    """A hang lasts until the client's patience or the server's life ends."""
    server.fault = Fault.HANG
    with pytest.raises(openai.APITimeoutError):
        await create(client.with_options(timeout=0.05), ["x"])
    server.hanging.clear()
    hanging = asyncio.create_task(create(client, ["x"]))
    await server.hanging.wait()
    await server.stop()
    with pytest.raises(openai.APIError):
        await hanging


async def test_a_wrong_size_is_one_too_many(server: OpenAIServer, client: openai.AsyncOpenAI) -> None:
    """The fault of a model that is not the configured one."""
    server.fault = Fault.WRONG_SIZE
    [vector] = await create(client, ["x"], dimensions=8)
    assert len(vector) == 9


def test_an_embedding_is_the_same_in_every_process() -> None:
    """No hash seed changes what a text means."""
    code = "from bot.sandbox.openai import embed; print(repr(embed('hello there', 16)))"
    command = [sys.executable, "-c", code]
    runs = {
        subprocess.run(command, env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True).stdout
        for seed in ("1", "2")
    }
    assert runs == {repr(embed("hello there", 16)) + "\n"}


def test_a_port_that_is_taken_is_one_sentence() -> None:
    """Whoever starts a stand-in twice is told what to do, and sees no traceback."""

    async def serve() -> None:
        raise OSError(98, "address already in use")

    with pytest.raises(SystemExit, match="another --port"):
        until_interrupted(serve())


def test_it_runs_as_a_program() -> None:
    """`python -m bot.sandbox.openai` says where it listens and stops on interrupt."""
    command = [sys.executable, "-m", "bot.sandbox.openai", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with openai.OpenAI(api_key="key", base_url=url, max_retries=0) as client:
            assert [model.id for model in client.models.list()]
        process.send_signal(2)
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
