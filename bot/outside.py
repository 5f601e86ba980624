"""Which services beyond this process see what members write. It follows from the settings, so it cannot go stale."""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
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
_HOUSE_SUFFIXES = (".local", ".internal", ".lan", ".home.arpa", ".localhost", ".svc")
_HOUSE, _MESSAGES = "house", "messages"


class Use(StrEnum):
    """What a service does with what members write."""

    READS = "reads"
    READS_INSTEAD = "reads_instead"
    EMBEDS = "embeds"
    EMBEDS_NEXT = "embeds_next"
    STORES = "stores"


_EMBEDDING = {Use.EMBEDS, Use.EMBEDS_NEXT}


@dataclass(frozen=True, slots=True)
class _Service:
    """Where text is sent to, and who runs that if the settings say so: no address tells whose an alias is."""

    url: str
    run_by: str = ""

    @property
    def outside(self) -> bool:
        return bool(self.run_by) or not in_house(self.url)

    @property
    def whose(self) -> str:
        return (self.run_by or _host(self.url)) if self.outside else _HOUSE

    @property
    def language_model(self) -> str:
        """As people are told of it."""
        if self.run_by or not self.outside:
            return f"a language model that {self.run_by or 'the operator of this bot'} runs"
        return _LANGUAGE_MODELS.get(self.whose, f"a language model at {self.whose}")

    @property
    def embedder(self) -> str:
        """As people are told of it."""
        if self.run_by or not self.outside:
            return f"an embedding model that {self.run_by or 'the operator of this bot'} runs"
        return _EMBEDDERS.get(self.whose, self.whose)


def outside_services(settings: Settings) -> list[str]:
    """One line for each service beyond this process that sees text, and what it sees."""
    services = _language_models(settings)
    what = "messages, facts and questions" if settings.memory.embed_messages else "facts and questions, no messages"
    if embeds := _embeds(settings):
        services.append(f"{embeds.embedder}, to make them searchable: {what}")
    if embeds_next := _embeds_next(settings):
        services.append(f"{embeds_next.embedder}, which is to make them searchable from some day on: {what}")
    if (stores := _Service(settings.qdrant.url)).url and stores.outside:
        services.append(f"a Qdrant server at {stores.whose}, which stores the memories")
    return services


def services_key(settings: Settings) -> str:
    """What `outside_services` tells, in a form that stays the same when only its wording changes."""
    told: dict[str, str | bool] = {Use.READS: _reads(settings, settings.extraction.provider).whose}
    if fallback := settings.extraction.fallback:
        told |= {Use.READS_INSTEAD: _reads(settings, fallback).whose}
    if embeds := _embeds(settings):
        told |= {Use.EMBEDS: embeds.whose, _MESSAGES: settings.memory.embed_messages}
    if embeds_next := _embeds_next(settings):
        told |= {Use.EMBEDS_NEXT: embeds_next.whose, _MESSAGES: settings.memory.embed_messages}
    if (stores := _Service(settings.qdrant.url)).url and stores.outside:
        told |= {Use.STORES: stores.whose}
    return json.dumps(told)


def told_of_embedder(key: str, settings: Settings, provider: str) -> bool:
    """Whether members who were told what `services_key` says know whom this provider's embeddings are made by.

    There is nothing to know of one that runs in this process or in the house.
    """
    service, told = _embedder(settings, provider), json.loads(key)
    if service is None or not service.outside:
        return True
    seen = told.get(_MESSAGES) or not settings.memory.embed_messages
    return bool(seen) and service.whose in _known(told, Use.EMBEDS)


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
    """Whether a URL names this machine or its private network.

    That are loopback, private addresses, and names without a dot or of a cluster or a local network. Such a name may
    be an alias of a machine elsewhere, which cannot be told from here.
    """
    host = _host(url)
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_HOUSE_SUFFIXES)


def _language_models(settings: Settings) -> list[str]:
    extraction = settings.extraction
    first = _reads(settings, extraction.provider).language_model
    lines = [f"{first}; it reads conversations to note facts, and questions with the memories that may answer them"]
    if extraction.fallback:
        other = _reads(settings, extraction.fallback).language_model
        lines.append(f"{other}, when the one above has long been out of reach; it reads conversations to note facts")
    return lines


def _reads(settings: Settings, provider: str) -> _Service:
    """Where conversations are sent to in the end."""
    if provider == "ollama" and settings.ollama.model.endswith(_CLOUD_MODEL):
        return _Service(_OLLAMA_CLOUD)
    return {
        "ollama": _Service(settings.ollama.url, settings.ollama.run_by),
        "openai": _Service(settings.openai.base_url),
        "anthropic": _Service(settings.anthropic.base_url),
        "compatible": _Service(settings.compatible.base_url),
    }[provider]


def _embeds(settings: Settings) -> _Service | None:
    """Where texts are sent to for their embeddings; None if none are made, or in this process."""
    return _embedder(settings, settings.embedding.provider) if settings.embeds else None


def _embeds_next(settings: Settings) -> _Service | None:
    """The embedder that is to take over, if it lies outside and is another one."""
    service = _embedder(settings, settings.embedding.next)
    return service if service and service.outside and service != _embeds(settings) else None


def _embedder(settings: Settings, provider: str) -> _Service | None:
    return {
        "openai": _Service(settings.openai.base_url),
        "ollama": _Service(settings.ollama.url, settings.ollama.run_by),
        "voyage": _Service(settings.voyage.base_url),
    }.get(provider)


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
