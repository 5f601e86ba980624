"""Who is asking, and what they may look at."""

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

import discord
from discord import app_commands

from bot.commands.replies import SERVER_ONLY, Interaction, Refused
from bot.model import Scope, Visibility
from bot.policy import may_ask
from bot.storage.guild_configs import GuildConfigs

Place = app_commands.AppCommandChannel | app_commands.AppCommandThread


class MemberVisibility(Visibility, Protocol):
    """`Visibility` that also takes a member as Discord just described them, with no request."""

    async def for_member(self, member: discord.Member) -> frozenset[int]:
        """The `access_id`s this member may view and whose history they may read."""
        ...


def member(interaction: Interaction) -> discord.Member:
    """Who is asking, with the roles they have now.

    Raises `Refused` outside a server, and while Discord has not described the server.
    """
    if not isinstance(interaction.user, discord.Member):
        raise Refused(SERVER_ONLY)
    if interaction.user.guild.unavailable:
        raise Refused("Discord has trouble with this server right now; try again in a moment.")
    return interaction.user


def manages(interaction: Interaction) -> bool:
    """Whether the asker has Manage Server, by what Discord sent with this very press or command."""
    return interaction.permissions.manage_guild


def refuse_unless_asker(asker: discord.Member, configs: GuildConfigs) -> None:
    """Raises `Refused` for a member who may not ask for memories, in a server where only some roles may.

    The way of `/recall`, `/ask`, `/catchup` and mentions; what concerns one's own memories is open to everyone.
    """
    roles = configs.of(asker.guild.id).asker_roles
    if not may_ask({role.id for role in asker.roles}, roles, asker.guild_permissions.manage_guild):
        raise Refused(
            "In this server only some roles may ask me, and you have none of them. What I hold of you stays yours: "
            "see `/memory`, `/forget` and `/privacy`."
        )


def askers_lost(guild: discord.Guild, roles: Collection[int]) -> str | None:
    """A sentence if of the roles that may ask some no longer exist, which leaves their former members out."""
    standing = [id for id in roles if guild.get_role(id)]
    if len(standing) == len(roles):
        return None
    left = "only the others' members may ask" if standing else "only those who manage the server may ask"
    return f"A role that may ask me no longer exists, so {left}: choose with `/config set askers` or `/config reset`"


def stage(interaction: Interaction) -> int:
    """The id of the place where the asker is, to answer them for all to see.

    Raises `Refused` if they may not post there, by what Discord sent with this very press or command.
    """
    given, place = interaction.permissions, interaction.channel
    if isinstance(place, discord.Thread):
        speaks = given.send_messages_in_threads and (given.manage_threads or not place.locked)
    else:
        speaks = given.send_messages
    if place is None or not (given.view_channel and speaks):
        raise Refused("You may not post here, so I cannot answer for everyone to see; ask without `public`.")
    return place.id


def scope_in(
    guild_id: int,
    visible: frozenset[int],
    place: Place | None,
    about_id: int | None = None,
    since: datetime | None = None,
) -> Scope:
    """What is visible, narrowed to a place, a member and a time.

    A channel covers its public threads and forum posts, which are seen by whoever sees it.
    """
    if place is None:
        return Scope(guild_id, visible, about_id=about_id, since=since)
    if place.id in visible and not isinstance(place, app_commands.AppCommandThread):
        return Scope(guild_id, frozenset({place.id}), about_id=about_id, since=since)
    # A hidden channel is searched like one where nothing was said, so that the answers are the same.
    return Scope(guild_id, visible, channel_id=place.id, about_id=about_id, since=since)
