"""Which services beyond this process see what members write. It follows from the settings, so it cannot go stale."""

import ipaddress
import json
from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import urlsplit

from bot.settings import Settings

_LANGUAGE_MODELS = {
    "api.openai.com": "a language model of OpenAI",
    "api.anthropic.com": "a language model of Anthropic",
    "ollama.com": "a language model in Ollama's cloud",
}
# An Ollama of one's own hands questions to such a model on to this (https://docs.ollama.com/cloud).
_OLLAMA_CLOUD, _CLOUD_MODEL = "https://ollama.com", ("-cloud", ":cloud")
_EMBEDDERS = {"api.openai.com": "OpenAI", "api.voyageai.com": "Voyage AI"}
_HOUSE_SUFFIXES = (".local", ".internal", ".lan", ".home.arpa", ".localhost")
_HOUSE, _MESSAGES = "house", "messages"


class Use(StrEnum):
    """What a service does with what members write."""

    READS = "reads"
    READS_INSTEAD = "reads_instead"
    EMBEDS = "embeds"
    EMBEDS_NEXT = "embeds_next"
    STORES = "stores"


_EMBEDDING = {Use.EMBEDS, Use.EMBEDS_NEXT}


def outside_services(settings: Settings) -> list[str]:
    """One line for each service beyond this process that sees text, and what it sees."""
    services = _language_models(settings)
    what = "messages, facts and questions" if settings.memory.embed_messages else "facts and questions, no messages"
    if embeds_at := _embeds_at(settings):
        services.append(f"{_embedder(embeds_at)}, to make them searchable: {what}")
    if next_at := _embeds_next_at(settings):
        services.append(f"{_embedder(next_at)}, which is to make them searchable from some day on: {what}")
    if settings.qdrant.url and not in_house(settings.qdrant.url):
        services.append(f"a Qdrant server at {_host(settings.qdrant.url)}, which stores the memories")
    return services


def services_key(settings: Settings) -> str:
    """What `outside_services` tells, in a form that stays the same when only its wording changes."""
    embeds_at, next_at, qdrant = _embeds_at(settings), _embeds_next_at(settings), settings.qdrant.url
    told: dict[str, str | bool] = {Use.READS: _whose(_reads_at(settings, settings.extraction.provider))}
    if fallback := settings.extraction.fallback:
        told |= {Use.READS_INSTEAD: _whose(_reads_at(settings, fallback))}
    if embeds_at:
        told |= {Use.EMBEDS: _whose(embeds_at), _MESSAGES: settings.memory.embed_messages}
    if next_at:
        told |= {Use.EMBEDS_NEXT: _whose(next_at), _MESSAGES: settings.memory.embed_messages}
    if qdrant and not in_house(qdrant):
        told |= {Use.STORES: _whose(qdrant)}
    return json.dumps(told)


def told_of_embedder(key: str, settings: Settings, provider: str) -> bool:
    """Whether members who were told what `services_key` says know whom this provider's embeddings are made by.

    There is nothing to know of one that runs in this process or in the house.
    """
    at, told = _embedder_at(settings, provider), json.loads(key)
    if at is None or in_house(at):
        return True
    seen = told.get(_MESSAGES) or not settings.memory.embed_messages
    return bool(seen) and _whose(at) in _known(told, Use.EMBEDS)


def untold_uses(told: str, now: str) -> frozenset[Use]:
    """What services outside do by the `services_key` of `now` that members know nothing of who were `told` another."""
    before, after = json.loads(told), json.loads(now)
    more = after.get(_MESSAGES, False) and not before.get(_MESSAGES, False)
    return frozenset(
        use
        for use in Use
        if (whose := after.get(use, _HOUSE)) != _HOUSE
        and (whose not in _known(before, use) or (more and use in _EMBEDDING))
    )


def _known(told: Mapping[Use, str], use: Use) -> set[str | None]:
    """Who does this as far as members know; whoever is to embed next may do so."""
    return {told.get(one) for one in (_EMBEDDING if use in _EMBEDDING else {use})}


def in_house(url: str) -> bool:
    """Whether a URL names this machine or its private network: loopback, private addresses, names without a dot."""
    host = _host(url)
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_HOUSE_SUFFIXES)


def _language_models(settings: Settings) -> list[str]:
    extraction = settings.extraction
    first = _language_model(_reads_at(settings, extraction.provider))
    lines = [f"{first}; it reads conversations to note facts, and questions with the memories that may answer them"]
    if extraction.fallback:
        other = _language_model(_reads_at(settings, extraction.fallback))
        lines.append(f"{other}, when the one above has long been out of reach; it reads conversations to note facts")
    return lines


def _reads_at(settings: Settings, provider: str) -> str:
    """The URL that conversations are sent to in the end."""
    if provider == "ollama" and settings.ollama.model.endswith(_CLOUD_MODEL):
        return _OLLAMA_CLOUD
    return {
        "ollama": settings.ollama.url,
        "openai": settings.openai.base_url,
        "anthropic": settings.anthropic.base_url,
        "compatible": settings.compatible.base_url,
    }[provider]


def _language_model(url: str) -> str:
    if in_house(url):
        return "a language model that the operator of this bot runs"
    return _LANGUAGE_MODELS.get(_host(url), f"a language model at {_host(url)}")


def _embeds_at(settings: Settings) -> str | None:
    """The URL that texts are sent to for their embeddings; None if none are made, or in this process."""
    return _embedder_at(settings, settings.embedding.provider) if settings.embeds else None


def _embeds_next_at(settings: Settings) -> str | None:
    """The URL of the embedder that is to take over, if it lies outside and is another one."""
    at = _embedder_at(settings, settings.embedding.next)
    return at if at and not in_house(at) and at != _embeds_at(settings) else None


def _embedder_at(settings: Settings, provider: str) -> str | None:
    urls = {"openai": settings.openai.base_url, "ollama": settings.ollama.url, "voyage": settings.voyage.base_url}
    return urls.get(provider)


def _embedder(url: str) -> str:
    if in_house(url):
        return "an embedding model that the operator of this bot runs"
    return _EMBEDDERS.get(_host(url), _host(url))


def _whose(url: str) -> str:
    return _HOUSE if in_house(url) else _host(url)


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
