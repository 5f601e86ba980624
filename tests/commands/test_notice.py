"""The notice: it names every outside service that sees text, by the settings in force."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from town import connected, eventually

from bot.commands.notice import News, Terms, interval_notice, news_notice, observe_notice, past_notice
from bot.sandbox.discord import DiscordServer, Permission
from bot.settings import Settings
from bot.storage.guild_configs import ConsentMode, GuildConfigs
from bot.storage.observations import Observation, Source

GUILD = 7


def settings(**sections: dict[str, Any]) -> Settings:
    return Settings.model_validate(sections)


def terms(mode: ConsentMode = "opt_out", **sections: dict[str, Any]) -> Terms:
    """What holds for the guild by these settings."""
    database: Any = None  # nothing is read or written
    return Terms(settings(**sections), GuildConfigs(database, settings(**sections)).of(GUILD), mode)


SINCE = datetime(2026, 5, 1, tzinfo=UTC)
IMPORTED = Observation(1, GUILD, 5, SINCE, SINCE + timedelta(days=9), None, source=Source.IMPORT, announced=False)


@pytest.mark.parametrize(
    "notice",
    [
        observe_notice,
        lambda terms: observe_notice(terms, SINCE),
        lambda terms: past_notice(terms, SINCE),
        lambda terms: interval_notice(terms, IMPORTED),
        lambda terms: news_notice(terms, set(News)),
    ],
)
@pytest.mark.parametrize("mode", ["opt_out", "opt_in"])
def test_every_notice_tells_the_terms(notice: Callable[[Terms], str], mode: ConsentMode) -> None:
    """Who sees the text, how long it is kept, how to stay out and how to take it back; and it fits into a message."""
    told = notice(terms(mode, openai={"api_key": "sk-x"}, extraction={"fallback": "anthropic"}))
    assert ("until you press **Remember me**" in told) is (mode == "opt_in")
    assert "OpenAI, to make them searchable" in told
    assert "a language model of Anthropic, when the one above has long been out of reach" in told
    assert "messages themselves for 30 days, and the facts noted from them until they are forgotten" in told
    assert "`/privacy opt-out`" in told
    assert "`/forget`" in told
    assert "messages you delete are forgotten too, those you delete while I am away once I am back" in told
    assert len(told) <= 2000


def test_a_server_with_a_retention_of_its_own_is_told_so() -> None:
    """The days in the notice are the server's."""
    own = terms(retention={"guilds": {str(GUILD): {"raw_days": 1, "facts_days": 90}}})
    assert "for 1 day, and the facts noted from them for 90 days" in observe_notice(own)


def test_what_was_said_before_is_told_with_its_dates() -> None:
    """Members read from when on they are remembered, and at whose wish."""
    since, until = (f"<t:{int(time.timestamp())}:f>" for time in (SINCE, IMPORTED.ended_at or SINCE))
    assert f"I also read what was said here since {since}" in observe_notice(terms(), SINCE)
    assert f"since {since}**" in past_notice(terms(), SINCE)
    assert f"from {since} to {until}**" in interval_notice(terms(), IMPORTED)
    assert "gave me an export" in interval_notice(terms(), IMPORTED)
    for notice in (past_notice(terms(), SINCE), interval_notice(terms(), IMPORTED)):
        assert "nothing of those who have opted out" in notice


async def test_a_channel_of_the_settings_is_told_too(tmp_path: Path, sections: dict[str, Any]) -> None:
    """Whoever switches a channel on, its members are told; where that is not allowed, it stays off."""
    async with DiscordServer() as server:
        world = server.world
        guild = world.add_guild(name="tea club")
        general, silent = world.add_channel(guild, "general"), world.add_channel(guild, "silent")
        world.deny(silent, world.bot, Permission.SEND_MESSAGES)
        observe = {"discord": {"observe": (general.id, silent.id)}}
        with capture_logs() as logs:
            async with connected(server, tmp_path, sections | observe):
                await eventually(lambda: server.sent(general) and events(logs, "cannot_observe"))
        [notice] = server.sent(general)
        assert "`/privacy opt-out`" in notice.content
        [line] = events(logs, "cannot_observe")
        assert (line["channel_id"], line["reason"]) == (silent.id, "the bot lacks Send Messages there")


async def test_an_import_is_told_in_its_channel(tmp_path: Path, sections: dict[str, Any]) -> None:
    """Its interval is announced once, when a session begins."""
    async with DiscordServer() as server:
        guild = server.world.add_guild(name="tea club")
        general = server.world.add_channel(guild, "general")
        async with connected(server, tmp_path, sections) as app:
            await app.client.settle()
            await app.observations.open_interval(
                guild.id, general.id, SINCE, SINCE + timedelta(days=9), None, Source.IMPORT, announced=False
            )
        for _ in range(2):
            async with connected(server, tmp_path, sections) as app:
                await app.client.settle()
        [notice] = server.sent(general)
        assert "gave me an export" in notice.content
        assert notice.allowed_mentions == {"parse": []}


def events(logs: Sequence[Mapping[str, Any]], event: str) -> list[Mapping[str, Any]]:
    return [line for line in logs if line["event"] == event]
