"""What members are told about where their words go."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import discord
from discord.utils import MISSING

from bot.capture.convert import Observable
from bot.commands.consent_button import AGREE, OBJECT, posted_buttons
from bot.commands.replies import NO_PINGS
from bot.commands.text import counted, dated
from bot.outside import outside_services, services_key
from bot.settings import Settings
from bot.storage.consent import Consent
from bot.storage.guild_configs import ConsentMode, GuildConfig, GuildConfigs
from bot.storage.observations import Observation, Source

FORUM_POST_TITLE = "I remember what is said in this forum"


class News(StrEnum):
    """What can change of the terms that members were told."""

    SERVICES = "services"
    RETENTION = "retention"
    CONSENT = "consent"


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for the members of a guild: the settings, and what its admins chose beside them."""

    settings: Settings
    config: GuildConfig
    mode: ConsentMode

    @property
    def keys(self) -> dict[News, str]:
        """What is told, in a form that stays the same when only its wording changes."""
        return {
            News.SERVICES: services_key(self.settings),
            News.RETENTION: f"{self.config.raw_days}/{self.config.facts_days}",
            News.CONSENT: self.mode,
        }


class Notices:
    """Tells the members of a place something, on the terms of their guild; `in_force` are the settings as they are."""

    def __init__(self, in_force: Callable[[], Settings], configs: GuildConfigs, consent: Consent) -> None:
        self.in_force = in_force
        self._configs = configs
        self._consent = consent

    def terms(self, guild_id: int) -> Terms:
        """What holds for a guild now."""
        return Terms(self.in_force(), self._configs.of(guild_id), self._consent.mode(guild_id))

    async def post(self, place: Observable, notice: str) -> discord.Message:
        """Post it, in a forum as a post; with the buttons to agree where members are asked first.

        Raises `discord.HTTPException`.
        """
        view = posted_buttons() if self._consent.mode(place.guild.id) == "opt_in" else None
        if not isinstance(place, discord.ForumChannel):
            return await place.send(notice, view=view or MISSING, allowed_mentions=NO_PINGS)
        tags = place.available_tags[:1] if place.flags.require_tag else []
        post = await place.create_thread(
            name=FORUM_POST_TITLE,
            content=notice,
            applied_tags=tags,
            view=view or MISSING,
            allowed_mentions=NO_PINGS,
        )
        return post.message

    async def observed(self, place: Observable) -> discord.Message:
        """Post that a channel is switched on; raises as `post`."""
        return await self.post(place, observe_notice(self.terms(place.guild.id)))

    async def opened(self, place: Observable, interval: Observation) -> discord.Message:
        """Post that an interval was opened afterwards, by an import for example; raises as `post`."""
        return await self.post(place, interval_notice(self.terms(place.guild.id), interval))


def observe_notice(terms: Terms, since: datetime | None = None) -> str:
    """The message posted in a channel that is switched on; `since` if what was said before is read, too."""
    past = f" I also read what was said here since {dated(since)}, and remember that as well." if since else ""
    whose = "what those who agree say in this channel" if terms.mode == "opt_in" else "what is said in this channel"
    return (
        f"🧠 **From now on I remember {whose}**, so that everyone who can read it can ask me with "
        f"`/ask` or `/recall`.{past} {_told(terms)}"
    )


def past_notice(terms: Terms, since: datetime) -> str:
    """The message posted in an observed channel before what was said there earlier is read."""
    return _past(terms, f"since {dated(since)}", "Someone who manages this server asked me to read that, too.")


def interval_notice(terms: Terms, interval: Observation) -> str:
    """The message posted in a channel where an interval was opened without a notice, by an import for example."""
    until = f" to {dated(interval.ended_at)}" if interval.ended_at else ""
    reason = "Whoever runs me gave me an export of it." if interval.source is Source.IMPORT else ""
    return _past(terms, f"from {dated(interval.started_at)}{until}", reason)


def news_notice(terms: Terms, news: Collection[News]) -> str:
    """The message posted in an observed channel when something is not as its members were told."""
    told = []
    if News.SERVICES in news:
        told.append(
            "**Other services see the text of this channel now** than I said before, because my settings have changed."
        )
    if News.CONSENT in news and terms.mode == "opt_in":
        told.append(
            "**From now on I ask first**: only what those who agree to it write here is remembered. What I hold from "
            "before stays until it is forgotten."
        )
    elif News.CONSENT in news:
        told.append(
            "**From now on I remember what everyone writes here** who has not opted out; so far I remembered only "
            "those who had agreed to it."
        )
    if News.RETENTION in news:
        told.append("**How long I keep what is said in this channel has changed.**")
    return f"🧠 {' '.join(told)} {_told(terms)}"


def _past(terms: Terms, span: str, reason: str) -> str:
    without = "those who have not agreed to be remembered" if terms.mode == "opt_in" else "those who have opted out"
    return (
        f"🧠 **I now also remember what was said in this channel {span}**, so that everyone who can read it can ask me "
        f"with `/recall`, but nothing of {without}. {reason} {_told(terms)}"
    )


def _told(terms: Terms) -> str:
    """Who sees the text, how long it is kept, how to stay out or come in, and how to take it back."""
    services = "\n".join(f"- {service}" for service in outside_services(terms.settings))
    if terms.mode == "opt_in":
        choice = (
            f"I keep nothing of what you write until you press **{AGREE}** here or use `/privacy opt-in`; "
            f"**{OBJECT}** and `/privacy opt-out` end that at any time."
        )
    else:
        choice = "If you would rather not be remembered, use `/privacy opt-out`."
    return (
        f"Who else sees the text:\n{services}\n"
        f"{kept(terms.config)} {choice} `/forget` removes what I hold, and messages you delete are forgotten too, "
        "those you delete while I am away once I am back. `/privacy policy` tells all of it."
    )


def kept(config: GuildConfig) -> str:
    """How long the words of messages and the facts are kept, as a sentence."""
    until = f"for {counted(config.facts_days, 'day')}" if config.facts_days else "until they are forgotten"
    return (
        f"I keep the messages themselves for {counted(config.raw_days, 'day')}, and the facts noted from them {until}."
    )
