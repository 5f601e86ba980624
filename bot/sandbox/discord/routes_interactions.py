"""REST routes of interactions: the callback, and the webhook through which answers are edited and followed up."""

from aiohttp import web

from bot.sandbox.discord import payloads
from bot.sandbox.discord.errors import unknown
from bot.sandbox.discord.interactions import Interactions
from bot.sandbox.discord.rest import WORLD, read_message, reply

INTERACTIONS = web.AppKey("interactions", Interactions)
routes = web.RouteTableDef()


@routes.post("/interactions/{interaction}/{token}/callback")
async def callback(request: web.Request) -> web.Response:
    interaction_id, token = int(request.match_info["interaction"]), request.match_info["token"]
    result = request.app[INTERACTIONS].respond(interaction_id, token, *await read_message(request))
    if request.query.get("with_response", "false").lower() in ("1", "true"):
        return reply(result)
    return web.Response(status=204)


@routes.post("/webhooks/{application}/{token}")
async def follow_up(request: web.Request) -> web.Response:
    message = request.app[INTERACTIONS].follow_up(_token(request), *await read_message(request))
    return reply(payloads.message(request.app[WORLD], message))


@routes.get("/webhooks/{application}/{token}/messages/{message}")
async def get_answer(request: web.Request) -> web.Response:
    message = request.app[INTERACTIONS].get(_token(request), request.match_info["message"])
    return reply(payloads.message(request.app[WORLD], message))


@routes.patch("/webhooks/{application}/{token}/messages/{message}")
async def edit_answer(request: web.Request) -> web.Response:
    body, files = await read_message(request)
    message = request.app[INTERACTIONS].edit(_token(request), request.match_info["message"], body, files)
    return reply(payloads.message(request.app[WORLD], message))


@routes.delete("/webhooks/{application}/{token}/messages/{message}")
async def delete_answer(request: web.Request) -> web.Response:
    request.app[INTERACTIONS].delete(_token(request), request.match_info["message"])
    return web.Response(status=204)


def _token(request: web.Request) -> str:
    if int(request.match_info["application"]) != request.app[WORLD].application.id:
        raise unknown("Webhook")
    return request.match_info["token"]
