"""What members are told about where their words go; it follows from the settings, so it cannot go stale."""

import ipaddress
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from urllib.parse import urlsplit

import discord

from bot.capture.convert import Observable
from bot.commands.replies import NO_PINGS
from bot.commands.text import counted, dated
from bot.settings import OpenAISettings, Settings
from bot.storage.observations import Observation, Source

_HOUSE_SUFFIXES = (".local", ".internal", ".lan", ".home.arpa", ".localhost")

FORUM_POST_TITLE = "I remember what is said in this forum"


async def post(place: Observable, notice: str) -> discord.Message:
    """Tell the members of a place something; in a forum that is a post. Raises `discord.HTTPException`."""
    if not isinstance(place, discord.ForumChannel):
        return await place.send(notice, allowed_mentions=NO_PINGS)
    tags = place.available_tags[:1] if place.flags.require_tag else []
    post = await place.create_thread(
        name=FORUM_POST_TITLE, content=notice, applied_tags=tags, allowed_mentions=NO_PINGS
    )
    return post.message


def announcer(settings: Settings) -> Callable[[Observable], Awaitable[discord.Message]]:
    """Posts the notice in places the settings switch on; raises as `post`."""

    async def announce(place: Observable) -> discord.Message:
        return await post(place, observe_notice(settings, place.guild.id))

    return announce


def interval_announcer(settings: Settings) -> Callable[[Observable, Observation], Awaitable[discord.Message]]:
    """Posts the notice of an interval opened afterwards, by an import for example; raises as `post`."""

    async def announce(place: Observable, interval: Observation) -> discord.Message:
        return await post(place, interval_notice(settings, interval))

    return announce


def observe_notice(settings: Settings, guild_id: int, since: datetime | None = None) -> str:
    """The message posted in a channel that is switched on; `since` if what was said before is read, too."""
    past = f" I also read what was said here since {dated(since)}, and remember that as well." if since else ""
    return (
        "🧠 **From now on I remember what is said in this channel**, so that everyone who can read it can ask me with "
        f"`/recall`.{past} {_terms(settings, guild_id)}"
    )


def past_notice(settings: Settings, guild_id: int, since: datetime) -> str:
    """The message posted in an observed channel before what was said there earlier is read."""
    return _past(
        settings, guild_id, f"since {dated(since)}", "Someone who manages this server asked me to read that, too."
    )


def interval_notice(settings: Settings, interval: Observation) -> str:
    """The message posted in a channel where an interval was opened without a notice, by an import for example."""
    until = f" to {dated(interval.ended_at)}" if interval.ended_at else ""
    reason = "Whoever runs me gave me an export of it." if interval.source is Source.IMPORT else ""
    return _past(settings, interval.guild_id, f"from {dated(interval.started_at)}{until}", reason)


def services_notice(settings: Settings, guild_id: int) -> str:
    """The message posted in an observed channel when other services than its members were told of see the text."""
    return (
        "🧠 **Other services see the text of this channel now** than I said before, because my settings have changed. "
        f"{_terms(settings, guild_id)}"
    )


def _past(settings: Settings, guild_id: int, span: str, reason: str) -> str:
    return (
        f"🧠 **I now also remember what was said in this channel {span}**, so that everyone who can read it can ask me "
        f"with `/recall`, but nothing of those who have opted out. {reason} {_terms(settings, guild_id)}"
    )


def _terms(settings: Settings, guild_id: int) -> str:
    """Who sees the text, how long it is kept, how to stay out and how to take it back."""
    services = "\n".join(f"- {service}" for service in outside_services(settings))
    return (
        f"Who else sees the text:\n{services}\n"
        f"{kept(settings, guild_id)} If you would rather not be remembered, use `/privacy opt-out`; `/forget` removes "
        "what I hold, and messages you delete are forgotten too, those you delete while I am away once I am back."
    )


def kept(settings: Settings, guild_id: int) -> str:
    """How long the words of messages and the facts are kept, as a sentence."""
    raw, facts = settings.retention.raw_days_of(guild_id), settings.retention.facts_days_of(guild_id)
    until = f"for {counted(facts, 'day')}" if facts else "until they are forgotten"
    return f"I keep the messages themselves for {counted(raw, 'day')}, and the facts noted from them {until}."


def outside_services(settings: Settings) -> list[str]:
    """One line for each service beyond this process that sees text, and what it sees."""
    services = [_language_model(settings.ollama.url)]
    if settings.openai.configured:
        what = "messages, facts and questions" if settings.memory.embed_messages else "facts and questions, no messages"
        services.append(f"{_embedder(settings.openai)}, to make them searchable: {what}")
    if settings.qdrant.url and not in_house(settings.qdrant.url):
        services.append(f"a Qdrant server at {_host(settings.qdrant.url)}, which stores the memories")
    return services


def services_key(settings: Settings) -> str:
    """What `outside_services` tells, in a form that stays the same when only its wording changes."""
    openai, qdrant = settings.openai, settings.qdrant.url
    told: dict[str, str | bool] = {"reads": _whose(settings.ollama.url)}
    if openai.configured:
        told |= {"embeds": _whose(openai.base_url), "messages": settings.memory.embed_messages}
    if qdrant and not in_house(qdrant):
        told |= {"stores": _whose(qdrant)}
    return json.dumps(told)


def in_house(url: str) -> bool:
    """Whether a URL names this machine or its private network: loopback, private addresses, names without a dot."""
    host = _host(url)
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_HOUSE_SUFFIXES)


def _language_model(url: str) -> str:
    owner = "that the operator of this bot runs" if in_house(url) else f"at {_host(url)}"
    return f"a language model {owner}; it reads conversations to note facts"


def _embedder(settings: OpenAISettings) -> str:
    if settings.is_openai:
        return "OpenAI"
    url = settings.base_url
    return "an embedding model that the operator of this bot runs" if in_house(url) else _host(url)


def _whose(url: str) -> str:
    return "house" if in_house(url) else _host(url)


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
