"""What Discord's CDN does: serve a file to whoever has its address."""

from aiohttp import web

from bot.sandbox.discord.rest import WORLD

routes = web.RouteTableDef()


@routes.get(r"/attachments/{channel}/{file:\d+}/{filename}")
async def download(request: web.Request) -> web.Response:
    file = request.app[WORLD].files.get(int(request.match_info["file"]))
    if file is None or file.filename != request.match_info["filename"]:
        raise web.HTTPNotFound
    return web.Response(body=file.data, content_type=file.content_type)
