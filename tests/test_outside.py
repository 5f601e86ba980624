"""Who outside sees what members write: every such service is named, by the settings in force."""

import json
from typing import Any

import pytest

from bot.outside import in_house, outside_services, services_key, told_of_embedder, untold_uses
from bot.settings import Settings


def settings(**sections: dict[str, Any]) -> Settings:
    return Settings.model_validate(sections)


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
        (
            {"embedding": {"provider": "ollama"}, "ollama": {"url": "http://ollama:11434", "run_by": "Example GmbH"}},
            "an embedding model that Example GmbH runs",
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
        ({"ollama": {"url": "http://gpu:11434", "run_by": "Example GmbH"}}, "a language model that Example GmbH runs"),
        ({"ollama": {"model": "gpt-oss:120b-cloud", "run_by": "me"}}, "a language model in Ollama's cloud"),
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


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("http://127.0.0.1:11434", True),
        ("http://[::1]:11434", True),
        ("http://192.168.1.4", True),
        ("http://ollama:11434", True),
        ("http://ollama.recollect.svc", True),
        ("http://ollama.recollect.svc.cluster.local:11434", True),
        ("http://gpu.internal", True),
        ("http://ollama.svc.example.com", False),
        ("https://8.8.8.8", False),
        ("https://ollama.example.com", False),
    ],
)
def test_what_counts_as_the_house(url: str, inside: bool) -> None:
    """Loopback, private addresses and names of the local network."""
    assert in_house(url) is inside


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
        {"embedding": {"next": "voyage"}},
        {"embedding": {"next": "voyage"}, "memory": {"embed_messages": False}},
    ]
    keys = {services_key(settings(**sections)) for sections in variants}
    assert len(keys) == len(variants) == len({tuple(outside_services(settings(**sections))) for sections in variants})
    assert services_key(settings(openai={"api_key": "sk-y"})) in keys
    assert services_key(settings(ollama={"url": "http://ollama:11434"}, qdrant={"url": "http://qdrant:6333"})) in keys


NEXT = {"embedding": {"next": "voyage"}}
KEY = {"openai": {"api_key": "sk-x"}}
NO_MESSAGES = {"memory": {"embed_messages": False}}


def test_an_embedder_to_come_is_named_beside_the_one_in_use() -> None:
    """Members read of it before it is sent anything; one in the house, or the same one, is no news."""
    told = outside_services(settings(**KEY, **NEXT))
    assert told[1:] == [
        "OpenAI, to make them searchable: messages, facts and questions",
        "Voyage AI, which is to make them searchable from some day on: messages, facts and questions",
    ]
    for other in ("", "ollama", "fastembed", "openai"):
        same = settings(**KEY, embedding={"next": other})
        assert (outside_services(same), services_key(same)) == (told[:2], services_key(settings(**KEY)))


@pytest.mark.parametrize(
    ("before", "now", "known"),
    [
        (KEY, KEY, {"openai", "ollama", "fastembed"}),
        (KEY | NEXT, KEY, {"openai", "voyage", "ollama", "fastembed"}),
        (KEY, KEY | NEXT, {"openai", "ollama", "fastembed"}),
        (KEY | NEXT | NO_MESSAGES, KEY, {"ollama", "fastembed"}),
        (KEY | NEXT | NO_MESSAGES, NO_MESSAGES, {"openai", "voyage", "ollama", "fastembed"}),
        ({}, KEY | {"ollama": {"url": "https://llm.example.com"}}, {"fastembed"}),
        ({}, {"openai": {"base_url": "http://embedder:8080/v1"}}, {"openai", "ollama", "fastembed"}),
        ({}, {"ollama": {"run_by": "Example GmbH"}}, {"fastembed"}),
    ],
)
def test_what_members_know_of_an_embedder(before: dict[str, Any], now: dict[str, Any], known: set[str]) -> None:
    """What they were told counts, not what the settings say meanwhile; of one in the house there is nothing to know."""
    told = services_key(settings(**before))
    providers = ("openai", "voyage", "ollama", "fastembed")
    assert {one for one in providers if told_of_embedder(told, settings(**now), one)} == known


@pytest.mark.parametrize(
    ("before", "now", "untold"),
    [
        ({}, {}, set()),
        ({}, KEY | NEXT, {"embeds", "embeds_next"}),
        (KEY | NEXT, {}, set()),
        (KEY | NEXT, {"embedding": {"provider": "voyage"}, "voyage": {"api_key": "pa-x"}}, set()),
        (KEY | NO_MESSAGES, KEY, {"embeds"}),
        ({}, {"extraction": {"provider": "anthropic"}}, {"reads"}),
        ({"extraction": {"fallback": "anthropic"}}, {"extraction": {"provider": "anthropic"}}, {"reads"}),
        ({}, {"extraction": {"fallback": "anthropic"}}, {"reads_instead"}),
        ({}, {"ollama": {"url": "https://llm.example.com"}}, {"reads"}),
        ({}, {"ollama": {"run_by": "Example GmbH"}}, {"reads"}),
        ({"ollama": {"run_by": "Example GmbH"}}, {"ollama": {"run_by": "another"}}, {"reads"}),
        ({"ollama": {"url": "https://llm.example.com"}}, {"ollama": {"url": "http://ollama:11434"}}, set()),
        ({}, {"qdrant": {"url": "https://cluster.cloud.example:6333"}}, {"stores"}),
    ],
)
def test_what_members_are_still_to_be_told(before: dict[str, Any], now: dict[str, Any], untold: set[str]) -> None:
    """Whatever goes outside that did not, or goes to somebody else, or is more than it was."""
    told, wanted = services_key(settings(**before)), services_key(settings(**now))
    assert untold_uses(told, wanted) == untold
    assert untold_uses(wanted, wanted) == set()
    everything = {use for use in json.loads(wanted) if json.loads(wanted)[use] not in ("house", True, False)}
    assert untold_uses("{}", wanted) == everything
