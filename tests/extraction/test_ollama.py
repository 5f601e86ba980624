"""The Ollama client, against the stand-in and against what is not Ollama at all."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from bot.errors import AnswerRejected, LLMUnavailable, ModelMissing
from bot.extraction.llm import ChatRequest
from bot.extraction.ollama import OllamaLLM
from bot.sandbox.ollama import BROKEN, BUSY, CUT_SHORT, HANG, MODEL, OllamaServer, Reply
from bot.settings_services import OllamaSettings

REQUEST = ChatRequest("You are brief.", "Say something.", {"type": "object", "properties": {}})


@pytest.fixture
async def llm(server: OllamaServer) -> AsyncIterator[OllamaLLM]:
    server.answer = lambda body: '{"facts": []}'
    llm = OllamaLLM(OllamaSettings(url=server.url, timeout=timedelta(seconds=10)))
    yield llm
    await llm.close()


async def ask(settings: OllamaSettings) -> None:
    llm = OllamaLLM(settings)
    try:
        await llm.chat(REQUEST)
    finally:
        await llm.close()


async def test_an_answer_comes_with_its_token_counts(llm: OllamaLLM) -> None:
    """The text is put together from the stream, the counts are the server's."""
    answer = await llm.chat(REQUEST)
    assert answer.text == '{"facts": []}'
    assert (answer.prompt_tokens, answer.answer_tokens) == (8, 4)


async def test_a_question_fixes_every_option(server: OllamaServer, llm: OllamaLLM) -> None:
    """Schema, temperature 0, context size, no thinking, keep-alive and a bound on the answer go with every call."""
    await llm.chat(REQUEST)
    (body,) = server.requests
    assert body["format"] == REQUEST.schema
    assert body["think"] is False
    assert body["keep_alive"] == 600
    assert body["options"] == {"temperature": 0, "num_ctx": 8192, "num_predict": 4096}
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


async def test_the_answer_may_fill_what_the_prompt_leaves(server: OllamaServer, llm: OllamaLLM) -> None:
    """Prompt and answer share the context: a long prompt leaves room for a shorter answer, never none."""
    await llm.chat(ChatRequest("", "x" * 10_000, {}))
    await llm.chat(ChatRequest("", "x" * 20_000, {}))
    assert [body["options"]["num_predict"] for body in server.requests] == [8192 - 5000, 512]


@pytest.mark.parametrize("reply", [BUSY, BROKEN, Reply(text="half", broken_off=True, error="runner died")])
async def test_a_server_in_trouble_is_unavailable(server: OllamaServer, llm: OllamaLLM, reply: Reply) -> None:
    """503, 500 and a stream that breaks off say nothing about the messages."""
    server.replies.append(reply)
    with pytest.raises(LLMUnavailable) as error:
        await llm.chat(REQUEST)
    assert not isinstance(error.value, ModelMissing)
    assert (await llm.chat(REQUEST)).text


async def test_a_server_that_is_not_there_is_unavailable(server: OllamaServer, llm: OllamaLLM) -> None:
    """A refused connection is one sentence with the address; it works again once the server is back."""
    await server.stop()
    with pytest.raises(LLMUnavailable, match=f"Ollama at {server.url} cannot be reached"):
        await llm.chat(REQUEST)
    health = await llm.health()
    assert not health.ok
    assert server.url in health.detail
    await server.start()
    assert (await llm.chat(REQUEST)).text


async def test_a_server_that_hangs_is_unavailable(server: OllamaServer) -> None:
    """Silence longer than the timeout ends the call."""
    server.replies.append(HANG)
    with pytest.raises(LLMUnavailable, match="does not answer in time"):
        await ask(OllamaSettings(url=server.url, timeout=timedelta(milliseconds=50)))


async def test_a_connection_that_breaks_off_is_unavailable(server: OllamaServer, llm: OllamaLLM) -> None:
    """A server that stops in the middle of an answer has not answered."""
    server.replies.append(HANG)
    asking = asyncio.create_task(llm.chat(REQUEST))
    await server.asked.wait()
    await server.stop()
    with pytest.raises(LLMUnavailable):
        await asking


async def test_a_missing_model_says_what_to_run(server: OllamaServer) -> None:
    """The error and the health both name the `ollama pull` that helps."""
    llm = OllamaLLM(OllamaSettings(url=server.url, model="qwen3:4b"))
    with pytest.raises(ModelMissing, match=r"run `ollama pull qwen3:4b`"):
        await llm.chat(REQUEST)
    health = await llm.health()
    assert (health.ok, health.detail.endswith("run `ollama pull qwen3:4b`")) == (False, True)
    await llm.close()


async def test_a_model_without_a_tag_is_the_latest(server: OllamaServer) -> None:
    """`mistral` is installed as `mistral:latest`."""
    server.models.add("mistral:latest")
    llm = OllamaLLM(OllamaSettings(url=server.url, model="mistral"))
    assert (await llm.health()).ok
    await llm.close()


async def test_an_answer_cut_short_is_rejected(server: OllamaServer, llm: OllamaLLM) -> None:
    """`done_reason` other than stop is no answer, valid JSON or not."""
    server.replies.append(CUT_SHORT)
    with pytest.raises(AnswerRejected, match="cut short"):
        await llm.chat(REQUEST)


async def test_a_cut_prompt_is_noticed(server: OllamaServer, llm: OllamaLLM) -> None:
    """A model that read fewer tokens than the prompt has words did not see the whole prompt."""
    prompt = ChatRequest("", "word " * 3000, {})
    server.replies.append(Reply(prompt_eval_count=1026))
    with pytest.raises(AnswerRejected, match="read 1026 tokens of at least 3000"):
        await llm.chat(prompt)


@pytest.mark.parametrize("count", [0, 1, 300])
async def test_a_cached_prompt_is_no_cut_prompt(server: OllamaServer, llm: OllamaLLM, count: int) -> None:
    """Some versions count only the tokens that were not in their cache: that is no reason to refuse."""
    server.replies.append(Reply(prompt_eval_count=count))
    assert (await llm.chat(ChatRequest("", "word " * 3000, {}))).text


@pytest.mark.parametrize("piece", [10_000_000, 400_000])
async def test_megabytes_of_answer_are_refused(server: OllamaServer, llm: OllamaLLM, piece: int) -> None:
    """10 MB of JSON stop at a limit while they stream, and the next question is answered."""
    server.replies.append(Reply(text='{"facts": "' + "x" * piece + '"}'))
    with pytest.raises(AnswerRejected, match=r"larger|longer"):
        await llm.chat(REQUEST)
    assert (await llm.chat(REQUEST)).text


async def test_a_line_without_end_is_refused() -> None:
    """A body that never gets to the end of a line is cut off at the limit, not collected."""
    runner, url = await strange('{"message": {"role": "assistant", "content": "' + "x" * 10_000_000)
    with pytest.raises(AnswerRejected, match="larger than 2097152 bytes"):
        await ask(OllamaSettings(url=url))
    await runner.cleanup()


async def test_health_tells_version_and_model(llm: OllamaLLM) -> None:
    """A model is known to be installed, then loaded."""
    assert (await llm.health()).detail == f"Ollama 0.0.0-stand-in, model {MODEL} not loaded yet"
    await llm.chat(REQUEST)
    health = await llm.health()
    assert (health.name, health.ok) == ("Ollama", True)
    assert health.detail.endswith("loaded")


async def test_health_tells_of_a_smaller_context(server: OllamaServer) -> None:
    """A model loaded with less context than asked for will cut prompts: health says so."""
    small = OllamaLLM(OllamaSettings(url=server.url, num_ctx=2048))
    await small.chat(REQUEST)
    llm = OllamaLLM(OllamaSettings(url=server.url))
    assert (await llm.health()).detail.endswith("loaded with 2048 tokens of context, not 8192")
    await small.close()
    await llm.close()


async def strange(body: Any, status: int = 200) -> tuple[web.AppRunner, str]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


@pytest.mark.parametrize(
    ("body", "status"),
    [("<html>hi</html>", 200), ("[1]", 200), ('{"a": 1}', 200), ("<html>not found</html>", 404), ("no", 401)],
)
async def test_something_else_at_the_address_is_unavailable(body: str, status: int) -> None:
    """A wrong URL is reported as such, not as a fault of the messages, and never as a missing model."""
    runner, url = await strange(body, status)
    llm = OllamaLLM(OllamaSettings(url=url))
    with pytest.raises(LLMUnavailable) as error:
        await llm.chat(REQUEST)
    assert not isinstance(error.value, ModelMissing)
    assert not (await llm.health()).ok
    await llm.close()
    await runner.cleanup()


async def test_a_prompt_the_server_finds_too_long_is_rejected() -> None:
    """Newer servers refuse instead of cutting: a smaller window helps, waiting does not."""
    runner, url = await strange('{"error": "the input length exceeds the context length"}', 400)
    with pytest.raises(AnswerRejected, match="too long"):
        await ask(OllamaSettings(url=url))
    await runner.cleanup()


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_the_servers_own_words_are_passed_on_to_nobody(status: int) -> None:
    """An endpoint that echoes its input would put messages into log and /status: only the code is told."""
    runner, url = await strange('{"error": "cannot read: Ann is in the context of a secret model"}', status)
    with pytest.raises((AnswerRejected, LLMUnavailable)) as error:
        await ask(OllamaSettings(url=url))
    assert "secret" not in str(error.value)
    llm = OllamaLLM(OllamaSettings(url=url))
    assert (await llm.health()).detail == f"Ollama at {url} answered with error {status}"
    await llm.close()
    await runner.cleanup()


async def test_an_error_halfway_is_told_without_its_words(server: OllamaServer, llm: OllamaLLM) -> None:
    """A stream that ends in an error has no status of its own."""
    server.replies.append(Reply(text="half", broken_off=True, error="secret"))
    with pytest.raises(LLMUnavailable, match=f"^Ollama at {server.url} answered with an error halfway$"):
        await llm.chat(REQUEST)


async def test_the_urls_password_is_not_shown(server: OllamaServer) -> None:
    """A URL with a user and password is named without them, in errors and in health."""
    settings = OllamaSettings(url=server.url.replace("//", "//admin:hunter2@"), model="none")
    llm = OllamaLLM(settings)
    for stop in (False, True):
        if stop:
            await server.stop()
        with pytest.raises(LLMUnavailable) as error:
            await llm.chat(REQUEST)
        for told in (str(error.value), (await llm.health()).detail):
            assert server.url in told
            assert "hunter2" not in told
    await llm.close()
