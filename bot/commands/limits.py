"""How often one person may ask for what costs the language model's time."""

import math
import time
from collections.abc import Callable

from discord import app_commands

from bot.commands.replies import Refused
from bot.commands.text import counted

_REMEMBER_AT_MOST = 1_000


class Limit:
    """At most `times` questions of one person in a minute, over all commands that share this limit.

    `now` is a clock in seconds.
    """

    def __init__(self, times: int, now: Callable[[], float] = time.time) -> None:
        self._times = times
        self._now = now
        self._asked: dict[int, app_commands.Cooldown] = {}

    def take(self, user_id: int) -> None:
        """Count a question. Raises `Refused`, saying when to ask again, if it is one too many."""
        now = self._now()
        if len(self._asked) >= _REMEMBER_AT_MOST:
            self._asked = {id: asked for id, asked in self._asked.items() if asked.get_tokens(now) < self._times}
        asked = self._asked.setdefault(user_id, app_commands.Cooldown(self._times, 60.0))
        if wait := asked.update_rate_limit(now):
            questions, seconds = counted(self._times, "question"), counted(math.ceil(wait), "second")
            raise Refused(f"You may ask me {questions} a minute; ask again in {seconds}.")
