"""The operations of the command line: the rooms' methods with arguments and results of JSON.

To add one: a function here that makes it, a line in `App.operations`, a command in `cli/operations.py`.
"""

from collections.abc import Mapping
from typing import Any

from bot.memory.reconcile import Reconciler
from bot.model import Report
from bot.web.control import Operation


def adopting(reconciler: Reconciler) -> Operation:
    """{guild, channel} → {memories}."""

    async def adopt(arguments: Mapping[str, Any], _: Report) -> dict[str, Any]:
        guild_id, channel_id = arguments["guild"], arguments["channel"]
        return {"memories": await reconciler.adopt(guild_id, channel_id, access_id=channel_id)}

    return adopt
