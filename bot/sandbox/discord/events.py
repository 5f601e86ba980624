"""From changes of the world to gateway events: their payload, the intent they need and who may see them."""

from dataclasses import dataclass

from bot.sandbox.discord import payloads
from bot.sandbox.discord.entities import Guild, Intent, Json, Place, Thread
from bot.sandbox.discord.permissions import P
from bot.sandbox.discord.state import Change, State


@dataclass(frozen=True, slots=True)
class Event:
    """One gateway event. With a place it is for those who can view it; `readable` exempts it from content rules."""

    name: str
    data: Json
    intent: Intent
    place: Place | None = None
    readable: bool = True


def event_of(world: State, change: Change) -> Event | None:
    """The event of a change, or None when the bot is not in the guild it happened in."""
    event, guild = _translated(world, change)
    return event if world.bot.id in guild.members or event.name == "GUILD_DELETE" else None


def is_for(world: State, event: Event, intents: Intent) -> bool:
    """Whether a session with these intents receives it: Discord tells nobody about places they cannot view."""
    if event.intent not in intents:
        return False
    return event.place is None or P.VIEW_CHANNEL in world.permissions_at(world.bot, event.place)


def _translated(world: State, change: Change) -> tuple[Event, Guild]:
    translate = next(t for prefix, t in _TRANSLATORS.items() if change.event.startswith(prefix))
    return translate(world, change)


def _message(world: State, change: Change) -> tuple[Event, Guild]:
    subject = change.subject
    if change.event in ("MESSAGE_CREATE", "MESSAGE_UPDATE"):
        data = payloads.message_event(world, subject)
        readable = not payloads.hides_content(world, data, may_read_content=False)
        return Event(change.event, data, Intent.GUILD_MESSAGES, subject.place, readable), subject.place.guild
    if change.event == "MESSAGE_DELETE":
        where = subject.place
        deleted: Json = {"id": str(subject.id)}
    else:
        where, deleted = subject, {"ids": [str(message_id) for message_id in change.details["ids"]]}
    data = {**deleted, "channel_id": str(where.id), "guild_id": str(where.guild.id)}
    return Event(change.event, data, Intent.GUILD_MESSAGES, where), where.guild


def _channel(world: State, change: Change) -> tuple[Event, Guild]:
    return Event(change.event, payloads.channel(change.subject), Intent.GUILDS), change.subject.guild


def _thread(world: State, change: Change) -> tuple[Event, Guild]:
    if change.event == "THREAD_LIST_SYNC":
        return _thread_list(world, change)
    thread: Thread = change.subject
    guild_id = str(thread.guild.id)
    place: Place | None = thread
    if change.event == "THREAD_DELETE":
        data: Json = {
            "id": str(thread.id),
            "guild_id": guild_id,
            "parent_id": str(thread.channel.id),
            "type": int(thread.kind),
        }
    elif change.event == "THREAD_MEMBERS_UPDATE":
        added, removed = change.details["added"], change.details["removed"]
        data = {
            "id": str(thread.id),
            "guild_id": guild_id,
            "member_count": len(thread.member_ids),
            "added_members": [payloads.thread_member(thread, user_id) for user_id in added],
            "removed_member_ids": [str(user_id) for user_id in removed],
        }
        # One who is removed from a private thread is told, though they see it no longer.
        place = None if world.bot.id in removed else thread
    else:
        data = payloads.thread(thread, world.bot) | dict(change.details)
    return Event(change.event, data, Intent.GUILDS, place), thread.guild


def _thread_list(world: State, change: Change) -> tuple[Event, Guild]:
    guild, channels, me = change.subject, change.details["channels"], world.bot
    threads = [t for t in payloads.active_threads(world, guild) if t.channel in channels]
    data = {
        "guild_id": str(guild.id),
        "channel_ids": [str(channel.id) for channel in channels],
        "threads": [payloads.thread(t, me) for t in threads],
        "members": [payloads.thread_member(t, me.id) for t in threads if me.id in t.member_ids],
    }
    return Event(change.event, data, Intent.GUILDS), guild


def _member(world: State, change: Change) -> tuple[Event, Guild]:
    guild: Guild = change.details["guild"]
    member = change.subject
    data: Json = {"guild_id": str(guild.id)}
    data |= {"user": payloads.user(member.user)} if change.event == "GUILD_MEMBER_REMOVE" else payloads.member(member)
    # A bot always hears of changes to itself.
    mine = member.user.id == world.bot.id and change.event == "GUILD_MEMBER_UPDATE"
    return Event(change.event, data, Intent.GUILDS if mine else Intent.GUILD_MEMBERS), guild


def _role(world: State, change: Change) -> tuple[Event, Guild]:
    role = change.subject
    data: Json = {"guild_id": str(role.guild_id)}
    data |= {"role_id": str(role.id)} if change.event == "GUILD_ROLE_DELETE" else {"role": payloads.role(role)}
    return Event(change.event, data, Intent.GUILDS), world.guilds[role.guild_id]


def _guild(world: State, change: Change) -> tuple[Event, Guild]:
    guild: Guild = change.subject
    if change.event == "GUILD_DELETE":
        data: Json = {"id": str(guild.id)} | ({"unavailable": True} if guild.unavailable else {})
    elif change.event == "GUILD_UPDATE":
        data = payloads.guild(guild)
    else:
        data = payloads.guild_event(world, guild)
        if not change.details.get("returning"):
            del data["unavailable"]
    return Event(change.event, data, Intent.GUILDS), guild


# By how the event's name begins; the first match counts, so GUILD comes last.
_TRANSLATORS = {
    "MESSAGE": _message,
    "CHANNEL": _channel,
    "THREAD": _thread,
    "GUILD_MEMBER": _member,
    "GUILD_ROLE": _role,
    "GUILD": _guild,
}
