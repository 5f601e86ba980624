"""OpenAI embeddings, through the real client against the stand-in."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from bot.errors import EmbedderUnavailable, QuotaExhausted
from bot.memory.embedders import base
from bot.memory.embeddings import OpenAIEmbedder, open_embedder
from bot.sandbox.openai import Fault, OpenAIServer
from bot.settings import Settings
from bot.settings_services import OpenAISettings

SIZE = 16


def settings(server: OpenAIServer, **changes: object) -> OpenAISettings:
    values = {"api_key": "key", "base_url": server.url, "dimensions": SIZE, "timeout": "5s", **changes}
    return OpenAISettings.model_validate(values)


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer() as server:
        yield server


@pytest.fixture
async def embedder(server: OpenAIServer) -> AsyncIterator[OpenAIEmbedder]:
    embedder = OpenAIEmbedder(settings(server))
    yield embedder
    await embedder.close()


async def test_documents_come_back_in_order(embedder: OpenAIEmbedder) -> None:
    """One vector of the configured size a text, whatever the order of the answer."""
    first, second = await embedder.documents(["the cat", "the dog"])
    assert len(first) == SIZE
    assert list(first) == list((await embedder.queries(["the cat"]))[0])
    assert list(second) == list((await embedder.queries(["the dog"]))[0])


async def test_blank_texts_are_not_sent(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """A blank text costs nothing and is similar to nothing."""
    blank, real = await embedder.documents(["  \n", "word"])
    assert list(blank) == [0.0] * SIZE
    assert any(real)
    assert not any((await embedder.queries([""]))[0])
    assert server.texts == ["word"]


async def test_no_texts_are_no_request(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """Nothing to embed asks nobody."""
    assert await embedder.documents([]) == []
    assert server.requests == 0


async def test_requests_keep_to_the_number_of_inputs(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """More than 2,048 texts are several requests, and every text gets its vector."""
    vectors = await embedder.documents([f"word{n}" for n in range(2050)])
    assert server.requests == 2
    assert len(vectors) == 2050
    assert list(vectors[2049]) == list((await embedder.queries(["word2049"]))[0])


async def test_requests_keep_to_the_number_of_tokens(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """Texts worth more than 300,000 tokens are several requests, even at one token a byte."""
    await embedder.documents(["x" * 8000] * 40)
    assert server.requests == 2
    assert max(len(text) for text in server.texts) == 8000


async def test_a_long_text_is_cut_between_characters(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """No input can hold more tokens than the model takes, and none ends in half a character."""
    await embedder.documents(["👍" * 4000, "a\ud800b"])
    assert server.texts == ["👍" * 2047, "a?b"]


async def test_repeated_queries_are_answered_from_memory(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """Only the first of equal queries is paid for, until others push it out."""
    assert (await embedder.queries(["word"]))[0] is (await embedder.queries(["word"]))[0]
    assert server.requests == 1
    for n in range(base._CACHED_QUERIES - 1):
        (await embedder.queries([f"word{n}"]))[0]
    (await embedder.queries(["word"]))[0]
    assert server.requests == base._CACHED_QUERIES
    (await embedder.queries(["another"]))[0]
    (await embedder.queries(["word0"]))[0]
    assert server.requests == base._CACHED_QUERIES + 2


async def test_dimensions_are_asked_of_the_third_generation_only(server: OpenAIServer) -> None:
    """Older and other models refuse the parameter, so it is not sent to them."""
    embedder = OpenAIEmbedder(settings(server, embedding_model="text-embedding-ada-002", dimensions=1536))
    [vector] = await embedder.documents(["word"])
    assert len(vector) == 1536
    await embedder.close()


@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.ERROR])
async def test_passing_faults_are_tried_again(server: OpenAIServer, embedder: OpenAIEmbedder, fault: Fault) -> None:
    """A rate limit and a server's bad moment do not reach the caller."""
    server.fault, server.fault_for = fault, 1
    assert len(await embedder.documents(["word"])) == 1
    assert (server.refused, server.requests) == (1, 1)
    assert (await embedder.health()).ok


async def test_retry_after_is_honoured(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """A server that wants a long pause gets it: the call gives up at once instead of asking again."""
    server.fault, server.retry_after = Fault.RATE_LIMIT, 3600
    with pytest.raises(EmbedderUnavailable, match="rate limit"):
        await embedder.documents(["word"])
    assert server.refused == 1


async def test_lasting_faults_reach_the_caller(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """After a few attempts the caller is told, and so is health."""
    server.fault = Fault.RATE_LIMIT
    with pytest.raises(EmbedderUnavailable, match=r"rate limit is reached \(429\)"):
        await embedder.documents(["word"])
    assert server.refused == 4
    assert not (await embedder.health()).ok


@pytest.mark.parametrize(
    ("fault", "error", "sentence"),
    [
        (Fault.QUOTA, QuotaExhausted, "quota is used up"),
        (Fault.UNAUTHORIZED, EmbedderUnavailable, r"refused the API key \(401\): check openai.api_key"),
        (Fault.WRONG_SIZE, EmbedderUnavailable, "makes vectors of size 17, but openai.dimensions is 16"),
        (Fault.NOT_OPENAI, EmbedderUnavailable, "does not answer like OpenAI's API"),
    ],
)
async def test_hopeless_faults_are_not_tried_again(
    server: OpenAIServer, embedder: OpenAIEmbedder, fault: Fault, error: type[Exception], sentence: str
) -> None:
    """What asking again cannot mend is said at once, in one sentence that health repeats."""
    server.fault = fault
    with pytest.raises(error, match=sentence):
        await embedder.documents(["word"])
    assert server.refused + server.requests == 1
    health = await embedder.health()
    assert not health.ok
    server.fault = None
    await embedder.documents(["word"])
    assert (await embedder.health()).ok


async def test_an_unknown_model_is_named(server: OpenAIServer) -> None:
    """A model the server does not have is one sentence with the key to change."""
    embedder = OpenAIEmbedder(settings(server, embedding_model="text-embedding-9"))
    with pytest.raises(EmbedderUnavailable, match=r"no model 'text-embedding-9' \(404\): check openai.embedding_model"):
        await embedder.documents(["word"])
    await embedder.close()


async def test_a_refused_request_is_not_quoted(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """A 400 says its status only: the server's words may hold ours."""
    embedder.model, embedder.dimensions = "text-embedding-3-small", 5000
    with pytest.raises(EmbedderUnavailable, match=r"^The embedder refused the request \(400, no code\)\.$"):
        await embedder.documents(["a secret"])


async def test_refused_texts_have_no_vector(
    server: OpenAIServer, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes fewer and shorter texts than OpenAI gets the others in smaller requests."""
    monkeypatch.setattr("bot.sandbox.openai.MOST_INPUTS", 3)
    monkeypatch.setattr("bot.sandbox.openai.MOST_TOKENS", 20)
    texts = [f"word{n}" for n in range(9)] + ["x" * 100]
    vectors = await embedder.documents(texts)
    assert [vector is None for vector in vectors] == [False] * 9 + [True]
    assert list(vectors[8] or ()) == list((await embedder.queries(["word8"]))[0])
    assert (await embedder.health()).ok


async def test_documents_are_made_in_time(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """Whoever says how long they can wait is not kept longer."""
    server.fault = Fault.HANG
    with pytest.raises(EmbedderUnavailable, match=r"did not answer within 0\.05 s"):
        await embedder.documents(["word"], within=0.05)
    assert not (await embedder.health()).ok


async def test_a_password_in_the_url_is_not_shown() -> None:
    """What is told of a server holds no secret of its address."""
    embedder = OpenAIEmbedder(OpenAISettings(base_url="http://me:hidden@127.0.0.1:9/v1"))
    with pytest.raises(EmbedderUnavailable, match=r"at http://127\.0\.0\.1:9/v1 cannot be reached"):
        (await embedder.queries(["word"]))[0]
    assert "hidden" not in (await embedder.health()).detail
    await embedder.close()


async def test_an_unreachable_server_is_unavailable_until_it_is_back(server: OpenAIServer) -> None:
    """A server that is down, or hangs, costs the caller seconds and comes back by itself."""
    embedder = OpenAIEmbedder(settings(server, timeout="50ms"))
    await server.stop()
    with pytest.raises(EmbedderUnavailable, match=f"The embedder at {server.url} cannot be reached"):
        (await embedder.queries(["word"]))[0]
    await server.start()
    server.fault = Fault.HANG
    with pytest.raises(EmbedderUnavailable, match="cannot be reached"):
        (await embedder.queries(["word"]))[0]
    server.fault = None
    assert len((await embedder.queries(["word"]))[0]) == SIZE
    await embedder.close()


async def test_a_query_gives_up_early(
    server: OpenAIServer, embedder: OpenAIEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone waits for a query: it does not use the whole timeout of a document."""
    monkeypatch.setattr(base, "_QUERY_SECONDS", 0.05)
    server.fault = Fault.HANG
    with pytest.raises(EmbedderUnavailable, match=r"did not answer within 0\.05 s"):
        (await embedder.queries(["word"]))[0]
    assert not (await embedder.health()).ok


async def test_a_cancelled_request_is_cancelled(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """Cancelling a caller leaves no request behind."""
    server.fault = Fault.HANG
    task = asyncio.create_task(embedder.documents(["word"]))
    await server.hanging.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_neither_text_nor_key_is_in_an_error(server: OpenAIServer) -> None:
    """What is logged with an error holds no message and no secret."""
    embedder = OpenAIEmbedder(settings(server, api_key=SecretStr("sk-secret")))
    server.fault = Fault.ERROR
    server.retry_after = 0
    with pytest.raises(EmbedderUnavailable) as caught:
        await embedder.queries(["a private word"])
    shown = "".join(traceback.format_exception(caught.value))
    assert "private" not in shown.replace('queries(["a private word"])', "")
    assert "sk-secret" not in shown.replace('SecretStr("sk-secret")', "")
    await embedder.close()


async def test_health_costs_nothing(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    """Asking for health never sends a paid request."""
    health = await embedder.health()
    assert health.ok
    assert health.name == "OpenAI"
    assert server.requests == 0


async def test_without_a_key_there_is_no_embedder() -> None:
    """OpenAI wants a key; a server of one's own may not."""
    assert open_embedder(Settings()) is None
    local = open_embedder(
        Settings(openai=OpenAISettings(base_url="http://127.0.0.1:9/v1", timeout=timedelta(seconds=1)))
    )
    assert local is not None
    await local.close()
