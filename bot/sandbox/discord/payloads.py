"""The JSON Discord's API v10 sends for each thing (https://discord.com/developers/docs/resources)."""

from datetime import UTC, datetime

from bot.model import snowflake_time
from bot.sandbox.discord.entities import (
    PRIVILEGED,
    VOCAL,
    Application,
    Attachment,
    Channel,
    ChannelKind,
    Guild,
    Intent,
    Json,
    Member,
    Message,
    Place,
    Role,
    Thread,
    User,
)
from bot.sandbox.discord.permissions import Permission
from bot.sandbox.discord.state import State

_LIMITED_FLAGS = {Intent.GUILD_PRESENCES: 1 << 13, Intent.GUILD_MEMBERS: 1 << 15, Intent.MESSAGE_CONTENT: 1 << 19}


def iso(at: datetime) -> str:
    """An ISO 8601 timestamp as Discord writes them."""
    return at.astimezone(UTC).isoformat()


def optional_iso(at: datetime | None) -> str | None:
    """The same, or null."""
    return None if at is None else iso(at)


def user(who: User) -> Json:
    """A user object."""
    return {
        "id": str(who.id),
        "username": who.name,
        "discriminator": "0",
        "global_name": None if who.bot else who.display_name,
        "avatar": None,
        "bot": who.bot,
        "public_flags": 0,
    }


def member(who: Member, permissions: Permission | None = None, *, with_user: bool = True) -> Json:
    """A member object; messages leave the user out, interactions add the permissions in the channel."""
    payload: Json = {
        "nick": who.nick,
        "roles": [str(role_id) for role_id in who.role_ids],
        "joined_at": iso(who.joined_at),
        "premium_since": None,
        "communication_disabled_until": optional_iso(who.timed_out_until),
        "avatar": None,
        "deaf": False,
        "mute": False,
        "pending": False,
        "flags": 0,
    }
    if with_user:
        payload["user"] = user(who.user)
    if permissions is not None:
        payload["permissions"] = str(int(permissions))
    return payload


def role(what: Role) -> Json:
    """A role object."""
    return {
        "id": str(what.id),
        "name": what.name,
        "permissions": str(int(what.permissions)),
        "position": what.position,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": what.managed,
        "mentionable": False,
        "flags": 0,
    }


def channel(what: Channel) -> Json:
    """A guild channel object."""
    overwrites = [
        {"id": str(i), "type": int(o.is_member), "allow": str(int(o.allow)), "deny": str(int(o.deny))}
        for i, o in what.overwrites.items()
    ]
    payload: Json = {
        "id": str(what.id),
        "guild_id": str(what.guild.id),
        "type": int(what.kind),
        "name": what.name,
        "position": what.position,
        "permission_overwrites": overwrites,
        "parent_id": None if what.parent_id is None else str(what.parent_id),
        "nsfw": what.nsfw,
        "topic": what.topic,
        "flags": 0,
    }
    if what.kind is not ChannelKind.CATEGORY:
        payload |= {"rate_limit_per_user": 0, "last_message_id": _last_id(what)}
    if what.kind in VOCAL:
        payload |= {"bitrate": 64_000, "user_limit": 0, "rtc_region": None}
    if what.kind is ChannelKind.FORUM:
        payload |= {"available_tags": [], "default_reaction_emoji": None, "default_sort_order": None}
    return payload


def thread(what: Thread, me: User | None = None) -> Json:
    """A thread object, with the thread member of `me` if they joined it."""
    payload: Json = {
        "id": str(what.id),
        "guild_id": str(what.guild.id),
        "parent_id": str(what.channel.id),
        "owner_id": str(what.owner_id),
        "type": int(what.kind),
        "name": what.name,
        "last_message_id": _last_id(what),
        "message_count": len(what.history),
        "total_message_sent": len(what.history),
        "member_count": len(what.member_ids),
        "rate_limit_per_user": 0,
        "flags": 0,
        "thread_metadata": {
            "archived": what.archived,
            "archive_timestamp": iso(what.archive_changed_at),
            "auto_archive_duration": 4320,
            "locked": what.locked,
            "create_timestamp": iso(snowflake_time(what.id)),
        },
    }
    if me is not None and me.id in what.member_ids:
        payload["member"] = thread_member(what, me.id)
    return payload


def thread_member(what: Thread, user_id: int) -> Json:
    """A thread member object."""
    joined_at = iso(what.member_ids[user_id])
    return {"id": str(what.id), "user_id": str(user_id), "join_timestamp": joined_at, "flags": 0}


def place(where: Place, me: User | None = None) -> Json:
    """A channel or thread object."""
    return thread(where, me) if isinstance(where, Thread) else channel(where)


def attachment(world: State, what: Attachment, channel_id: int) -> Json:
    """An attachment object; only what the bot uploaded is found at its address."""
    url = world.address(what, channel_id)
    payload: Json = {
        "id": str(what.id),
        "filename": what.filename,
        "size": what.size,
        "content_type": what.content_type,
        "url": url,
        "proxy_url": url,
    }
    if what.description is not None:
        payload["description"] = what.description
    return payload


def message(world: State, what: Message, *, nested: bool = False) -> Json:
    """A message object; what it replies to is in it, one level deep."""
    where = what.place
    payload: Json = {
        "id": str(what.id),
        "type": int(what.kind),
        "channel_id": str(where.id),
        "author": user(what.author),
        "content": what.content,
        "timestamp": iso(what.at),
        "edited_timestamp": optional_iso(what.edited_at),
        "tts": False,
        "pinned": False,
        "flags": int(what.flags),
        "mention_everyone": what.mentions_everyone,
        "mentions": [user(world.users[user_id]) for user_id in what.mention_ids if user_id in world.users],
        "mention_roles": [],
        "attachments": [attachment(world, a, where.id) for a in what.attachments],
        "embeds": what.embeds,
        "components": what.components,
    }
    if what.webhook_id is not None:
        payload["webhook_id"] = str(what.webhook_id)
    if what.application_id is not None:
        payload["application_id"] = str(what.application_id)
    if what.interaction is not None:
        payload["interaction_metadata"] = what.interaction
    if what.nonce is not None:
        payload["nonce"] = what.nonce
    if what.reply_to is not None:
        payload["message_reference"] = {
            "type": 0,
            "message_id": str(what.reply_to),
            "channel_id": str(where.id),
            "guild_id": str(where.guild.id),
        }
        if not nested:
            original = where.history.get(what.reply_to)
            payload["referenced_message"] = original and message(world, original, nested=True)
    return payload


def message_event(world: State, what: Message) -> Json:
    """A message as the gateway sends it: with the guild, and the author as its member."""
    payload = message(world, what)
    guild = what.place.guild
    payload["guild_id"] = str(guild.id)
    for mention in payload["mentions"]:
        if mentioned := guild.members.get(int(mention["id"])):
            mention["member"] = member(mentioned, with_user=False)
    author = guild.members.get(what.author.id)
    if author is not None and what.webhook_id is None:
        payload["member"] = member(author, with_user=False)
    return payload


def without_content(payload: Json) -> Json:
    """A message object as those see it who may not read message content."""
    hidden: Json = {"content": "", "attachments": [], "embeds": [], "components": []}
    if original := payload.get("referenced_message"):
        hidden["referenced_message"] = without_content(original)
    return payload | hidden


def guild(what: Guild) -> Json:
    """A guild object as REST returns it."""
    return {
        "id": str(what.id),
        "name": what.name,
        "owner_id": str(what.owner_id),
        "roles": [role(r) for r in what.roles.values()],
        "icon": None,
        "splash": None,
        "banner": None,
        "description": None,
        "emojis": [],
        "stickers": [],
        "features": [],
        "afk_channel_id": None,
        "afk_timeout": 300,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "public_updates_channel_id": None,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "mfa_level": 0,
        "nsfw_level": 0,
        "premium_tier": 0,
        "preferred_locale": "en-US",
        "vanity_url_code": None,
    }


def guild_event(world: State, what: Guild) -> Json:
    """A guild as GUILD_CREATE sends it: all channels, the active threads the bot sees, and only the bot as member."""
    me = world.bot
    return guild(what) | {
        "joined_at": iso(what.members[me.id].joined_at),
        "large": len(what.members) > 250,
        "unavailable": False,
        "member_count": len(what.members),
        "members": [member(what.members[me.id])],
        "channels": [channel(c) for c in what.channels.values()],
        "threads": [thread(t, me) for t in active_threads(world, what)],
        "voice_states": [],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def active_threads(world: State, what: Guild) -> list[Thread]:
    """The threads that are not archived and that the bot can view."""
    active = [t for t in what.threads.values() if not t.archived]
    return [t for t in active if Permission.VIEW_CHANNEL in world.permissions_at(world.bot, t)]


def application(what: Application) -> Json:
    """The application object of oauth2/applications/@me."""
    return {
        "id": str(what.id),
        "name": what.bot.name,
        "description": "",
        "icon": None,
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "",
        "flags": application_flags(what),
        "owner": user(what.owner),
        "team": None,
        "bot": user(what.bot),
    }


def application_flags(what: Application) -> int:
    """Which privileged intents are switched on, as the flags of an application in few guilds."""
    return sum(flag for intent, flag in _LIMITED_FLAGS.items() if intent in what.privileged & PRIVILEGED)


def interaction_place(where: Place, permissions: Permission) -> Json:
    """The partial channel of an interaction."""
    return place(where) | {"permissions": str(int(permissions))}


def hides_content(world: State, payload: Json, *, may_read_content: bool) -> bool:
    """Whether the content is withheld: unless allowed, the bot reads only its own words and those that mention it."""
    me = str(world.bot.id)
    return not may_read_content and payload["author"]["id"] != me and all(m["id"] != me for m in payload["mentions"])


def visible_message(world: State, what: Message) -> Json:
    """A message as REST shows it to the bot: without content if the application may not read it."""
    payload = message(world, what)
    may_read = Intent.MESSAGE_CONTENT in world.application.privileged
    return without_content(payload) if hides_content(world, payload, may_read_content=may_read) else payload


def _last_id(where: Place) -> str | None:
    newest = where.history.page(1)
    return str(newest[0].id) if newest else None
