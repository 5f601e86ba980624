"""Who a message pings, by its content and what `allowed_mentions` leaves of it."""

import re
from dataclasses import dataclass

from bot.sandbox.discord.entities import Json

_USER = re.compile(r"<@!?(\d+)>")
_EVERYONE = re.compile(r"@(everyone|here)\b")


@dataclass(frozen=True, slots=True)
class Pinged:
    """The users a message pings, and whether it pings everyone."""

    user_ids: list[int]
    everyone: bool


def pinged(content: str, allowed: Json | None = None) -> Pinged:
    """What of a message's mentions is let through; without `allowed` all of them are.

    Source: https://discord.com/developers/docs/resources/message#allowed-mentions-object.
    """
    named = list(dict.fromkeys(int(user_id) for user_id in _USER.findall(content)))
    everyone = bool(_EVERYONE.search(content))
    if allowed is None:
        return Pinged(named, everyone)
    parse = allowed.get("parse", [])
    if "users" not in parse:
        listed = {int(user_id) for user_id in allowed.get("users", [])}
        named = [user_id for user_id in named if user_id in listed]
    return Pinged(named, everyone and "everyone" in parse)
