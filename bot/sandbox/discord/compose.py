"""From request bodies to the bot's messages."""

from typing import Any

from bot.sandbox.discord.entities import Attachment, Json, Message, MessageFlag, Place
from bot.sandbox.discord.mentions import pinged
from bot.sandbox.discord.world import World


def compose(world: World, place: Place, body: Json) -> Message:
    """A message of the bot's from a request's body, not yet said."""
    message = Message(world.snowflake(), place, world.bot, "", world.clock())
    message.flags = MessageFlag(body.get("flags") or 0)
    message.allowed_mentions = body.get("allowed_mentions")
    message.nonce = body.get("nonce")
    for name, value in parts(body).items():
        setattr(message, name, value)
    pings = pinged(message.content, message.allowed_mentions)
    message.mention_ids, message.mentions_everyone = pings.user_ids, pings.everyone
    return message


def parts(body: Json) -> dict[str, Any]:
    """The fields of a message that a body gives, as `Message` names them."""
    given: dict[str, Any] = {"content": body["content"] or ""} if "content" in body else {}
    given |= {name: body[name] or [] for name in ("embeds", "components") if name in body}
    if "attachments" in body:
        files = body["attachments"] or []
        given["attachments"] = [
            Attachment(str(f.get("filename", "file")), f.get("description"), id=int(f["id"])) for f in files
        ]
    return given
