"""The notice: it names every outside service that sees text, by the settings in force."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from town import connected, eventually

from bot.commands.notice import (
    News,
    Terms,
    in_house,
    interval_notice,
    news_notice,
    observe_notice,
    outside_services,
    past_notice,
    services_key,
)
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


def test_a_house_without_outside_services() -> None:
    """With no key and local services only the local language model is named."""
    assert outside_services(settings()) == [
        "a language model that the operator of this bot runs; it reads conversations to note facts, and questions with "
        "the memories that may answer them"
    ]


def test_openai_sees_messages_when_they_are_embedded() -> None:
    """A key means that OpenAI embeds messages too, by default."""
    told = outside_services(settings(openai={"api_key": "sk-x"}))
    assert told[1:] == ["OpenAI, to make them searchable: messages, facts and questions"]


def test_openai_sees_no_messages_when_they_stay_in_the_house() -> None:
    """`embed_messages = false` is told as what it is."""
    told = outside_services(settings(openai={"api_key": "sk-x"}, memory={"embed_messages": False}))
    assert told[1:] == ["OpenAI, to make them searchable: facts and questions, no messages"]


def test_remote_services_are_named_by_host() -> None:
    """Whatever is outside the house is named."""
    told = outside_services(
        settings(
            ollama={"url": "https://llm.example.com"},
            openai={"base_url": "https://embed.example.org/v1"},
            qdrant={"url": "https://cluster.cloud.example:6333"},
        )
    )
    assert "llm.example.com" in told[0]
    assert "embed.example.org" in told[1]
    assert "cluster.cloud.example" in told[2]


def test_a_local_embedder_and_qdrant_stay_unnamed() -> None:
    """Services in the house are the operator's."""
    told = outside_services(
        settings(openai={"base_url": "http://embedder:8080/v1"}, qdrant={"url": "http://qdrant:6333"})
    )
    assert len(told) == 2
    assert told[1].startswith("an embedding model that the operator of this bot runs")


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"embedding": {"provider": "ollama"}}, "an embedding model that the operator of this bot runs"),
        (
            {"embedding": {"provider": "ollama"}, "ollama": {"url": "https://llm.example.com"}},
            "llm.example.com",
        ),
        ({"embedding": {"provider": "voyage"}, "voyage": {"api_key": "pa-x"}}, "Voyage AI"),
        ({"embedding": {"provider": "voyage"}, "openai": {"api_key": "sk-x"}}, None),
        ({"embedding": {"provider": "fastembed"}, "openai": {"api_key": "sk-x"}}, None),
    ],
)
def test_whoever_embeds_is_named(sections: dict[str, Any], told: str | None) -> None:
    """The service that is asked sees the text, and no other: neither one without a key nor one inside this process."""
    expected = [] if told is None else [f"{told}, to make them searchable: messages, facts and questions"]
    assert outside_services(settings(**sections))[1:] == expected
    assert ('"embeds"' in services_key(settings(**sections))) is (told is not None)


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"extraction": {"provider": "openai"}}, "a language model of OpenAI"),
        ({"extraction": {"provider": "anthropic"}}, "a language model of Anthropic"),
        (
            {"extraction": {"provider": "compatible"}, "compatible": {"base_url": "http://vllm:8000/v1", "model": "m"}},
            "a language model that the operator of this bot runs",
        ),
        (
            {"extraction": {"provider": "anthropic"}, "anthropic": {"base_url": "https://gateway.example.com"}},
            "a language model at gateway.example.com",
        ),
        ({"ollama": {"model": "gpt-oss:120b-cloud"}}, "a language model in Ollama's cloud"),
        ({"ollama": {"model": "kimi-k2.5:cloud"}}, "a language model in Ollama's cloud"),
        ({"ollama": {"url": "https://ollama.com", "model": "gpt-oss:120b"}}, "a language model in Ollama's cloud"),
    ],
)
def test_whoever_reads_conversations_is_named(sections: dict[str, Any], told: str) -> None:
    """The service that is asked, and not an Ollama that is not."""
    (line,) = outside_services(settings(**sections))
    assert line.startswith(f"{told}; it reads conversations")


def test_the_fallback_is_named_with_when_it_reads_and_what() -> None:
    """Members know before the first conversation leaves the house, and that their questions never do."""
    other = settings(extraction={"fallback": "anthropic"})
    first, second = outside_services(other)
    assert first == outside_services(settings())[0]
    assert second == (
        "a language model of Anthropic, when the one above has long been out of reach; it reads conversations to note "
        "facts"
    )
    keys = {services_key(settings(extraction={"fallback": name})) for name in ("", "openai", "anthropic")}
    assert len(keys) == 3
    assert second in observe_notice(terms(extraction={"fallback": "anthropic"}))


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("http://127.0.0.1:11434", True),
        ("http://[::1]:11434", True),
        ("http://192.168.1.4", True),
        ("http://ollama:11434", True),
        ("http://ollama.svc.cluster.local", True),
        ("https://8.8.8.8", False),
        ("https://ollama.example.com", False),
    ],
)
def test_what_counts_as_the_house(url: str, inside: bool) -> None:
    """Loopback, private addresses and names of the local network."""
    assert in_house(url) is inside


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
    told = notice(terms(mode, openai={"api_key": "sk-x"}))
    assert ("until you press **Remember me**" in told) is (mode == "opt_in")
    assert "OpenAI, to make them searchable" in told
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


def test_the_key_of_the_services_changes_with_what_is_told() -> None:
    """It differs whenever other services see the text, or see more of it, and not otherwise."""
    variants: list[dict[str, dict[str, Any]]] = [
        {},
        {"openai": {"api_key": "sk-x"}},
        {"openai": {"api_key": "sk-x"}, "memory": {"embed_messages": False}},
        {"openai": {"base_url": "http://embedder:8080/v1"}},
        {"openai": {"base_url": "https://embed.example.org/v1"}},
        {"ollama": {"url": "https://llm.example.com"}},
        {"qdrant": {"url": "https://cluster.cloud.example:6333"}},
    ]
    keys = {services_key(settings(**sections)) for sections in variants}
    assert len(keys) == len(variants) == len({tuple(outside_services(settings(**sections))) for sections in variants})
    assert services_key(settings(openai={"api_key": "sk-y"})) in keys
    assert services_key(settings(ollama={"url": "http://ollama:11434"}, qdrant={"url": "http://qdrant:6333"})) in keys


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
