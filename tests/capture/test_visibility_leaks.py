"""No one is shown what they may not read: random guilds, changed under the eyes of the real client.

A case is one asker in one state of one guild. The judge is the stand-in's own algorithm, which shares nothing
with discord.py or with the bot. `make test-all` tries four times as many guilds.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route
from hypothesis import HealthCheck, given, settings
from leaks import ASKERS, GUILDS, Finding, SomeGuild, Stage, stage_on

from bot.sandbox.discord import DiscordServer

ROOMY = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
async def stage(discord_server: DiscordServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """One connection for all guilds of a test."""
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)
    async with stage_on(discord_server) as stage:
        yield stage


@pytest.fixture
def cases() -> Iterator[list[Finding]]:
    """What was found in each case; there are enough of them."""
    found: list[Any] = []
    yield found
    assert len(found) >= 5 * settings().max_examples


@settings(ROOMY)
@given(spec=GUILDS)
async def test_nobody_is_shown_what_they_may_not_read(stage: Stage, cases: list[Any], spec: SomeGuild) -> None:
    """By interaction or by id, alone or with all who look on: exactly what Discord's rules give, before and after."""
    scene = stage.open(spec)
    try:
        for changes in ([], spec.changes):
            for change in changes:
                scene.change(change)
            members = await scene.asking()
            assert await scene.findings(members, stage.visibility) == []
            assert await scene.findings_by_id(stage.visibility) == []
            cases.extend([()] * ASKERS)
    finally:
        scene.close()
