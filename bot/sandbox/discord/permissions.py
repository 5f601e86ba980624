"""Who may do what where: Discord's documented permission algorithm, written from the documentation.

Source: https://discord.com/developers/docs/topics/permissions. It shares nothing with discord.py, so it can
judge what a client library and a bot on top of it let through.
"""

from datetime import datetime
from enum import IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.sandbox.discord.entities import Channel, Guild, Member, Place


class Permission(IntFlag):
    """The bitwise permission flags, by Discord's names."""

    CREATE_INSTANT_INVITE = 1 << 0
    KICK_MEMBERS = 1 << 1
    BAN_MEMBERS = 1 << 2
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_AUDIT_LOG = 1 << 7
    PRIORITY_SPEAKER = 1 << 8
    STREAM = 1 << 9
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    SEND_TTS_MESSAGES = 1 << 12
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    VIEW_GUILD_INSIGHTS = 1 << 19
    CONNECT = 1 << 20
    SPEAK = 1 << 21
    MUTE_MEMBERS = 1 << 22
    DEAFEN_MEMBERS = 1 << 23
    MOVE_MEMBERS = 1 << 24
    USE_VAD = 1 << 25
    CHANGE_NICKNAME = 1 << 26
    MANAGE_NICKNAMES = 1 << 27
    MANAGE_ROLES = 1 << 28
    MANAGE_WEBHOOKS = 1 << 29
    MANAGE_GUILD_EXPRESSIONS = 1 << 30
    USE_APPLICATION_COMMANDS = 1 << 31
    REQUEST_TO_SPEAK = 1 << 32
    MANAGE_EVENTS = 1 << 33
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    USE_EXTERNAL_STICKERS = 1 << 37
    SEND_MESSAGES_IN_THREADS = 1 << 38
    USE_EMBEDDED_ACTIVITIES = 1 << 39
    MODERATE_MEMBERS = 1 << 40
    VIEW_CREATOR_MONETIZATION_ANALYTICS = 1 << 41
    USE_SOUNDBOARD = 1 << 42
    CREATE_GUILD_EXPRESSIONS = 1 << 43
    CREATE_EVENTS = 1 << 44
    USE_EXTERNAL_SOUNDS = 1 << 45
    SEND_VOICE_MESSAGES = 1 << 46
    SEND_POLLS = 1 << 49
    USE_EXTERNAL_APPS = 1 << 50
    PIN_MESSAGES = 1 << 51
    BYPASS_SLOWMODE = 1 << 52


P = Permission
NONE = P(0)
ALL = P(sum(P))
EVERYONE = (
    P.CREATE_INSTANT_INVITE
    | P.ADD_REACTIONS
    | P.VIEW_CHANNEL
    | P.SEND_MESSAGES
    | P.EMBED_LINKS
    | P.ATTACH_FILES
    | P.READ_MESSAGE_HISTORY
    | P.USE_EXTERNAL_EMOJIS
    | P.CHANGE_NICKNAME
    | P.USE_APPLICATION_COMMANDS
    | P.CREATE_PUBLIC_THREADS
    | P.CREATE_PRIVATE_THREADS
    | P.SEND_MESSAGES_IN_THREADS
)
"""What @everyone may do in a new guild, as far as text channels go."""
LEFT_BY_TIMEOUT = P.VIEW_CHANNEL | P.READ_MESSAGE_HISTORY
NEEDS_SENDING = P.MENTION_EVERYONE | P.SEND_TTS_MESSAGES | P.ATTACH_FILES | P.EMBED_LINKS


def guild_permissions(guild: "Guild", member: "Member") -> Permission:
    """The base permissions, before any channel: @everyone's and those of the member's roles."""
    if member.user.id == guild.owner_id:
        return ALL
    permissions = guild.everyone.permissions
    for role_id in member.role_ids:
        permissions |= guild.roles[role_id].permissions
    return ALL if P.ADMINISTRATOR in permissions else permissions


def permissions_in(place: "Place", member: "Member", now: datetime) -> Permission:
    """What a member may do in a channel or thread now, the implicit rules included."""
    channel = place.channel
    permissions = _overwritten(channel, member, guild_permissions(channel.guild, member))
    if P.ADMINISTRATOR in permissions:
        return ALL
    if member.timed_out_until is not None and member.timed_out_until > now:
        permissions &= LEFT_BY_TIMEOUT
    sending = P.SEND_MESSAGES if place is channel else P.SEND_MESSAGES_IN_THREADS
    if sending not in permissions:
        permissions &= ~NEEDS_SENDING
    if P.VIEW_CHANNEL not in permissions or not _admitted(place, member, permissions):
        return NONE
    return permissions


def _overwritten(channel: "Channel", member: "Member", base: Permission) -> Permission:
    """Apply overwrites in the documented order: @everyone's, all roles' together, the member's own."""
    if P.ADMINISTRATOR in base:
        return ALL
    permissions = base
    if everyone := channel.overwrites.get(channel.guild.id):
        permissions = permissions & ~everyone.deny | everyone.allow
    allow = deny = NONE
    for role_id in member.role_ids:
        if overwrite := channel.overwrites.get(role_id):
            allow |= overwrite.allow
            deny |= overwrite.deny
    permissions = permissions & ~deny | allow
    if own := channel.overwrites.get(member.user.id):
        permissions = permissions & ~own.deny | own.allow
    return permissions


def _admitted(place: "Place", member: "Member", permissions: Permission) -> bool:
    """A private thread is seen by its members and by those who manage threads; all else by the channel's rules."""
    return not place.private or member.user.id in place.member_ids or P.MANAGE_THREADS in permissions
