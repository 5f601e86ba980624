"""The channel, forum or thread a command is about, and whether it may be remembered."""

from collections.abc import Collection
from typing import Any

import discord

from bot.capture.convert import Observable as Place
from bot.capture.convert import access_id, is_public_thread
from bot.capture.visibility import missing_permissions
from bot.commands.access import member
from bot.commands.replies import Interaction, Refused
from bot.settings import DiscordSettings
from bot.storage.observations import Observation, Observations

ALLOW_IT = "allow it under the channel's Permissions"


def place_meant(interaction: Interaction, named: Place | None) -> Place:
    """What was named, otherwise where the command was typed. Raises `Refused` if nothing is said there."""
    member(interaction)
    place: Any = named or interaction.channel
    if not isinstance(place, Place):
        raise Refused("I remember text channels, forums and threads only; name one of these.")
    return place


def observing(observations: Observations, place: Place) -> Observation | None:
    """What observes a place now: itself, or for a public thread or forum post its parent."""
    active = {one.channel_id: one for one in observations.active(place.guild.id)}
    return active.get(place.id) or (active.get(place.parent_id) if is_public_thread(place) else None)


def in_sight(observations: Observations, guild: discord.Guild, visible: Collection[int]) -> list[Place]:
    """The places observed now that are among the `visible` ones (`access_id`s)."""
    places = [guild.get_channel_or_thread(one.channel_id) for one in observations.active(guild.id)]
    return [place for place in places if isinstance(place, Place) and access_id(place) in visible]


def refuse_unreadable(place: Place, settings: DiscordSettings, refusal: str) -> None:
    """Raises `Refused`, with this first sentence, for a place that is age-restricted or out of reach."""
    if reason := unreadable(place, settings):
        raise Refused(f"{refusal}: {reason}.")


def unreadable(place: Place, settings: DiscordSettings) -> str | None:
    """Why a place may or can not be remembered, if so."""
    if place.is_nsfw() and not settings.allow_age_restricted:
        return f"{place.mention} is age-restricted, and the settings do not allow me to remember such channels"
    if missing := missing_permissions(place):
        return f"in {place.mention} I lack {', '.join(missing)}; {ALLOW_IT}"
    return None


def hidden(place: Place) -> bool:
    """Whether @everyone cannot read this place."""
    if isinstance(place, discord.Thread) and place.is_private():
        return True
    return not place.permissions_for(place.guild.default_role).view_channel


def parent_of_private(place: Place) -> int | None:
    """The channel of a private thread, with which it goes; None for anything else."""
    return place.parent_id if isinstance(place, discord.Thread) and place.is_private() else None
