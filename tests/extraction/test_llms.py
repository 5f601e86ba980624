"""One contract for every language model: the same tests, each against a stand-in of the provider."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp import web
from workshop import said

from bot.errors import (
    AnswerRejected,
    AnswerTooLong,
    LLMUnavailable,
    LLMUnreachable,
    ModelMissing,
    SettingsError,
)
from bot.extraction import openai as openai_llm
from bot.extraction.answer import check
from bot.extraction.llm import LLM, ChatRequest
from bot.extraction.prompt import build
from bot.extraction.providers import llm_name, open_provider
from bot.extraction.service import strict
from bot.model import Window
from bot.sandbox.anthropic import CLAUDE, AnthropicServer
from bot.sandbox.listener import Listener
from bot.sandbox.ollama import BROKEN, BUSY, CUT_SHORT, HANG, MODEL, OllamaServer, Reply
from bot.sandbox.openai_chat import CHAT_MODEL, OpenAIChatServer
from bot.settings import Settings

Server = OllamaServer | OpenAIChatServer | AnthropicServer
KEY = "sk-test"
SCHEMA = {"type": "object", "properties": {"facts": {"type": "array", "items": {"type": "string"}}}}
REQUEST = ChatRequest("You are brief.", "Say something.", SCHEMA)
PROVIDERS = ["ollama", "openai", "anthropic", "compatible"]
CLOUDS = PROVIDERS[1:]


@dataclass
class Rig:
    """A provider, its stand-in, and what the settings are to say of it."""

    provider: str
    server: Server
    section: dict[str, Any]

    def settings(self, **other: Any) -> Settings:
        return Settings.model_validate(
            {"extraction": {"provider": self.provider}, self.provider: self.section | {"timeout": "30s"} | other}
        )

    def open(self, **other: Any) -> LLM:
        return open_provider(self.settings(**other), self.provider)


MAKE: dict[str, Callable[[], tuple[Server, dict[str, Any]]]] = {
    "ollama": lambda: (OllamaServer(), {"model": MODEL}),
    "openai": lambda: (OpenAIChatServer(api_key=KEY), {"api_key": KEY}),
    "anthropic": lambda: (AnthropicServer(api_key=KEY), {"api_key": KEY}),
    "compatible": lambda: (OpenAIChatServer(models=["qwen3"], own=False), {"model": "qwen3"}),
}


@pytest.fixture
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    server, section = MAKE[request.param]()
    server.answer = lambda body: '{"facts": []}'
    async with server:
        url = {"ollama": "url"}.get(request.param, "base_url")
        yield Rig(request.param, server, section | {url: server.url})


@pytest.fixture
async def llm(rig: Rig) -> AsyncIterator[LLM]:
    llm = rig.open()
    yield llm
    await llm.close()


def every(providers: Iterable[str] = PROVIDERS) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rig", providers, indirect=True)


async def failure(llm: LLM, request: ChatRequest = REQUEST) -> Exception:
    """How a question failed."""
    with pytest.raises((LLMUnavailable, AnswerRejected)) as error:
        await llm.chat(request)
    return error.value


@every()
async def test_an_answer_comes_whole_with_its_token_counts(rig: Rig, llm: LLM) -> None:
    """The text is put together from the stream, the counts are the server's, and the name is the provider's."""
    rig.server.answer = lambda body: json.dumps({"facts": ["x" * 1000]})
    answer = await llm.chat(REQUEST)
    assert json.loads(answer.text) == {"facts": ["x" * 1000]}
    assert (answer.prompt_tokens, answer.answer_tokens) == (8, 254)
    assert llm.name == llm_name(rig.settings())


@every()
async def test_a_real_window_is_asked_in_the_schema_made_for_it(rig: Rig, llm: LLM) -> None:
    """The prompt builder's schema passes each provider's strict mode, and the answer passes our own check."""
    rig.server.answer = MAKE["ollama"]()[0].answer
    talk = (said(1, "Ann", "I love hiking in the Alps"), said(2, "Ben", "we decided: the meeting is on Friday"))
    prompt = build(Window(7, 70, (talk,)), "self", 2400)
    checked = check((await llm.chat(prompt.request)).text, prompt)
    assert [fact.subject_name for fact in checked.facts] == ["Ann", "SERVER"]


@every()
async def test_plain_text_comes_piece_by_piece(rig: Rig, llm: LLM) -> None:
    """The first piece is there while the server still writes, and closing early ends the answer."""
    gate = asyncio.Event()
    rig.server.replies.append(Reply(text="Bees are kept by Ann, as she said.", gate=gate))
    async with aclosing(llm.stream("Be brief.", "Who keeps bees?", 100)) as pieces:
        told = await anext(pieces)
        assert told.startswith("Bees") and "said" not in told
        gate.set()
        told += "".join([piece async for piece in pieces])
    assert told == "Bees are kept by Ann, as she said."
    rig.server.replies.append(Reply(text="Bees are kept by Ann, as she said.", gate=gate))
    async with aclosing(llm.stream("Be brief.", "Who keeps bees?", 100)) as pieces:
        assert await anext(pieces)


@every()
async def test_text_that_is_cut_short_is_told_after_its_last_piece(rig: Rig, llm: LLM) -> None:
    """What came can be shown, and that there was more is known."""
    rig.server.replies.append(Reply(text="Bees are", done_reason="length"))
    told = []
    with pytest.raises(AnswerTooLong):
        async for piece in llm.stream("Be brief.", "Who keeps bees?", 100):
            told.append(piece)
    assert "".join(told) == "Bees are"


@every()
async def test_an_answer_that_reached_its_longest_is_rejected(rig: Rig, llm: LLM) -> None:
    """By the server's word, or because it used up what it may: valid JSON or not."""
    rig.server.replies.append(CUT_SHORT)
    assert isinstance(await failure(llm), AnswerTooLong)
    rig.server.answer = lambda body: "word " * 500
    assert isinstance(await failure(llm, replace(REQUEST, max_tokens=20)), AnswerTooLong)


@every(CLOUDS)
async def test_a_model_that_declines_is_a_rejected_answer(rig: Rig, llm: LLM) -> None:
    """It says something of the messages, and nothing of the service."""
    rig.server.replies += [Reply(done_reason="refusal"), Reply(text="{", done_reason="odd")]
    assert str(await failure(llm)) == "the model declined to answer"
    assert str(await failure(llm)) == "the answer was cut short: it has no end"


@every()
@pytest.mark.parametrize("reply", [BUSY, BROKEN, Reply(text="half", broken_off=True, error="secret")])
async def test_a_server_in_trouble_is_out_of_reach(rig: Rig, llm: LLM, reply: Reply) -> None:
    """503, 500 and a stream that breaks off say nothing about the messages; the next question is answered."""
    rig.server.replies.append(reply)
    error = await failure(llm)
    assert isinstance(error, LLMUnreachable)
    assert "secret" not in str(error)
    assert (await llm.chat(REQUEST)).text


@every()
async def test_a_server_that_is_not_there_is_out_of_reach(rig: Rig, llm: LLM) -> None:
    """A refused connection is one sentence with the address, for a question, for health and for loading."""
    assert (await llm.health()).ok
    await llm.load()
    await rig.server.stop()
    error = await failure(llm)
    assert isinstance(error, LLMUnreachable)
    assert rig.server.url in str(error) and "cannot be reached" in str(error)
    health = await llm.health()
    assert (health.name, health.ok) == (llm.name, False)
    assert rig.server.url in health.detail
    with pytest.raises(LLMUnavailable):
        await llm.load()


@every()
async def test_silence_is_out_of_reach(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing for longer than the timeout, or goes away meanwhile, has not answered."""
    monkeypatch.setattr(openai_llm, "_SILENCE", 0.0)
    rig.server.always = HANG
    llm = rig.open(timeout="50ms")
    error = await failure(llm)
    assert isinstance(error, LLMUnreachable) and "does not answer in time" in str(error)
    await llm.close()
    llm = rig.open()
    rig.server.asked.clear()
    asking = asyncio.create_task(llm.chat(REQUEST))
    await rig.server.asked.wait()
    await rig.server.stop()
    with pytest.raises(LLMUnreachable):
        await asking
    await llm.close()


@every()
async def test_a_model_that_is_not_there_is_named_with_what_to_do(rig: Rig) -> None:
    """The question and the health both say it, and it is no outage."""
    setting = {"ollama": "model", "openai": "chat_model"}.get(rig.provider, "model")
    llm = rig.open(**{setting: "gpt-9"})
    error, health = await failure(llm), await llm.health()
    assert isinstance(error, ModelMissing)
    fix = "run `ollama pull gpt-9`" if rig.provider == "ollama" else f"check {rig.provider}.{setting}"
    for told in (str(error), health.detail):
        assert "does not have the model gpt-9" in told and fix in told
    assert not health.ok
    await llm.close()


@every(["openai", "anthropic"])
async def test_a_wrong_key_or_none_says_which_setting_to_check(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is neither an outage nor shown."""
    wrong = rig.open(api_key="sk-hunter2")
    for told in (str(await failure(wrong)), (await wrong.health()).detail):
        assert f"check {rig.provider}.api_key" in told
        assert "hunter2" not in told
    assert not isinstance(await failure(wrong), LLMUnreachable)
    await wrong.close()
    base = {"base_url": "https://api.openai.com/v1"} if rig.provider == "openai" else {}
    without = rig.open(api_key="", **base)
    for told in (str(await failure(without)), (await without.health()).detail):
        assert told.endswith(f"needs an API key: set {rig.provider}.api_key")
    with pytest.raises(LLMUnavailable):
        await without.load()
    await without.close()
    assert rig.server.calls == 0


REFUSALS = [
    (429, "slow down", LLMUnavailable, "too many questions for now"),
    (402, "pay", LLMUnavailable, "no credit left"),
    (403, "region", LLMUnavailable, "refused the API key"),
    (404, "no such path", LLMUnavailable, "has no such API"),
    (408, "late", LLMUnreachable, "error 408"),
    (529, "overloaded", LLMUnreachable, "error 529"),
    (418, "teapot", LLMUnavailable, "error 418"),
    (400, "secret", AnswerRejected, "refused the question"),
    (400, "the context is too small", AnswerRejected, "too long for the model"),
    (413, "secret", AnswerRejected, "too long for the model"),
]


@every(CLOUDS)
async def test_what_a_refusal_means(rig: Rig, llm: LLM) -> None:
    """One sentence for each, without the server's own words, which may quote the prompt."""
    for status, said_by_server, kind, told in REFUSALS:
        rig.server.always = Reply(status=status, error=said_by_server)
        error = await failure(llm)
        assert type(error) is kind
        assert told in str(error) and said_by_server not in str(error)


@every(["openai"])
async def test_a_used_up_quota_is_told_as_such(rig: Rig, llm: LLM) -> None:
    """OpenAI says 429 for both, and only one is over in a minute."""
    rig.server.replies.append(Reply(status=429, error="You exceeded your current quota"))
    assert "no credit left" in str(await failure(llm))


@every(CLOUDS)
async def test_a_prompt_beyond_the_models_size_is_rejected(rig: Rig, llm: LLM) -> None:
    """A smaller window helps, waiting does not; so with a server that cuts silently, which its count gives away."""
    assert not isinstance(rig.server, OllamaServer)
    rig.server.replies.append(Reply(prompt_eval_count=1026))
    long = replace(REQUEST, prompt="word " * 3000)
    assert "read 1026 tokens of at least 3003" in str(await failure(llm, long))
    rig.server.context = 1000
    assert str(await failure(llm, long)) == "the prompt is too long for the model"


@every()
async def test_an_absurdly_long_answer_is_refused_while_it_streams(rig: Rig, llm: LLM) -> None:
    """A megabyte stops at a limit, and the next question is answered."""
    rig.server.replies.append(Reply(text="x" * 1_000_000))
    assert isinstance(await failure(llm), AnswerRejected)
    assert (await llm.chat(REQUEST)).text


class Strange(Listener):
    """Something else at the address: it says the same to everyone."""

    body, kind = "", "text/plain"

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.route("*", "/{path:.*}", self._say)]

    async def _say(self, _: web.Request) -> web.Response:
        return web.Response(text=self.body, content_type=self.kind)


STRANGE = [
    ("<html>Welcome to nginx!</html>", "text/html"),
    ("[1]", "application/json"),
    ('data: {"a": 1}\n\n', "text/event-stream"),
    ("event: message_start\ndata: [1]\n\n", "text/event-stream"),
    ("event: message_start\ndata: nothing\n\n", "text/event-stream"),
    ("", "text/plain"),
]


@every(CLOUDS)
async def test_something_else_at_the_address_says_which_setting_to_check(rig: Rig) -> None:
    """A wrong URL is a matter of the settings, not of the messages, and never a missing model or an outage."""
    async with Strange() as strange:
        llm = rig.open(base_url=strange.url)
        for strange.body, strange.kind in STRANGE:
            error = await failure(llm)
            assert type(error) is LLMUnavailable
            assert f"check {rig.provider}.base_url" in str(error)
            assert not (await llm.health()).ok
        await llm.close()


@every(CLOUDS)
async def test_a_body_without_end_is_refused(rig: Rig) -> None:
    """What never gets to the end of a line is cut off at the limit, not collected."""
    async with Strange() as strange:
        strange.body, strange.kind = "data: " + "x" * 5_000_000, "text/event-stream"
        llm = rig.open(base_url=strange.url)
        error = await failure(llm)
        assert isinstance(error, AnswerRejected) and "larger than" in str(error)
        await llm.close()


# What is peculiar to one


@every(["openai"])
async def test_openai_is_asked_without_what_its_model_refuses(rig: Rig, llm: LLM) -> None:
    """A model that thinks takes no temperature, another no effort: each is found out once."""
    assert isinstance(rig.server, OpenAIChatServer)
    for _ in range(2):
        await llm.chat(REQUEST)
    first, second = rig.server.requests
    assert rig.server.refused == 1
    assert (first.get("temperature"), first["reasoning_effort"]) == (None, "low")
    assert first["max_completion_tokens"] == 4096 and "max_tokens" not in first
    assert first == second
    assert first["store"] is False
    assert first["response_format"]["json_schema"]["strict"] is True
    rig.server.thinking = False
    other = rig.open()
    await other.chat(REQUEST)
    assert (rig.server.requests[-1]["temperature"], rig.server.requests[-1].get("reasoning_effort")) == (0, None)
    await other.close()


@every(["openai"])
async def test_a_model_that_thinks_has_room_to_before_plain_text(rig: Rig, llm: LLM) -> None:
    """What it thinks counts as its answer, which is short."""
    async for _ in llm.stream("Be brief.", "Who keeps bees?", 400):
        pass
    assert rig.server.requests[-1]["max_completion_tokens"] == 2400


@every(["compatible"])
async def test_prompt_and_answer_share_the_context_of_a_compatible_server(rig: Rig, llm: LLM) -> None:
    """A long prompt leaves room for a shorter answer, never none."""
    for size in (10_000, 20_000):
        await llm.chat(ChatRequest("", "x" * size, SCHEMA))
    assert [body["max_tokens"] for body in rig.server.requests] == [4096 - 904, 512]
    assert [body["temperature"] for body in rig.server.requests] == [0, 0]


@every(["compatible"])
async def test_a_compatible_server_is_asked_not_to_think_if_it_knows_how(rig: Rig, llm: LLM) -> None:
    """As vLLM and llama.cpp take it; a server that refuses the parameter, whatever it says, is asked without it."""
    assert isinstance(rig.server, OpenAIChatServer)
    await llm.chat(REQUEST)
    assert rig.server.requests[-1]["chat_template_kwargs"] == {"enable_thinking": False}
    rig.server.unknown = {"chat_template_kwargs"}
    for _ in range(2):
        await llm.chat(REQUEST)
    assert rig.server.refused == 1
    assert "chat_template_kwargs" not in rig.server.requests[-1]


@every(["anthropic"])
async def test_a_claude_that_always_thinks_is_left_to_it(rig: Rig, llm: LLM) -> None:
    """Others are told not to, for the answer's room is counted."""
    assert isinstance(rig.server, AnthropicServer)
    await llm.chat(REQUEST)
    assert rig.server.requests[-1]["thinking"] == {"type": "disabled"}
    rig.server.thinks_always = True
    for _ in range(2):
        await llm.chat(REQUEST)
    assert rig.server.refused == 1
    assert "thinking" not in rig.server.requests[-1]


@every(["anthropic"])
async def test_claude_stops_at_its_context(rig: Rig, llm: LLM) -> None:
    """It has a word of its own for it."""
    rig.server.replies.append(Reply(done_reason="model_context_window_exceeded"))
    assert str(await failure(llm)) == "the prompt is too long for the model"


@every()
async def test_health_names_the_model(rig: Rig, llm: LLM) -> None:
    """An admin sees who would be asked."""
    names = {"ollama": MODEL, "openai": CHAT_MODEL, "anthropic": CLAUDE, "compatible": "qwen3"}
    assert names[rig.provider] in (await llm.health()).detail


def test_without_the_extra_the_command_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional client that is missing is a sentence, not a traceback."""
    monkeypatch.setitem(sys.modules, "anthropic", None)
    monkeypatch.delitem(sys.modules, "bot.extraction.anthropic", raising=False)
    with pytest.raises(SettingsError, match=r"run `pip install '\.\[anthropic\]'`"):
        open_provider(Settings(), "anthropic")


def test_a_schema_of_too_many_lines_leaves_their_numbers_to_the_check() -> None:
    """OpenAI takes at most so many enum values; names and kinds stay, and the schema that came is left as it was."""
    talk = tuple(said(id, "Ann", "ok") for id in range(1, 700))
    schema = build(Window(7, 70, (talk,)), "self", 2400).request.schema
    before = json.dumps(schema)
    fact = strict(schema)["properties"]["facts"]["items"]["properties"]
    assert fact["sources"] == {"type": "array", "items": {"type": "integer"}}
    assert fact["subject"]["enum"] == ["Ann", "SERVER"] and fact["confidence"]["enum"] == [1, 2, 3, 4, 5]
    assert json.dumps(schema) == before
