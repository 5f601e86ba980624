"""How often a language model elsewhere is asked for its health."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from workshop import START, Clock

from bot.extraction.providers import open_llm
from bot.sandbox.anthropic import AnthropicServer
from bot.settings import Settings


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[asyncio.Event]:
    """An event for each question of health that comes; setting it lets the stand-in answer."""
    came: asyncio.Queue[asyncio.Event] = asyncio.Queue()
    answer = AnthropicServer._model

    async def slowly(self: AnthropicServer, request: Any) -> Any:
        came.put_nowait(allowed := asyncio.Event())
        await allowed.wait()
        return await answer(self, request)

    monkeypatch.setattr(AnthropicServer, "_model", slowly)
    return came


async def test_probes_neither_wear_out_a_cloud_nor_cancel_its_answer(probes: asyncio.Queue[asyncio.Event]) -> None:
    """Who waits no longer leaves the answer to the next; it lasts for a minute."""
    clock = Clock(START)
    async with AnthropicServer() as claude:
        cloud = {"base_url": claude.url, "api_key": "sk-x"}
        settings = Settings.model_validate({"extraction": {"provider": "anthropic"}, "anthropic": cloud})
        llm = open_llm(settings, clock=clock)
        impatient = asyncio.create_task(llm.health())
        first = await probes.get()
        impatient.cancel()
        await asyncio.wait({impatient})
        waiting = asyncio.create_task(llm.health())
        first.set()
        assert (await waiting).ok
        clock.forward(seconds=59)
        assert (await llm.health()).ok
        assert probes.empty()
        clock.now += timedelta(seconds=1)
        unanswered = asyncio.create_task(llm.health())
        second = await probes.get()
        await llm.close()  # does not wait for it
        await asyncio.wait({unanswered})
        second.set()
