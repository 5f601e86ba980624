"""REST routes of channels, their messages and threads."""

from datetime import datetime, timedelta

from aiohttp import web

from bot.model import snowflake_time
from bot.sandbox.discord import limits, payloads
from bot.sandbox.discord.compose import compose, parts
from bot.sandbox.discord.entities import Channel, ChannelKind, Message, MessageKind, Place, Thread
from bot.sandbox.discord.errors import ApiError, invalid_form, missing_permissions, unknown
from bot.sandbox.discord.permissions import P
from bot.sandbox.discord.rest import WORLD, place_in, read_body, read_message, reply

routes = web.RouteTableDef()


@routes.get("/channels/{channel}")
async def get_channel(request: web.Request) -> web.Response:
    return reply(payloads.place(place_in(request), request.app[WORLD].bot))


@routes.get("/channels/{channel}/messages")
async def get_messages(request: web.Request) -> web.Response:
    """One page of history; without Read Message History it is empty, which is no error."""
    world, place = request.app[WORLD], place_in(request)
    query = request.query
    limit = _limit(query.get("limit"), default=50)
    anchors = {name: _snowflake(name, query[name]) for name in ("before", "after", "around") if name in query}
    if len(anchors) > 1:
        raise invalid_form({"_": "Only one of before, after and around may be given."})
    if P.READ_MESSAGE_HISTORY not in world.permissions(world.bot, place):
        return reply([])
    return reply([payloads.visible_message(world, message) for message in place.history.page(limit, **anchors)])


@routes.get("/channels/{channel}/messages/{message}")
async def get_message(request: web.Request) -> web.Response:
    message = _message_in(request, place_in(request, P.READ_MESSAGE_HISTORY))
    return reply(payloads.visible_message(request.app[WORLD], message))


@routes.post("/channels/{channel}/messages")
async def create_message(request: web.Request) -> web.Response:
    world, place = request.app[WORLD], place_in(request)
    body, files = await read_message(request)
    limits.check_message(body, files)
    permissions = world.permissions(world.bot, place)
    if (P.SEND_MESSAGES_IN_THREADS if isinstance(place, Thread) else P.SEND_MESSAGES) not in permissions:
        raise missing_permissions()
    if body.get("embeds") and P.EMBED_LINKS not in permissions:
        raise missing_permissions()
    if files and P.ATTACH_FILES not in permissions:
        raise missing_permissions()
    if isinstance(place, Thread) and place.locked and P.MANAGE_THREADS not in permissions:
        raise ApiError(400, 50083, "Thread is archived")
    reply_to = body.get("message_reference")
    if reply_to and P.READ_MESSAGE_HISTORY not in permissions:
        raise ApiError(403, 160002, "Cannot reply without permission to read message history")
    if isinstance(place, Thread) and place.archived:
        world.update_thread(place, archived=False)
    message = compose(world, place, body, files)
    if reply_to:
        message.reply_to, message.kind = int(reply_to["message_id"]), MessageKind.REPLY
    world.keep(message)
    return reply(payloads.message(world, message))


@routes.patch("/channels/{channel}/messages/{message}")
async def edit_message(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    message = _message_in(request, place_in(request))
    if message.author is not world.bot:
        raise ApiError(403, 50005, "Cannot edit a message authored by another user")
    body, files = await read_message(request)
    limits.check_message_parts(body, message.flags)
    world.edit_message(message, **parts(world, message, body, files))
    return reply(payloads.message(world, message))


@routes.delete("/channels/{channel}/messages/{message}")
async def delete_message(request: web.Request) -> web.Response:
    world, place = request.app[WORLD], place_in(request)
    message = _message_in(request, place)
    if message.author is not world.bot and P.MANAGE_MESSAGES not in world.permissions(world.bot, place):
        raise missing_permissions()
    world.remove_message(message)
    return web.Response(status=204)


@routes.post("/channels/{channel}/messages/bulk-delete")
async def bulk_delete(request: web.Request) -> web.Response:
    world, place = request.app[WORLD], place_in(request, P.MANAGE_MESSAGES)
    ids = [int(message_id) for message_id in (await read_body(request))["messages"]]
    if not 2 <= len(ids) <= 100:
        raise invalid_form({"messages": "Must be between 2 and 100 in length."})
    if any(world.clock() - snowflake_time(message_id) > timedelta(days=14) for message_id in ids):
        raise ApiError(400, 50034, "You can only bulk delete messages that are under 14 days old.")
    world.remove_messages(place, ids)
    return web.Response(status=204)


@routes.post("/channels/{channel}/typing")
async def typing(request: web.Request) -> web.Response:
    place_in(request)
    return web.Response(status=204)


@routes.post("/channels/{channel}/threads")
async def create_post(request: web.Request) -> web.Response:
    """A post in a forum with its first message, which has the post's own id."""
    world, forum = request.app[WORLD], place_in(request, P.SEND_MESSAGES)
    body, files = await read_message(request)
    if not isinstance(forum, Channel) or forum.kind is not ChannelKind.FORUM:
        raise invalid_form({"_": "The stand-in's bot starts threads in forums only."})
    limits.check_message(body["message"], files)
    post = world.add_thread(forum, body["name"], owner=world.bot)
    message = compose(world, post, body["message"], files)
    message.id = post.id
    world.keep(message)
    return reply(payloads.place(post, world.bot) | {"message": payloads.message(world, message)}, 201)


@routes.get("/channels/{channel}/threads/archived/public")
async def archived_public(request: web.Request) -> web.Response:
    place = place_in(request, P.READ_MESSAGE_HISTORY)
    return _archived(request, [t for t in place.guild.threads_of(place.channel, archived=True) if not t.private])


@routes.get("/channels/{channel}/threads/archived/private")
async def archived_private(request: web.Request) -> web.Response:
    place = place_in(request, P.READ_MESSAGE_HISTORY | P.MANAGE_THREADS)
    return _archived(request, [t for t in place.guild.threads_of(place.channel, archived=True) if t.private])


@routes.get("/channels/{channel}/users/@me/threads/archived/private")
async def joined_archived_private(request: web.Request) -> web.Response:
    world, place = request.app[WORLD], place_in(request, P.READ_MESSAGE_HISTORY)
    archived = place.guild.threads_of(place.channel, archived=True)
    joined = [t for t in archived if t.private and world.bot.id in t.member_ids]
    if "before" in request.query:
        joined = [t for t in joined if t.id < _snowflake("before", request.query["before"])]
    return _thread_page(request, sorted(joined, key=lambda t: t.id, reverse=True))


@routes.get("/channels/{channel}/thread-members")
async def thread_members(request: web.Request) -> web.Response:
    thread = _thread_in(request)
    return reply([payloads.thread_member(thread, user_id) for user_id in thread.member_ids])


@routes.get("/channels/{channel}/thread-members/{user}")
async def thread_member(request: web.Request) -> web.Response:
    thread, user_id = _thread_in(request), request.match_info["user"]
    wanted = request.app[WORLD].bot.id if user_id == "@me" else int(user_id)
    if wanted not in thread.member_ids:
        raise unknown("Member")
    return reply(payloads.thread_member(thread, wanted))


@routes.put("/channels/{channel}/thread-members/@me")
async def join_thread(request: web.Request) -> web.Response:
    request.app[WORLD].add_thread_member(_thread_in(request), request.app[WORLD].bot)
    return web.Response(status=204)


@routes.delete("/channels/{channel}/thread-members/@me")
async def leave_thread(request: web.Request) -> web.Response:
    request.app[WORLD].remove_thread_member(_thread_in(request), request.app[WORLD].bot)
    return web.Response(status=204)


def _message_in(request: web.Request, place: Place) -> Message:
    if message := place.history.get(_snowflake("message_id", request.match_info["message"])):
        return message
    raise unknown("Message")


def _thread_in(request: web.Request) -> Thread:
    place = place_in(request)
    if not isinstance(place, Thread):
        raise ApiError(400, 50024, "Cannot execute action on this channel type")
    return place


def _archived(request: web.Request, threads: list[Thread]) -> web.Response:
    if "before" in request.query:
        before = datetime.fromisoformat(request.query["before"])
        threads = [thread for thread in threads if thread.archive_changed_at < before]
    return _thread_page(request, sorted(threads, key=lambda t: t.archive_changed_at, reverse=True))


def _thread_page(request: web.Request, threads: list[Thread]) -> web.Response:
    me = request.app[WORLD].bot
    limit = _limit(request.query.get("limit"), default=50, least=2)
    members = [payloads.thread_member(t, me.id) for t in threads[:limit] if me.id in t.member_ids]
    page = [payloads.thread(thread, me) for thread in threads[:limit]]
    return reply({"threads": page, "members": members, "has_more": len(threads) > limit})


def _limit(value: str | None, *, default: int, least: int = 1) -> int:
    limit = default if value is None else int(value)
    if not least <= limit <= 100:
        raise invalid_form({"limit": f"int value should be between {least} and 100."})
    return limit


def _snowflake(name: str, value: str) -> int:
    if not value.isdecimal():
        raise invalid_form({name: f'Value "{value}" is not snowflake.'})
    return int(value)
