"""From request bodies to the bot's messages."""

from typing import Any

from bot.sandbox.discord.entities import Json, Message, MessageFlag, Place
from bot.sandbox.discord.mentions import pinged
from bot.sandbox.discord.uploads import Files, attached, resolved
from bot.sandbox.discord.world import World


def compose(world: World, place: Place, body: Json, files: Files) -> Message:
    """A message of the bot's from a request's body and files, not yet said."""
    message = Message(world.snowflake(), place, world.bot, "", world.clock())
    message.flags = MessageFlag(body.get("flags") or 0)
    message.allowed_mentions = body.get("allowed_mentions")
    message.nonce = body.get("nonce")
    for name, value in parts(world, message, body, files).items():
        setattr(message, name, value)
    pings = pinged(message.content, message.allowed_mentions)
    message.mention_ids, message.mentions_everyone = pings.user_ids, pings.everyone
    return message


def parts(world: World, message: Message, body: Json, files: Files) -> dict[str, Any]:
    """The fields of a message that a request changes, as `Message` names them."""
    given: dict[str, Any] = {"content": body["content"] or ""} if "content" in body else {}
    given |= {name: body[name] or [] for name in ("embeds", "components") if name in body}
    given |= {"allowed_mentions": body["allowed_mentions"]} if "allowed_mentions" in body else {}
    given["attachments"] = attached(body, files, message.attachments)
    if "embeds" in given:
        given["embeds"] = resolved(world, given["embeds"], message.place.id, given["attachments"])
    return given
