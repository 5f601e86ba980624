"""Who may read what was said where: the judge of leak tests, on nothing but the documented permissions.

Sources: https://discord.com/developers/docs/topics/permissions, and for threads
https://discord.com/developers/docs/topics/threads#permissions.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain, combinations

from bot.sandbox.discord.entities import VOCAL, ChannelKind, Guild, Member, Place, User
from bot.sandbox.discord.permissions import P, permissions_in


def may_read(place: Place, member: Member, now: datetime) -> bool:
    """Whether a member may view the place and read its history now; the chat of a voice channel takes Connect."""
    if place.kind is ChannelKind.CATEGORY:
        return False
    needed = P.VIEW_CHANNEL | P.READ_MESSAGE_HISTORY
    if place.kind in VOCAL:
        needed |= P.CONNECT
    return needed in permissions_in(place, member, now)


def places_of(guild: Guild) -> list[Place]:
    """The places that are read or not by rules of their own: all but public threads, which go with their channel."""
    return [*guild.channels.values(), *(thread for thread in guild.threads.values() if thread.private)]


def readable(guild: Guild, member: Member, now: datetime) -> frozenset[int]:
    """The ids of the channels and private threads the member may read now."""
    return frozenset(place.id for place in places_of(guild) if may_read(place, member, now))


def readable_by_all_who_view(place: Place, now: datetime) -> frozenset[int]:
    """The ids of the channels, and of `place` if it is a private thread, that all may read who may view `place`.

    "All" are not only the members of today, but all whom the roles and overwrites provide for: everybody may
    be given a role, be timed out or be let into a thread. Age-restricted channels are not read by all
    who view others.
    """
    guild, here = place.guild, place if place.private else place.channel
    crowd = [who for who in _conceivable(guild, now) if P.VIEW_CHANNEL in permissions_in(place.channel, who, now)]
    allowed = {
        channel.id
        for channel in guild.channels.values()
        if (channel is here or not channel.nsfw) and all(may_read(channel, who, now) for who in crowd)
    }
    if place.private and all(may_read(place.channel, who, now) for who in crowd):
        allowed.add(place.id)
    return frozenset(allowed)


def _conceivable(guild: Guild, now: datetime) -> Iterator[Member]:
    """The members there are, and enough that there could be.

    What one is allowed takes one role that allows it, what one is denied one role that denies it, and no other
    role changes that it is so. Whoever views one channel and may not read another shows it with two roles.
    """
    yield from guild.members.values()
    roles = [role_id for role_id in guild.roles if role_id != guild.id]
    named = {who for c in guild.channels.values() for who, overwrite in c.overwrites.items() if overwrite.is_member}
    for user_id in (0, *named - {guild.owner_id}):
        for held in chain.from_iterable(combinations(roles, count) for count in range(3)):
            for timed_out_until in (None, now + timedelta(hours=1)):
                yield Member(User(user_id, "anybody", "anybody"), now, None, list(held), timed_out_until)
