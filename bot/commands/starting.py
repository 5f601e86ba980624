"""What comes of a setup: channels switched on, settings changed, and a word on whatever could not be done."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import discord

from bot.capture.convert import Observable as Place
from bot.commands.access import manages, member
from bot.commands.configuring import CONSENT_FIELD, FIELDS, Configuring, Option, State
from bot.commands.places import ALLOW_IT, observing, unreadable
from bot.commands.replies import Interaction, Refused, explain, show
from bot.commands.switching import Switching
from bot.commands.text import cut
from bot.errors import StorageUnavailable
from bot.settings import DiscordSettings
from bot.storage.observations import Observations

Card = Callable[[int], Awaitable[discord.Embed]]
"""The card of /status, by guild."""

NOT_ANY_MORE = "You may not set me up any more."


@dataclass(frozen=True, slots=True)
class Draft:
    """What was chosen so far: channels to switch on, by id, and what is to hold."""

    channels: tuple[int, ...]
    state: State

    def changes(self, opened: State) -> dict[Option, dict[str, Any]]:
        """The fields chosen otherwise than they were when the choice began, by option.

        What somebody else changed meanwhile is left alone, unless it was chosen otherwise here.
        """
        before, after = _values(opened), _values(self.state)
        fields = {option: [name for name in FIELDS[option] if before[name] != after[name]] for option in FIELDS}
        return {option: {name: after[name] for name in names} for option, names in fields.items() if names}


class Setups:
    """What `/setup` needs of the other rooms."""

    def __init__(
        self,
        observations: Observations,
        switching: Switching,
        configuring: Configuring,
        status: Card,
        settings: DiscordSettings,
    ) -> None:
        self.configuring = configuring
        self._observations = observations
        self._switching = switching
        self._status = status
        self._settings = settings

    def observed(self, guild_id: int) -> list[int]:
        """The channels that are remembered already."""
        return [one.channel_id for one in self._observations.active(guild_id)]

    def suitable(self, guild: discord.Guild, channel_ids: Sequence[int]) -> tuple[list[Place], list[str]]:
        """Those of these channels that can be switched on, and for each other one a sentence on why not."""
        places, problems = [], []
        for channel_id in channel_ids:
            place = guild.get_channel_or_thread(channel_id)
            if not isinstance(place, Place):
                problems.append(f"I cannot see <#{channel_id}>: I lack View Channel there; {ALLOW_IT}.")
            elif observing(self._observations, place):
                problems.append(f"{place.mention} is observed already.")
            elif reason := unreadable(place, self._settings):
                problems.append(f"{reason[0].upper()}{reason[1:]}.")
            else:
                places.append(place)
        return places, problems

    async def start(self, press: Interaction, draft: Draft, opened: State) -> None:
        """Do as drafted: what cannot be done of it is named, and the rest done all the same."""
        asker = member(press)
        if not manages(press):  # again: the last press may come minutes after the first
            raise Refused(NOT_ANY_MORE)
        await show(press, "Setting up…")
        changes = draft.changes(opened)
        if changes:
            await self.configuring.change(press, changes)
        places, refused = self.suitable(asker.guild, draft.channels)
        done = []
        for place in places:
            try:
                await self._switching.on(place, asker)
                done.append(place.mention)
            except Refused as refusal:
                refused.append(str(refusal))
            except StorageUnavailable as error:
                refused.append(f"{place.mention}: {explain(error)}")
        told = []
        if done:
            told.append(f"Done. I remember {' '.join(done)} from now on; I posted a notice there.")
        elif not refused:
            told.append("Done.")
        elif changes:
            told.append("The settings are changed.")
        if refused:
            told.append("Not switched on:\n" + "\n".join(f"- {reason}" for reason in refused))
        if not self.observed(asker.guild.id):
            told.append("I remember no channel yet; `/setup` and `/observe on` switch channels on.")
        card = await self._status(asker.guild.id)
        await show(press, cut("\n".join(told), 2_000), embeds=[card])


def _values(state: State) -> dict[str, Any]:
    fields = {name: getattr(state.config, name) for names in FIELDS.values() for name in names if name != CONSENT_FIELD}
    return {CONSENT_FIELD: state.mode, **fields}
