"""REST routes of guilds, users and the application with its commands."""

from aiohttp import web

from bot.sandbox.discord import limits, payloads
from bot.sandbox.discord.entities import Guild, Intent, Json
from bot.sandbox.discord.errors import missing_access, unknown
from bot.sandbox.discord.rest import WORLD, read_body, reply

routes = web.RouteTableDef()


@routes.get("/users/@me")
async def me(request: web.Request) -> web.Response:
    return reply(payloads.user(request.app[WORLD].bot))


@routes.get("/users/@me/guilds")
async def my_guilds(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    return reply([payloads.guild(g) for g in world.guilds.values() if world.bot.id in g.members])


@routes.get("/users/{user}")
async def get_user(request: web.Request) -> web.Response:
    user = request.app[WORLD].users.get(int(request.match_info["user"]))
    if user is None:
        raise unknown("User")
    return reply(payloads.user(user))


@routes.get("/oauth2/applications/@me")
@routes.get("/applications/@me")
async def my_application(request: web.Request) -> web.Response:
    return reply(payloads.application(request.app[WORLD].application))


@routes.get("/gateway")
async def gateway(request: web.Request) -> web.Response:
    return reply({"url": f"ws://{request.host}/gateway"})


@routes.get("/gateway/bot")
async def gateway_bot(request: web.Request) -> web.Response:
    limit = {"total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": 1}
    return reply({"url": f"ws://{request.host}/gateway", "shards": 1, "session_start_limit": limit})


@routes.get("/guilds/{guild}")
async def get_guild(request: web.Request) -> web.Response:
    guild = _guild_in(request)
    payload = payloads.guild(guild)
    if request.query.get("with_counts") in ("true", "1"):
        payload |= {"approximate_member_count": len(guild.members), "approximate_presence_count": 0}
    return reply(payload)


@routes.get("/guilds/{guild}/channels")
async def guild_channels(request: web.Request) -> web.Response:
    return reply([payloads.channel(channel) for channel in _guild_in(request).channels.values()])


@routes.get("/guilds/{guild}/roles")
async def guild_roles(request: web.Request) -> web.Response:
    return reply([payloads.role(role) for role in _guild_in(request).roles.values()])


@routes.get("/guilds/{guild}/members")
async def guild_members(request: web.Request) -> web.Response:
    """The member list; it needs the members intent switched on for the application."""
    guild = _guild_in(request)
    if Intent.GUILD_MEMBERS not in request.app[WORLD].application.privileged:
        raise missing_access()
    after, limit = int(request.query.get("after", 0)), int(request.query.get("limit", 1))
    ids = sorted(user_id for user_id in guild.members if user_id > after)[:limit]
    return reply([payloads.member(guild.members[user_id]) for user_id in ids])


@routes.get("/guilds/{guild}/members/{user}")
async def guild_member(request: web.Request) -> web.Response:
    member = _guild_in(request).members.get(int(request.match_info["user"]))
    if member is None:
        raise unknown("Member")
    return reply(payloads.member(member))


@routes.get("/guilds/{guild}/threads/active")
async def active_threads(request: web.Request) -> web.Response:
    world, guild = request.app[WORLD], _guild_in(request)
    me, threads = world.bot, payloads.active_threads(world, guild)
    members = [payloads.thread_member(t, me.id) for t in threads if me.id in t.member_ids]
    return reply({"threads": [payloads.thread(t, me) for t in threads], "members": members})


@routes.get("/applications/{application}/commands")
@routes.get("/applications/{application}/guilds/{guild}/commands")
async def get_commands(request: web.Request) -> web.Response:
    return reply(request.app[WORLD].application.commands.get(_commands_of(request), []))


@routes.put("/applications/{application}/commands")
@routes.put("/applications/{application}/guilds/{guild}/commands")
async def put_commands(request: web.Request) -> web.Response:
    """Replace all commands of a scope; those whose name and type stay keep their ids."""
    world, scope = request.app[WORLD], _commands_of(request)
    body: list[Json] = await read_body(request)
    limits.check_commands(body)
    ids = {(c["name"], c["type"]): c["id"] for c in world.application.commands.get(scope, [])}
    commands = []
    for command in body:
        kind = command.get("type", 1)
        known = {
            "id": ids.get((command["name"], kind), str(world.snowflake())),
            "application_id": str(world.application.id),
            "version": str(world.snowflake()),
            "type": kind,
            "description": command.get("description", ""),
            "default_member_permissions": command.get("default_member_permissions"),
            "contexts": command.get("contexts"),
            "integration_types": command.get("integration_types", [0]),
            "nsfw": command.get("nsfw", False),
        }
        commands.append(command | known | ({} if scope is None else {"guild_id": str(scope)}))
    world.application.commands[scope] = commands
    return reply(commands)


def _guild_in(request: web.Request) -> Guild:
    world = request.app[WORLD]
    guild = world.guilds.get(int(request.match_info["guild"]))
    if guild is None:
        raise unknown("Guild")
    if world.bot.id not in guild.members:
        raise missing_access()
    return guild


def _commands_of(request: web.Request) -> int | None:
    """The scope of a commands route: the guild's id, or None for the global commands."""
    if int(request.match_info["application"]) != request.app[WORLD].application.id:
        raise unknown("Application")
    return _guild_in(request).id if "guild" in request.match_info else None
