"""Files sent with a message.

Source: https://discord.com/developers/docs/reference#uploading-files and /resources/message#attachment-object.
"""

import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import BodyPartReader, web

from bot.sandbox.discord.entities import Attachment, Json
from bot.sandbox.discord.errors import ApiError, invalid_form, too_large
from bot.sandbox.discord.limits import FILE_BYTES, FILES, REQUEST_BYTES
from bot.sandbox.discord.state import State

Files = Mapping[int, Attachment]
"""What was uploaded, by the n of `files[n]`."""

SCHEME = "attachment://"
_FILE = re.compile(r"files\[(\d+)\]")
_UNSAFE = re.compile(r"[^\w.\-]", re.ASCII)
# Where an embed may name a file.
_ADDRESSES = (("image", "url"), ("thumbnail", "url"), ("author", "icon_url"), ("footer", "icon_url"))


async def read_form(request: web.Request, world: State) -> tuple[Any, Files]:
    """The `payload_json` and the files of a multipart form. Raises ApiError for files too many or too large."""
    body: Any = {}
    files: dict[int, Attachment] = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise invalid_form({"_": "Forms cannot be nested."})
        if part.name == "payload_json":
            body = json.loads(await part.text())
        elif found := _FILE.fullmatch(part.name or ""):
            files[int(found[1])] = world.upload(_safe(part.filename or "file"), bytes(await part.read()))
    if len(files) > FILES:
        raise ApiError(400, 30015, f"Maximum number of attachments in a message reached ({FILES})")
    sizes = [file.size for file in files.values()]
    if max(sizes, default=0) > FILE_BYTES or sum(sizes) > REQUEST_BYTES:
        raise too_large()
    for file in files.values():
        file.content_type = mimetypes.guess_type(file.filename)[0] or file.content_type
    return body, files


def attached(body: Json, files: Files, present: Sequence[Attachment]) -> list[Attachment]:
    """What a message has attached after a request: the files its `attachments` list, and new ones it leaves out.

    `present` are the files of an edited message; without `attachments` they all stay.
    """
    if body.get("attachments") is None:
        return [*present, *files.values()]
    here = {file.id: file for file in present} | dict(files)
    listed = []
    for index, described in enumerate(body["attachments"]):
        file = here.pop(int(described["id"]), None)
        if file is None:
            raise invalid_form({f"attachments.{index}.id": "There is no such file."})
        file.description = described.get("description", file.description)
        file.filename = _safe(described.get("filename", file.filename))
        listed.append(file)
    return listed + [file for number, file in files.items() if number in here]


def resolved(world: State, embeds: Sequence[Json], channel_id: int, files: Sequence[Attachment]) -> list[Json]:
    """The embeds with the addresses of the message's files in place of `attachment://name`."""
    addresses = {f"{SCHEME}{file.filename}": world.address(file, channel_id) for file in files}
    return [_addressed(embed, addresses, f"embeds.{index}") for index, embed in enumerate(embeds)]


def _addressed(embed: Json, addresses: Mapping[str, str], path: str) -> Json:
    changed = dict(embed)
    for part, key in _ADDRESSES:
        url = (embed.get(part) or {}).get(key) or ""
        if url.startswith(SCHEME):
            if url not in addresses:
                raise invalid_form({f"{path}.{part}.{key}": f"The message has no file for {url}."})
            changed[part] = embed[part] | {key: addresses[url]}
    return changed


def _safe(name: str) -> str:
    """A file name as Discord keeps it: ASCII, without spaces."""
    return _UNSAFE.sub("", name.replace(" ", "_")) or "file"
