"""What members are told about where their words go; it follows from the settings, so it cannot go stale."""

import ipaddress
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlsplit

import discord

from bot.capture.convert import Observable
from bot.commands.replies import NO_PINGS
from bot.settings import OpenAISettings, Settings

_HOUSE_SUFFIXES = (".local", ".internal", ".lan", ".home.arpa", ".localhost")

FORUM_POST_TITLE = "I remember what is said in this forum"


async def post_notice(place: Observable, settings: Settings) -> discord.Message:
    """Tell the members of a place that it is observed; in a forum that is a post. Raises `discord.HTTPException`."""
    notice = observe_notice(settings)
    if not isinstance(place, discord.ForumChannel):
        return await place.send(notice, allowed_mentions=NO_PINGS)
    tags = place.available_tags[:1] if place.flags.require_tag else []
    post = await place.create_thread(
        name=FORUM_POST_TITLE, content=notice, applied_tags=tags, allowed_mentions=NO_PINGS
    )
    return post.message


def announcer(settings: Settings) -> Callable[[Observable], Awaitable[discord.Message]]:
    """Posts the notice in places the settings switch on; raises as `post_notice`."""
    return partial(post_notice, settings=settings)


def observe_notice(settings: Settings) -> str:
    """The message posted in a channel that is switched on."""
    services = "\n".join(f"- {service}" for service in outside_services(settings))
    return (
        "🧠 **From now on I remember what is said in this channel**, so that everyone who can read it can ask me with "
        f"`/recall`. Who else sees the text:\n{services}\n"
        "If you would rather not be remembered, use `/privacy opt-out`; `/forget` removes what I hold, and messages "
        "you delete while I am online are forgotten too."
    )


def outside_services(settings: Settings) -> list[str]:
    """One line for each service beyond this process that sees text, and what it sees."""
    services = [_language_model(settings.ollama.url)]
    if settings.openai.configured:
        what = "messages, facts and questions" if settings.memory.embed_messages else "facts and questions, no messages"
        services.append(f"{_embedder(settings.openai)}, to make them searchable: {what}")
    if settings.qdrant.url and not in_house(settings.qdrant.url):
        services.append(f"a Qdrant server at {_host(settings.qdrant.url)}, which stores the memories")
    return services


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


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
